"""GRE and IP in IP over transport mode: devices of the size that the path has, between two gateways of ours."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.lab.test_path_mtu import NARROW, SUITE, WIDE, flowing, passes, silence, sizes, squeeze, wait_for
from tests.lab.tunnel import MAIN, brought_up, connection, eventually, no_alarm, text
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_A, OUTER_B, Topology
from xfrmctl.model.sa import Mode
from xfrmctl.model.tunnel import Tunnel, TunnelType
from xfrmctl.pmtu.overhead import inner_mtu
from xfrmctl.pmtu.spelling import parse_suite

pytestmark = pytest.mark.lab
VIRTUAL_TIME = True

DEVICE = "gre1"
ENDS = (("10.255.0.1", "fd00:255::1"), ("10.255.0.2", "fd00:255::2"))
"""Addresses of the device at gateway A and B, IPv4 and IPv6."""


def tunnel(side: int, **more: Any) -> dict[str, Any]:
    """The section of one side: addresses, and routes to the other side's hosts."""
    usual = {
        "interface": DEVICE,
        "addresses": [f"{ENDS[side][0]}/30", f"{ENDS[side][1]}/64"],
        "routes": list((INNER_A, INNER_B)[1 - side]),
    }
    return {key: value for key, value in (usual | more).items() if value is not None}


def config(side: int, *, outer: int = 4, esp: str = SUITE, ike: Mapping[str, Any] | None = None, **device: Any) -> str:
    """The configuration of one side; A begins."""
    which = 0 if outer == 4 else 1
    ends = (OUTER_A[which], OUTER_B[which])
    start = {"start": "none" if side else "start"}
    entry = connection(side, {"gre": {"tunnel": tunnel(side, **device), "esp": [esp], **start}})
    entry["local"]["address"], entry["remote"]["address"] = ends[side], ends[1 - side]
    entry["ike"] = {"dpd": "30s", **(ike or {})}
    return text({MAIN: entry}, path_mtu={"aging": "8s"})


@contextmanager
def gateways(topology: Topology, **options: Any) -> Iterator[tuple[Gateway, Gateway]]:
    """Two of ours with a tunnel device between them; up when the block begins. ``options`` are those of ``config``."""
    made = [Gateway(topology.ns(ns), config(side, **options)) for side, ns in enumerate(("ga", "gb"))]
    with brought_up(made[0], made[1]) as both:
        yield both


def link(gateway: Gateway, name: str = DEVICE) -> dict[str, Any]:
    """What ``ip`` says of a device."""
    (found,) = json.loads(gateway.namespace.run(["ip", "-d", "-j", "address", "show", "dev", name]).stdout)
    assert isinstance(found, dict)
    return found


def has_mtu(gateway: Gateway, mtu: int) -> bool:
    """Whether the device is of this size."""
    return bool(link(gateway)["mtu"] == mtu)


def fits(outer_mtu: int, *, outer: int = 4, esp: str = SUITE, encap: bool = False, **device: Any) -> int:
    """The formula."""
    like = Tunnel(type=TunnelType(device.get("type", "gre")), interface=DEVICE, key=device.get("key"))
    return inner_mtu(outer_mtu, parse_suite(esp), outer, encap, Mode.TRANSPORT, like)


@pytest.mark.parametrize(
    ("outer", "esp", "encap", "device"),
    [
        (4, "aes256gcm16", "auto", {}),
        (4, "aes128-sha256", "always", {"key": 42}),
        (6, "aes256gcm16", "auto", {"key": 2**32 - 1}),
        (6, "aes128-sha512", "always", {}),
    ],
)
def test_a_full_packet_passes_and_one_byte_more_does_not(
    topology: Topology, outer: int, esp: str, encap: str, device: dict[str, Any]
) -> None:
    ha = topology.ns("ha")
    with gateways(topology, outer=outer, esp=esp, ike={"encap": encap}, **device) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        largest = fits(WIDE, outer=outer, esp=esp, encap=encap == "always", **device)
        assert sizes(a).inner_mtu == largest
        assert [link(g)["mtu"] for g in (a, b)] == [largest, largest]
        for address in HOST_B:
            assert passes(ha, address, largest)
        for address in ENDS[1]:
            assert passes(a.namespace, address, largest)
        assert not passes(ha, HOST_B[0], largest + 1)
        no_alarm(a, b)


