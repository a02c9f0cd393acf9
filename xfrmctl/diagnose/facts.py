"""What was gathered: plain values, nothing judged yet. Sizes are bytes, ``*_s`` seconds, ``wall`` since the epoch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from xfrmctl.diagnose.netfilter.values import Table
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.observed import ObservedDevice, ObservedPolicy, ObservedSa, RouteLookup
from xfrmctl.model.sa import DataPlane, Mode
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, IkeInfo, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildFacts:
    """One child as it is configured. ``mtu`` is a written outer MTU, None for auto.

    ``esp`` are spelled proposals, for ESP or AH as ``protocol`` says. ``tunnel`` is a tunnel device over it, and
    ``carries`` are the networks that are routed into that device.
    """

    connection: str
    name: str
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    dataplane: DataPlane = DataPlane.POLICY
    mode: Mode = Mode.TUNNEL
    if_id: int = 0
    interface: str | None = None
    mtu: int | None = None
    marked: bool = False
    esp: tuple[str, ...] = ()
    protocol: ProtocolId = ProtocolId.ESP
    tunnel: str | None = None
    carries: tuple[IPNetwork, ...] = ()

    @property
    def device(self) -> str | None:
        """The device that packets have to go into; None where policies take them."""
        return self.tunnel or (self.interface if self.dataplane is DataPlane.INTERFACE else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """A certificate of ours."""

    subject: str
    valid_from: float
    valid_to: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFacts:
    """One connection as it is configured. ``auth`` is how the peer proves itself: psk, certificate or key."""

    name: str
    local: IPAddress | None
    remote: IPAddress | None
    local_id: str
    remote_id: str
    auth: str
    ike: tuple[str, ...]
    children: tuple[ChildFacts, ...]
    certificate: CertificateFacts | None = None


class Answer(Enum):
    """What came back from a probe of a peer.

    REFUSED: the peer's host says that nobody listens. UNREACHABLE: a router or our own host says that there is no way.
    """

    ANSWERED = "answered"
    SILENT = "silent"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerProbe:
    """A peer, asked by strangers' means: IKE of an unknown version on both ports (RFC 7296 2.5), ICMP echo.

    ``detail`` is what the host says of an unreachable one.
    """

    ike: Answer
    nat_t: Answer
    echo: Answer
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathProbe:
    """ICMP echoes to a peer that answers small ones.

    ``fits``: one of ``asked`` bytes with DF was answered; ``told`` is the MTU that an ICMP error on the wire allowed.
    ``fragments``: one that had to be fragmented was answered. ``carries`` is what our link carries, where one of that
    size was answered as well and is more than was asked.
    """

    asked: int
    fits: bool
    told: int | None
    fragments: bool
    carries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelProbe:
    """ICMP echoes through a tunnel, to some addresses behind the peer: how many were sent, whether any was answered."""

    sent: int
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The host around the daemon.

    ``sysctls`` by their dotted names; ``counters`` of /proc/net (xfrm_stat, TcpExt, Ip) with their change; ``tables``
    those of netfilter, ``counted`` how much each rule has counted meanwhile, by :attr:`Fate.key`.
    """

    sysctls: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[IPAddress, str] = field(default_factory=dict)
    devices: Mapping[str, ObservedDevice] = field(default_factory=dict)
    routes: Mapping[IPAddress, RouteLookup] = field(default_factory=dict)
    unguarded: Mapping[IPAddress, RouteLookup] = field(default_factory=dict)
    """The way to each peer if it were not for our routes to peers."""
    tables: tuple[Table, ...] = ()
    counted: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    moved: Mapping[str, int] = field(default_factory=dict)
    foreign_policies: tuple[ObservedPolicy, ...] = ()
    sas: tuple[ObservedSa, ...] = ()

    def number(self, sysctl: str) -> int | None:
        """A sysctl as a number; None where it was not read."""
        text = self.sysctls.get(sysctl, "")
        return int(text) if text.lstrip("-").isdecimal() else None

    def device_to(self, address: IPAddress) -> str | None:
        """The device of the route to an address; None where nobody has asked, "" where there is none."""
        answer = self.routes.get(address)
        return answer.device if answer is not None else None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything. ``before`` and ``after`` are ``seconds`` apart; both are None where no daemon runs.

    ``connections`` are those that are asked about; ``others`` are configured beside them.
    """

    wall: float
    connections: tuple[ConnectionFacts, ...]
    others: tuple[ConnectionFacts, ...] = ()
    before: Snapshot | None = None
    after: Snapshot | None = None
    seconds: float = 0.0
    daemon_fault: str = ""
    probes: Mapping[str, PeerProbe] = field(default_factory=dict)
    paths: Mapping[str, PathProbe] = field(default_factory=dict)
    tunnels: Mapping[tuple[str, str], TunnelProbe] = field(default_factory=dict)
    host: HostFacts = field(default_factory=HostFacts)
    noted: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What a rule has made of a child, for the next rule that needs it."""

    @cached_property
    def by_name(self) -> Mapping[str, ConnectionFacts]:
        """The chosen connections."""
        return {c.name: c for c in self.connections}

    @cached_property
    def _sas(self) -> "tuple[Sas, Sas]":
        return sas_of(self.before), sas_of(self.after)

    @cached_property
    def infos(self) -> Mapping[str, ConnectionInfo]:
        """The state of every connection now."""
        return {c.name: c for c in self.after.connections} if self.after is not None else {}

    def connection_infos(self) -> Iterator[tuple[ConnectionFacts, ConnectionInfo]]:
        """Each chosen connection with its state now."""
        for connection in self.connections:
            if connection.name in self.infos:
                yield connection, self.infos[connection.name]

    def children(self) -> Iterator[ChildFacts]:
        """Every child of every chosen connection."""
        for connection in self.connections:
            yield from connection.children

    def up(self, child: ChildFacts) -> list[ChildInfo]:
        """The CHILD SAs of a child now, oldest first."""
        return [sa for sa, _ in self._sas[1].get((child.connection, child.name), ())]

    def lasting(self, child: ChildFacts) -> Iterator[tuple[ChildInfo, ChildInfo, IkeInfo]]:
        """Each CHILD SA that stood all the time: as it was, as it is, and its IKE SA."""
        key = child.connection, child.name
        before = {sa.inbound.spi: sa for sa, _ in self._sas[0].get(key, ())}
        for now, ike in self._sas[1].get(key, ()):
            if now.inbound.spi in before:
                yield before[now.inbound.spi], now, ike


Sas = dict[tuple[str, str], list[tuple[ChildInfo, IkeInfo]]]
"""CHILD SAs and their IKE SAs, by connection and child."""


def sas_of(snapshot: Snapshot | None) -> Sas:
    """The CHILD SAs of a snapshot, in its order."""
    found: Sas = {}
    for connection in snapshot.connections if snapshot is not None else ():
        for ike in connection.ike_sas:
            for sa in ike.children:
                found.setdefault((connection.name, sa.name), []).append((sa, ike))
    return found


def somewhere_in(network: IPNetwork) -> list[IPAddress]:
    """Addresses that stand for a network when routes are asked: the first host, one in the middle, the last."""
    size = network.num_addresses
    if size <= 2:
        return [network.network_address]
    return sorted({network[1], network[size // 2], network[size - 2]})
