"""ICMP errors of the gateway itself to hosts of the inner networks: whence, with which MTU, and never in clear."""

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from tests.lab.kernel_gateway import GCM, TUNNEL_MTU, gateways, inside
from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, text
from xfrmctl.kernel.desired import Desired
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import HOST_A, HOST_B, Topology
from xfrmctl.model.sa import DataPlane
from xfrmctl.pmtu.overhead import inner_mtu

pytestmark = pytest.mark.lab

GATEWAY_A, GATEWAY_B = ("10.1.1.1", "fd10:1::1"), ("10.1.2.1", "fd10:2::1")
SO_RCVBUFFORCE = 33
_RAW = ((socket.AF_INET, socket.IPPROTO_ICMP), (socket.AF_INET6, socket.IPPROTO_ICMPV6))


@dataclass(frozen=True, slots=True)
class Error:
    """A frag-needed or a Packet Too Big as a host has got it."""

    source: str
    mtu: int
    about: str


class Ears:
    """Path-MTU errors that arrive at a host."""

    def __init__(self, host: Namespace) -> None:
        self._sockets = [host.socket(family, socket.SOCK_RAW, protocol) for family, protocol in _RAW]
        for sock in self._sockets:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
            sock.setblocking(False)

    def heard(self, wait_s: float = 0.3) -> list[Error]:
        """All that came since the last time; ends when nothing has come for a while."""
        found: list[Error] = []
        while ready := select.select(self._sockets, [], [], wait_s)[0]:
            for sock in ready:
                data, sender = sock.recvfrom(2048)
                if sock.family == socket.AF_INET:
                    data = data[20:]
                    if data[:2] == b"\x03\x04":
                        (mtu,) = struct.unpack_from("!H", data, 6)
                        found.append(Error(sender[0], mtu, str(ip_address(data[24:28]))))
                elif data[0] == 2:
                    (mtu,) = struct.unpack_from("!I", data, 4)
                    found.append(Error(sender[0], mtu, str(ip_address(data[32:48]))))
        return found

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@contextmanager
def listening(host: Namespace) -> Iterator[Ears]:
    ears = Ears(host)
    try:
        yield ears
    finally:
        ears.close()


def send_large(host: Namespace, address: str, size: int = 1480, count: int = 1) -> None:
    """UDP in IP packets of ``size`` bytes with DF, whatever the host has learned (IP_PMTUDISC_PROBE)."""
    v6 = ":" in address
    with host.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, 23 if v6 else 10, 3)
        for _ in range(count):
            sock.sendto(bytes(size - (48 if v6 else 28)), (address, 9))


@pytest.mark.parametrize("plane", list(DataPlane))
@pytest.mark.parametrize("outer", [4, 6])
def test_the_gateways_inner_address_tells_the_inner_mtu(topology: Topology, plane: DataPlane, outer: int) -> None:
    mtu = inner_mtu(1500, GCM, outer, encap=False) if plane is DataPlane.POLICY else TUNNEL_MTU
    with gateways(topology, plane=plane, outer=outer) as both, listening(topology.ns("ha")) as ears:
        for one in both:
            one.converge(one.desired())
            one.kernel.install(one.sas())
        for inbound in (0, 1):
            topology.ns("ga").sysctl({"net.ipv4.icmp_errors_use_inbound_ifaddr": inbound})
            for mine, theirs in zip(GATEWAY_A, HOST_B, strict=True):
                send_large(topology.ns("ha"), theirs)
                assert ears.heard() == [Error(mine, mtu, theirs)]


@pytest.mark.rfc("4301", "6.2")
@pytest.mark.parametrize("plane", list(DataPlane))
def test_an_error_about_a_packet_out_of_the_tunnel_goes_back_into_it(topology: Topology, plane: DataPlane) -> None:
    """Behind gateway B links are narrower than the tunnel: host A must hear of it, and nobody else may.

    The plain route to host A leads to the underlay, and the source on it is the outer address, which no policy selects.
    """
    for node, dev in (("gb", "lan"), ("hb", "eth0")):
        topology.set_link_mtu(node, dev, 1300)
    with gateways(topology, plane=plane) as both, listening(topology.ns("ha")) as ears:
        for one in both:
            one.converge(one.desired())
            one.kernel.install(one.sas())
        with Capture(topology.ns("r"), "rb") as capture:
            for address in HOST_B:
                send_large(topology.ns("ha"), address, size=1350)
                heard = ears.heard()
                assert [(error.mtu, error.about) for error in heard] == [(1300, address)]
            topology.ns("hb").batch(["link set eth0 down"])  # and host unreachable, which quotes as much
            for address in HOST_B:
                traffic.ping(topology.ns("ha"), address, count=2, wait_s=1)
            time.sleep(3)
        assert capture.report.problems() == []


def test_the_daemon_speaks_from_the_inside_and_again_when_its_address_was_away(topology: Topology) -> None:
    """With an address the kernel takes away the routes whose source it is, without a word about them."""
    gb = topology.ns("gb")
    with (
        Gateway(gb, text({MAIN: connection(1, {LAN: lan(1, "interface")})})) as b,
        Gateway(topology.ns("ga"), text({MAIN: connection(0, {LAN: lan(0, "interface")})})) as a,
    ):
        assert a.client.up(MAIN).ok
        b.wait_up(MAIN)

        def sources() -> list[bool]:
            said = gb.run(["ip", "route", "show", "proto", "158"]).stdout
            said += gb.run(["ip", "-6", "route", "show", "proto", "158"]).stdout
            return [f"src {address} " in said for address in GATEWAY_B]

        assert sources() == [True, True]
        for address in (*HOST_A, *GATEWAY_A):
            assert traffic.ping(gb, address, count=2).loss == 0, "the gateway itself is heard at the other end"
        gb.batch([f"address del {GATEWAY_B[0]}/24 dev lan", f"address add {GATEWAY_B[0]}/24 dev lan"])
        eventually("the route is back", lambda: sources() == [True, True], timeout_s=20)
        assert traffic.ping(topology.ns("ha"), HOST_B[0], count=2).loss == 0


