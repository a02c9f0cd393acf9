"""Tables for people, for the README and for machines."""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from xfrmctl import __version__


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds of one thing, and what it adds to the line before."""

    name: str
    us: float
    added_us: float


def costs(cumulative: Sequence[Cost], single: Sequence[Cost], *, suite: str) -> None:
    """The tables of :mod:`bench.engine`."""
    console = Console()
    table = Table(title=f"CPU time of one handshake as responder: {suite}", title_justify="left")
    table.add_column("layer (cumulative)")
    table.add_column("µs per handshake", justify="right")
    table.add_column("adds µs", justify="right")
    table.add_column("CPU s per 1,000", justify="right")
    for cost in cumulative:
        table.add_row(cost.name, f"{cost.us:.0f}", f"{cost.added_us:.0f}", f"{cost.us / 1000:.3f}")
    console.print(table)
    table = Table(title="Parts by themselves", title_justify="left")
    table.add_column("part")
    table.add_column("µs", justify="right")
    for cost in single:
        table.add_row(cost.name, f"{cost.us:.1f}")
    console.print(table)


def costs_json(cumulative: Sequence[Cost], single: Sequence[Cost]) -> dict[str, Any]:
    """The same for machines."""
    return {"layers": [asdict(c) for c in cumulative], "parts": [asdict(c) for c in single]}


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Figures with where and when they were taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    taken = {
        "version": __version__,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    path.write_text(json.dumps({**taken, **figures}, indent=2) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One responder in :mod:`bench.handshakes`.

    ``deferred_cpu_s_per_1000`` is the part of the CPU time that was spent after the last answer. RSS: when it had
    started, after the warm-up, at the end. ``yardstick_ms`` is what a fixed piece of work took before and after, the
    slower of the two: figures of runs whose yardsticks differ much do not compare.
    """

    responder: str
    handshakes: int
    per_second: float
    cpu_s_per_1000: float
    deferred_cpu_s_per_1000: float
    initiator_cpu_s_per_1000: float
    latency_ms: float
    retransmissions: int
    rss_started_mb: float
    rss_before_mb: float
    rss_after_mb: float
    kernel_sas: int
    yardstick_ms: float

    @property
    def kb_per_tunnel(self) -> float:
        """Resident memory that one more tunnel costs."""
        return 1024 * (self.rss_after_mb - self.rss_before_mb) / self.handshakes


_LABELS = {
    "xfrmctl": "xfrmctl",
    "strongswan": "strongSwan",
    "strongswan-sas-only": "strongSwan, SAs only",
}

_ROWS: tuple[tuple[str, str, Callable[[Run], float]], ...] = (
    ("handshakes/s", ".0f", lambda r: r.per_second),
    ("responder CPU s per 1,000 handshakes", ".2f", lambda r: r.cpu_s_per_1000),
    ("of these after the last answer", ".2f", lambda r: r.deferred_cpu_s_per_1000),
    ("responder RSS before, MB", ".1f", lambda r: r.rss_before_mb),
    ("responder RSS after, MB", ".1f", lambda r: r.rss_after_mb),
    ("KB per tunnel", ".1f", lambda r: r.kb_per_tunnel),
    ("latency of a handshake, ms", ".0f", lambda r: r.latency_ms),
    ("initiator CPU s per 1,000 handshakes", ".2f", lambda r: r.initiator_cpu_s_per_1000),
    ("retransmissions", ".0f", lambda r: r.retransmissions),
    ("SAs in the responder's kernel", ".0f", lambda r: r.kernel_sas),
    ("yardstick, ms (is the machine quiet?)", ".0f", lambda r: r.yardstick_ms),
)
_RATIOS = 7
"""The first rows also say what xfrmctl's figure is to the other's."""


def best(found: Sequence[Run]) -> Run:
    """The run that took the responder the least CPU time: whatever else the machine does can only add to it."""
    return min(found, key=lambda r: r.cpu_s_per_1000)


def _table(found: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    ours = next((r for r in found if r.responder == "xfrmctl"), None)
    others = [r for r in found if r is not ours] if ours is not None else []
    head = ["", *(_LABELS[r.responder] for r in found), *(f"ratio to {_LABELS[r.responder]}" for r in others)]
    rows: list[list[str]] = []
    for number, (name, form, value) in enumerate(_ROWS):
        row = [name, *(format(value(r), form) for r in found)]
        for other in others:
            assert ours is not None
            theirs = value(other)
            row.append(f"{value(ours) / theirs:.2f}" if number < _RATIOS and theirs > 0 else "")
        rows.append(row)
    return head, rows


def runs(found: Sequence[Run], *, title: str) -> None:
    """The table of :mod:`bench.handshakes`."""
    head, rows = _table(found)
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=max(120, Console().width)).print(table)


def markdown(found: Sequence[Run]) -> str:
    """The same for the README."""
    head, rows = _table(found)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def runs_json(shown: Sequence[Run], found: Sequence[Run], about: Mapping[str, Any]) -> dict[str, Any]:
    """The same for machines."""
    return {"settings": dict(about), "best": [asdict(r) for r in shown], "runs": [asdict(r) for r in found]}