def test_only_esp_and_the_mss_of_both_directions(topology: Topology) -> None:
    largest = fits(WIDE)
    with gateways(topology) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        with Capture(topology.ns("r"), "ra") as outside, Capture(topology.ns("hb"), "eth0") as inside:
            for source, sink, addresses in (("ha", "hb", HOST_B), ("hb", "ha", HOST_A)):
                for address in addresses:
                    assert traffic.transfer(topology.ns(source), topology.ns(sink), address, size=200_000).complete
        assert outside.report.problems() == []
        assert not outside.report.others, "nothing but IKE and ESP between the gateways"
        found = {(str(syn.src), syn.ack): syn.mss for syn in inside.report.syns if str(syn.src) in HOST_A}
        assert found == {(HOST_A[0], ack): largest - 40 for ack in (False, True)} | {
            (HOST_A[1], ack): largest - 60 for ack in (False, True)
        }


def test_the_device_is_ours_and_goes_with_us(topology: Topology) -> None:
    ga = topology.ns("ga")
    before = ga.run(["ip", "-o", "link"]).stdout
    with gateways(topology) as (a, _):
        found = link(a)
        assert (found["group"], found["ifalias"]) == (str(0x58000001), "xfrmctl")
        assert {"UP", "MULTICAST", "POINTOPOINT"} <= set(found["flags"])
        ga.batch([f"address add 10.99.0.1/24 dev {DEVICE}", f"link set {DEVICE} mtu 1400"])
        a.kill()
        assert link(a)["mtu"] == 1400, "it outlives a crash"
        a.start()
        a.client.up(MAIN)
        a.wait_up(MAIN)
        wait_for(a, WIDE)
        locals_ = {entry["local"] for entry in link(a)["addr_info"]}
        assert {*ENDS[0], "10.99.0.1"} <= locals_, "an address of somebody else's stays"
        assert link(a)["mtu"] == fits(WIDE)
        a.stop()
        assert ga.run(["ip", "-o", "link"]).stdout.count(f"{DEVICE}@") == 0
        assert "blackhole 10.1.2.0/24" in ga.run(["ip", "route"]).stdout
        a.start()
        a.wait_ready()
        a.kill()
        ga.run([sys.executable, "-m", "xfrmctl", "cleanup"])
        left = [line for line in ga.run(["ip", "-o", "link"]).stdout.splitlines() if "@NONE" not in line]
        assert [line.split(":")[1] for line in left] == [
            line.split(":")[1] for line in before.splitlines() if "@NONE" not in line
        ]
        assert "xfrmctl" not in ga.run(["nft", "list", "tables"]).stdout
        assert not ga.run(["ip", "xfrm", "policy"]).stdout


def test_a_device_of_that_name_is_nobodys_but_its_owners(topology: Topology) -> None:
    ga = topology.ns("ga")
    ga.batch([f"link add {DEVICE} type dummy"])
    try:
        with Gateway(ga, config(0)) as a:
            eventually("the name is taken", lambda: any("ip link delete gre1" in p for p in a.status().kernel.problems))
            shown = ga.run(["ip", "-d", "link", "show", DEVICE]).stdout
            assert "dummy" in shown and "alias" not in shown and "UP" not in shown
        assert "dummy" in ga.run(["ip", "-d", "link", "show", DEVICE]).stdout
    finally:
        ga.batch([f"link delete {DEVICE}"])


