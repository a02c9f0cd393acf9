"""Who the gateway itself is inside of a tunnel and on our side of it; and the routes into an xfrm interface of ours.

An xfrm interface has no address, so the kernel would take one of the underlay's, which no policy of the child selects:
its ICMP errors to hosts at the other end (RFC 4301 6.2), and all else that it says of itself, would be dropped in the
device. Routes that name an address of our own in the child's ``local_ts`` make it speak for the networks behind it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from itertools import product

from xfrmctl.kernel.desired import Desired, PolicyKey, Route, XfrmInterface
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.flow import port
from xfrmctl.model.sa import Direction
from xfrmctl.model.selector import ICMPV6, TrafficSelector

ICMP = 1
PACKET_TOO_BIG = 2
NEIGHBOUR_DISCOVERY = (135, 136)
"""Neighbor Solicitation and Advertisement (RFC 4861 4.3, 4.4); the kernel keeps an ICMP type in the source port."""

SOLICITED_NODES = ip_network("ff02::1:ff00:0/104")
"""RFC 4291 2.7.1; of link-local scope, so it goes no further than the link."""


def errors_to_our_side(keys: Iterable[PolicyKey]) -> Iterator[PolicyKey]:
    """What lets the gateway tell hosts on our side that their packets are too large.

    Where ``remote_ts`` has all of ``local_ts`` in it, as for a branch that sends everything to its hub, a policy would
    take these errors for traffic to the other side. Over IPv6 the host must be found first, and may look for us.
    What is no smaller than the other side is not surely ours, and gets none of this: nothing may leave in clear.
    """
    for key in keys:
        mine, theirs = key.source, key.destination
        ours = key.direction is Direction.OUT and not key.if_id and not key.protocol and mine != theirs
        if not ours or not (theirs.prefixlen < mine.prefixlen and mine.network_address in theirs):
            continue
        if mine.version == 4:
            yield replace(key, destination=mine, protocol=ICMP, source_port=port(3), destination_port=port(4))
            continue
        yield replace(key, destination=mine, protocol=ICMPV6, source_port=port(PACKET_TOO_BIG))
        for kind, direction in product(NEIGHBOUR_DISCOVERY, (Direction.OUT, Direction.IN)):
            yield replace(key, direction=direction, destination=mine, protocol=ICMPV6, source_port=port(kind))
        yield replace(key, destination=SOLICITED_NODES, protocol=ICMPV6, source_port=port(NEIGHBOUR_DISCOVERY[0]))


def leading(
    interface: XfrmInterface, remote_ts: Iterable[TrafficSelector], metric: int, inner_mtu: int
) -> frozenset[Route]:
    """The routes into an interface, each with what this child's tunnel takes: others may share the device.

    The device may have more than that: it keeps what IPv6 needs, and so do the routes of IPv6.

    None where everything is selected: which traffic then goes in is the operator's routing. His routes say nothing of
    sizes, so the device's MTU must do for all of this child, and ours say nothing either.
    """
    networks: list[IPNetwork] = [network for ts in remote_ts for network in ts.networks()]
    routed = [network for network in networks if network.prefixlen]
    mtus: dict[int, int | None] = {4: min(inner_mtu, interface.mtu), 6: interface.mtu}
    if len(routed) != len(networks):
        mtus = {4: None, 6: None}
    return frozenset(Route(network, interface.name, metric, mtus[network.version]) for network in routed)


def speaking(part: Desired, local_ts: Iterable[TrafficSelector], own: Sequence[IPAddress]) -> Desired:
    """The part, with a source for its routes into an interface: the first of our addresses that ``local_ts`` selects.

    None where there is no such address, or where every address is selected: then the kernel's choice is as good.
    """
    networks = [network for ts in local_ts for network in ts.networks()]
    sources = {
        version: next((a for a in own if a.version == version and any(a in network for network in networks)), None)
        for version in (4, 6)
        if all(network.prefixlen for network in networks if network.version == version)
    }

    def spoken(route: Route) -> Route:
        into = route.device is not None and route.table != PEER_TABLE
        return replace(route, source=sources.get(route.destination.version)) if into else route

    return replace(part, routes=frozenset(map(spoken, part.routes)))
