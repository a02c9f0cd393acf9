"""Imports in tests: files in, configuration and report out."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from xfrmctl.config.document import FileReference, parse
from xfrmctl.config.load import load
from xfrmctl.ike.config import ConnectionConfig
from xfrmctl.importers.convert import Imported, Request, run
from xfrmctl.importers.detect import Dialect
from xfrmctl.importers.dialects.options import Table
from xfrmctl.importers.report import Entry, Fate

KEY = "a long and boring shared secret"


def _plain(value: object) -> Any:
    """Values as they are written."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return f"!file {value.path}" if isinstance(value, FileReference) else value


@dataclass(frozen=True)
class Done:
    """One import, and where it went."""

    target: Path
    imported: Imported

    @property
    def data(self) -> dict[str, Any]:
        """The configuration as plain data."""
        document = parse(self.imported.text, self.target)
        assert not document.problems
        found: dict[str, Any] = _plain(document.data or {})
        return found

    def connection(self, name: str) -> dict[str, Any]:
        """One connection of it."""
        found: dict[str, Any] = self.data["connections"][name]
        return found

    @property
    def loaded(self) -> dict[str, ConnectionConfig]:
        """The connections as the daemon would have them."""
        return dict(load(self.target / "xfrmctl.yaml").engine.connections)

    def told(self, option: str) -> list[Entry]:
        """What the report says of an option: the last part of its name, or all of it."""
        return [e for e in self.imported.report.entries if e.option == option or e.option.split(".")[-1] == option]

    def fate(self, option: str) -> set[str]:
        """The fates of an option."""
        return {e.fate.value for e in self.told(option)}

    def why(self, option: str) -> str:
        """Reasons and advice about an option."""
        return " | ".join(f"{e.why}; {e.todo}" for e in self.told(option))

    @property
    def decisions(self) -> list[str]:
        """What is left to be decided."""
        return [e.line for e in self.imported.report.entries if e.fate is Fate.DECIDE]


class Importer:
    """Files in a directory, and imports of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._count = 0

    def file(self, name: str, content: str | bytes) -> Path:
        """Put a file there."""
        path = self.directory / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, file: Path, dialect: str | None = None, *, ours: tuple[str, ...] = (), **more: Any) -> Done:
        """Import a file into a directory of its own."""
        self._count += 1
        target = self.directory / f"out{self._count}"
        wanted = Dialect(dialect) if dialect else None
        local = frozenset(map(ip_address, ours))
        return Done(target, run(Request(file=file, dialect=wanted, ours=local, target=target, **more)))

    def text(self, name: str, text: str, dialect: str | None = None, **more: Any) -> Done:
        """Write a file and import it."""
        return self.run(self.file(name, text), dialect, **more)


def options_in(text: str) -> set[int]:
    """The lines of a file of theirs that set something: ``key = value``."""
    return {number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*[\w-]+\s*=", line)}


def told_lines(done: Done, file: Path) -> set[int]:
    """The lines of a file that the report speaks of."""
    return {e.place.line for e in done.imported.report.entries if e.place and e.place.file == str(file)}


def check_left_out(importer: Importer, text: str, dialect: str, word: str) -> None:
    """A connection of an ipsec.conf is not taken over: the option says so, and every line is in the report."""
    file = importer.file("ipsec.conf", text)
    done = importer.run(file, dialect)
    assert "connections" not in done.data
    assert "decide" in done.fate(word)
    assert told_lines(done, file) >= options_in(text)


def check_table(done: Done, table: Table, *ends: str) -> None:
    """Every option of a table was read or told: what it says is read, is read; what it says is dropped, is dropped.

    With ``ends`` options have these before them, and ``host`` is an end itself.
    """
    for row, known in table.items():
        for end in ends or ("",):
            name = end + (row if row != "host" or not end else "")
            fates = done.fate(name)
            assert fates, f"{name} is not in the report"
            assert "unknown" not in fates, name
            assert "nothing that is taken over uses it" not in done.why(name), name
            if known.fate is Fate.DROPPED:
                assert "dropped" in fates, name
