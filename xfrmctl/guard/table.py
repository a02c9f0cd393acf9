"""What we really send to whom: the immutable table that a verdict is made from.

The daemon makes a new one whenever an SA, an address or a belief changes, and hands it over whole; who judges never
waits and never sees half a change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from xfrmctl.model.address import IPAddress
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.path import Path
from xfrmctl.model.sa import Encap, SaId

OVERLAP_S = 10.0
"""How long the SPI of an SA that has gone is still known: errors about its last packets are under way."""

_IP_PROTOCOL = {ProtocolId.ESP: 50, ProtocolId.AH: 51}


Key = tuple[IPAddress, int, int]
"""Peer, IP protocol, SPI."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """One outbound SA as the network sees it.

    ``until`` is when an SA that has left the kernel is forgotten, monotonic seconds; None for one that stands.
    """

    id: SaId
    local: IPAddress
    encap: Encap | None = None
    until: float | None = None

    @property
    def path(self) -> Path:
        """The way that its packets go."""
        return Path(self.local, self.id.destination, self.encap.destination_port if self.encap else 0)


@dataclass(frozen=True, slots=True)
class Table:
    """Peers and outbound SAs; ``mtus`` is what the paths are believed to carry, bytes of outer packets."""

    peers: frozenset[IPAddress] = frozenset()
    outbound: Mapping[Key, Outbound] = field(default_factory=dict)
    mtus: Mapping[Path, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, peers: Iterable[IPAddress], outbound: Iterable[Outbound], mtus: Mapping[Path, int] | None = None
    ) -> "Table":
        """Index SAs by peer, IP protocol and SPI. Who has an SA is a peer."""
        index = {key(o.id): o for o in outbound}
        return cls(frozenset(peers) | {o.id.destination for o in index.values()}, index, dict(mtus or {}))

    def get(self, sa: SaId) -> Outbound | None:
        """One SA, None if it is not known."""
        return self.outbound.get(key(sa))

    def find(self, peer: IPAddress, protocol: int, spi: int, now: float) -> Outbound | None:
        """The SA of that IP protocol and SPI to a peer, if it stands or has stood a moment ago."""
        found = self.outbound.get((peer, protocol, spi))
        return found if found is not None and (found.until is None or now < found.until) else None


def key(sa: SaId) -> Key:
    """How a table names an SA."""
    return sa.destination, _IP_PROTOCOL[sa.protocol], sa.spi
