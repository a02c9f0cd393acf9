"""IKE's sockets: no policy stands in their way, and ESP in UDP does not come up through them."""

import socket
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.lab.kernel_gateway import PRIORITY, gateways, inside
from xfrmctl.kernel.desired import Action, Desired, Policy, PolicyKey
from xfrmctl.kernel.events import Mapping
from xfrmctl.kernel.sockets import bypass_policies, decapsulate_esp
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.topology import HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.model.address import Endpoint
from xfrmctl.model.sa import Direction, Encap

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_ike_passes_a_policy_that_covers_the_peer(topology: Topology, family: int) -> None:
    ours, peer = OUTER_A[family], OUTER_B[family]
    a, b = ip_network(ours), ip_network(peer)
    af = (socket.AF_INET, socket.AF_INET6)[family]
    with gateways(topology) as (ga, gb):
        keys = [PolicyKey(Direction.OUT, a, b), PolicyKey(Direction.IN, b, a)]
        ga.converge(Desired({key: Policy(key, Action.BLOCK, PRIORITY) for key in keys}))
        with ga.ns.socket(af, socket.SOCK_DGRAM) as mine, gb.ns.socket(af, socket.SOCK_DGRAM) as theirs:
            for sock, address in ((mine, ours), (theirs, peer)):
                sock.bind((address, 500))
                sock.settimeout(1)
            with pytest.raises(OSError):
                mine.sendto(b"blocked", (peer, 500))
            bypass_policies(mine)
            mine.sendto(b"passes", (peer, 500))
            assert theirs.recv(100) == b"passes"
            theirs.sendto(b"answer", (ours, 500))
            assert mine.recv(100) == b"answer"


@pytest.mark.rfc("3948", "2.1")
@pytest.mark.rfc("7296", "2.23")
def test_esp_in_udp_is_taken_off_the_socket(topology: Topology) -> None:
    with gateways(topology) as both:
        sockets = []
        for gateway in both:
            gateway.converge(gateway.desired())
            gateway.kernel.install(gateway.sas(encap=Encap(4500, 4500)))
            sock = gateway.ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            decapsulate_esp(sock)
            sock.bind(("0.0.0.0", 4500))
            sockets.append(sock)
        try:
            with Capture(topology.ns("r"), "rb") as capture:
                for address in HOST_B:
                    assert traffic.ping(topology.ns("ha"), address).loss == 0
            assert capture.report.problems() == []
            assert capture.report.counts[Kind.UDP_ESP] == 12 and capture.report.counts[Kind.ESP] == 0
            for sock in sockets:
                with pytest.raises(BlockingIOError):
                    sock.recv(2000)
            sockets[0].sendto(bytes(4) + b"ike", (OUTER_B[0], 4500))
            sockets[1].settimeout(2)
            assert sockets[1].recv(100) == bytes(4) + b"ike"
        finally:
            for sock in sockets:
                sock.close()


def test_a_new_source_port_is_reported(topology: Topology) -> None:
    """The peer's NAT gives it another port: the kernel says so (XFRM_MSG_MAPPING) once a packet has authenticated."""
    with gateways(topology) as (ga, gb):
        with inside(gb.ns):
            events = gb.kernel.open_events()
        sockets = []
        for gateway, port in ((ga, 4500), (gb, 4500)):
            gateway.converge(gateway.desired())
            sock = gateway.ns.socket(socket.AF_INET, socket.SOCK_DGRAM)
            decapsulate_esp(sock)
            sock.bind(("0.0.0.0", port))
            sockets.append(sock)
        try:
            ga.kernel.install(ga.sas(encap=Encap(4500, 4500)))
            gb.kernel.install(
                [
                    (replace(sa, encap=Encap(32000, 4500)) if sa.direction is Direction.IN else sa, keys)
                    for sa, keys in gb.sas(encap=Encap(4500, 4500))
                ]
            )
            traffic.ping(topology.ns("ha"), HOST_B[0], count=2, wait_s=1)
            [mapping, *_] = events.read()
            peer = ip_address(OUTER_A[0])
            inbound = next(sa.id for sa, _ in gb.sas() if sa.direction is Direction.IN)
            assert mapping == Mapping(inbound, old=Endpoint(peer, 32000), new=Endpoint(peer, 4500))
        finally:
            events.close()
            for sock in sockets:
                sock.close()
