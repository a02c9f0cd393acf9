"""Configuration and established children -> what should stand in the kernel besides SAs. Pure.

Never in clear (DESIGN 3.11). Every selector pair of a child that fails closed has a policy at all times, and it is
*one* entry of the SPD whose content changes by an atomic update:

=============== ====================================================================================
trap            a template without an SA: the kernel drops and asks for an SA (nobody answers with start: none)
SA              the same template, now with an SA
block           an explicit block: where no template can be (any peer), where the peer has narrowed our
                selectors away, and what stays behind when the daemon stops
=============== ====================================================================================

Only what is selected is covered: where selectors name a protocol or ports, all else between the same addresses is none
of the child's, and goes as the host's routes and firewall let it (on the interface plane it ends at the device).

In transport mode the selectors are the gateways' own addresses. IKE passes by the policies of its sockets; over IPv6,
where the peer may be a neighbour, neighbour discovery (ICMPv6 135, 136) must pass as well, or nobody could send the
first packet: it is excepted by policies of higher priority. Nothing is forwarded, so there is no forward policy.

On the interface data plane routes decide, so the same promise is kept by a blackhole route of a worse metric beside
each route through the interface; it outlives interface and daemon. A selector of 0.0.0.0/0 or ::/0 gets no routes:
which traffic goes into that tunnel is the operator's routing.

The MSS is clamped from the first moment on, with the smallest value that any of the child's proposals would need,
so that no SYN slips through between the SA and its clamp.

A connection that serves many peers (``remote.address: any``) has one part for what is always there, :func:`of_child`
(blocks, interface, routes), and one for each CHILD SA of each peer, :func:`of_peer`: policies for what this peer may
have, with a reqid of its own, before the blocks. They share the interface: behind it the policies tell the peers apart,
and before it the routes, each with the MTU of its peer's tunnel.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from xfrmctl.daemon import inside, tunnels
from xfrmctl.daemon.fragmentation import device_mtu, df_rules
from xfrmctl.daemon.inside import NEIGHBOUR_DISCOVERY
from xfrmctl.daemon.tunnels import ROUTE_METRIC, Ends
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, Start
from xfrmctl.ike.negotiate import covered
from xfrmctl.kernel.desired import Action, Clamp, Desired, Policy, PolicyKey, Route, Template, XfrmInterface
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.kernel.ports import Underlay
from xfrmctl.model.address import IPAddress
from xfrmctl.model.flow import ANY, flows, port
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.path import Path
from xfrmctl.model.plane import ORDINARY, PlaneOptions
from xfrmctl.model.sa import DataPlane, DfPolicy, Direction, Mode
from xfrmctl.model.selector import ICMPV6, TrafficSelector
from xfrmctl.model.sizes import IPV4_FLOOR
from xfrmctl.model.spd import Precedence, SpdAction, SpdEntry, vagueness
from xfrmctl.model.suite import Suite
from xfrmctl.pmtu.clamp import mss
from xfrmctl.pmtu.overhead import inner_mtu

FIRST_PRIORITY = 1_000
CHILD_PRIORITY = 200_000
PASSAGE_PRIORITY = 250_000
LAST_PRIORITY = 300_000
"""Bands of the SPD: the lower value wins. Within a band the more specific selector wins, as what a peer has left of a
child's selectors before the block for all of them."""

BANDS = {
    Precedence.FIRST: FIRST_PRIORITY,
    Precedence.SPECIFIC: CHILD_PRIORITY,
    Precedence.LAST: LAST_PRIORITY,
}

TCP = 6

MIN_MSS = 88
"""Below this no stack accepts an MSS anyway (Linux: TCP_MIN_MSS)."""


@dataclass(frozen=True, slots=True)
class Established:
    """What negotiation has made of a child; ``encap`` says whether ESP goes in UDP, ``port`` to which of the peer.

    ``df`` is what the outbound SA does with it.
    """

    reqid: int
    suite: Suite
    local: IPAddress
    remote: IPAddress
    encap: bool
    mode: Mode
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    port: int = 0
    df: DfPolicy = DfPolicy.COPY

    @property
    def path(self) -> Path:
        """The way of its packets."""
        return Path(self.local, self.remote, self.port if self.encap else 0)


@dataclass(frozen=True, slots=True)
class Sizes:
    """MTU and MSS of a child.

    ``source`` says where outer_mtu is from: configured, link, probe, icmp, or default.
    """

    outer_mtu: int
    source: str
    inner_mtu: int
    mss: dict[int, int]


