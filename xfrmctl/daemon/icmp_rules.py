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
            self._named[policies[peer.version]].add(peer)
        self._changed = True
        for sa in outbound:
            self.enter(sa)

    def enter(self, sa: Key) -> None:
        """An outbound SA has come."""
        self._count(sa, 1)

    def leave(self, sa: Key) -> None:
        """One has gone."""
        self._count(sa, -1)

    def _count(self, sa: Key, by: int) -> None:
        peer, _, spi = sa
        policy = self._policies[peer.version]
        if _turned(self._peers, peer, by):
            named = self._named[policy]
            (named.add if by > 0 else named.discard)(peer)
            self._changed = True
        if policy is IcmpPolicy.VALIDATE and _turned(self._known, (peer, spi), by):
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


def _turned(counts: Counter[T], thing: T, by: int) -> bool:
    """Count one more or one less; whether it is the first, or was the last."""
    before = counts[thing]
    counts[thing] += by
    if not counts[thing]:
        del counts[thing]
    return not before or thing not in counts
