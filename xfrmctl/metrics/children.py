"""Families about children, their tunnel devices, and the peers of connections that serve many.

Every *configured* child has its series, up or down. What the kernel counts for an SA is added up by the ledger, so a
child's counters go on over every rekey.
"""

from collections.abc import Iterator

from xfrmctl.metrics.family import counter, gauge, info
from xfrmctl.metrics.ledger import Ledger
from xfrmctl.metrics.page import Page
from xfrmctl.model.snapshot import ChildInfo, ConfiguredChild, ConnectionInfo, TunnelInfo

CHILD = ("connection", "child")
WAY = (*CHILD, "direction")
PEER = (*CHILD, "peer", "reqid")
DEVICE = (*CHILD, "interface")

UP = gauge(
    "xfrmctl_child_up",
    "1 while a CHILD SA of the child is installed. Every configured child has this series, also when it is down.",
    "0 for a child with `start: start`: see xfrmctl_connection_up. 0 for `start: trap` is no fault before its first"
    " packet.",
    *CHILD,
)
INFO = info(
    "xfrmctl_child",
    "What a child is: state (up, connecting, trap, down), protection (esp, ah, trap, block, blackhole, or none: its"
    " packets go in clear), mode, data plane; suite and encap (none or udp) of its newest CHILD SA.",
    "protection none is a choice (`fail: open`); nobody should be surprised by it.",
    *CHILD,
    "state",
    "protection",
    "mode",
    "dataplane",
    "suite",
    "encap",
)
SAS = gauge(
    "xfrmctl_child_sas",
    "CHILD SAs of a child.",
    "More than one for longer than a rekey, without many peers: `xfrmctl diagnose` looks for duplicate SAs.",
    *CHILD,
)
AGE = gauge(
    "xfrmctl_child_sa_age_seconds", "Age of the newest CHILD SA.", "Falls at each rekey; never: keys are old.", *CHILD
)
REKEYS_IN = gauge(
    "xfrmctl_child_rekeys_in_seconds",
    "Time to the soft limit of the newest CHILD SA, when it is rekeyed.",
    "0 for long: the rekey fails.",
    *CHILD,
)
EXPIRES_IN = gauge(
    "xfrmctl_child_expires_in_seconds",
    "Time to the hard limit of the newest CHILD SA, when the kernel throws it away.",
    "Falls below the time that a rekey leaves: rekeys fail, and traffic stops at 0.",
    *CHILD,
)
OUTER_MTU = gauge(
    "xfrmctl_child_outer_mtu_bytes",
    "Largest IP packet that the path to the peer carries, as it is in force for the child.",
    "See xfrmctl_path_mtu_bytes.",
    *CHILD,
)
INNER_MTU = gauge(
    "xfrmctl_child_inner_mtu_bytes",
    "Largest inner IP packet that fits the outer MTU after ESP, padding, UDP and the tunnel header.",
    "What hosts behind the tunnel can send whole; below 1,280 IPv6 suffers.",
    *CHILD,
)
MTU_INFO = info(
    "xfrmctl_child_mtu",
    "Where the sizes in force are from: the configuration, the route, a probe, an ICMP error.",
    "Its age is xfrmctl_path_mtu_age_seconds of the connection.",
    *CHILD,
    "source",
)
MSS = gauge(
    "xfrmctl_child_mss_bytes",
    "TCP MSS that the clamp allows; none where it is off.",
    "TCP that hangs after its handshake though this is right: the packets do not pass the clamp; see xfrmctl_clamp_*.",
    *CHILD,
    "family",
)
IPV6_LOST = gauge(
    "xfrmctl_child_ipv6_lost",
    "1 while IPv6 packets above the inner MTU are lost, for less than 1,280 bytes fit and nothing helps.",
    "`xfrmctl show` tells the cure; RFC 8200 5 wants 1,280 bytes.",
    *CHILD,
)
OFFLOADED = gauge(
    "xfrmctl_child_offloaded",
    "1 where the network device encrypts, 0 where it was asked to and the kernel does it.",
    "0: `xfrmctl show` tells why the device does not.",
    *WAY,
)
BYTES = counter(
    "xfrmctl_child_bytes",
    "Bytes of inner packets that the CHILD SAs of a child carried, all since the daemon started.",
    "Growth in one direction only: ESP is lost on the way, or the other end's policy does not take it.",
    *WAY,
)
PACKETS = counter("xfrmctl_child_packets", "Packets that the CHILD SAs of a child carried.", "As for the bytes.", *WAY)
REPLAYS = counter(
    "xfrmctl_child_replay_drops",
    "Inbound packets dropped because they had come before.",
    "Growth: the network duplicates packets, or somebody replays them.",
    *CHILD,
)
LATE = counter(
    "xfrmctl_child_late_drops",
    "Inbound packets dropped because they were older than the replay window reaches: the path reorders.",
    "Growth: raise `replay_window`, or keep QoS from reordering ESP.",
    *CHILD,
)
INTEGRITY = counter(
    "xfrmctl_child_integrity_failures",
    "Inbound packets dropped because their ICV was wrong.",
    "Growth: packets are damaged or forged, or the two ends have different keys.",
    *CHILD,
)
PEER_BYTES = counter(
    "xfrmctl_peer_bytes",
    "Bytes of inner packets that the CHILD SAs of a peer carried, of connections that serve many.",
    "As for a child's; the series ends when the peer goes.",
    *PEER,
    "direction",
)
PEER_PACKETS = counter(
    "xfrmctl_peer_packets", "Packets that the CHILD SAs of a peer carried.", "As for a child's.", *PEER, "direction"
)
PEER_INNER = gauge(
    "xfrmctl_peer_inner_mtu_bytes",
    "Largest inner IP packet that fits the path to the peer.",
    "As for a child's.",
    *PEER,
)
TUNNEL_UP = gauge(
    "xfrmctl_tunnel_up",
    "1 while the tunnel device of a child is up.",
    "0 with the child up: the far end does not answer keepalives, or the device is missing.",
    *DEVICE,
)
TUNNEL_MTU = gauge(
    "xfrmctl_tunnel_mtu_bytes",
    "MTU of a tunnel device as the kernel has it.",
    "Another than the child's inner MTU less the tunnel's header: somebody else has set it.",
    *DEVICE,
)
TUNNEL_RECURSIVE = gauge(
    "xfrmctl_tunnel_recursive_route",
    "1 while a route of somebody's to the far end of a tunnel leads into the tunnel itself.",
    "Take the route out, or keep the routing protocol from announcing it through the tunnel.",
    *DEVICE,
)
TUNNEL_LOOPED = counter(
    "xfrmctl_tunnel_looped_packets",
    "Packets led into the tunnel device that had sent them, and dropped by the kernel.",
    "Growth: see xfrmctl_tunnel_recursive_route.",
    *DEVICE,
)
TUNNEL_KEEPALIVES = counter(
    "xfrmctl_tunnel_keepalives",
    "GRE keepalives, by what became of them: sent, answered.",
    "Fewer answered than sent: the far end is gone, or does not return them.",
    *DEVICE,
    "what",
)