def sizes(
    connection: ConnectionConfig,
    child: ChildConfig,
    established: Established | None,
    outer: int | None,
    source: str = "link",
) -> Sizes:
    """MTU and MSS of a child. ``outer`` is what the path to the peer carries, by ``source``; None without a route."""
    outer_mtu, told_by = (
        (child.mtu, "configured")
        if child.mtu
        else (outer, source)
        if outer
        else (1500, "default: no route to the peer")
    )
    if established is not None:
        version = established.remote.version
        options = [(established.suite, established.encap, established.mode)]
    else:
        version = connection.remote.version if connection.remote is not None else 6
        mode = Mode.TUNNEL if child.tunnel_will_do else child.mode
        options = [(s, s.protocol == ProtocolId.ESP, mode) for proposal in child.esp for s in proposal.suites()]
    inner = min(inner_mtu(outer_mtu, suite, version, encap, mode, child.tunnel) for suite, encap, mode in options)
    inside = child.tunnel.type.families if child.tunnel is not None else {ts.version for ts in child.local_ts}
    found: dict[int, int] = {}
    if child.mss != "off":
        for family in sorted(inside):
            automatic = max(MIN_MSS, mss(inner, family))
            found[family] = automatic if child.mss == "auto" else child.mss
    return Sizes(outer_mtu, told_by, inner, found)


def has_route_to_peer(child: ChildConfig, remote: IPAddress) -> bool:
    """Whether a child wants :func:`to_peer`.

    Not where routes take traffic for the peer's own address into the tunnel: the route would take it past it, in clear.
    """
    return child.dataplane != DataPlane.INTERFACE or not any(
        remote in network for ts in child.remote_ts for network in ts.networks() if network.prefixlen
    )


def to_peer(remote: IPAddress, way: Underlay, mtu: int, *, lock: bool = False) -> Route:
    """The route to a peer that holds the kernel to what the path carries, for frag-needed and for outer fragments.

    It goes where packets to the peer go anyway, in a table of its own. ``lock`` is for an ``mtu`` that is not the
    path's (:mod:`xfrmctl.daemon.narrow`).
    """
    network = ip_network(remote)
    return Route(network, way.device, ROUTE_METRIC, mtu, table=PEER_TABLE, via=way.via, source=way.source, lock=lock)


def of_child(
    connection: ConnectionConfig,
    child: ChildConfig,
    established: Established | None,
    child_sizes: Sizes,
    *,
    stopping: bool = False,
    up: bool = True,
) -> Desired:
    """The part of one configured child; of its peers, where it has many, nothing is in it.

    ``up``: whether its tunnel device is, where it has one.
    """
    if child.dataplane == DataPlane.INTERFACE:
        return _interface_plane(connection, child, established, child_sizes, stopping=stopping)
    policies = _policies(connection, child, established, stopping=stopping)
    plain = Desired(policies, {}, frozenset(), frozenset() if stopping else _clamps(connection, child, child_sizes))
    ends = (established.local, established.remote) if established else (connection.local, connection.remote)
    return _with_tunnel(plain, child, ends, child_sizes.inner_mtu, up=up, stopping=stopping)


def _with_tunnel(part: Desired, child: ChildConfig, ends: Ends, mtu: int, *, up: bool, stopping: bool) -> Desired:
    """The part with what belongs to the child's tunnel device."""
    extra = tunnels.part(child, ends, max(IPV4_FLOOR, mtu), up=up and not stopping, stopping=stopping)
    if extra is None:
        return part
    policies = part.policies | {key: _block(key) for key in extra.errors}
    return replace(part, policies=policies, interfaces=extra.interfaces, routes=extra.routes)


def of_peer(child: ChildConfig, established: Established, child_sizes: Sizes, *, stopping: bool = False) -> Desired:
    """The part of one CHILD SA of one of many peers. Its clamps stand before its policies do."""
    if stopping:
        return Desired()
    keys = _child_keys(child, established.local_ts, established.remote_ts)
    ends = established.local, established.remote
    template = Template(*ends, established.reqid, established.mode, child.protocol)
    policies = {key: _protect(key, template) for key in keys}
    clamps = _clamps_of(established.local_ts, established.remote_ts, child_sizes)
    df = df_rules(child, established.remote, child_sizes.inner_mtu)
    if child.interface is None:
        return Desired(policies, clamps=clamps, df=df)
    interface = _interface(child, child.interface, child_sizes)
    routes = inside.leading(interface, established.remote_ts, ROUTE_METRIC, child_sizes.inner_mtu)
    return Desired(policies, {interface.name: interface}, routes, clamps, df=df)


