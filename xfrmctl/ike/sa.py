"""An IKE SA and a CHILD SA as data. Behaviour lives in ``transport`` and in ``exchanges``."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from xfrmctl.crypto.kex import PrivateKe
from xfrmctl.crypto.keys import IkeKeys
from xfrmctl.crypto.protect import Protection
from xfrmctl.ike.config import UNLIMITED, ChildConfig, ConnectionConfig
from xfrmctl.ike.mobility import Mobility
from xfrmctl.ike.roundtrip import RoundTrip
from xfrmctl.ike.states import TRANSITIONS, ChildState, IkeState
from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import ExchangeType, HashAlgorithm, ProtocolId
from xfrmctl.model.identity import Identity
from xfrmctl.model.sa import DfPolicy, Encap, KernelSa, Lifetime, Mode, SaId, SaKeys
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import Suite
from xfrmctl.wire.header import Header
from xfrmctl.wire.payloads import Payload

if TYPE_CHECKING:
    from xfrmctl.ike.core import Core


class Request(Protocol):
    """A conversation that we began: what it says, and what its answer means."""

    exchange: ExchangeType

    def build(self, core: "Core", sa: "IkeSa") -> "list[Payload] | None":
        """The payloads of the request; None when there is nothing left to say."""

    def on_response(self, core: "Core", sa: "IkeSa", payloads: "tuple[Payload, ...]") -> None:
        """The peer's authentic answer has come."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A message of ours as it went out: one datagram, or its fragments (RFC 7383).

    With a ``header`` it is large enough to be cut smaller: ``first`` and ``plaintext`` are what it said.
    """

    datagrams: tuple[bytes, ...] = field(repr=False)
    header: Header | None = None
    first: int = 0
    plaintext: bytes = field(default=b"", repr=False)

    @property
    def size(self) -> int:
        """Octets of all datagrams."""
        return sum(map(len, self.datagrams))


@dataclass(slots=True)
class Outstanding:
    """Our one request that is under way (window of 1, RFC 7296 2.3), kept byte for byte for retransmission.

    ``before`` of its ``attempts`` were made with larger fragments.
    ``sent_at`` is when it went out last. With ``probe`` it is the whole copy of one of the path's MTU. Each
    copy ``before`` has ``patience_s`` seconds to be answered, and ``shrink`` makes the next one.
    """

    exchange: ExchangeType
    message_id: int
    message: Sealed
    payload_names: tuple[str, ...]
    request: Request | None
    attempts: int = 1
    before: int = 0
    sent_at: float = 0.0
    probe: int | None = None
    patience_s: float = 0.0
    shrink: "Callable[[Core, IkeSa, Outstanding], Sealed] | None" = None


@dataclass(slots=True)
class ChildSa:
    """One CHILD SA: a pair of kernel SAs. Its keys are not kept.

    A responder to a rekey must not send on the new SA before the initiator can receive: ``pending_outbound`` waits
    until the old one is deleted. ``successor`` is the CHILD SA that has taken this one's place, ``heir`` one that will
    when the kernel has taken it. ``lifetime`` has the limits that the kernel was given: the soft ones differ a little
    each time. ``doomed`` is why it is to go as soon as the kernel has it.
    """

    config: ChildConfig
    reqid: int
    suite: Suite
    inbound: SaId
    outbound: SaId
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    encap: Encap | None
    initiator: bool
    created_at: float
    mode: Mode = Mode.TUNNEL
    df: DfPolicy = DfPolicy.COPY
    lifetime: Lifetime = UNLIMITED
    state: ChildState = ChildState.INSTALLING
    pending_outbound: tuple[KernelSa, SaKeys] | None = field(default=None, repr=False)
    successor: "ChildSa | None" = field(default=None, repr=False)
    heir: "ChildSa | None" = field(default=None, repr=False)
    doomed: Failure | None = None

    @property
    def installed(self) -> bool:
        """Whether its inbound SA is in the kernel."""
        return self.state != ChildState.INSTALLING

    @property
    def replaced(self) -> bool:
        """Whether another has taken its place, or is about to."""
        return self.successor is not None or self.heir is not None


@dataclass(slots=True)
class Rival:
    """The peer's side of a simultaneous IKE SA rekey: its new IKE SA, and the lower of its two nonces."""

    sa: "IkeSa"
    lowest_nonce: bytes


class Small(Enum):
    """How a request that is too large for the path is sent again: see ``exchanges.probe``."""

    PACKET_FRAGMENTS = "the same bytes, and the path may fragment the packet"
    IKE_FRAGMENTS = "in fragments of IKE's own (RFC 7383 2.5.2)"
    SHORTER = "a shorter message with the same message id"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Probing:
    """A probe of the path's MTU that waits for its turn (``message_id`` is None), its answer, or further ones.

    ``forms`` are those of its small copies. ``copies`` is how often it had been sent when the first answer came, 0
    before, and ``answers`` how many have come since. ``took_s`` is how long the first took from the last copy on,
    ``patience_s`` how long the first copy goes alone.
    """

    token: int
    size: int
    local: Endpoint
    remote: Endpoint
    message_id: int | None = None
    too_big: bool = False
    copies: int = 0
    forms: "tuple[Small, ...]" = ()
    answers: int = 0
    took_s: float = 0.0
    patience_s: float = 0.0


