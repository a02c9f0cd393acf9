"""Messages of NETLINK_ROUTE against pyroute2's own tables, and back."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from xfrmctl.kernel.desired import Route, TunnelInterface, TunnelKind, XfrmInterface
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import link, route, rule, tunnel
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import attribute
from xfrmctl.kernel.netlink.tables import decode
from xfrmctl.kernel.ownership import ADDRESS_PROTOCOL, PEER_TABLE, ROUTE_PROTOCOL, if_id_for

INTERFACE = XfrmInterface("ipsec7", if_id_for(7), 1446)


def read(table: type[Any], request: Request) -> Any:
    return decode(table, memoryview(request.payload))


def test_new_link() -> None:
    create, dress = link.new_link(INTERFACE)
    message = read(ifinfmsg, create)
    assert (create.type, create.flags) == (16, c.NLM_F_CREATE | c.NLM_F_EXCL)
    assert message.get_attr("IFLA_IFNAME") == "ipsec7"
    assert message.get_attr("IFLA_MTU") == 1446
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "xfrm"
    assert info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_XFRM_IF_ID") == 0x58000007
    message = read(ifinfmsg, dress)
    assert (dress.type, message["flags"], message["change"], message["index"]) == (19, 1, 1, 0)
    assert message.get_attr("IFLA_IFALIAS").startswith("xfrmctl")
    assert read(ifinfmsg, link.set_link(9, INTERFACE)).get_attr("IFLA_IFNAME") is None


def test_links_are_read_back_and_foreign_ones_left_out() -> None:
    ours = link.new_link(INTERFACE)[0].payload
    up = ours[:8] + (1).to_bytes(4, "little") + ours[12:]
    foreign = up.replace((0x58000007).to_bytes(4, "little"), (7).to_bytes(4, "little"))
    messages = [(c.RTM_NEWLINK, memoryview(data)) for data in (up, foreign)]
    assert link.links_from(messages) == {"ipsec7": link.Link(0, INTERFACE)}
    [(_, down)] = link.links_from([(c.RTM_NEWLINK, memoryview(ours))]).items()
    assert down.interface.mtu == 0  # a device that is down


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Route(ip_network("10.1.2.0/24"), "ipsec7", 10, 1400), 1),
        (Route(ip_network("10.1.2.0/24"), None, 9000), 6),
        (Route(ip_network("fd10:2::/64"), "ipsec7", 10, table=1000), 1),
        (Route(ip_network("::/0"), None, 9000), 6),
        (Route(ip_network("0.0.0.0/0"), None, 9000), 6),
    ],
)
def test_routes(value: Route, kind: int) -> None:
    request = route.new_route(value, 12, replace=False)
    message = read(rtmsg, request)
    assert request.flags == c.NLM_F_CREATE | c.NLM_F_EXCL
    assert (message["type"], message["proto"], message["dst_len"]) == (kind, 158, value.destination.prefixlen)
    assert message.get_attr("RTA_DST") == str(value.destination.network_address)
    assert message.get_attr("RTA_PRIORITY") == value.metric
    assert message.get_attr("RTA_TABLE") == value.table
    assert message.get_attr("RTA_OIF") == (12 if value.device else None)
    if value.mtu:
        metrics = message.get_attr("RTA_METRICS")
        assert (metrics.get_attr("RTAX_MTU"), metrics.get_attr("RTAX_LOCK")) == (1400, 4)
    back = route.routes_from([(c.RTM_NEWROUTE, memoryview(request.payload))], lambda index: f"ipsec{index - 5}")
    assert back == [value]
    gone = read(rtmsg, route.delete_route(value))
    assert gone["proto"] == ROUTE_PROTOCOL
    assert gone.get_attr("RTA_PRIORITY") == value.metric


def test_a_route_that_is_to_forget_what_was_learned_below_it_differs_in_its_lock() -> None:
    """IPv4 takes a route with equal metrics for the same one, with all that it has noted down below it."""
    inner = Route(ip_network("10.1.2.0/24"), "ipsec7", 10, 1400)
    to_peer = Route(ip_network("172.16.2.1/32"), "wan", 58, 1400, table=PEER_TABLE)
    for value in (inner, to_peer):
        locks = set()
        for forget in (True, False):
            request = route.new_route(value, 12, replace=True, forget=forget)
            metrics = read(rtmsg, request).get_attr("RTA_METRICS")
            assert metrics.get_attr("RTAX_MTU") == 1400
            assert request.flags == c.NLM_F_CREATE | c.NLM_F_REPLACE
            locks.add(metrics.get_attr("RTAX_LOCK"))
        assert locks == {4, None}


@pytest.mark.parametrize(
    "value",
    [
        Route(
            ip_network("172.16.2.1/32"),
            "wan",
            58,
            1400,
            PEER_TABLE,
            ip_address("172.16.1.254"),
            ip_address("172.16.1.1"),
        ),
        Route(ip_network("172.16.2.1/32"), "wan", 58, 1400, PEER_TABLE),
        Route(ip_network("fd16:2::1/128"), "wan", 58, 1400, PEER_TABLE, ip_address("fe80::1")),
    ],
)
def test_routes_to_peers_are_not_locked(value: Route) -> None:
    request = route.new_route(value, 12, replace=True)
    message = read(rtmsg, request)
    metrics = message.get_attr("RTA_METRICS")
    assert (metrics.get_attr("RTAX_MTU"), metrics.get_attr("RTAX_LOCK")) == (1400, None)
    assert message.get_attr("RTA_GATEWAY") == (str(value.via) if value.via else None)
    assert message["scope"] == (0 if value.via else 253)
    assert route.routes_from([(c.RTM_NEWROUTE, memoryview(request.payload))], lambda _: "wan") == [value]


@pytest.mark.parametrize(("family", "local", "remote"), [(2, "172.16.1.1", "172.16.2.1"), (10, None, "fd16:2::1")])
def test_asking_for_the_way(family: int, local: str | None, remote: str) -> None:
    asked = route.get_route(ip_address(local) if local else None, ip_address(remote), 0x58000000)
    message = read(rtmsg, asked)
    bits = 32 if family == 2 else 128
    assert (asked.type, message["family"], message["dst_len"]) == (26, family, bits)
    assert message["src_len"] == (bits if local else 0)
    assert (message.get_attr("RTA_DST"), message.get_attr("RTA_SRC")) == (remote, local)
    assert message.get_attr("RTA_MARK") == 0x58000000


def test_the_way_is_read_and_a_blackhole_is_none() -> None:
    to_peer = Route(ip_network("172.16.2.1/32"), "wan", 58, 1400, via=ip_address("172.16.1.254"))
    answer = route.new_route(to_peer, 12, replace=False).payload
    assert route.way_from(memoryview(answer)) == route.Way(12, ip_address("172.16.1.254"), None, 1400)
    nowhere = route.new_route(Route(ip_network("172.16.2.1/32"), None, 58), 0, replace=False).payload
    assert route.way_from(memoryview(nowhere)) is None


@pytest.mark.parametrize("learned", [True, False])
def test_what_an_icmp_error_has_taught_the_kernel_is_no_mtu_of_the_way(learned: bool) -> None:
    for peer, via in (("172.16.2.1/32", "172.16.1.254"), ("fd16:2::1/128", "fd16:1::fe")):
        to_peer = Route(ip_network(peer), "wan", 58, 1400, via=ip_address(via))
        answer = bytearray(route.new_route(to_peer, 12, replace=False).payload)
        four = ":" not in peer
        answer[8:12] = ((four or learned) * route.RTM_F_CLONED).to_bytes(4, "little")
        expires = learned if four else True  # a route that a router has advertised expires, too
        answer += attribute(route.RTA_CACHEINFO, bytes(8) + (59_000 * expires).to_bytes(4, "little") + bytes(16))
        found = route.way_from(memoryview(bytes(answer)))
        assert found is not None
        assert found.mtu == (None if learned else 1400)


def test_our_routing_rule() -> None:
    for family in (2, 10):
        request = rule.new_rule(family)
        message = read(fibmsg, request)
        assert (request.type, message["family"], message["table"], message["action"]) == (32, family, 158, 1)
        assert message["flags"] == 2, "everything but what carries the mark"
        values = [message.get_attr(f"FRA_{name}") for name in ("PRIORITY", "FWMARK", "FWMASK", "PROTOCOL")]
        assert values == [158, 0x58000000, 0xFFFFFFFF, 158]
        assert rule.stands([(32, memoryview(request.payload))])
        foreign = request.payload.replace(attribute(rule.FRA_PROTOCOL, b"\x9e"), attribute(rule.FRA_PROTOCOL, b"\x03"))
        assert not rule.stands([(32, memoryview(foreign))])
        assert rule.delete_rule(family).payload == request.payload


def test_foreign_routes_are_left_out() -> None:
    payload = bytearray(route.new_route(Route(ip_network("10.0.0.0/8"), None, 9), 0, replace=False).payload)
    payload[5] = 3  # RTPROT_BOOT
    assert route.routes_from([(c.RTM_NEWROUTE, memoryview(payload))], str) == []


GRE = TunnelInterface("gre7", TunnelKind.GRE, ip_address("192.0.2.1"), ip_address("192.0.2.2"), 1438, key=42)
TUNNELS = [
    GRE,
    replace(GRE, key=None, copy_tos=False, clamped=False, ttl=3),
    replace(GRE, mtu=1280, narrow=1194),
    replace(GRE, mtu=1280, narrow=1279, clamped=False),
    replace(GRE, kind=TunnelKind.IPIP, key=None),
    replace(GRE, kind=TunnelKind.GRE6, local=ip_address("fd16::1"), remote=ip_address("fd16::2")),
    replace(GRE, kind=TunnelKind.IPIP6, local=ip_address("fd16::1"), remote=ip_address("fd16::2"), key=None),
]


def _flags(payload: bytes, flags: int) -> memoryview:
    return memoryview(payload[:8] + flags.to_bytes(4, "little") + payload[12:])


def test_new_tunnel() -> None:
    create, dress = tunnel.new_tunnel(GRE)
    message = read(ifinfmsg, create)
    assert (create.type, create.flags) == (c.RTM_NEWLINK, c.NLM_F_CREATE | c.NLM_F_EXCL)
    assert (message.get_attr("IFLA_IFNAME"), message.get_attr("IFLA_MTU")) == ("gre7", 1438)
    assert message.get_attr("IFLA_GROUP") == 0x58000001, "it is ours from its first moment on"
    info = message.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA")
    assert info.get_attr("IFLA_INFO_KIND") == "gre"
    assert (data.get_attr("IFLA_GRE_LOCAL"), data.get_attr("IFLA_GRE_REMOTE")) == ("192.0.2.1", "192.0.2.2")
    assert (data.get_attr("IFLA_GRE_OKEY"), data.get_attr("IFLA_GRE_TTL")) == (42, 64)
    assert data.get_attr("IFLA_GRE_PMTUDISC") == 1
    message = read(ifinfmsg, dress)
    assert (dress.type, dress.flags, message["index"]) == (c.RTM_NEWLINK, 0, 0)
    assert message["flags"] == message["change"] == c.IFF_UP | c.IFF_MULTICAST
    assert message.get_attr("IFLA_IFALIAS").startswith("xfrmctl")
    down = read(ifinfmsg, tunnel.set_tunnel(9, replace(GRE, up=False)))
    assert (down["index"], down["flags"], down["change"]) == (9, c.IFF_MULTICAST, c.IFF_UP | c.IFF_MULTICAST)


def test_a_tunnel_too_narrow_for_ipv6_sets_no_df() -> None:
    for request in tunnel.new_tunnel(replace(GRE, mtu=1280, narrow=1194)):
        message = read(ifinfmsg, request)
        assert message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA").get_attr("IFLA_GRE_PMTUDISC") == 0
        assert message.get_attr("IFLA_GROUP") == 0x58000001 + 2 * 1194, "a firewall sees what fits"


@pytest.mark.parametrize("value", TUNNELS)
def test_tunnels_are_read_back(value: TunnelInterface) -> None:
    payload = tunnel.new_tunnel(value)[0].payload
    found = tunnel.tunnels_from([(c.RTM_NEWLINK, _flags(payload, c.IFF_UP | c.IFF_MULTICAST))])
    assert found["gre7"].interface == value
    down = tunnel.tunnels_from([(c.RTM_NEWLINK, memoryview(payload))])
    assert down["gre7"].interface == replace(value, up=False)


def test_tunnels_of_others_are_left_out() -> None:
    payload = tunnel.new_tunnel(GRE)[0].payload
    for group in (0, 0x58000002, 0x58000001 + 2 * 1280, 0x59000001):
        foreign = payload.replace((0x58000001).to_bytes(4, "little"), group.to_bytes(4, "little"))
        assert not tunnel.tunnels_from([(c.RTM_NEWLINK, memoryview(foreign))])


@pytest.mark.parametrize("text", ["10.255.0.1/30", "fd00:255::1/64"])
def test_addresses_there_and_back(text: str) -> None:
    address = ip_interface(text)
    request = tunnel.new_address(7, address)
    message = read(ifaddrmsg, request)
    assert (message["index"], message["prefixlen"]) == (7, address.network.prefixlen)
    assert message.get_attr("IFA_ADDRESS") == str(address.ip)
    assert message.get_attr("IFA_PROTO") == ADDRESS_PROTOCOL
    assert tunnel.addresses_from([(c.RTM_NEWADDR, memoryview(request.payload))]) == {7: {address}}
    foreign = request.payload.replace(bytes((5, 0, 11, 0, ADDRESS_PROTOCOL)), bytes((5, 0, 11, 0, 3)))
    assert not tunnel.addresses_from([(c.RTM_NEWADDR, memoryview(foreign))])
    assert tunnel.delete_address(7, address).type == c.RTM_DELADDR
