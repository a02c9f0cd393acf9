"""What a tunnel device over a child does not go with, and the routes that would lead its packets into itself."""

from collections.abc import Iterable

from xfrmctl.config.build import Report
from xfrmctl.config.document import Key
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, Start
from xfrmctl.model.address import IPAddress
from xfrmctl.model.sa import DataPlane
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.sizes import IPV6_FLOOR
from xfrmctl.model.tunnel import Tunnel, TunnelType, recursion
from xfrmctl.pmtu.overhead import inner_mtu

LEAST_KEEPALIVE_S = 1.0


def check_tunnel(connection: ConnectionConfig, child: ChildConfig, report: Report, warn: Report) -> None:
    """Report what of a child with a tunnel device could not take effect, or would stop it."""
    tunnel = child.tunnel
    if tunnel is None:
        return
    key: Key = ("connections", connection.name, "children", child.name)
    for side, address in (("local", connection.local), ("remote", connection.remote)):
        if address is None:
            cause = f"a tunnel device has two ends, and {side}.address is any"
            report((*key, "tunnel"), cause, f"write {side}.address: one connection for each peer that gets a tunnel")
    if child.dataplane is DataPlane.INTERFACE:
        cause = "packets are routed into one device, and this child would have two"
        report((*key, "dataplane"), cause, "leave dataplane out, or tunnel")
    elif child.if_id:
        cause = "the packets of a tunnel device pass no xfrm interface"
        report((*key, "if_id"), cause, "leave if_id out, or tunnel")
    if isinstance(child.mss, int):
        cause = "the MSS of connections through a tunnel device is that of its MTU"
        report((*key, "mss"), cause, "write auto or off; or mtu, of which the MSS follows")
    _check_selectors(connection, child, tunnel, key, report)
    _check_kind(tunnel, (*key, "tunnel"), report)
    _check_keepalive(child, tunnel, (*key, "tunnel", "keepalive"), report)
    if connection.remote is not None:
        _check_recursion(tunnel, connection.remote, (*key, "tunnel"), report)
        _check_mtu(child, tunnel, connection.remote.version, (*key, "mtu"), warn)


def check_devices(connections: Iterable[ConnectionConfig], report: Report) -> None:
    """Report names of tunnel devices that are given twice."""
    taken: dict[str, str] = {}
    named = [(connection, child) for connection in connections for child in connection.children]
    for connection, child in named:
        if child.interface is not None:
            taken[child.interface] = f"the xfrm interface of child {child.name!r} of connection {connection.name!r}"
    for connection, child in named:
        if child.tunnel is None:
            continue
        mine = f"that of child {child.name!r} of connection {connection.name!r}"
        other = taken.setdefault(child.tunnel.interface, mine)
        if other != mine:
            place: Key = ("connections", connection.name, "children", child.name, "tunnel", "interface")
            report(place, f"{child.tunnel.interface!r} is {other} already", "give each tunnel a device of its own")


def _check_selectors(
    connection: ConnectionConfig, child: ChildConfig, tunnel: Tunnel, key: Key, report: Report
) -> None:
    """Selectors that were written must take the packets of the device."""
    for side, address, selectors in (
        ("local", connection.local, child.local_ts),
        ("remote", connection.remote, child.remote_ts),
    ):
        if address is None:
            continue
        packets = TrafficSelector(address, address, tunnel.type.protocol)
        if not any(selector.covers(packets) for selector in selectors):
            cause = (
                f"the packets of {tunnel.interface}, {packets}, are in none of these selectors: they would go in clear"
            )
            report((*key, f"{side}_ts"), cause, f"leave {side}_ts out")


def _check_kind(tunnel: Tunnel, key: Key, report: Report) -> None:
    if tunnel.type is not TunnelType.IPIP:
        return
    cure = f"leave {{}} out, or write type: {TunnelType.GRE.value}"
    if tunnel.key is not None:
        report((*key, "key"), "IP in IP has no key", cure.format("key"))
    if tunnel.keepalive_s is not None:
        report((*key, "keepalive"), "keepalives are packets of GRE", cure.format("keepalive"))
    for name, values in (("addresses", tunnel.addresses), ("routes", tunnel.routes)):
        foreign = next((value for value in values if value.version not in tunnel.type.families), None)
        if foreign is not None:
            report((*key, name), f"ipip carries IPv4, and {foreign} is IPv6", cure.format("it"))


def _check_keepalive(child: ChildConfig, tunnel: Tunnel, key: Key, report: Report) -> None:
    if tunnel.keepalive_s is None:
        return
    if tunnel.keepalive_s < LEAST_KEEPALIVE_S:
        cause = f"three lost answers in {3 * tunnel.keepalive_s:g} s say nothing about a path"
        report(key, cause, f"write {LEAST_KEEPALIVE_S:g}s or more, such as 10s")
    if child.start is Start.TRAP:
        cause = "the device is down until the far end answers, so no packet could start a child with start: trap"
        report(key, cause, "write start: start, or leave keepalive out")


def _check_recursion(tunnel: Tunnel, remote: IPAddress, key: Key, report: Report) -> None:
    for name, networks in (("routes", tunnel.routes), ("addresses", tuple(a.network for a in tunnel.addresses))):
        trap = next((network for network in networks if remote in network), None)
        if trap is not None:
            cause, _, cure = recursion(tunnel.interface, remote).partition("; ")
            report((*key, name), f"with {trap} {cause}", cure)


def _check_mtu(child: ChildConfig, tunnel: Tunnel, outer_version: int, key: Key, warn: Report) -> None:
    if child.mtu is None or not tunnel.has_ipv6:
        return
    suites = [suite for proposal in child.esp for suite in proposal.suites()]
    least = min(inner_mtu(child.mtu, suite, outer_version, True, child.mode, tunnel) for suite in suites)
    if least < IPV6_FLOOR:
        lost = "are lost but TCP's" if outer_version == 6 else "go as fragments of ESP"
        cause = f"leaves {least} bytes on {tunnel.interface}, so larger IPv6 packets {lost}: IPv6 needs {IPV6_FLOOR}"
        warn(key, cause, "write a larger mtu, or addresses and routes of IPv4 only")