@dataclass(slots=True)
class IkeSa:
    """One IKE SA.

    SPIs are 8 bytes; ``spi_r`` is zero until the responder has chosen one. ``init_source`` is where the peer's
    IKE_SA_INIT came from, while it counts as half-open. ``candidates`` are connections that the peer's addresses
    allow, until its identity decides. ``answering`` is set while a request waits for the kernel. ``retired`` are
    inbound SAs of replaced CHILD SAs that stay a moment for packets on their way; ``closing`` are the peer's SPIs of
    CHILD SAs whose delete is under way; ``deleted_early`` are SPIs that the peer has deleted before we have heard of
    them, while we wait for an answer that may name them; ``superseded`` is set when a new IKE SA is being made from
    scratch in this one's place (reauthentication, 2.8.3), ``authenticated_at`` is when the peer last proved its
    identity; ``rival`` is the IKE SA that the peer made of this one while we asked for one. ``noise`` stands for our
    address in NAT detection where encapsulation is forced, the same in every repetition of IKE_SA_INIT.
    ``fragment_size`` is the largest IP packet that we send, 0 where the two ends have not agreed on fragmentation.
    ``last_response`` has been sent ``repeats`` times more; ``asked_from`` is where the peer's last request came in and
    came from. ``mobility`` is what MOBIKE knows, None where the two ends have not agreed on it. With ``qcd_token`` the
    peer can prove that it has lost the IKE SA. ``offered_spi`` is our SPI of the IKE SA that we have asked for in
    place of this one. ``rtt`` is how long answers take; ``probing`` is the probe of the path's MTU, ``probed`` is set
    when the peer has answered one in any size, ``small`` is the form of a small copy that got through, ``is_ours`` is
    set when the peer has turned out to be a gateway like us, and ``own_mtu`` is what we tell it that our direction
    carries, ``own_inside`` the address of ours inside of the tunnel.
    """

    serial: int
    initiator: bool
    spi_i: bytes
    local: Endpoint
    remote: Endpoint
    created_at: float
    state: IkeState
    spi_r: bytes = bytes(8)
    init_source: Endpoint | None = None
    config: ConnectionConfig | None = None
    candidates: tuple[ConnectionConfig, ...] = ()
    suite: Suite | None = None
    keys: IkeKeys | None = field(default=None, repr=False)
    protect_in: Protection | None = field(default=None, repr=False)
    protect_out: Protection | None = field(default=None, repr=False)
    ke: PrivateKe | None = field(default=None, repr=False)
    nonce_i: bytes = b""
    nonce_r: bytes = b""
    init_request: bytes = field(default=b"", repr=False)
    init_response: bytes = field(default=b"", repr=False)
    cookie: bytes = b""
    noise: bytes = b""
    init_retries: int = 0
    local_id: Identity | None = None
    remote_id: Identity | None = None
    peer_hashes: frozenset[HashAlgorithm] | None = None
    peer_authorities: tuple[bytes, ...] = field(default=(), repr=False)
    peer_takes_keys: bool = False
    local_proof: str = ""
    remote_proof: str = ""
    nat_local: bool = False
    nat_remote: bool = False
    next_id: int = 0
    expected_id: int = 0
    answering: bool = False
    last_response: Sealed | None = field(default=None, repr=False)
    repeats: int = 0
    asked_from: tuple[Endpoint, Endpoint] | None = None
    mobility: Mobility | None = None
    qcd_token: bytes = field(default=b"", repr=False)
    offered_spi: bytes = b""
    fragment_size: int = 0
    outstanding: Outstanding | None = None
    queue: deque[Request] = field(default_factory=deque)
    children: list[ChildSa] = field(default_factory=list)
    retired: list[tuple[float, SaId]] = field(default_factory=list)
    rekey_later: list[tuple[float, ChildSa]] = field(default_factory=list)
    closing: set[int] = field(default_factory=set)
    deleted_early: set[bytes] = field(default_factory=set)
    rival: "Rival | None" = None
    established_at: float | None = None
    authenticated_at: float = 0.0
    superseded: bool = False
    last_seen: float = 0.0
    rtt: RoundTrip = field(default_factory=RoundTrip)
    probing: Probing | None = None
    probed: bool = False
    own_mtu: int = 0
    own_inside: IPAddress | None = None
    small: "Small | None" = None
    is_ours: bool = False

    @property
    def name(self) -> str:
        """Short name for logs: ``branch-7#3``; half-open SAs of unknown peers are ``?#3``."""
        return f"{self.connection or '?'}#{self.serial}"

    @property
    def connection(self) -> str:
        """Name of the configured connection, "" while unknown."""
        return self.config.name if self.config is not None else ""

    @property
    def our_spi(self) -> bytes:
        """The SPI under which peers reach this SA."""
        return self.spi_i if self.initiator else self.spi_r

    @property
    def reqids(self) -> tuple[int, ...]:
        """By which the kernel knows its children."""
        return tuple(child.reqid for child in self.children)

    @property
    def encap(self) -> Encap | None:
        """UDP encapsulation of CHILD SAs: once a NAT was found and IKE has floated (RFC 7296 2.23)."""
        if not (self.nat_local or self.nat_remote):
            return None
        return Encap(self.local.port, self.remote.port)

    def move(self, state: IkeState) -> None:
        """Change state; a transition that the table does not know is our bug."""
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.name}: no transition {self.state.value} -> {state.value}")
        self.state = state

    def child_by_outbound(self, protocol: ProtocolId, spi: int) -> ChildSa | None:
        """The CHILD SA whose packets to the peer carry this SPI."""
        for child in self.children:
            if child.outbound.spi == spi and child.outbound.protocol == protocol:
                return child
        return None
