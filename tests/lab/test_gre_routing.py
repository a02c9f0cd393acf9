"""Over a GRE device: multicast, a routing daemon, and a far end that is strongSwan with a device made by hand."""

import socket
import struct
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.lab.interop import Bench, Leg, Tunnel
from tests.lab.test_gre import DEVICE, ENDS, bad_route, fits, gateways, link
from tests.lab.test_path_mtu import NARROW, WIDE, passes, silence, squeeze, wait_for
from tests.lab.tunnel import eventually, no_alarm
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.peers.bird import Bird
from xfrmctl.lab.topology import HOST_B, INNER_A, INNER_B, Topology

pytestmark = pytest.mark.lab
VIRTUAL_TIME = True

PING = bytes(range(0x18, 0x38))
"""What ping puts into its packets."""

OSPF = """\
log stderr all;
router id {router};
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; interface "lan"; }}
protocol kernel {{ ipv4 {{ import none; export where source ~ [ RTS_OSPF ]; }}; }}
protocol ospf v2 {{
    ipv4 {{ import all; export where source = RTS_DEVICE; }};
    area 0 {{ interface "{device}" {{ type ptp; hello 1; dead 4; }}; interface "lan" {{ stub; }}; }};
}}
protocol ospf v3 {{
    ipv6;
    area 0 {{ interface "{device}" {{ type ptp; hello 1; dead 4; }}; interface "lan" {{ stub; }}; }};
}}
protocol kernel {{ ipv6 {{ import none; export where source ~ [ RTS_OSPF ]; }}; }}
"""


def ospf(router: str) -> str:
    """OSPF for both families over the device, by multicast alone."""
    return OSPF.format(router=router, device=DEVICE)


def full(router: Bird, protocol: str) -> bool:
    """Whether the only neighbour's adjacency is complete."""
    return "Full/PtP" in router.ask("show", "ospf", "neighbors", protocol)


def hears(namespace: Namespace, group: str, sender: Namespace) -> bool:
    """Whether a datagram to a multicast group arrives over the device."""
    family = socket.AF_INET if ip_address(group).version == 4 else socket.AF_INET6
    with namespace.socket(family, socket.SOCK_DGRAM) as ear, sender.socket(family, socket.SOCK_DGRAM) as mouth:
        ear.settimeout(5)
        ear.bind(("", 5005))
        at, here = (int(n.run(["cat", f"/sys/class/net/{DEVICE}/ifindex"]).stdout) for n in (namespace, sender))
        if family == socket.AF_INET:
            member = struct.pack("=4s4si", ip_address(group).packed, bytes(4), at)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), here))
        else:
            ear.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("=16si", ip_address(group).packed, at)
            )
            mouth.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, here)
        mouth.sendto(b"to whom it may concern", (group, 5005))
        return ear.recv(100) == b"to whom it may concern"


def believed(bench: Bench) -> tuple[int, str]:
    """What our end believes of the path to charon, and by whose word."""
    (child,) = bench.children()
    assert child.mtu is not None
    return child.mtu.outer_mtu, child.mtu.source


def test_multicast_and_ospf_find_the_other_end_and_its_networks(topology: Topology) -> None:
    ga, gb, ha = topology.ns("ga"), topology.ns("gb"), topology.ns("ha")
    with gateways(topology, routes=None) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        for gateway_ns, networks in ((ga, INNER_B), (gb, INNER_A)):  # until a route is learned, and when it is gone
            gateway_ns.batch([f"route add blackhole {network} metric 4000000000" for network in networks])
        for group in ("239.1.2.3", "ff02::1:3"):
            assert hears(gb, group, ga)
        assert not passes(ha, HOST_B[0], 100), "nobody has routed anything yet"
        with (
            Capture(topology.ns("r"), "ra") as outside,
            Bird(ga, ospf("10.255.0.1")) as here,
            Bird(gb, ospf("10.255.0.2")),
        ):
            for version in ("ospf1", "ospf2"):
                eventually(version, partial(full, here, version))
            for address in HOST_B:
                eventually(f"{address} is reached", partial(passes, ha, address, fits(WIDE)))
            no_alarm(a, b)
            assert "proto bird" in ga.run(["ip", "route", "get", HOST_B[0]]).stdout + ga.run(["ip", "route"]).stdout
            # The device goes down, and with it the neighbour and the routes; it is mended, and all comes back.
            ga.batch([f"link set {DEVICE} down"])
            eventually("the neighbour is gone", lambda: not full(here, "ospf1"))
            a.client.reload()
            eventually("it is back", lambda: full(here, "ospf1"))
            # A neighbour that learns the peer's own network over the tunnel: the classic trap.
            ga.batch([bad_route(topology, 4)])
            eventually("it is named", lambda: any("recursive routing" in p for p in a.status().kernel.problems))
            eventually("and works", partial(passes, ha, HOST_B[0], fits(WIDE)))
            assert full(here, "ospf1")
        assert outside.report.problems() == [] and not outside.report.others


