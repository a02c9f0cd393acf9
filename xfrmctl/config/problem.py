"""What is wrong in a configuration file. All problems of a file are told at once, each with its cure."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xfrmctl.model.errors import XfrmctlError

SAMPLES = {
    "auth": "auth: {psk: !file secrets/NAME.psk}",
    "psk": "psk: !file secrets/NAME.psk",
    "children": "children: {lan: {local_ts: [10.1.1.0/24], remote_ts: [10.1.2.0/24]}}",
    "local_ts": "local_ts: [10.1.1.0/24]",
    "remote_ts": "remote_ts: [10.1.2.0/24]",
    "local": "local: 10.1.1.0/24",
    "remote": "remote: 10.1.2.0/24",
}
"""How keys that may be missing are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding. ``line`` and ``column`` count from 1, 0 where there is none; ``key`` is dotted."""

    file: Path
    line: int
    column: int
    key: str
    cause: str
    cure: str

    @property
    def where(self) -> str:
        """``file:line:column``, as editors and CI systems understand it."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)

    def __str__(self) -> str:
        subject = f"{self.key}: " if self.key else ""
        return f"{self.where}: {subject}{self.cause}" + (f"; {self.cure}" if self.cure else "")


class ConfigError(XfrmctlError):
    """A configuration that cannot be used; ``problems`` has every finding, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (str(p.file), p.line, p.column)))
        super().__init__("\n".join(str(p) for p in self.problems))


class Wrong(ValueError):
    """A value that is spelled wrongly; raised inside validators, where nobody knows the place yet."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause}; {cure}")
        self.cause = cause
        self.cure = cure
