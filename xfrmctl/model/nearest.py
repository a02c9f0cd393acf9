"""The right word nearest to a wrong one, for every message about a name that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

CUTOFF = 0.45
"""Share of the letters that must agree (difflib's ratio, 0 to 1): ``brnch`` is for ``branch-7``, ``office`` is not."""

SHOWN = 10


def nearest(word: str, known: Iterable[str], cutoff: float = CUTOFF) -> str | None:
    """The known word that was most likely meant; None where nothing is like it.

    Letter case, ``-`` and ``_`` do not count: ``remote-ts`` is ``remote_ts``.
    """
    plain = {_plain(name): name for name in known}
    found = get_close_matches(_plain(word), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def advice(word: str, known: Iterable[str], cutoff: float = CUTOFF) -> str:
    """``did you mean 'branch-7'?``, else the words that there are, ten at most; empty where there are none."""
    words = list(known)
    near = nearest(word, words, cutoff)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"known: {', '.join(words[:SHOWN])}{', …' if len(words) > SHOWN else ''}" if words else ""


def _plain(word: str) -> str:
    return word.casefold().replace("_", "-")
