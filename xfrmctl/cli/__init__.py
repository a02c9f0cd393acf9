"""The command: one verb per file, registered in ``main``.

``session`` global options and the connection to the daemon, ``outcome`` exit codes and how failures are told,
``words`` numbers as people read them, ``cards`` what ``show`` prints. A verb imports what is heavy when it
runs, so that ``xfrmctl --help`` and completion stay fast.
"""
