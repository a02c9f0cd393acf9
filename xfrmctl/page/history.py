"""The last hour of every child, in a bounded memory: what was sent and received, and the path MTU.

It is made of snapshots, at the edge: nothing in the engines remembers for the sake of a picture.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from xfrmctl.model.snapshot import ChildInfo, Snapshot

STEP_S = 10.0
"""How often is looked, seconds; less often where looking is dear."""

POINTS = 360
"""An hour."""

MOST_CHILDREN = 256
"""Children with a history, the first ones of the configuration: 256 x 360 points are some 12 MB. The sum of all counts
everybody."""

Key = tuple[str, str]
"""Connection and child; the peers of a connection that serves many are one line."""


@dataclass(frozen=True, slots=True)
class Point:
    """One look. ``received`` and ``sent`` are bits per second since the one before; None: no SA, or nobody knows."""

    at: float
    received: float | None
    sent: float | None
    mtu: int | None


@dataclass(slots=True)
class _Series:
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS))


class History:
    """What was seen; ``observe`` is called from time to time."""

    def __init__(self) -> None:
        self._series: dict[Key, _Series] = {}
        self._sum = _Series()
        self._counters: dict[str, int] = {}
        self._at: float | None = None

    def observe(self, snapshot: Snapshot, at: float) -> None:
        """Note a look. ``at`` is in seconds and never decreases."""
        elapsed = None if self._at is None else at - self._at
        seen = dict(_children(snapshot))
        counters: dict[str, int] = {}
        total = [0, 0]
        kept: dict[Key, _Series] = {}
        for key, sas in seen.items():
            grown = [0, 0]
            for child in sas:
                for direction, sa in enumerate((child.inbound, child.outbound)):
                    name = f"{child.reqid}/{child.peer}/{direction}/{sa.spi}"
                    counters[name] = sa.bytes
                    grown[direction] += max(0, sa.bytes - self._counters.get(name, 0))
            total = [total[0] + grown[0], total[1] + grown[1]]
            if len(kept) < MOST_CHILDREN:
                kept[key] = self._series.get(key) or _Series()
                kept[key].points.append(_point(at, elapsed, grown if sas else None, _mtu(sas)))
        self._sum.points.append(_point(at, elapsed, total, None))
        self._series, self._counters, self._at = kept, counters, at

    def of(self, connection: str, child: str) -> list[Point]:
        """The points of one child, oldest first. May be called while another thread observes."""
        found = self._series.get((connection, child))
        return list(found.points) if found else []

    def total(self) -> list[Point]:
        """The points of all together."""
        return list(self._sum.points)


def _children(snapshot: Snapshot) -> Iterator[tuple[Key, list[ChildInfo]]]:
    """What is configured, with the SAs that it has now."""
    for connection in snapshot.connections:
        standing: dict[str, list[ChildInfo]] = {child.name: [] for child in connection.children}
        for ike in connection.ike_sas:
            for child in ike.children:
                standing.setdefault(child.name, []).append(child)
        for name, sas in standing.items():
            yield (connection.name, name), sas


def _point(at: float, elapsed: float | None, grown: list[int] | None, mtu: int | None) -> Point:
    if grown is None or not elapsed:
        return Point(at, None, None, mtu)
    return Point(at, grown[0] * 8 / elapsed, grown[1] * 8 / elapsed, mtu)


def _mtu(sas: list[ChildInfo]) -> int | None:
    """The smallest, where there are several peers."""
    return min((child.mtu.outer_mtu for child in sas if child.mtu is not None), default=None)
