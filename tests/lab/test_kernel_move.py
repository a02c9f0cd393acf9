"""SAs whose peer has moved, in the real kernel: new ports or addresses, the same sequence numbers and replay window."""

import re
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.lab.kernel_gateway import SUITES, Gateway, gateways, inside
from xfrmctl.kernel.netlink.move import OSEQ_MARGIN
from xfrmctl.kernel.sockets import decapsulate_esp
from xfrmctl.lab import traffic
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import HOST_A, HOST_B, Topology
from xfrmctl.model.address import IPAddress
from xfrmctl.model.sa import Direction, Encap, KernelSa, SaKeys, SaMove

pytestmark = pytest.mark.lab

ENCAP = Encap(4500, 4500)


def encapsulated(gateway: Gateway, suite: str) -> list[tuple[KernelSa, SaKeys]]:
    return list(gateway.sas(SUITES[suite], encap=ENCAP))


def moves(gateway: Gateway, peer: IPAddress, peer_port: int) -> tuple[SaMove, ...]:
    """The peer of this gateway is elsewhere."""
    found = []
    for sa, _ in gateway.sas():
        out = sa.direction is Direction.OUT
        found.append(
            SaMove(
                id=sa.id,
                direction=sa.direction,
                source=gateway.local if out else peer,
                destination=peer if out else gateway.local,
                encap=Encap(4500, peer_port) if out else Encap(peer_port, 4500),
            )
        )
    return tuple(found)


def states(namespace: Namespace) -> str:
    return namespace.run(["ip", "-s", "xfrm", "state"]).stdout


def numbers(namespace: Namespace) -> dict[str, tuple[int, int]]:
    """By SPI: the last sequence number sent and the highest received."""
    found = {}
    for block in re.split(r"(?m)^(?=src )", states(namespace)):
        spi = re.search(r"spi (0x[0-9a-f]+)", block)
        esn = re.search(r"seq-hi 0x\S+, seq 0x(\S+), oseq-hi 0x\S+, oseq 0x(\S+)", block)
        plain = re.search(r"anti-replay context: seq 0x(\S+), oseq 0x([0-9a-f]+)", block)
        match = esn or plain
        if spi and match:
            found[spi[1]] = int(match[2].rstrip(","), 16), int(match[1].rstrip(","), 16)
    return found


def bitmaps(namespace: Namespace) -> list[str]:
    """The replay windows."""
    return re.findall(r"bitmap 0x[0-9a-f]+|(?m:^\s+(?:[0-9a-f]{8} ?)+$)", states(namespace))


def counted(gateway: Gateway) -> list[tuple[int, int, int]]:
    """What the kernel has counted on each SA, and since when."""
    return sorted((c.packets, c.bytes, c.added_at) for c in gateway.kernel.dump().values())


@contextmanager
def encapsulating(*gateways: Gateway) -> Iterator[None]:
    """Sockets that take ESP in UDP."""
    with ExitStack() as stack:
        for gateway in gateways:
            sock = stack.enter_context(gateway.ns.socket(socket.AF_INET, socket.SOCK_DGRAM))
            decapsulate_esp(sock)
            sock.bind(("0.0.0.0", 4500))
        yield


@contextmanager
def recorder(topology: Topology) -> Iterator[socket.socket]:
    """A raw socket on the link to gateway B: what it has read it can send again."""
    with topology.ns("r").socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("rb", 0x0003))
        sock.setblocking(False)
        yield sock


def recorded(sock: socket.socket) -> list[bytes]:
    """The frames with ESP in UDP that went to gateway B."""
    found = []
    while select.select([sock], [], [], 0)[0]:
        frame, (_, _, kind, *_) = sock.recvfrom(4096)
        if kind == socket.PACKET_OUTGOING and frame[12:14] == b"\x08\x00" and frame[36:38] == b"\x11\x94":
            found.append(frame)
    return found


