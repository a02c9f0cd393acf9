"""What every rule gets, and the questions that several of them ask."""

from collections.abc import Iterator

from xfrmctl.model.address import IPAddress
from xfrmctl.model.suite import Suite
from xfrmctl.trace.connections import MODULUS
from xfrmctl.trace.packets import Point, Seen
from xfrmctl.trace.pairs import Pair, Paired, Side

Ends = tuple[IPAddress, IPAddress]


class Case:
    """Two captures, and the connections that are at both. ``suite`` is what the operator knows to be in use.

    Captures are large, and may be a stranger's: what rules ask of them again and again is looked up, not searched.
    """

    def __init__(self, points: dict[Side, Point], paired: Paired, suite: Suite | None = None) -> None:
        self.points, self.paired, self.suite = points, paired, suite
        self._upstream: dict[Ends, Side] = {}
        self._nearer: dict[IPAddress, Side] = {}
        for pair, from_client in self.directions():
            first = pair.upstream(from_client)
            for connection in pair.at.values():
                self._nearer.setdefault(connection.sender(from_client)[0], first)
            sender, receiver = (pair.at[Side.A].sender(d)[0] for d in (from_client, not from_client))
            self._upstream.setdefault((sender, receiver), first)
        self._hops: dict[Side, dict[Ends, int]] = {side: {} for side in Side}
        self._largest: dict[Side, dict[tuple[Ends, int, int | None, int | None], int]] = {side: {} for side in Side}
        for side, point in points.items():
            for seen in point.packets:
                ends = seen.source, seen.destination
                self._hops[side].setdefault(ends, seen.hops)
                key = ends, seen.protocol, seen.source_port, seen.destination_port
                self._largest[side][key] = max(seen.length, self._largest[side].get(key, 0))

    def directions(self) -> Iterator[tuple[Pair, bool]]:
        """Each direction of each connection."""
        for pair in self.paired.pairs:
            yield pair, True
            yield pair, False

    def upstream(self, source: IPAddress, destination: IPAddress) -> Side | None:
        """Which point packets from one host to another pass first: by the connections, else by the TTL.

        None where nothing tells. Where only one point shows them, nothing does.
        """
        known = self._upstream.get((source, destination))
        a, b = (self._hops[side].get((source, destination)) for side in Side)
        if known is not None or a is None or b is None or a == b:
            return known
        return Side.A if a < b else Side.B

    def nearer_to(self, host: IPAddress) -> Side | None:
        """Which point is nearer to a host that takes part in a connection."""
        return self._nearer.get(host)

    def hops(self, side: Side, source: IPAddress, destination: IPAddress) -> int | None:
        """How many routers packets from one host to another have passed when they come to a point."""
        return self._hops[side].get((source, destination))

    def largest(self, side: Side, ends: Ends, protocol: int, ports: tuple[int | None, int | None]) -> int:
        """The largest packet of a flow at a point; 0 where it has none."""
        return self._largest[side].get((ends, protocol, *ports), 0)


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
