"""The routes into an xfrm interface of ours: what they take, and who the gateway itself is inside of the tunnel.

An xfrm interface has no address, so the kernel would take one of the underlay's, which no policy of the child selects:
its ICMP errors to hosts at the other end (RFC 4301 6.2), and all else that it says of itself, would be dropped in the
device. Routes that name an address of our own in the child's ``local_ts`` make it speak for the networks behind it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from xfrmctl.kernel.desired import Desired, Route, XfrmInterface
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.selector import TrafficSelector


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