def of_gateway(entries: Iterable[SpdEntry]) -> Desired:
    """What passes in clear and what does not pass at all, both ways. It outlives the daemon, as the blocks do.

    What drops all of IPv6 spares neighbour discovery: without it not even ESP would find its way.
    """
    policies: dict[PolicyKey, Policy] = {}
    for entry in entries:
        if entry.action is SpdAction.BYPASS:
            policies |= passage(entry.local_ts, entry.remote_ts, max(PASSAGE_PRIORITY, BANDS[entry.precedence]))
        action = Action.BLOCK if entry.action is SpdAction.DISCARD else Action.ALLOW
        keys = list(_keys(entry.local_ts, entry.remote_ts))
        policies |= {key: Policy(key, action, _priority(BANDS[entry.precedence], key)) for key in keys}
        if action is Action.BLOCK:
            policies |= {key: Policy(key, Action.ALLOW, _priority(FIRST_PRIORITY, key)) for key in _discovery(keys)}
    return Desired(policies)


def passage(
    local_ts: Sequence[TrafficSelector], remote_ts: Sequence[TrafficSelector], band: int = PASSAGE_PRIORITY
) -> dict[PolicyKey, Policy]:
    """What lets packets through the gateway's other half: on their way to the tunnel, and out of it.

    A forwarded packet is looked up twice: as coming in (fwd) and as going out (out). Selectors of a child, or of a
    bypass, speak of one of the two for each direction; for the other one nothing stands, and packets pass. Where a
    discard with overlapping sides stands behind them all, it would match there, so these come before it. They come
    after every child: no packet for a tunnel passes by them.
    """
    keys = _keys(remote_ts, local_ts, (Direction.OUT, Direction.FWD))
    return {key: Policy(key, Action.ALLOW, _priority(band, key)) for key in keys}


def _policies(
    connection: ConnectionConfig, child: ChildConfig, established: Established | None, *, stopping: bool
) -> dict[PolicyKey, Policy]:
    keys = list(_child_keys(child, child.local_ts, child.remote_ts))
    aside = _guards(child)
    aside |= {key: Policy(key, Action.ALLOW, _priority(FIRST_PRIORITY, key)) for key in inside.errors_to_our_side(keys)}
    aside |= {k: Policy(k, Action.ALLOW, _priority(FIRST_PRIORITY, k)) for k in _neighbour_discovery(child, keys)}
    if stopping or (established is None and not _has_template(connection, child)):
        if not child.fail_closed or child.if_id:
            return {}
        return aside | {key: _block(key) for key in keys}
    local, remote = (established.local, established.remote) if established else (connection.local, connection.remote)
    assert local is not None
    assert remote is not None
    found = aside
    mode = established.mode if established else child.mode
    template = Template(local, remote, child.reqid, mode, child.protocol)
    narrowed = established is not None and not _same(child, established)
    for key in keys:
        found[key] = _block(key) if narrowed else _protect(key, template)
    if narrowed:
        assert established is not None
        for key in _child_keys(child, established.local_ts, established.remote_ts):
            found[key] = _protect(key, template)
    return found


def _block(key: PolicyKey) -> Policy:
    return Policy(key, Action.BLOCK, _priority(CHILD_PRIORITY, key))


def _guards(child: ChildConfig) -> dict[PolicyKey, Policy]:
    """Where a child is for packets with a mark only: blocks, so that those without it do not leave in clear."""
    if not child.fail_closed or child.if_id:
        return {}
    marked = {key: replace(key, mark=None) for key in _child_keys(child, child.local_ts, child.remote_ts)}
    return {bare: _block(bare) for key, bare in marked.items() if key.mark is not None}


def _has_template(connection: ConnectionConfig, child: ChildConfig) -> bool:
    """Whether a template stands without an SA: it needs both addresses.

    It stands for ``start: none``, too, where nobody negotiates when the kernel asks: the SPD is then ready when the
    peer brings the SA, and the first packet passes. Where that child fails open, nothing stands in its packets' way.
    """
    if connection.local is None or connection.remote is None:
        return False
    return child.start != Start.NONE or child.fail_closed


def _same(child: ChildConfig, established: Established) -> bool:
    """Whether the peer took our selectors as they are."""
    return covered(child.local_ts, established.local_ts) and covered(child.remote_ts, established.remote_ts)