@pytest.mark.parametrize(("outer", "esp", "device"), [(4, SUITE, {}), (6, "aes128-sha256", {"key": 7})])
def test_no_black_hole_and_up_again(topology: Topology, outer: int, esp: str, device: dict[str, Any]) -> None:
    ha = topology.ns("ha")
    narrow, wide = (fits(size, outer=outer, esp=esp, **device) for size in (NARROW, WIDE))
    with gateways(topology, outer=outer, esp=esp, **device) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        with silence(topology), flowing(topology) as flows:
            squeeze(topology, NARROW)
            for flow in flows:
                assert flow.moves(60)
            for gateway in (a, b):
                wait_for(gateway, NARROW)
                eventually("the device follows", partial(has_mtu, gateway, narrow))
            assert passes(ha, HOST_B[0], narrow)
            assert not passes(ha, HOST_B[0], narrow + 1)
            squeeze(topology, WIDE)
            for gateway in (a, b):
                wait_for(gateway, WIDE)
                eventually("the device follows", partial(has_mtu, gateway, wide))
            for flow in flows:
                assert flow.moves(30)
        ha.run(["ip", "route", "flush", "cache"])
        assert passes(ha, HOST_B[0], wide)


def test_what_was_very_narrow_is_forgotten(topology: Topology) -> None:
    """The kernel locks a size below 552 bytes for ten minutes once a packet has met it."""
    ha = topology.ns("ha")
    squeeze(topology, 576)
    with gateways(topology) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, 576)
        assert fits(576) < 552
        assert passes(ha, HOST_B[0], fits(576)) and not passes(ha, HOST_B[0], fits(WIDE))
        squeeze(topology, WIDE)
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        ha.run(["ip", "route", "flush", "cache"])
        assert passes(ha, HOST_B[0], fits(WIDE))


@pytest.mark.parametrize(("outer", "encap", "narrow"), [(4, "auto", 1300), (4, "always", 1000), (6, "auto", 1280)])
def test_ipv6_inside_goes_on_where_less_than_1280_bytes_fit(
    topology: Topology, outer: int, encap: str, narrow: int
) -> None:
    """The device keeps the 1280 bytes without which the kernel has no IPv6 on it; IPv4 is told what fits."""
    ha, hb = topology.ns("ha"), topology.ns("hb")
    with gateways(topology, outer=outer, ike={"encap": encap}) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        with flowing(topology):
            squeeze(topology, narrow)
            for gateway in (a, b):
                wait_for(gateway, narrow)
        most, least = (fits(size, outer=outer, encap=encap == "always") for size in (WIDE, narrow))
        assert least < 1280 <= most
        for gateway in (a, b):
            eventually("the device follows", partial(has_mtu, gateway, 1280))
        for host in (ha, hb):
            host.run(["ip", "route", "flush", "cache"])
        assert passes(ha, HOST_B[0], least) and not passes(ha, HOST_B[0], least + 1)
        for address, host in ((HOST_B[1], ha), (ENDS[1][1], a.namespace)):
            assert passes(host, address, 1280) == (outer == 4), "no router, and no kernel, fragments IPv6 outside"
            assert passes(host, address, least)
        said = "this gateway fragments it" if outer == 4 else "no router fragments IPv6 outside"
        eventually("show says so", lambda: said in a.ctl_text("show", "--json").stdout)
        with Capture(hb, "eth0") as inside, Capture(topology.ns("r"), "ra") as outside:
            for address in HOST_B:
                assert traffic.transfer(ha, hb, address, size=200_000).complete
        assert outside.report.problems() == []
        assert {syn.mss for syn in inside.report.syns if str(syn.src) in HOST_A} == {least - 40, least - 60}
        squeeze(topology, WIDE)
        for gateway in (a, b):
            wait_for(gateway, WIDE)
            eventually("the device follows", partial(has_mtu, gateway, most))
        for host in (ha, hb):
            host.run(["ip", "-6", "route", "flush", "cache"])
        assert passes(ha, HOST_B[1], most)