FAMILIES = (
    UP, INFO, SAS, AGE, REKEYS_IN, EXPIRES_IN, OUTER_MTU, INNER_MTU, MTU_INFO, MSS, IPV6_LOST, OFFLOADED, BYTES,
    PACKETS, REPLAYS, LATE, INTEGRITY, PEER_BYTES, PEER_PACKETS, PEER_INNER, TUNNEL_UP, TUNNEL_MTU, TUNNEL_RECURSIVE,
    TUNNEL_LOOPED, TUNNEL_KEEPALIVES,
)  # fmt: skip

DIRECTIONS = ("in", "out")


def find_newest(connection: ConnectionInfo, newest: dict[str, ChildInfo], reqids: set[int]) -> Iterator[None]:
    """Put the youngest CHILD SA of each child into ``newest``: the one that new packets use. In steps.

    What SAs have as reqid is put into ``reqids``.
    """
    for ike in connection.ike_sas:
        for child in ike.children:
            other = newest.get(child.name)
            if other is None or child.established_s < other.established_s:
                newest[child.name] = child
            reqids.add(child.reqid)
            yield


def show(connection: ConnectionInfo, newest: dict[str, ChildInfo], ledger: Ledger, page: Page) -> Iterator[None]:
    """Put the children of a connection on a page, and its peers if it serves many. In steps."""
    counts: dict[str, int] = {}
    for ike in connection.ike_sas:
        for child in ike.children:
            counts[child.name] = counts.get(child.name, 0) + 1
            yield
    for configured in connection.children:
        key = (connection.name, configured.name)
        page.put(SAS, key, counts.get(configured.name, 0))
        _configured(key, configured, newest.get(configured.name), page)
        _traffic(key, ledger, page)
        yield
    if connection.peers is not None:
        yield from _peers(connection, ledger, page)


