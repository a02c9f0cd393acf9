"""Which peer holds which inner addresses, so that none takes another's: an index of selector pairs.

The kernel sends a packet to whichever policy fits best; of two peers that claim the same address behind them, one would
get the other's packets. So a claim is looked up before it is made, and whoever comes second is refused.

The networks of the remote selectors are prefixes, and of two prefixes one contains the other or they have nothing in
common. What overlaps a new one is therefore found with one look at each length that is in use, for those around it, and
in one slice of the sorted starts, for those within it.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xfrmctl.model.selector import TrafficSelector

Place = tuple[int, int, int]
"""A prefix: IP version, first address, prefix length."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a CHILD SA carries, and for whom. Two owners never hold the same packet; one owner may hold it twice.

    ``if_id`` other than 0 is an SPD of its own: claims of two different ones never meet.
    """

    owner: int
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    if_id: int = 0

    def meets(self, other: "Claim") -> bool:
        """Whether some packet belongs to both, and both are not one owner's."""
        if self.owner == other.owner or (self.if_id and other.if_id and self.if_id != other.if_id):
            return False
        return any(
            here.intersect(other_here) is not None and there.intersect(other_there) is not None
            for here in self.local_ts
            for other_here in other.local_ts
            for there in self.remote_ts
            for other_there in other.remote_ts
        )


def _places(claim: Claim) -> Iterator[Place]:
    for selector in claim.remote_ts:
        for network in selector.networks():
            yield network.version, int(network.network_address), network.prefixlen


class Claims:
    """The claims of one connection's peers. Costs of each operation do not grow with the number of peers.

    (Inserting into the sorted starts moves memory, 8 bytes a prefix; at 10,000 prefixes that is not measurable.)
    """

    def __init__(self) -> None:
        self._held: dict[Place, list[Claim]] = {}
        self._lengths: Counter[tuple[int, int]] = Counter()
        self._starts: dict[int, list[tuple[int, int]]] = {4: [], 6: []}

    def __len__(self) -> int:
        return sum(self._lengths.values())

    def rival(self, wanted: Claim) -> Claim | None:
        """A claim of somebody else to packets that ``wanted`` wants, or None."""
        for place in _places(wanted):
            for near in self._near(place):
                for claim in self._held[near]:
                    if claim.meets(wanted):
                        return claim
        return None

    def add(self, claim: Claim) -> None:
        """Take it down; whether it meets another is the caller's question."""
        for place in _places(claim):
            version, start, length = place
            held = self._held.setdefault(place, [])
            if not held:
                self._lengths[version, length] += 1
                insort(self._starts[version], (start, length))
            held.append(claim)

    def remove(self, claim: Claim) -> None:
        """Forget it, once for each time that it was added."""
        for place in _places(claim):
            version, start, length = place
            held = self._held[place]
            held.remove(claim)
            if not held:
                del self._held[place]
                self._lengths[version, length] -= 1
                if not self._lengths[version, length]:
                    del self._lengths[version, length]
                del self._starts[version][bisect_left(self._starts[version], (start, length))]

    def _near(self, place: Place) -> Iterable[Place]:
        """Prefixes in use that contain this one or lie within it."""
        version, start, length = place
        bits = 32 if version == 4 else 128
        for used_version, used in tuple(self._lengths):
            if used_version == version and used <= length:
                around = (version, start >> (bits - used) << (bits - used), used)
                if around in self._held:
                    yield around
        starts = self._starts[version]
        position = bisect_left(starts, (start, length + 1))
        end = start + (1 << (bits - length))
        while position < len(starts) and starts[position][0] < end:
            if starts[position][1] > length:
                yield version, *starts[position]
            position += 1