def test_ipip(topology: Topology) -> None:
    """IPv4 in IPv4 and in IPv6; what is not IPv4 goes another way, or none."""
    for outer in (4, 6):
        device: dict[str, Any] = {"type": "ipip", "addresses": None, "routes": None}
        with gateways(topology, outer=outer, **device) as (a, b):
            for gateway, side in ((a, 0), (b, 1)):
                wait_for(gateway, WIDE)
                gateway.namespace.batch([f"address add {ENDS[side][0]}/30 dev {DEVICE}"])
            largest = fits(WIDE, outer=outer, type="ipip")
            assert [link(g)["mtu"] for g in (a, b)] == [largest, largest]
            assert passes(a.namespace, ENDS[1][0], largest)
            with Capture(topology.ns("r"), "ra") as outside:
                assert passes(b.namespace, ENDS[0][0], largest)
            assert outside.report.problems() == [] and not outside.report.others
            no_alarm(a, b)


def bad_route(topology: Topology, outer: int) -> str:
    """The peer's network, led into the tunnel: a line for ``ip -batch``."""
    return f"route add {'172.16.2.0/24' if outer == 4 else 'fd16:2::/64'} dev {DEVICE} metric 1"


@pytest.mark.parametrize("outer", [4, 6])
def test_a_route_of_the_peer_into_its_own_tunnel_is_not_followed_and_named(topology: Topology, outer: int) -> None:
    ga, ha = topology.ns("ga"), topology.ns("ha")
    peer = OUTER_B[0 if outer == 4 else 1]
    with gateways(topology, outer=outer) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        ga.batch([bad_route(topology, outer)])
        eventually("it is named", lambda: any("recursive routing" in p for p in a.status().kernel.problems))
        assert f"route to {peer}" in a.ctl_text("show").stdout
        assert "a route to the peer leads into it" in a.ctl_text("show").stdout
        text = a.metrics()
        assert f'xfrmctl_tunnel_recursive_route{{child="gre",connection="main",interface="{DEVICE}"}} 1.0' in text
        (told,) = [line for line in a.log_lines() if "recursive routing" in line]
        assert "its packets go via" in told and "dev wan" in told and "keep the network of" in told
        assert passes(ha, HOST_B[0], fits(WIDE, outer=outer)), "and the tunnel works"
        a.client.rekey(MAIN)
        assert f"{peer} via" in ga.run(["ip", "-4" if outer == 4 else "-6", "route", "show", "table", "158"]).stdout
        # Somebody takes our rule away: it is back before anything else would have been noticed.
        ga.run(["ip", "-4" if outer == 4 else "-6", "rule", "delete", "pref", "158"])
        eventually("the rule is mended", lambda: "158:" in ga.run(["ip", "-4" if outer == 4 else "-6", "rule"]).stdout)
        assert passes(ha, HOST_B[0], fits(WIDE, outer=outer))
        # The daemon forgets all, and begins with the bad route there.
        a.kill()
        a.start()
        a.client.up(MAIN)
        a.wait_up(MAIN)
        assert passes(ha, HOST_B[0], fits(WIDE, outer=outer))
        ga.batch([bad_route(topology, outer).replace(" add ", " delete ")])
        eventually("it is over", lambda: not a.status().kernel.problems)
        assert any("leads into it no more" in line for line in a.log_lines())


def test_packets_led_into_their_own_tunnel_are_counted_and_named(topology: Topology) -> None:
    """The fact that detection rests on: the kernel drops them and counts a collision."""
    ga = topology.ns("ga")
    with gateways(topology) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        a.namespace.run(["kill", "-STOP", str(a.pid)])
        ga.batch([bad_route(topology, 4), "rule delete pref 158"])
        assert not passes(ga, ENDS[1][0], 100)
        counted = json.loads(ga.run(["ip", "-s", "-j", "link", "show", "dev", DEVICE]).stdout)[0]["stats64"]["tx"]
        assert counted["collisions"] > 0
        a.namespace.run(["kill", "-CONT", str(a.pid)])
        eventually("it is named", lambda: any("were dropped" in line for line in a.log_lines()))
        eventually("and mended", lambda: passes(ga, ENDS[1][0], 100))
        assert "led into itself and dropped" in a.ctl_text("show").stdout


