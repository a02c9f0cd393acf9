"""Names of ours from names of theirs."""

from collections.abc import Container

MAX_NAME = 64


def name_of(text: str, taken: Container[str]) -> str:
    """A name that our configuration takes and that is free: letters, digits, ``-``, ``_`` and inner ``.``."""
    base = file_name(text)
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base[: MAX_NAME - 5]}-{number}"
    return name


def file_name(text: str) -> str:
    """The same without regard to others: it is safe as part of a path."""
    clean = "".join(c if (c.isascii() and c.isalnum()) or c in "-_." else "-" for c in text)
    return clean[:MAX_NAME].strip(".-") or "unnamed"
