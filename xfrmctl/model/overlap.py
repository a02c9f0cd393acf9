"""Which pairs of networks have packets in common: an index that does not compare each with each.

Networks are prefixes, and of two prefixes one contains the other or they share nothing. So what overlaps a prefix is
found with one look at each length in use, for those around it, and in one slice of the sorted starts, for those within
it. A pair (local, remote) is looked for by its remote networks first, and among what overlaps there by the local ones.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from xfrmctl.model.address import IPNetwork
from xfrmctl.model.selector import TrafficSelector

Place = tuple[int, int, int]
"""A prefix: IP version, first address, prefix length."""

T = TypeVar("T")


def _place(network: IPNetwork) -> Place:
    return network.version, int(network.network_address), network.prefixlen


class _Prefixes(Generic[T]):
    """Values by prefix. Inserting moves 8 bytes for each prefix behind it: nothing at 10,000 of them."""

    def __init__(self) -> None:
        self.held: dict[Place, T] = {}
        self._lengths: Counter[tuple[int, int]] = Counter()
        self._starts: dict[int, list[tuple[int, int]]] = {4: [], 6: []}

    def add(self, place: Place, value: T) -> T:
        version, start, length = place
        self.held[place] = value
        self._lengths[version, length] += 1
        insort(self._starts[version], (start, length))
        return value

    def remove(self, place: Place) -> None:
        version, start, length = place
        del self.held[place]
        self._lengths[version, length] -= 1
        if not self._lengths[version, length]:
            del self._lengths[version, length]
        del self._starts[version][bisect_left(self._starts[version], (start, length))]

    def overlapping(self, place: Place) -> Iterator[T]:
        """Values of prefixes that contain this one or lie within it; the table must not change meanwhile."""
        version, start, length = place
        bits = 32 if version == 4 else 128
        for used_version, used in self._lengths:
            if used_version == version and used <= length:
                around = (version, start >> (bits - used) << (bits - used), used)
                if around in self.held:
                    yield self.held[around]
        starts = self._starts[version]
        position = bisect_left(starts, (start, length + 1))
        end = start + (1 << (bits - length))
        while position < len(starts) and starts[position][0] < end:
            if starts[position][1] > length:
                yield self.held[(version, *starts[position])]
            position += 1


Selectors = Iterable[TrafficSelector]


class Pairs(Generic[T]):
    """Things by the pairs of networks that they are about. A thing is found once for each pair that overlaps."""

    def __init__(self) -> None:
        self._remote: _Prefixes[_Prefixes[list[T]]] = _Prefixes()

    def __bool__(self) -> bool:
        return bool(self._remote.held)

    def add(self, local: Selectors, remote: Selectors, thing: T) -> None:
        """Take a thing down under all pairs of these selectors' networks."""
        for mine, theirs in _places(local, remote):
            behind = self._remote.held.get(theirs) or self._remote.add(theirs, _Prefixes())
            (behind.held.get(mine) or behind.add(mine, [])).append(thing)

    def remove(self, local: Selectors, remote: Selectors, thing: T) -> None:
        """Forget it, once for each time that it was added."""
        for mine, theirs in _places(local, remote):
            behind = self._remote.held[theirs]
            behind.held[mine].remove(thing)
            if not behind.held[mine]:
                behind.remove(mine)
            if not behind.held:
                self._remote.remove(theirs)

    def overlapping(self, local: Selectors, remote: Selectors) -> Iterator[T]:
        """Things whose networks overlap on both sides; protocols and ports are the caller's business."""
        for mine, theirs in _places(local, remote):
            for behind in self._remote.overlapping(theirs):
                for things in behind.overlapping(mine):
                    yield from things


def _places(local: Selectors, remote: Selectors) -> Iterator[tuple[Place, Place]]:
    """Each local network with each remote one of its family."""
    here = [_place(network) for selector in local for network in selector.networks()]
    there = [_place(network) for selector in remote for network in selector.networks()]
    yield from ((mine, theirs) for theirs in there for mine in here if mine[0] == theirs[0])