def _protect(key: PolicyKey, out: Template) -> Policy:
    """Demand the SA of ``out``, or the one in the other direction."""
    back = replace(out, source=out.destination, destination=out.source)
    return Policy(key, Action.ALLOW, _priority(CHILD_PRIORITY, key), out if key.direction is Direction.OUT else back)


def _directions(child: ChildConfig) -> tuple[Direction, ...]:
    """Transport mode protects what the gateway itself sends and receives."""
    return tuple(d for d in Direction if d is not Direction.FWD or child.mode is Mode.TUNNEL)


def _neighbour_discovery(child: ChildConfig, keys: Iterable[PolicyKey]) -> Iterable[PolicyKey]:
    """Policies for what must pass before IPv6 neighbours can exchange any ESP."""
    return () if child.mode is Mode.TUNNEL else _discovery(keys)


def _discovery(keys: Iterable[PolicyKey]) -> Iterator[PolicyKey]:
    for key in keys:
        if key.source.version == 6 and key.protocol in (0, ICMPV6):
            for icmp_type in NEIGHBOUR_DISCOVERY:
                yield replace(key, protocol=ICMPV6, source_port=port(icmp_type), destination_port=ANY)


def _child_keys(
    child: ChildConfig, local_ts: Sequence[TrafficSelector], remote_ts: Sequence[TrafficSelector]
) -> Iterable[PolicyKey]:
    """All policies of selectors of a child."""
    return _keys(local_ts, remote_ts, _directions(child), child.if_id, child.options)


def _keys(
    local_ts: Sequence[TrafficSelector],
    remote_ts: Sequence[TrafficSelector],
    directions: Sequence[Direction] = tuple(Direction),
    if_id: int = 0,
    options: PlaneOptions = ORDINARY,
) -> Iterable[PolicyKey]:
    """All policies of these selectors: out, in and fwd, or less, for each pair of prefixes."""
    out, back = options.mark_out, options.mark_in
    for flow in flows(local_ts, remote_ts):
        mine, theirs, protocol = flow.local, flow.remote, flow.protocol
        for direction in directions:
            if direction is Direction.OUT:
                yield PolicyKey(direction, mine, theirs, protocol, flow.near, flow.far, if_id, out)
            else:
                yield PolicyKey(direction, theirs, mine, protocol, *flow.back, if_id, back)


def _priority(band: int, key: PolicyKey) -> int:
    ports = key.source_port, key.destination_port
    return band + vagueness(key.source, key.destination, key.protocol, ports, marked=key.mark is not None)


def _interface_plane(
    connection: ConnectionConfig,
    child: ChildConfig,
    established: Established | None,
    child_sizes: Sizes,
    *,
    stopping: bool,
) -> Desired:
    assert child.interface is not None
    interface = _interface(child, child.interface, child_sizes)
    routes = inside.leading(interface, child.remote_ts, ROUTE_METRIC, child_sizes.inner_mtu)
    blackholes = tunnels.blackholes((r.destination for r in routes), closed=child.fail_closed)
    if stopping:
        return Desired(routes=blackholes)
    remote = established.remote if established is not None else connection.remote
    return Desired(
        _policies(connection, child, established, stopping=False),
        {interface.name: interface},
        routes | blackholes,
        _clamps(connection, child, child_sizes),
        df=df_rules(child, remote, child_sizes.inner_mtu),
    )


def _interface(child: ChildConfig, name: str, child_sizes: Sizes) -> XfrmInterface:
    return XfrmInterface(name, child.if_id, device_mtu(child, child_sizes.inner_mtu))


def _clamps(connection: ConnectionConfig, child: ChildConfig, child_sizes: Sizes) -> frozenset[Clamp]:
    """Where many peers share a child nothing flows without a peer's policies, and with them come its clamps."""
    if connection.remote is None:
        return frozenset()
    return _clamps_of(child.local_ts, child.remote_ts, child_sizes)


def _clamps_of(
    local_ts: Iterable[TrafficSelector], remote_ts: Sequence[TrafficSelector], child_sizes: Sizes
) -> frozenset[Clamp]:
    return frozenset(
        Clamp(mine, theirs, child_sizes.mss[local.version])
        for local in local_ts
        for remote in remote_ts
        if local.version == remote.version and local.version in child_sizes.mss
        if {local.protocol, remote.protocol} <= {0, TCP}
        for mine in local.networks()
        for theirs in remote.networks()
    )
