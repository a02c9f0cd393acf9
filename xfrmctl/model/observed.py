"""What stands in the kernel, whoever put it there: for those who explain, not for those who change."""

from dataclasses import dataclass

from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.flow import ANY, Port
from xfrmctl.model.plane import Mark
from xfrmctl.model.sa import Direction, Encap
from xfrmctl.model.suite import Suite

_NAMES = {50: "esp", 51: "ah", 108: "comp"}
UNICAST, LOCAL, BLACKHOLE, UNREACHABLE, PROHIBIT, NOWHERE = (
    "unicast", "local", "blackhole", "unreachable", "prohibit", "nowhere",
)  # fmt: skip
"""Kinds of routes (rtnetlink(7)); NOWHERE is no route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLookup:
    """The answer to one RTM_GETROUTE. ``asked`` is the question as ``ip route get`` spells it, ``said`` the answer.

    ``errno`` is 0 where there is a route; EXDEV is the kernel's word for what rp_filter refuses. ``mtu`` is what the
    route, or an exception below it, says; None where the device decides.
    """

    asked: str
    said: str
    kind: str
    errno: int = 0
    device: str = ""
    via: IPAddress | None = None
    source: IPAddress | None = None
    mtu: int | None = None
    table: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTemplate:
    """One transform that a policy asks for (``struct xfrm_user_tmpl``). ``optional``: level use."""

    source: IPAddress
    destination: IPAddress
    protocol: int
    mode: str
    reqid: int
    spi: int = 0
    optional: bool = False

    def __str__(self) -> str:
        name = _NAMES.get(self.protocol, str(self.protocol))
        return f"tmpl src {self.source} dst {self.destination} proto {name} reqid {self.reqid} mode {self.mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPolicy:
    """A policy with a selector. ``place`` counts by age: among equal priorities the oldest decides."""

    direction: Direction
    source: IPNetwork
    destination: IPNetwork
    protocol: int = 0
    source_port: Port = ANY
    destination_port: Port = ANY
    priority: int = 0
    index: int = 0
    block: bool = False
    if_id: int = 0
    mark: Mark | None = None
    device: str = ""
    templates: tuple[ObservedTemplate, ...] = ()
    ours: bool = False
    place: int = 0

    def __str__(self) -> str:
        words = [f"src {self.source} dst {self.destination}"]
        words += [f"proto {self.protocol}"] if self.protocol else []
        words += [f"sport {str(self.source_port)[1:]}"] if self.source_port.mask else []
        words += [f"dport {str(self.destination_port)[1:]}"] if self.destination_port.mask else []
        words.append(f"dir {self.direction.value} priority {self.priority}")
        words += ["action block"] if self.block else []
        words += [f"mark {self.mark}"] if self.mark is not None else []
        words += [f"if_id {self.if_id:#x}"] if self.if_id else []
        return " ".join([*words, *map(str, self.templates)])


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedSa:
    """An SA with an SPI. ``suite`` is None for algorithms whose sizes are not in our tables; ``name`` spells them.

    ``dont_fragment``: the outer header copies the inner DF bit (no NOPMTUDISC). ``added_at`` is wall-clock seconds.
    ``sent`` is the last sequence number of an outbound one, of 64 bits with ``esn``.
    """

    source: IPAddress
    destination: IPAddress
    protocol: int
    spi: int
    reqid: int
    mode: str
    name: str = ""
    suite: Suite | None = None
    encap: Encap | None = None
    if_id: int = 0
    mark: Mark | None = None
    dont_fragment: bool = True
    packets: int = 0
    bytes: int = 0
    added_at: int = 0
    ours: bool = False
    sent: int = 0
    esn: bool = False

    def __str__(self) -> str:
        name = _NAMES.get(self.protocol, str(self.protocol))
        words = [f"src {self.source} dst {self.destination} proto {name} spi {self.spi:#010x} reqid {self.reqid}"]
        words += [f"mode {self.mode} {self.name}"]
        words += [f"encap espinudp {self.encap.source_port} {self.encap.destination_port}"] if self.encap else []
        words += [f"if_id {self.if_id:#x}"] if self.if_id else []
        words += [f"mark {self.mark}"] if self.mark is not None else []
        return " ".join([*words, f"({self.packets} packets, {self.bytes} bytes)"])


@dataclass(frozen=True, slots=True)
class ObservedTunnel:
    """What a tunnel device puts around a packet: addresses, IANA's protocol, bytes behind the outer IP header."""

    local: IPAddress
    remote: IPAddress
    protocol: int
    header: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedDevice:
    """A network device; ``mtu`` in bytes, ``if_id`` of an xfrm interface, ``kind`` of rtnetlink ("" for hardware).

    ``tunnel`` is of a GRE or IPIP device with two ends.
    """

    name: str
    index: int
    mtu: int
    up: bool
    kind: str = ""
    if_id: int = 0
    addresses: tuple[IPAddress, ...] = ()
    tunnel: ObservedTunnel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What becomes of packets that no policy is for (``ip xfrm policy getdefault``): True blocks them."""

    block_in: bool = False
    block_forward: bool = False
    block_out: bool = False