def sequence_errors(gateway: Gateway) -> int:
    with inside(gateway.ns):
        return gateway.kernel.xfrm_stat()["XfrmInStateSeqError"]


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.parametrize("suite", ["aes128gcm16", "aes256gcm16-esn", "aes128-sha256"])
def test_ports_change_in_place(topology: Topology, suite: str) -> None:
    with gateways(topology) as (ga, gb):
        for gateway in (ga, gb):
            gateway.converge(gateway.desired())
            gateway.kernel.install(encapsulated(gateway, suite))
        with encapsulating(ga, gb), recorder(topology) as wire:
            assert traffic.ping(topology.ns("ha"), HOST_B[0]).loss == 0
            before, counters, seen = numbers(gb.ns), gb.kernel.dump(), bitmaps(gb.ns)
            gb.kernel.move(moves(gb, gb.remote, 4511))
            assert numbers(gb.ns) == before
            assert gb.kernel.dump() == counters
            assert bitmaps(gb.ns) == seen
            assert states(gb.ns).count("dport 4511") == states(gb.ns).count("sport 4511") == 1
            assert "encap type espinudp sport 4500 dport 4500" not in states(gb.ns)
            # and back: what the peer really has
            gb.kernel.move(moves(gb, gb.remote, 4500))
            replayed(gb, wire)
            assert traffic.ping(topology.ns("hb"), HOST_A[0]).loss == 0


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.parametrize("suite", ["aes128gcm16", "aes256gcm16-esn", "aes128-sha256"])
def test_addresses_change_with_replay_state_and_counters(topology: Topology, suite: str) -> None:
    elsewhere = ip_address("172.16.1.99")
    with gateways(topology) as (ga, gb):
        for gateway in (ga, gb):
            gateway.converge(gateway.desired())
            gateway.kernel.install(encapsulated(gateway, suite))
        with encapsulating(ga, gb), recorder(topology) as wire:
            assert traffic.ping(topology.ns("ha"), HOST_B[0]).loss == 0
            before, seen = numbers(gb.ns), bitmaps(gb.ns)
            packets = counted(gb)
            gb.kernel.move(moves(gb, elsewhere, 4511))
            after = numbers(gb.ns)
            assert counted(gb) == packets
            assert bitmaps(gb.ns) == seen
            for spi, (sent, received) in before.items():
                assert after[spi] in ((sent, received), (sent + OSEQ_MARGIN, received))
            assert sorted(after.values()) != sorted(before.values())
            assert "172.16.1.1 " not in states(gb.ns)
            assert states(gb.ns).count("dport 4511") == states(gb.ns).count("sport 4511") == 1
            assert len(gb.kernel.dump()) == 2
            replayed(gb, wire)
            # and back: Alice takes what comes so much further on
            gb.kernel.move(tuple(back(m, gb) for m in moves(gb, elsewhere, 4511)))
            assert traffic.ping(topology.ns("ha"), HOST_B[0]).loss == 0
            assert traffic.ping(topology.ns("hb"), HOST_A[0]).loss == 0


def back(there: SaMove, gateway: Gateway) -> SaMove:
    """The move that undoes another."""
    out = there.direction is Direction.OUT
    return SaMove(
        id=there.new_id,
        direction=there.direction,
        source=there.source if out else gateway.remote,
        destination=gateway.remote if out else there.destination,
        encap=ENCAP,
    )


def replayed(gateway: Gateway, wire: socket.socket) -> None:
    """Every packet that has come before is refused when it comes again."""
    frames, before = recorded(wire), sequence_errors(gateway)
    assert len(frames) >= 3
    for frame in frames:
        wire.send(frame)
    deadline = time.monotonic() + 5
    while sequence_errors(gateway) < before + len(frames) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sequence_errors(gateway) == before + len(frames)


def test_new_ports_under_traffic_lose_nothing(topology: Topology) -> None:
    """Ports there and back, as fast as can be, under a ping every millisecond."""
    with gateways(topology) as (ga, gb), encapsulating(ga, gb):
        for gateway in (ga, gb):
            gateway.converge(gateway.desired())
            gateway.kernel.install(encapsulated(gateway, "aes128gcm16"))
        with ThreadPoolExecutor(1) as pool:
            ping = pool.submit(traffic.ping, topology.ns("ha"), HOST_B[0], count=1000, interval_s=0.001)
            began, count = time.monotonic(), 0
            while not ping.done():
                inbound = [m for m in moves(gb, gb.remote, 4500 + count % 2) if m.direction is Direction.IN]
                gb.kernel.move(inbound)
                count += 1
            took = time.monotonic() - began
        result = ping.result()
        print(f"{count} moves in {took:.1f} s: {result.received} of {result.sent} packets")
        assert result.loss == 0
        assert sequence_errors(gb) == 0


@pytest.mark.rfc("4555", "3.5")
@pytest.mark.parametrize("suite", ["aes128gcm16", "aes256gcm16-esn", "aes128-sha256"])
def test_encapsulation_comes_and_goes_with_replay_state_and_counters(topology: Topology, suite: str) -> None:
    """A NAT on the new path: the same addresses, in UDP from now on, and plain again afterwards."""
    with gateways(topology) as (ga, gb), encapsulating(ga, gb):
        for gateway in (ga, gb):
            gateway.converge(gateway.desired())
            gateway.kernel.install(list(gateway.sas(SUITES[suite])))
        for encap in (ENCAP, None, ENCAP):
            assert traffic.ping(topology.ns("ha"), HOST_B[0]).loss == 0
            before = {gateway.ns.name: counted(gateway) for gateway in (ga, gb)}
            seen = {gateway.ns.name: [received for _, received in numbers(gateway.ns).values()] for gateway in (ga, gb)}
            for gateway in (ga, gb):
                gateway.kernel.move(tuple(replace(m, encap=encap) for m in moves(gateway, gateway.remote, 4500)))
                assert counted(gateway) == before[gateway.ns.name]
                assert [received for _, received in numbers(gateway.ns).values()] == seen[gateway.ns.name]
                assert states(gateway.ns).count("espinudp") == (2 if encap else 0)
            assert traffic.ping(topology.ns("hb"), HOST_A[0]).loss == 0
        assert sequence_errors(ga) == sequence_errors(gb) == 0
