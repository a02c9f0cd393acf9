"""Numbers as people read them; the status page says them in the same way."""

from xfrmctl.model.words import count, duration, plural, rate, size

__all__ = ("count", "duration", "plural", "rate", "size")
