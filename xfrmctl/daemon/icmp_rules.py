"""Whom and what the rules about ICMP errors are to name. It is kept item by item: to hash ten thousand addresses anew
for every SA that comes would take as long as a handshake.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from xfrmctl.config.build import IcmpPolicy
from xfrmctl.guard.table import Key
from xfrmctl.kernel.desired import IcmpGuard
from xfrmctl.model.address import IPAddress

T = TypeVar("T")


class IcmpRules:
    """Peers, by what is to become of errors that name them, and the SPIs of those that are judged.

    ``policies`` goes by IP version, ``configured`` are peers with or without an SA, ``outbound`` the SAs.
    """

    def __init__(
        self, policies: Mapping[int, IcmpPolicy], configured: Iterable[IPAddress], outbound: Iterable[Key]
    ) -> None:
        self._policies = policies
        self._peers: Counter[IPAddress] = Counter(configured)
        self._known: Counter[tuple[IPAddress, int]] = Counter()
        self._named: dict[IcmpPolicy, set[IPAddress]] = {policy: set() for policy in IcmpPolicy}
        for peer in self._peers:
            self._of(peer).add(peer)
        self._changed = True
        for sa in outbound:
            self.enter(sa)

    def enter(self, sa: Key) -> None:
        """An outbound SA has come."""
        peer, _, spi = sa
        if _up(self._peers, peer):
            self._of(peer).add(peer)
            self._changed = True
        if self._policies[peer.version] is IcmpPolicy.VALIDATE and _up(self._known, (peer, spi)):
            self._changed = True

    def leave(self, sa: Key) -> None:
        """One has gone."""
        peer, _, spi = sa
        if _down(self._peers, peer):
            self._of(peer).discard(peer)
            self._changed = True
        if self._policies[peer.version] is IcmpPolicy.VALIDATE and _down(self._known, (peer, spi)):
            self._changed = True

    @property
    def peers(self) -> frozenset[IPAddress]:
        """All of them."""
        return frozenset(self._peers)

    def news(self) -> IcmpGuard | None:
        """What the rules are to name; None where that is the same as at the last question."""
        if not self._changed:
            return None
        self._changed = False
        judged, ignored = self._named[IcmpPolicy.VALIDATE], self._named[IcmpPolicy.IGNORE]
        return IcmpGuard(frozenset(judged), frozenset(ignored), frozenset(self._known))

    def _of(self, peer: IPAddress) -> set[IPAddress]:
        return self._named[self._policies[peer.version]]


def _up(counts: Counter[T], thing: T) -> bool:
    """Count one more; whether it is the first."""
    counts[thing] += 1
    return counts[thing] == 1


def _down(counts: Counter[T], thing: T) -> bool:
    """Count one less; whether it was the last."""
    counts[thing] -= 1
    if counts[thing]:
        return False
    del counts[thing]
    return True
