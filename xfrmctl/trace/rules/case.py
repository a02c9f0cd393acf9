"""What every rule gets, and the questions that several of them ask."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from xfrmctl.model.address import IPAddress
from xfrmctl.model.suite import Suite
from xfrmctl.trace.connections import MODULUS
from xfrmctl.trace.packets import Point, Seen
from xfrmctl.trace.pairs import Pair, Paired, Side

Ends = tuple[IPAddress, IPAddress]


@dataclass(frozen=True, slots=True)
class Case:
    """Two captures, and the connections that are at both. ``suite`` is what the operator knows to be in use."""

    points: dict[Side, Point]
    paired: Paired
    suite: Suite | None = None

    def directions(self) -> Iterator[tuple[Pair, bool]]:
        """Each direction of each connection."""
        for pair in self.paired.pairs:
            yield pair, True
            yield pair, False

    def upstream(self, source: IPAddress, destination: IPAddress) -> Side | None:
        """Which point packets from one host to another pass first: by the connections, else by the TTL.

        None where nothing tells. Where only one point shows them, nothing does.
        """
        for pair, from_client in self.directions():
            sender, receiver = (pair.at[Side.A].sender(d)[0] for d in (from_client, not from_client))
            if (sender, receiver) == (source, destination):
                return pair.upstream(from_client)
        hops = {side: self._hops(point, source, destination) for side, point in self.points.items()}
        a, b = hops[Side.A], hops[Side.B]
        if a is None or b is None or a == b:
            return None
        return Side.A if a < b else Side.B

    def nearer_to(self, host: IPAddress) -> Side | None:
        """Which point is nearer to a host that takes part in a connection."""
        for pair, from_client in self.directions():
            if host in (pair.at[Side.A].sender(from_client)[0], pair.at[Side.B].sender(from_client)[0]):
                return pair.upstream(from_client)
        return None

    @staticmethod
    def _hops(point: Point, source: IPAddress, destination: IPAddress) -> int | None:
        return next((s.hops for s in point.packets if (s.source, s.destination) == (source, destination)), None)


def by_ends(point: Point) -> dict[Ends, list[Seen]]:
    """The packets of a point by source and destination."""
    found: dict[Ends, list[Seen]] = defaultdict(list)
    for seen in point.packets:
        found[seen.source, seen.destination].append(seen)
    return found


def relative(seen: Seen, isn: int | None) -> int:
    """The sequence number of a segment, counted from the initial one where that is known."""
    assert seen.tcp is not None
    return (seen.tcp.sequence - (isn or 0)) % MODULUS


def routers(number: int) -> str:
    """``no router``, ``1 router``, ``3 routers``."""
    return f"{number or 'no'} router{'' if number == 1 else 's'}"


def times(number: int, what: str) -> str:
    """``1 SYN``, ``12 SYNs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
