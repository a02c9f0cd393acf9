"""What came of the cells: one line of JSON for each try, the last one counts."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.blackhole.cells import Cell


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one cell."""

    missed: tuple[str, ...]
    late: tuple[str, ...]
    #: Seconds until TCP went on, by direction; None where it did not.
    tcp_s: tuple[float | None, ...]
    took_s: float
    #: By which clock: "virtual", or "real".
    clock: str = "real"

    @property
    def ok(self) -> bool:
        """Whether the cell has shown all that it must, in time."""
        return not self.missed and not self.late

    @property
    def slower_s(self) -> float | None:
        """Seconds until TCP went on in both directions."""
        times = [seconds for seconds in self.tcp_s if seconds is not None]
        return max(times) if len(times) == 2 else None


#: A cell's id -> what came of it.
Outcomes = Mapping[str, Outcome]


def file_of(directory: Path, cell: Cell) -> Path:
    """Where the outcomes of a cell's tunnel are kept."""
    return directory / f"{'-'.join(cell.tunnel)}.jsonl"


def read(files: Iterable[Path], clock: str | None = None) -> dict[str, Outcome]:
    """All outcomes in these files, or those by one clock; a line that was cut off when a run ended is passed over."""
    found: dict[str, Outcome] = {}
    for file in files:
        for line in file.read_text().splitlines():
            try:
                row: dict[str, Any] = json.loads(line)
            except json.JSONDecodeError:
                continue
            seconds, by = tuple(row["tcp_s"]), row.get("clock", "real")  # there was no other at first
            outcome = Outcome(tuple(row["missed"]), tuple(row["late"]), seconds, float(row["took_s"]), by)
            if clock in (None, outcome.clock):
                found[row["id"]] = outcome
    return found
