"""Past-tense facts an engine reports: for logs, metrics and the control API's stream, never needed for correctness.

``connection`` is the configured name, "" where no connection is known yet. ``ike`` is the short name of an IKE SA
for logs (``branch-7#3``).
"""

from dataclasses import dataclass

from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import ExchangeType
from xfrmctl.model.identity import Identity
from xfrmctl.model.path import Confidence, MtuSource, Path, ProbeOutcome
from xfrmctl.model.sa import Encap, Mode, SaId
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import Suite


class Event:
    """Something that has happened."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSent(Event):
    """A message left; ``payloads`` are names in order, as in ``SA, KE, Ni, N(COOKIE)``. ``attempt`` counts from 1.

    ``fragments`` is the number of datagrams that it needed (RFC 7383), ``size`` the octets of all of them.
    """

    connection: str
    ike: str
    exchange: ExchangeType
    response: bool
    message_id: int
    payloads: tuple[str, ...]
    remote: Endpoint
    size: int
    attempt: int = 1
    fragments: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageReceived(Event):
    """A message was accepted (authentic where that can be told)."""

    connection: str
    ike: str
    exchange: ExchangeType
    response: bool
    message_id: int
    payloads: tuple[str, ...]
    remote: Endpoint
    size: int
    fragments: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DatagramDropped(Event):
    """A datagram was thrown away; ``reason`` is a metrics label of a small fixed set."""

    remote: Endpoint
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IkeSaEstablished(Event):
    """IKE_AUTH has succeeded in both directions. ``handshake_s`` is seconds from the first message."""

    connection: str
    ike: str
    initiator: bool
    local: Endpoint
    remote: Endpoint
    local_id: Identity
    remote_id: Identity
    suite: Suite
    nat_local: bool
    nat_remote: bool
    handshake_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IkeSaRekeyed(Event):
    """An IKE SA has a successor with new keys; its CHILD SAs live on. ``old`` and ``new`` are short names.

    ``took_s`` is seconds from our first request to the successor, None where the peer has asked for it.
    """

    connection: str
    old: str
    new: str
    suite: Suite | None
    took_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSaRekeyed(Event):
    """A CHILD SA has a successor; no packet was meant to be lost. SPIs are inbound ones.

    ``took_s`` is seconds from our first request to the installed SAs, None where the peer has asked for it.
    """

    connection: str
    child: str
    ike: str
    old: SaId
    new: SaId
    initiator: bool
    took_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RekeyCollided(Event):
    """Both ends have asked for new keys at once (RFC 7296 2.8.1). ``child`` is "" for the IKE SA itself.

    ``ours`` says whose successor goes on: ours or the peer's.
    """

    connection: str
    child: str
    ike: str
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerMoved(Event):
    """The NAT before a peer has given it another address or port; its CHILD SAs, by ``reqids``, have followed."""

    connection: str
    ike: str
    reqids: tuple[int, ...]
    old: Endpoint
    new: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChanged(Event):
    """IKE and ESP of an IKE SA now run between these two addresses, or in UDP and not any more (RFC 4555)."""

    connection: str
    ike: str
    reqids: tuple[int, ...]
    local: Endpoint
    remote: Endpoint
    encap: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRefused(Event):
    """The peer does not accept a pair of addresses; ``notify`` is its reason (RFC 4555 3.5, 3.9)."""

    connection: str
    ike: str
    local: Endpoint
    remote: Endpoint
    notify: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalAddressChanged(Event):
    """The routes to the peer of a connection with ``local.address: any`` lead out by another address of ours."""

    connection: str
    local: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class IkeSaClosed(Event):
    """An IKE SA is gone, with all its CHILD SAs."""

    connection: str
    ike: str
    reason: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSaInstalled(Event):
    """Both SAs of a CHILD SA are in the kernel. ``reqid`` tells it from those of other peers of the connection."""

    connection: str
    child: str
    reqid: int
    ike: str
    inbound: SaId
    outbound: SaId
    suite: Suite
    mode: Mode
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    encap: Encap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSaRemoved(Event):
    """A CHILD SA is gone."""

    connection: str
    child: str
    reqid: int
    ike: str
    inbound: SaId
    outbound: SaId
    reason: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class NegotiationFailed(Event):
    """A negotiation ended without an SA; ``child`` is "" when the IKE SA itself failed."""

    connection: str
    child: str
    ike: str
    remote: Endpoint
    initiator: bool
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """A connection that should be up will be tried again in ``delay_s`` seconds."""

    connection: str
    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieDemanded(Event):
    """Half-open IKE SAs are many: this source must prove that it can receive."""

    remote: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSilent(Event):
    """A request went unanswered through all its retransmissions."""

    connection: str
    ike: str
    remote: Endpoint
    exchange: ExchangeType
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatagramNotSent(Event):
    """The kernel would not send a datagram (no route, no such address); retransmission covers the loss."""

    remote: Endpoint
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpErrorJudged(Event):
    """An ICMP error about the MTU of a path to a peer has come, and the kernel was allowed to see it, or not.

    ``reason`` is a metrics label of a small fixed set. ``path`` is set where the error is about a packet that we have
    really sent: ``mtu`` (0 where the router does not say) and ``quoted``, the size of that packet, can then be used.
    ``took_s`` is what the verdict has taken.
    """

    accepted: bool
    reason: str
    family: int
    reporter: IPAddress | None
    peer: IPAddress | None
    path: Path | None
    mtu: int
    quoted: int
    took_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTrouble(Event):
    """Something in the kernel is not as it should be and could not be mended; says cause and cure."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelDisturbed(Event):
    """Another program had taken away or shadowed something of ours in the kernel; it has been put back."""

    disturbance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelAlive(Event):
    """The far end of a tunnel answers keepalives, and the device goes up; or it does not any more, and it goes down.

    ``lost`` is how many in a row went unanswered; 0 where the SA has gone.
    """

    device: str
    alive: bool
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecursiveRoute(Event):
    """Somebody's route leads packets for ``peer`` into ``device``, the tunnel to that peer; or that is ``over``.

    ``instead`` is the way that we take, "" where there is none.
    """

    device: str
    peer: IPAddress
    instead: str
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMtuChanged(Event):
    """What a path is believed to carry, bytes of outer packet; ``old`` is None for a path that is new.

    ``reason`` is a metrics label: opened, configuration, route, icmp, probe, black hole, aged. ``carrier`` is what has
    carried the probe that says so, "" where none does: esp, or udp and its port.
    """

    path: Path
    old: int | None
    new: int
    source: MtuSource
    confidence: Confidence
    reason: str
    carrier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv6Squeezed(Event):
    """A child carries IPv6, and less than 1,280 bytes fit (RFC 8200 5), or again more.

    ``lost`` says whether larger packets are lost; ``detail`` says it for people, with cause and cure.
    """

    connection: str
    child: str
    lost: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMtuHinted(Event):
    """A router's error has been judged; ``verdict`` is lowered, or why it lowered nothing (a metrics label)."""

    path: Path
    mtu: int
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PathProbed(Event):
    """A probe of ``size`` bytes has come to its end; ``carrier`` as in :class:`PathMtuChanged`."""

    path: Path
    size: int
    outcome: ProbeOutcome
    carrier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriersDiffer(Event):
    """IKE's packets of ``size`` bytes get through, and ESP's do not: ESP alone is asked now, for ``seconds``."""

    path: Path
    size: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReloaded(Event):
    """The configuration has been read again: it is in force, or it is faulty and the one before stays.

    ``detail`` says what has changed, or every problem.
    """

    ok: bool
    detail: str
