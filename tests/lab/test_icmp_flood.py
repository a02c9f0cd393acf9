"""A hundred thousand forged ICMP errors, while data flows.

The attacker's packets lie ready in a ring and are sent by the thousand within one system call. The lab has one
processor, which the attacker uses, too; so goodput is measured while the errors come at a rate that leaves some of it,
and then a second hundred thousand comes as fast as the kernel can send: of the flow nothing may be lost then, though it
has to wait for the attacker's turn to end. The flow has a fixed rate: what the gateway can carry is not looked for.
"""

import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from bench.soak import resident_kib
from bench.syns import FRAMES, Ring
from tests.lab.test_icmp_guard_daemon import LINK, Pair, both_firewalls, paired
from tests.lab.tunnel import MAIN, eventually
from tests.unit.guard.icmp_errors import checksum, esp, udp
from xfrmctl.lab.topology import HOST_B, Topology

pytestmark = pytest.mark.lab

FORGED = 100_000
ATTACK_HZ = 25_000
RATE_HZ, PACKET_BYTES = 500, 1200
KEPT = 0.95
GROWTH_KIB = 4096
"""What the daemon may take for all of it: buffers and counters, but nothing for each error."""

FALSE = ("unknown_spi", "ike", "protocol", "short_quote")

SENDER = f"""
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
began, number = time.monotonic(), 0
while True:
    number += 1
    time.sleep(max(0.0, began + number / {RATE_HZ} - time.monotonic()))
    sock.sendto(bytes({PACKET_BYTES}), ({HOST_B[0]!r}, 5400))
"""


class Flow:
    """Datagrams from host A to host B at a fixed rate, counted where they arrive."""

    def __init__(self, topology: Topology) -> None:
        self._sink = topology.ns("hb").socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nobody reads while there is a flood
        self._sink.bind((HOST_B[0], 5400))
        self._sink.setblocking(False)
        self._sender = topology.ns("ha").popen([sys.executable, "-c", SENDER], stdout=subprocess.DEVNULL)

    def goodput(self, began: float) -> float:
        """Packets a second since ``began``, when this was asked last."""
        arrived, spent = 0, time.monotonic() - began
        try:
            while True:
                arrived += bool(self._sink.recv(65536))
        except BlockingIOError:
            return arrived / spent

    def stop(self) -> None:
        self._sender.kill()
        self._sender.wait()
        self._sink.close()


@contextmanager
def flowing(topology: Topology) -> Iterator[Flow]:
    flow = Flow(topology)
    try:
        eventually("data flows", lambda: flow.goodput(time.monotonic() - 1) > 0, 10)
        yield flow
    finally:
        flow.stop()


def forged(pair: Pair) -> list[bytes]:
    """Errors about the peer, each by another router, quoting all that a stranger can think of."""
    rng, true = random.Random(4), pair.error()
    found: list[bytes] = []
    for _ in range(FRAMES):
        reporter = str(ip_address("198.18.0.0") + rng.randrange(1 << 17))
        sequence = rng.randrange(1, 1 << 20)
        protocol, payload = rng.choice(
            (
                (50, esp(rng.randrange(256, 1 << 32), sequence)),
                (17, udp(4500, 4500, 1480, esp(rng.randrange(256, 1 << 32), sequence))),
                (17, udp(500, 500, 1480, bytes(28))),
                (47, bytes(28)),
                (1, bytes(28)),
            )
        )
        mtu = rng.choice((0, 68, 552, 1280, 1400))
        packet = replace(true, payload=payload, protocol=protocol, mtu=mtu, reporter=reporter).packet
        found.append(packet[:10] + checksum(packet[:20]).to_bytes(2, "big") + packet[12:])
    return found


@both_firewalls
def test_a_hundred_thousand_forged_errors(topology: Topology, firewall: str) -> None:
    with paired(topology, firewall=firewall) as pair, flowing(topology) as flow:
        text = topology.ns("ga").run(["cat", "/sys/class/net/wan/address"]).stdout
        ring = Ring(topology.ns("r"), "ra", bytes.fromhex(text.strip().replace(":", "")), forged(pair))
        try:
            _attack(pair, flow, ring, firewall)
        finally:
            ring.close()


def _attack(pair: Pair, flow: Flow, ring: Ring, firewall: str) -> None:
    mtu, memory = _believed(pair), resident_kib(pair.a.pid)
    true = pair.error(mtu=1390)
    disturbed, spent = _goodput(flow, lambda: _forge(ring, ATTACK_HZ))
    undisturbed, _ = _goodput(flow, lambda: time.sleep(spent))
    judged = sum(pair.counted(reason) for reason in FALSE)
    print(
        f"\n  {firewall}: {FORGED} forged errors in {spent:.2f} s, {judged} of them judged;"
        f" {disturbed:.0f} of {undisturbed:.0f} packets a second arrived: {disturbed / undisturbed:.3f}"
    )
    assert disturbed >= KEPT * undisturbed
    assert 0 < judged <= FORGED / 20 and pair.counted("accepted") == 0
    assert _believed(pair) == mtu == LINK and pair.learned is None

    def all_at_once() -> None:
        _forge(ring, 0)
        if firewall == "nftables":
            pair.send(true)  # right behind them: it has a budget of its own
        time.sleep(2)

    kept, spent = _goodput(flow, all_at_once)
    print(f"  {firewall}: {FORGED} more in {spent - 2:.2f} s; {kept:.0f} packets a second arrived until 2 s later")
    assert kept >= KEPT * undisturbed
    if firewall == "iptables":  # which knows no SPIs: the true one had to be in luck, or the path is probed
        assert _believed(pair) == LINK
        pair.send(true)
    eventually("the true one is believed", lambda: _believed(pair) == 1390, 10)
    assert pair.counted("accepted") == 1
    assert resident_kib(pair.a.pid) - memory <= GROWTH_KIB


def _goodput(flow: Flow, meanwhile: Callable[[], None]) -> tuple[float, float]:
    """Packets a second that arrive meanwhile, and how long that was."""
    flow.goodput(time.monotonic() - 1)
    began = time.monotonic()
    meanwhile()
    return flow.goodput(began), time.monotonic() - began


def _forge(ring: Ring, rate_hz: int) -> None:
    """Send them all, at a rate or at once."""
    began = time.monotonic()
    for number in range(-(-FORGED // FRAMES)):
        if rate_hz:
            time.sleep(max(0.0, began + number * FRAMES / rate_hz - time.monotonic()))
        ring.send()


def _believed(pair: Pair) -> int:
    mtu = pair.a.client.connection(MAIN).ike_sas[0].children[-1].mtu
    assert mtu is not None
    return mtu.outer_mtu