def dropped_by(gateway: Namespace, *rules: str) -> None:
    for rule in rules:
        gateway.run(rule.split())


@pytest.mark.parametrize("plane", list(DataPlane))
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["iptables -P OUTPUT DROP", "ip6tables -P OUTPUT DROP"], "the policy of OUTPUT in the table filter"),
        (
            [
                f"{tool} -A OUTPUT -o lan -m conntrack --ctstate NEW,RELATED -j DROP"
                for tool in ("iptables", "ip6tables")
            ],
            "-A OUTPUT -o lan -m conntrack --ctstate NEW,RELATED -j DROP] in the table filter",
        ),
        (
            [
                "nft add table inet z",
                "nft add chain inet z o { type filter hook output priority 10; }",
                "nft add rule inet z o icmp type destination-unreachable drop",
                "nft add rule inet z o icmpv6 type packet-too-big drop",
            ],
            "No rule of iptables does it, so look at nft list ruleset",
        ),
    ],
)
def test_a_firewall_that_eats_the_errors_is_named(
    topology: Topology, plane: DataPlane, rules: list[str], said: str
) -> None:
    ha, ga_ns = topology.ns("ha"), topology.ns("ga")
    with gateways(topology, plane=plane) as both, listening(ha) as ears:
        ga, _ = both
        for one in both:
            one.converge(one.desired())
            one.kernel.install(one.sas())

        def complaints() -> list[str]:
            for address in HOST_B:
                send_large(ha, address, count=5)
            ears.heard()
            with inside(ga_ns):
                return list(ga.kernel.converge(ga.desired()).problems)

        assert complaints() == []
        keep = (f"ip6tables -A OUTPUT -p icmpv6 --icmpv6-type {kind} -j ACCEPT" for kind in (135, 136))
        dropped_by(ga_ns, *keep)  # neighbour discovery must go on
        dropped_by(ga_ns, *rules)
        found = complaints()
        assert len(found) == 2 and all("5 of 5 since the last look" in text for text in found), found
        assert all(said in text for text in found), found
        with inside(ga_ns):  # no error meanwhile: nothing says that it is better
            assert list(ga.kernel.converge(ga.desired()).problems) == found
        ga_ns.run(["nft", "delete", "table", "inet", "z"], check=False)
        for tool in ("iptables", "ip6tables"):
            dropped_by(ga_ns, f"{tool} -P OUTPUT ACCEPT", f"{tool} -F OUTPUT")
        assert complaints() == []


def test_a_host_that_sends_too_much_is_told_at_a_limited_rate_and_the_others_as_ever(topology: Topology) -> None:
    """The kernel itself has no limit here, with the settings that it begins with; so nobody's errors are lost."""
    ha, ga_ns = topology.ns("ha"), topology.ns("ga")
    ha.batch(["address add 10.1.1.11/24 dev eth0", "address add fd10:1:0:0:8000::11/64 dev eth0 nodad"])
    ga_ns.sysctl({"net.ipv4.icmp_ratelimit": 1000, "net.ipv6.icmp.ratelimit": 1000})
    with gateways(topology) as both, listening(ha) as ears:
        for one in both:
            one.kernel.install(one.sas())
        policies = both[0].desired()
        with inside(ga_ns):
            assert both[0].kernel.change(Desired(), policies).problems == ()  # none of our rules yet
        for address in HOST_B:
            send_large(ha, address, count=1000)
            assert len(ears.heard()) == 1000
        for one in both:
            one.converge(one.desired())
        for address in HOST_B:
            send_large(ha, address, count=1000)
            assert 200 <= len(ears.heard()) < 900
        with ha.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("10.1.1.11", 0))
            other.setsockopt(socket.IPPROTO_IP, 10, 3)
            send_large(ha, HOST_B[0], count=1000)
            other.sendto(bytes(1450), ("10.1.2.99", 9))
            about = [error.about for error in ears.heard()]
        assert about.count("10.1.2.99") == 1 and about.count(HOST_B[0]) < 900


def test_a_branch_that_sends_everything_to_its_hub_still_tells_its_own_hosts(topology: Topology) -> None:
    """The SPD would take the errors for traffic to the other side, and neighbours could not be found."""
    ha, everything = topology.ns("ha"), ["0.0.0.0/0", "::/0"]
    branch = lan(0, remote_ts=everything)
    hub = lan(1, local_ts=everything)
    with (
        Gateway(topology.ns("gb"), text({MAIN: connection(1, {LAN: hub})})) as b,
        Gateway(topology.ns("ga"), text({MAIN: connection(0, {LAN: branch})})) as a,
        listening(ha) as ears,
    ):
        assert a.client.up(MAIN).ok
        b.wait_up(MAIN)
        for mine, theirs in zip(GATEWAY_A, HOST_B, strict=True):
            assert traffic.ping(ha, theirs, count=2).loss == 0
            topology.ns("ga").run(["ip", "neigh", "flush", "dev", "lan"])
            with Capture(topology.ns("r"), "ra") as capture:
                send_large(ha, theirs)
                heard = ears.heard(wait_s=1)
            assert [(error.source, error.about) for error in heard] == [(mine, theirs)]
            assert capture.report.problems(esp_expected=False) == []