@contextmanager
def esp_dropped(topology: Topology, outer: int) -> Iterator[None]:
    """The router lets no ESP through while the block runs; IKE passes."""
    tool, proto = ("iptables", "esp") if outer == 4 else ("ip6tables", "esp")
    rule = ["FORWARD", "-p", proto, "-j", "DROP"]
    topology.ns("r").run([tool, "-w", "-I", *rule])
    try:
        yield
    finally:
        topology.ns("r").run([tool, "-w", "-D", *rule])


@pytest.mark.parametrize(("outer", "key"), [(4, None), (6, 9)])
def test_the_device_is_up_while_keepalives_are_answered(topology: Topology, outer: int, key: int | None) -> None:
    ha, ga = topology.ns("ha"), topology.ns("ga")
    with gateways(topology, outer=outer, keepalive="1s", key=key) as (a, b):
        device: dict[str, Any] = {"key": key}

        def routed() -> bool:
            return DEVICE in ga.run(["ip", "route", "get", HOST_B[0]], check=False).stdout

        for gateway in (a, b):
            wait_for(gateway, WIDE)
            eventually("the far end answers", lambda gateway=gateway: "UP" in link(gateway)["flags"])  # type: ignore[misc]
        assert passes(ha, HOST_B[0], fits(WIDE, outer=outer, **device)) and routed()
        with Capture(topology.ns("r"), "ra") as outside, esp_dropped(topology, outer):
            eventually("both ends notice", lambda: "UP" not in link(a)["flags"] and "UP" not in link(b)["flags"])
            assert not routed(), "routes through it go with it"
            assert "blackhole" in ga.run(["ip", "route", "show", INNER_B[0]]).stdout, "and nothing leaves in clear"
            assert "keepalives: unanswered" in a.ctl_text("show").stdout
            assert any("though IKE passes" in line for line in a.log_lines())
            down = 'xfrmctl_tunnel_up{child="gre",connection="main",interface="gre1"} 0.0'
            eventually("the device is looked at four times a second", lambda: down in a.metrics())
            passes(ha, HOST_B[0], 100)
        assert outside.report.problems() == [] and not outside.report.others
        eventually("and again", lambda: "UP" in link(a)["flags"] and "UP" in link(b)["flags"])
        eventually("everything is back", lambda: routed() and passes(ha, HOST_B[0], fits(WIDE, outer=outer, **device)))
        assert {ENDS[0][0], ENDS[0][1]} <= {entry["local"] for entry in link(a)["addr_info"]}
        b.stop()
        eventually("the SA is gone", lambda: "UP" not in link(a)["flags"])


def test_a_peer_without_us_returns_keepalives_where_it_accepts_its_own_address(topology: Topology) -> None:
    """As a router does it: what comes out of the tunnel is forwarded, here by the kernel alone."""
    with gateways(topology, keepalive="1s") as (a, b):
        eventually("up", lambda: "UP" in link(a)["flags"] and "UP" in link(b)["flags"])
        b.namespace.sysctl({"net.ipv4.conf.all.accept_local": 1, f"net.ipv4.conf.{DEVICE}.accept_local": 1})
        b.namespace.run(["kill", "-STOP", str(b.pid)])
        before = a.client.connection(MAIN).children[0].tunnel
        assert before is not None
        eventually("the kernel answers", lambda: _answered(a) > before.keepalives_answered + 3)
        assert "UP" in link(a)["flags"]
        b.namespace.run(["kill", "-CONT", str(b.pid)])


def _answered(gateway: Gateway) -> int:
    tunnel = gateway.client.connection(MAIN).children[0].tunnel
    assert tunnel is not None
    return tunnel.keepalives_answered
