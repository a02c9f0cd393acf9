"""Where a setting comes from: every value carries its file and line to the report, whatever becomes of it."""

import re
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from xfrmctl.model.errors import UnusableInput

T_co = TypeVar("T_co", covariant=True)
_SECRET = re.compile(r"secret|passw|passphrase|psk|pin$|key$", re.IGNORECASE)
_HARMLESS = re.compile(r"(id|file|handle|slot|module)[^.]*|.*sigkey|rsa (?:local|remote)-key|send.*")
MAX_SHOWN = 120


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{printable(self.file)}:{self.line}"


class ImportFault(UnusableInput):
    """A file that cannot be read as what it is taken for. The message never shows what stands there."""

    def __init__(self, place: Place, cause: str, cure: str) -> None:
        super().__init__(f"{place}: {cause}; {cure}")
        self.place = place
        self.cause = cause
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Setting:
    """One option as it is written. ``name`` is dotted from the top of its file; ``value`` is unquoted."""

    name: str
    value: str = field(repr=False)
    place: Place

    @property
    def is_secret(self) -> bool:
        """Whether the value must not be shown anywhere."""
        section, _, option = self.name.rpartition(".")
        if _HARMLESS.fullmatch(option):
            return False
        return section.startswith("secrets") or bool(_SECRET.search(option))

    @property
    def shown(self) -> str:
        """The value as a report may have it: no secrets, no control characters, not too long."""
        return "(secret)" if self.is_secret else printable(self.value)


@dataclass(frozen=True, slots=True)
class Told(Generic[T_co]):
    """A value with the setting that says so; without one it is the daemon's default."""

    value: T_co
    setting: Setting | None = None


def printable(text: str) -> str:
    """Text as it may stand in a report, a comment or a message."""
    clean = one_line(text)
    return clean if len(clean) <= MAX_SHOWN else clean[: MAX_SHOWN - 1] + "…"


def one_line(text: str) -> str:
    """Text without control characters, however long."""
    return "".join(c if c.isprintable() else " " for c in text)