@pytest.mark.parametrize("outer", [4, 6])
def test_strongswan_with_a_device_made_by_hand(outer: int) -> None:
    at = 0 if outer == 4 else 1
    with Bench.running() as bench, bench.told():
        there, topology = bench.peer.namespace, bench.topology
        kind = "gre pmtudisc" if outer == 4 else "ip6gre encaplimit none"
        bench.arrange(
            Tunnel(
                outer=outer,
                legs=[
                    Leg(
                        mode="transport",
                        charon_mode="transport",
                        charon_near=["dynamic[gre]"],
                        charon_far=["dynamic[gre]"],
                        tunnel={
                            "interface": DEVICE,
                            "addresses": [f"{ENDS[0][0]}/30", f"{ENDS[0][1]}/64"],
                            "routes": ["10.1.2.0/24"],
                            "key": 77,
                        },
                    )
                ],
            )
        )
        bench.bring_up("ours")
        largest = fits(WIDE, outer=outer, esp="aes128gcm16", key=77)
        there.batch(
            [
                f"link add g7 type {kind} local {bench.peer_outer[at]} remote {bench.our_seen[at]} key 77 ttl 64",
                f"link set g7 up mtu {largest}",
                f"address add {ENDS[1][0]}/30 dev g7",
                f"address add {ENDS[1][1]}/64 dev g7",
                "route add 10.1.1.0/24 dev g7",
            ]
        )
        ga, ha = bench.ours.namespace, topology.ns("ha")
        eventually("the path is known", lambda: believed(bench) == (WIDE, "probe"))
        assert link(bench.ours)["mtu"] == largest
        bench.no_alarm()
        with Capture(topology.ns("r"), "ra") as outside:
            assert passes(ga, ENDS[1][0], largest) and passes(ha, HOST_B[0], largest)
            assert not passes(ga, ENDS[1][0], largest + 1)
            if outer == 4:
                assert passes(ga, ENDS[1][1], largest)
            with silence(topology):
                squeeze(topology, NARROW)
                narrow = fits(NARROW, outer=outer, esp="aes128gcm16", key=77)
                eventually(
                    "the path is found",
                    lambda: not passes(ga, ENDS[1][0], largest) and believed(bench) == (NARROW, "probe"),
                )
                eventually("the device follows", lambda: link(bench.ours)["mtu"] == narrow)
                there.batch([f"link set g7 mtu {narrow}"])
                assert passes(ha, HOST_B[0], narrow) and not passes(ha, HOST_B[0], narrow + 1)
        assert outside.report.problems() == [] and not outside.report.others


@pytest.mark.parametrize("outer", [4, 6])
def test_what_comes_for_a_device_that_is_down_is_not_quoted_in_clear(
    topology: Topology, tmp_path: Path, outer: int
) -> None:
    """The kernel answers with an ICMP error that quotes the packet as it was decrypted: that goes into ESP, too."""
    ga, gb = topology.ns("ga"), topology.ns("gb")
    with gateways(topology, outer=outer) as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        b.namespace.run(["kill", "-STOP", str(b.pid)])  # who would put everything in order at once
        gb.batch([f"link set {DEVICE} down"])
        keep = tmp_path / "quoted.pcap"
        with Capture(topology.ns("r"), "ra", keep=keep) as outside:
            assert not passes(ga, ENDS[1][0], 500)
        b.namespace.run(["kill", "-CONT", str(b.pid)])
        assert outside.report.problems() == []
        assert PING not in keep.read_bytes()


@pytest.mark.parametrize("outer", [4, 6])
def test_a_bare_kernel_quotes_in_clear(tmp_path: Path, outer: int) -> None:
    """The fact behind it: policies without XFRM_POLICY_ICMP, here charon's, and a device that is not there."""
    with Bench.running() as bench, bench.told():
        topology, there = bench.topology, bench.peer.namespace
        device = {"interface": DEVICE, "addresses": [f"{ENDS[0][0]}/30"]}
        theirs = ["dynamic[gre]"]
        leg = Leg(mode="transport", charon_mode="transport", charon_near=theirs, charon_far=theirs, tunnel=device)
        bench.arrange(Tunnel(outer=outer, legs=[leg]))
        bench.bring_up("ours")
        there.run(["modprobe", "ip_gre"], check=False)
        keep = tmp_path / "quoted.pcap"
        with Capture(topology.ns("r"), "ra", keep=keep):
            assert not passes(bench.ours.namespace, ENDS[1][0], 500)
        assert PING in keep.read_bytes(), "a kernel that does not would need no such flag"