def _configured(key: tuple[str, str], configured: ConfiguredChild, child: ChildInfo | None, page: Page) -> None:
    page.put(UP, key, configured.state == "up")
    words = configured.state, configured.protection, configured.mode, configured.dataplane
    carried = (child.suite, "udp" if child.encap else "none") if child is not None else ("", "")
    page.put(INFO, (*key, *words, *carried), 1)
    if configured.tunnel is not None:
        _tunnel((*key, configured.tunnel.interface), configured.tunnel, page)
    if child is not None:
        _sa(key, child, page)


def _sa(key: tuple[str, str], child: ChildInfo, page: Page) -> None:
    page.put(AGE, key, child.established_s)
    if child.inbound.soft_expires_in_s is not None:
        page.put(REKEYS_IN, key, child.inbound.soft_expires_in_s)
    if child.inbound.hard_expires_in_s is not None:
        page.put(EXPIRES_IN, key, child.inbound.hard_expires_in_s)
    for direction, sa in zip(DIRECTIONS, (child.inbound, child.outbound), strict=True):
        if sa.offload:
            page.put(OFFLOADED, (*key, direction), not sa.offload.startswith("no"))
    if child.fragments is not None:
        page.put(IPV6_LOST, key, child.fragments.ipv6_lost)
    if child.mtu is not None:
        page.put(OUTER_MTU, key, child.mtu.outer_mtu)
        page.put(INNER_MTU, key, child.mtu.inner_mtu)
        page.put(MTU_INFO, (*key, child.mtu.source), 1)
        for family, value in (("ipv4", child.mtu.mss_ipv4), ("ipv6", child.mtu.mss_ipv6)):
            if value is not None:
                page.put(MSS, (*key, family), value)


def _traffic(key: tuple[str, str], ledger: Ledger, page: Page) -> None:
    for direction in DIRECTIONS:
        totals = ledger.totals(*key, direction)
        page.put(BYTES, (*key, direction), totals.bytes)
        page.put(PACKETS, (*key, direction), totals.packets)
        if direction == "in":
            page.put(REPLAYS, key, totals.replay_drops)
            page.put(LATE, key, totals.late_drops)
            page.put(INTEGRITY, key, totals.integrity_failures)


def _peers(connection: ConnectionInfo, ledger: Ledger, page: Page) -> Iterator[None]:
    """One series for each child of each peer, as long as the peer is there."""
    youngest: dict[int, ChildInfo] = {}
    for ike in connection.ike_sas:
        for child in ike.children:
            known = youngest.get(child.reqid)
            if known is None or child.established_s < known.established_s:
                youngest[child.reqid] = child
            yield
    for child in youngest.values():
        key = (connection.name, child.name, child.peer, f"{child.reqid:#x}")
        for direction in DIRECTIONS:
            totals = ledger.of_peer(connection.name, child.name, direction, child.reqid)
            page.put(PEER_BYTES, (*key, direction), totals.bytes)
            page.put(PEER_PACKETS, (*key, direction), totals.packets)
        if child.mtu is not None:
            page.put(PEER_INNER, key, child.mtu.inner_mtu)
        yield


def _tunnel(key: tuple[str, str, str], tunnel: TunnelInfo, page: Page) -> None:
    page.put(TUNNEL_UP, key, tunnel.state == "up")
    page.put(TUNNEL_RECURSIVE, key, tunnel.recursive_route)
    page.put(TUNNEL_LOOPED, key, tunnel.looped)
    for what, count in (("sent", tunnel.keepalives_sent), ("answered", tunnel.keepalives_answered)):
        page.put(TUNNEL_KEEPALIVES, (*key, what), count)
    if tunnel.mtu is not None:
        page.put(TUNNEL_MTU, key, tunnel.mtu)
