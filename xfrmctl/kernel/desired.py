"""What should stand in the kernel besides SAs, as plain values (DESIGN 3.2).

A state is compared with another by :mod:`xfrmctl.kernel.plan`. Names are the kernel's. Sizes are bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from xfrmctl.kernel.ownership import tunnel_group
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.flow import ANY, Port
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.plane import Mark
from xfrmctl.model.sa import Direction, Mode
from xfrmctl.model.tunnel import IPInterface


class Action(Enum):
    """What a policy does with a packet (``XFRM_POLICY_ALLOW``, ``XFRM_POLICY_BLOCK``)."""

    ALLOW = "allow"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Template:
    """The SA a policy demands (``struct xfrm_user_tmpl``). A policy with a template and no SA is a trap."""

    source: IPAddress
    destination: IPAddress
    reqid: int
    mode: Mode = Mode.TUNNEL
    protocol: ProtocolId = ProtocolId.ESP


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """What names a policy in the SPD: direction, selector, mark and if_id (``xfrm_policy_insert_list``).

    The priority is *not* part of it: a policy with another priority replaces this one. ``protocol`` 0 means any.
    Where the protocol is ICMP the source port is the type and the destination port the code.
    """

    direction: Direction
    source: IPNetwork
    destination: IPNetwork
    protocol: int = 0
    source_port: Port = ANY
    destination_port: Port = ANY
    if_id: int = 0
    mark: Mark | None = None

    def __str__(self) -> str:
        text = f"{self.direction.value} {self.source}{self.source_port}"
        text += f" -> {self.destination}{self.destination_port}"
        if self.protocol:
            text += f" protocol {self.protocol}"
        text += f" mark {self.mark}" if self.mark is not None else ""
        return text + (f" if_id {self.if_id:#x}" if self.if_id else "")

    def overlaps(self, other: "PolicyKey") -> bool:
        """Whether some packet may match both, looking at direction, if_id, mark and addresses only."""
        return (
            self.direction is other.direction
            and self.if_id == other.if_id
            and not (self.mark is not None and other.mark is not None and self.mark.excludes(other.mark))
            and overlap(self.source, other.source)
            and overlap(self.destination, other.destination)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """One entry of the SPD. The lowest ``priority`` wins. ALLOW without a template lets packets pass in clear.

    ``errors``: ICMP errors about packets of the other direction go its way, too, where no policy selects them by their
    own header (``XFRM_POLICY_ICMP``, RFC 4301 6.2). Only a policy of an older release lacks it.
    """

    key: PolicyKey
    action: Action
    priority: int
    template: Template | None = None
    errors: bool = True

    def __str__(self) -> str:
        if self.template is None:
            what = "block" if self.action is Action.BLOCK else "bypass"
        else:
            t = self.template
            what = f"{t.protocol.name.lower()} {t.mode.value} {t.source} -> {t.destination} reqid {t.reqid:#x}"
        return f"{self.key} : {what}, priority {self.priority}" + ("" if self.errors else ", without ICMP errors")


@dataclass(frozen=True, slots=True)
class XfrmInterface:
    """An xfrm interface. A device that is down is reported with ``mtu`` 0: setting the MTU sets it up, too."""

    name: str
    if_id: int
    mtu: int

    def __str__(self) -> str:
        return f"{self.name} if_id {self.if_id:#x} mtu {self.mtu or 'unset'}"

    @property
    def identity(self) -> tuple[object, ...]:
        """What no two devices can have in common."""
        return ("xfrm", self.if_id)

    @property
    def mark(self) -> int:
        """The number by which the device is ours."""
        return self.if_id

    def becomes(self, new: "Interface") -> bool:
        """Whether the device can be changed into ``new``: an if_id cannot be changed on all kernels."""
        return isinstance(new, XfrmInterface) and new.if_id == self.if_id


class TunnelKind(Enum):
    """Kinds of tunnel devices, as the kernel names them: GRE and IP in IP, over IPv4 and over IPv6."""

    GRE = "gre"
    GRE6 = "ip6gre"
    IPIP = "ipip"
    IPIP6 = "ip6tnl"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class TunnelInterface:
    """A tunnel device of ours between ``local`` and ``remote``.

    ``copy_tos``: the outer header takes the inner one's DSCP. ``clamped``: TCP through it is clamped to its MTU. One
    that is not ``up`` has no addresses. Of the addresses of a device only ours are here. ``narrow``: so many
    bytes fit, less than the 1280 of its ``mtu`` that it needs for IPv6; 0 where these do. The outer IPv4 header has
    then only the DF of an IPv4 packet inside, otherwise always DF.
    """

    name: str
    kind: TunnelKind
    local: IPAddress
    remote: IPAddress
    mtu: int
    key: int | None = None
    ttl: int = 64
    copy_tos: bool = True
    clamped: bool = True
    up: bool = True
    narrow: int = 0
    addresses: frozenset[IPInterface] = frozenset()

    def __str__(self) -> str:
        text = f"{self.name} {self.kind.value} {self.local} -> {self.remote} mtu {self.mtu} ttl {self.ttl}"
        text += f" of which {self.narrow} fit" if self.narrow else ""
        text += f" key {self.key}" if self.key is not None else ""
        text += "" if self.copy_tos else " tos 0"
        text += "" if self.clamped else " not clamped"
        text += "".join(f" {address}" for address in sorted(self.addresses, key=str))
        return text + ("" if self.up else " down")

    @property
    def identity(self) -> tuple[object, ...]:
        """What no two devices can have in common."""
        return (self.kind, self.local, self.remote, self.key)

    @property
    def mark(self) -> int:
        """The number by which the device is ours: its group."""
        return tunnel_group(clamped=self.clamped, narrow=self.narrow)

    def becomes(self, new: "Interface") -> bool:
        """Whether the device can be changed into ``new``: all but its kind can."""
        return isinstance(new, TunnelInterface) and new.kind is self.kind


Interface = XfrmInterface | TunnelInterface


@dataclass(frozen=True, slots=True)
class Route:
    """A route of ours: through ``device``, or a blackhole where it is None.

    A route to an xfrm interface dies with the interface; the blackhole beside it, of a worse (higher) ``metric``,
    keeps the packets from leaving in clear. ``mtu`` is a locked route metric: the kernel neither lowers nor
    renews it by itself (KERNEL-FACTS 8b), and children that share a device have each their own size. ``source`` is
    whom the gateway's own packets come from. A route to a peer goes the way that the packets go without it, through
    ``via`` and from ``source`` where that way says so, in the table of peers; its ``mtu`` is locked only with ``lock``,
    for until somebody judges ICMP errors the kernel's own belief in them is better than none.
    """

    destination: IPNetwork
    device: str | None
    metric: int
    mtu: int | None = None
    table: int = 254
    via: IPAddress | None = None
    source: IPAddress | None = None
    lock: bool = False

    @property
    def key(self) -> tuple[int, IPNetwork, int]:
        """What names a route in the kernel: table, destination, metric."""
        return (self.table, self.destination, self.metric)

    def __str__(self) -> str:
        text = f"{self.destination} " + (f"via {self.via} " if self.via else "")
        text += f"dev {self.device}" if self.device else "blackhole"
        text += f" metric {self.metric}"
        if self.mtu is not None:
            text += f" mtu {'lock ' if self.lock else ''}{self.mtu}"
        return text + (f" table {self.table}" if self.table != 254 else "")


@dataclass(frozen=True, slots=True)
class Clamp:
    """TCP between two networks, in both directions, opens with an MSS of at most ``mss`` bytes."""

    local: IPNetwork
    remote: IPNetwork
    mss: int

    def __str__(self) -> str:
        return f"{self.local} <-> {self.remote} mss {self.mss}"


@dataclass(frozen=True, slots=True, order=True)
class ClampRule:
    """The one TCPMSS rule of a family (4 or 6) and an MSS; the ipset of the same name says for whom."""

    family: int
    mss: int

    def __str__(self) -> str:
        return f"IPv{self.family} mss {self.mss}"


@dataclass(frozen=True, slots=True)
class IcmpGuard:
    """ICMP errors that name these peers: ``judged`` before the kernel learns from them, or dropped (``ignored``).

    ``known`` are peers with the SPIs of what we send them: where the firewall can look them up, errors that quote one
    are not crowded out by a flood of others.
    """

    judged: frozenset[IPAddress] = frozenset()
    ignored: frozenset[IPAddress] = frozenset()
    known: frozenset[tuple[IPAddress, int]] = frozenset()

    def __str__(self) -> str:
        return f"{len(self.judged)} peers judged, {len(self.ignored)} ignored"


@dataclass(frozen=True, slots=True, order=True)
class ClearDf:
    """Inner IPv4 packets larger than ``above`` bytes that a route leads into ``device`` lose their DF bit."""

    device: str
    above: int

    def __str__(self) -> str:
        return f"cleared inside {self.device} above {self.above}"


@dataclass(frozen=True, slots=True, order=True)
class SetDf:
    """All ESP and AH of ours to this peer has DF."""

    peer: IPAddress

    def __str__(self) -> str:
        return f"set outside to {self.peer}"


DfRule = ClearDf | SetDf


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that should stand, or (read from the kernel) that stands and is ours."""

    policies: dict[PolicyKey, Policy] = field(default_factory=dict)
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    routes: frozenset[Route] = frozenset()
    clamps: frozenset[Clamp] = frozenset()
    icmp: IcmpGuard | None = IcmpGuard()
    """None, read from the kernel, is a guard that does not stand as anybody wants it."""
    df: frozenset[DfRule] | None = frozenset()
    """None, as with the guard."""

    @property
    def clamp_rules(self) -> frozenset[ClampRule]:
        """The rules that the clamps need."""
        kinds = {(c.local.version, c.mss) for c in self.clamps}  # few, of thousands: a scrape asks for them, too
        return frozenset(ClampRule(family, mss) for family, mss in kinds)

    @property
    def clamped_groups(self) -> frozenset[int]:
        """The groups of all tunnel devices through which TCP is to be clamped."""
        return frozenset(i.mark for i in self.interfaces.values() if isinstance(i, TunnelInterface) and i.clamped)

    def render(self) -> str:
        """The state as text, one object a line, sorted."""
        lines = [f"policy {p}" for p in self.policies.values()]
        lines += [f"interface {i}" for i in self.interfaces.values()]
        lines += [f"route {r}" for r in self.routes]
        lines += [f"clamp {c}" for c in self.clamps]
        lines += [f"df {rule}" for rule in self.df or ()]
        lines += [f"icmp guard: {self.icmp}"] if self.icmp is not None and self.icmp != IcmpGuard() else []
        return "\n".join(sorted(lines))


@dataclass(frozen=True, slots=True)
class Element:
    """One member of an ipset: SYNs from ``source`` to ``destination``."""

    rule: ClampRule
    source: IPNetwork
    destination: IPNetwork

    def __str__(self) -> str:
        return f"{self.source},{self.destination}"


@dataclass(frozen=True, slots=True)
class Actual:
    """What the kernel holds of ours.

    Clamps are not in ``state`` but in ``members``, as the ipsets have them: a clamp in order shows up twice, once in
    each orientation, with /0 cut in two. ``clamp_rules`` are the rules that stand with their jumps.
    """

    state: Desired = field(default_factory=Desired)
    members: frozenset[Element] = frozenset()
    clamp_rules: frozenset[ClampRule] = frozenset()


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two networks share an address; networks of different families do not."""
    return one.version == other.version and one.overlaps(other)
