"""What the kernel is told of an SA, and what it tells of it. Plain values: no live objects, no names of sockets."""

from dataclasses import dataclass, field
from enum import Enum

from xfrmctl.model.address import IPAddress
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.plane import ORDINARY, PlaneOptions
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import Suite


class Direction(Enum):
    """Direction of an SA or a policy, as the kernel names them."""

    IN = "in"
    OUT = "out"
    FWD = "fwd"

    __hash__ = object.__hash__  # members are singletons, and Enum's own hash is a Python call


class Mode(Enum):
    """RFC 4301 4.1."""

    TUNNEL = "tunnel"
    TRANSPORT = "transport"

    __hash__ = object.__hash__


class DataPlane(Enum):
    """How packets find their SA: SPD selectors, or routes to an xfrm interface (DESIGN 3.3)."""

    POLICY = "policy"
    INTERFACE = "interface"


class DfPolicy(Enum):
    """What the outer header's DF bit is (RFC 4301 8.1). An SA itself can copy or clear; SET is a matter of rules."""

    COPY = "copy"
    CLEAR = "clear"
    SET = "set"


class Oversize(Enum):
    """What becomes of an inner IPv4 packet with DF that does not fit.

    ICMP: its sender is told the inner MTU. FRAGMENT: its DF is cleared, and it goes in fragments, each encrypted.
    """

    ICMP = "icmp"
    FRAGMENT = "fragment"


@dataclass(frozen=True, slots=True)
class Encap:
    """UDP encapsulation (RFC 3948): the ports of the *outer* UDP header of packets on this SA."""

    source_port: int
    destination_port: int


@dataclass(frozen=True, slots=True, order=True)
class SaId:
    """What identifies an SA in the SAD (RFC 4301 4.1): destination, protocol, SPI."""

    destination: IPAddress
    protocol: ProtocolId
    spi: int

    def __str__(self) -> str:
        return f"{self.protocol.name.lower()} {self.spi:#010x} to {self.destination}"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Limits the kernel watches; 0 means none. Seconds count from installation."""

    soft_seconds: int = 0
    hard_seconds: int = 0
    soft_bytes: int = 0
    hard_bytes: int = 0
    soft_packets: int = 0
    hard_packets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSa:
    """One SA as the kernel is to hold it, keys apart.

    ``spi`` is host order. ``acquire_seq`` is the sequence number of the acquire that asked for the SA, 0
    otherwise: the kernel then forgets its larval state. ``selector`` narrows what a *transport* SA carries
    (pairs source, destination); tunnel SAs leave it to the policies.
    """

    direction: Direction
    source: IPAddress
    destination: IPAddress
    spi: int
    reqid: int
    suite: Suite
    mode: Mode = Mode.TUNNEL
    protocol: ProtocolId = ProtocolId.ESP
    if_id: int = 0
    encap: Encap | None = None
    replay_window: int = 128
    lifetime: Lifetime = Lifetime()
    df: DfPolicy = DfPolicy.COPY
    acquire_seq: int = 0
    selector: tuple[TrafficSelector, TrafficSelector] | None = None
    options: PlaneOptions = ORDINARY

    @property
    def id(self) -> SaId:
        """The triple that names the SA."""
        return SaId(self.destination, self.protocol, self.spi)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaMove:
    """The SA ``id`` is to have other addresses or other ports of UDP encapsulation from now on."""

    id: SaId
    direction: Direction
    source: IPAddress
    destination: IPAddress
    encap: Encap | None

    @property
    def new_id(self) -> SaId:
        """The triple that names the SA when it has moved."""
        return SaId(self.destination, self.id.protocol, self.id.spi)


@dataclass(frozen=True, slots=True)
class SaKeys:
    """Keys of one SA: ``encryption`` carries the salt at its end where the cipher has one (RFC 4106 8.1)."""

    encryption: bytes = field(repr=False)
    integrity: bytes = field(default=b"", repr=False)

    def __repr__(self) -> str:
        return f"SaKeys(encryption=<{len(self.encryption)} bytes>, integrity=<{len(self.integrity)} bytes>)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaCounters:
    """What the kernel has counted on one SA. ``added_at`` and ``used_at`` are wall-clock seconds, 0 if never.

    ``replay_drops`` came a second time; ``late_drops`` were so far behind that the replay window does not tell.

    ``offload`` is what became of the wish for hardware: ``crypto on eth0``, or ``no: `` and the reason; "" without one.
    """

    id: SaId
    reqid: int
    bytes: int = 0
    packets: int = 0
    replay_drops: int = 0
    integrity_failures: int = 0
    added_at: int = 0
    used_at: int = 0
    offload: str = ""
    late_drops: int = 0
