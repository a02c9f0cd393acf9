"""The same connection at both points.

Addresses and ports say so where nobody translates them. Behind NAT the initial sequence number does: 32 random bits
that few boxes touch. What has both changed is another connection as far as anybody can tell from packets.

Which point is nearer to the client: three witnesses vote, since each can be fooled by whoever writes packets anew. The
TTL of what the client sends falls on the way; that of what the server sends rises towards the server; and the answer to
a SYN takes longer where the client is near (durations of one clock, so clocks need not agree).
"""

from collections import defaultdict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

from xfrmctl.trace.connections import Connection, connections
from xfrmctl.trace.packets import Point, Seen


class Side(Enum):
    """A point, by its place on the command line."""

    A = "A"
    B = "B"

    @property
    def other(self) -> "Side":
        """The other point."""
        return Side.B if self is Side.A else Side.A


@dataclass(frozen=True, slots=True)
class Pair:
    """One connection at both points. ``near`` is the point nearer to the client, by ``witnesses`` votes of three."""

    at: dict[Side, Connection]
    near: Side
    witnesses: int

    def upstream(self, from_client: bool) -> Side:
        """The point that a packet of this direction passes first."""
        return self.near if from_client else self.near.other

    def opening(self, from_client: bool) -> tuple[Seen | None, Seen | None]:
        """The SYN (or SYN-ACK) before and after."""
        first = self.upstream(from_client)
        return self.at[first].opening(from_client), self.at[first.other].opening(from_client)

    def sent(self, from_client: bool) -> tuple[list[Seen], list[Seen]]:
        """Everything of one direction before and after."""
        first = self.upstream(from_client)
        return self.at[first].sent[from_client], self.at[first.other].sent[from_client]

    def isns(self, from_client: bool) -> tuple[int | None, int | None]:
        """The initial sequence number before and after."""
        first = self.upstream(from_client)
        return self.at[first].isn(from_client), self.at[first.other].isn(from_client)

    def routers_between(self, from_client: bool) -> int | None:
        """By how much the TTL falls between the points; None where it cannot be told."""
        before, after = self.sent(from_client)
        if not before or not after or before[0].initial_ttl != after[0].initial_ttl:
            return None
        return before[0].ttl - after[0].ttl


@dataclass(frozen=True, slots=True)
class Paired:
    """``alone`` are connections that only one point shows."""

    pairs: tuple[Pair, ...]
    alone: dict[Side, tuple[Connection, ...]]


def pair_up(a: Point, b: Point) -> Paired:
    """Match the connections of two captures: by ends and sequence number, by ends alone, by sequence number alone."""
    left, right = connections(a.packets), connections(b.packets)
    chosen: list[tuple[Connection, Connection]] = []
    for key in (_ends_and_isn, _ends, _isn):
        waiting: dict[Hashable, deque[Connection]] = defaultdict(deque)
        for found in right:
            waiting[key(found)].append(found)
        rest = []
        for found in left:
            candidates = waiting.get(name) if (name := key(found)) is not None else None
            if candidates:
                chosen.append((found, candidates.popleft()))
            else:
                rest.append(found)
        taken = {id(two) for _, two in chosen}
        left, right = rest, [found for found in right if id(found) not in taken]
    pairs = tuple(_pair(one, two) for one, two in chosen)
    return Paired(pairs, {Side.A: tuple(left), Side.B: tuple(right)})


def _ends_and_isn(found: Connection) -> Hashable:
    isn = found.isn(True)
    return None if isn is None else (found.client, found.server, isn)


def _ends(found: Connection) -> Hashable:
    """Who is the client is not certain where no SYN was captured."""
    return frozenset((found.client, found.server))


def _isn(found: Connection) -> Hashable:
    return found.isn(True)


def _pair(one: Connection, two: Connection) -> Pair:
    if (one.client, one.server) == (two.server, two.client):  # neither SYN is there, and the ports do not tell
        two = Connection(two.server, two.client, None, None, {True: two.sent[False], False: two.sent[True]})
    votes = [
        _sign(_hops(two, True), _hops(one, True)),
        _sign(_hops(one, False), _hops(two, False)),
        _sign(one.patience, two.patience),
    ]
    balance = sum(votes)
    near = Side.B if balance < 0 else Side.A
    agreeing = sum(1 for vote in votes if vote == (1 if near is Side.A else -1))
    return Pair({Side.A: one, Side.B: two}, near, agreeing)


def _hops(connection: Connection, from_client: bool) -> float | None:
    sent = connection.sent[from_client]
    return float(sent[0].hops) if sent else None


def _sign(larger: float | None, smaller: float | None) -> int:
    if larger is None or smaller is None or larger == smaller:
        return 0
    return 1 if larger > smaller else -1
