"""What a dialect reads from: the files, the report, and what the user has said beside them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xfrmctl.importers.files import Files
from xfrmctl.importers.origin import Place
from xfrmctl.importers.report import Report
from xfrmctl.model.address import IPAddress


@dataclass(frozen=True, slots=True)
class Source:
    """``ours`` are addresses of the gateway that the files are for; ``secrets`` is where ipsec.secrets lies."""

    files: Files
    report: Report
    ours: frozenset[IPAddress] = frozenset()
    secrets: Path | None = None

    @property
    def text(self) -> str:
        """The main file."""
        return self.files.text(self.files.main)

    @property
    def name(self) -> str:
        """What the main file is called in places."""
        return str(self.files.main)

    def include(self, pattern: str, place: Place, depth: int) -> Iterable[tuple[str, str]]:
        """Names and texts of what an include stands for."""
        return [(str(path), self.files.text(path)) for path in self.files.included(pattern, place, depth)]
