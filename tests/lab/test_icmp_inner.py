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

from tests.lab.kernel_gateway import GCM, TUNNEL_MTU, gateways
from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, text
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import HOST_A, HOST_B, Topology
from xfrmctl.model.sa import DataPlane
from xfrmctl.pmtu.overhead import inner_mtu

pytestmark = pytest.mark.lab

GATEWAY_A, GATEWAY_B = ("10.1.1.1", "fd10:1::1"), ("10.1.2.1", "fd10:2::1")
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
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
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
        Gateway(topology.ns("ga"), text({MAIN: connection(0, {LAN: lan(0, "interface")})})) as a,
        Gateway(gb, text({MAIN: connection(1, {LAN: lan(1, "interface")})})) as b,
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
