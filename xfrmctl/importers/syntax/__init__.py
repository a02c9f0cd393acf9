"""Text -> sections and settings with their places. These modules know forms, and no option's meaning.

All of them are strict: what has not the form raises :class:`~xfrmctl.importers.origin.ImportFault` with file and line,
never with the text, which may be a secret. Depth, files and bytes are bounded.
"""
