"""The ICMP guard in a real kernel: what it lets the kernel learn, what it keeps from it, what happens without it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.lab.icmp_attacks import learned, send, send_fragmented, send_fragmented6, send_with_options
from tests.lab.kernel_gateway import Gateway, gateways, inside
from tests.lab.tunnel import eventually
from tests.unit.guard.icmp_errors import Error, esp, udp
from xfrmctl.guard.judge import Judge, Judgement, Reason
from xfrmctl.guard.table import Outbound, Table
from xfrmctl.kernel.desired import IcmpGuard
from xfrmctl.kernel.queue import IcmpQueue, SentNumbers
from xfrmctl.lab import traffic
from xfrmctl.lab.topology import HOST_B, OUTER_A, Topology
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.sa import Direction, Encap

pytestmark = pytest.mark.lab

ROUTER = ("172.16.1.254", "fd16:1::254")
UNKNOWN = b"\xfe" * 40
"""Neither ESP of an SA of ours nor, after four zero octets, IKE."""
both_families = pytest.mark.parametrize("outer", [4, 6])


class Watch:
    """Gateway A with a guard, its SAs by hand, and everything that was judged."""

    def __init__(self, topology: Topology, gateway: Gateway, encap: Encap | None = None) -> None:
        self.topology, self.gateway, self.ns = topology, gateway, gateway.ns
        self.router = topology.ns("r")
        self.peer = str(gateway.remote)
        (self.sa, _), *_ = gateway.sas(encap=encap)
        assert self.sa.direction is Direction.OUT
        with inside(self.ns):
            self.numbers = SentNumbers()
        self.judged: list[Judgement] = []
        self.faults: list[Exception] = []
        self.hold = threading.Event()
        self.hold.set()
        self.judge: Judge | None = None
        self.stop: Callable[[], None] = lambda: None

    def guard(self, guard: IcmpGuard | None = None) -> None:
        """Put the rules in force."""
        peer = self.gateway.remote
        wanted = guard or IcmpGuard(frozenset([peer]), known=frozenset([(peer, self.sa.spi)]))
        self.gateway.converge(replace(self.gateway.desired(), icmp=wanted))

    def listen(self) -> None:
        """Judge from now on."""
        with inside(self.ns):
            outbound = Outbound(self.sa.id, self.gateway.local, self.sa.encap)
            self.judge = Judge(self.numbers, Table.of((), [outbound], {outbound.path: 1500}))
            queue = IcmpQueue(self._verdict, self.faults.append)
            queue.start()
        self.stop = queue.stop

    def _verdict(self, packet: bytes) -> bool:
        self.hold.wait(30)
        assert self.judge is not None
        found = self.judge.judge(packet, time.monotonic())
        self.judged.append(found)
        return found.accepted

    @property
    def reasons(self) -> list[Reason]:
        return [j.reason for j in self.judged]

    def error(self, **more: object) -> Error:
        """A true one about a packet that was really sent."""
        sent = self.numbers(self.sa.id)
        assert sent
        usual: dict[str, object] = {"payload": esp(self.sa.spi, sent), "reporter": ROUTER[self.which]}
        return Error(str(self.gateway.local), self.peer, **(usual | more))  # type: ignore[arg-type]

    @property
    def which(self) -> int:
        return 0 if self.gateway.local.version == 4 else 1

    def talk(self) -> None:
        """Data flows."""
        assert traffic.ping(self.topology.ns("ha"), HOST_B[0], count=3, interval_s=0.02).loss == 0

    def heard(self, count: int) -> None:
        eventually(f"{count} judged", lambda: len(self.judged) >= count, 10, 0.01)

    @property
    def learned(self) -> int | None:
        return learned(self.ns, self.peer)


@pytest.fixture(params=[FirewallBackend.IPTABLES, FirewallBackend.NFTABLES], ids=lambda kind: kind.value)
def firewall(request: pytest.FixtureRequest) -> FirewallBackend:
    """Each test runs with both."""
    kind: FirewallBackend = request.param
    return kind


@contextmanager
def watched(topology: Topology, outer: int, firewall: FirewallBackend, encap: Encap | None = None) -> Iterator[Watch]:
    with gateways(topology, outer=outer, firewall=firewall) as both:
        for one in both:
            one.converge(one.desired())
            one.kernel.install(one.sas(encap=encap))
        watch = Watch(topology, both[0], encap)
        if encap is None:
            watch.talk()
        else:  # nobody has a socket for it: it is enough that something is sent
            topology.ns("ha").run(["ping", "-n", "-c", "3", "-i", "0.05", "-W", "0.1", HOST_B[0]], check=False)
        try:
            yield watch
        finally:
            watch.hold.set()
            watch.stop()
            watch.numbers.close()
            assert not watch.faults, watch.faults


@both_families
def test_the_router_s_own_error_is_believed(topology: Topology, outer: int, firewall: FirewallBackend) -> None:
    with watched(topology, outer, firewall) as watch:
        watch.guard()
        watch.listen()
        topology.ns("r").run(["ip", "link", "set", "rb", "mtu", "1400"])
        topology.ns("ha").run(["ping", "-n", "-c", "2", "-i", "0.2", "-M", "do", "-s", "1372", HOST_B[0]], check=False)
        watch.heard(1)
        assert watch.reasons[0] == Reason.ACCEPTED
        assert (watch.judged[0].mtu, watch.judged[0].peer) == (1400, watch.gateway.remote)
        eventually("the kernel has learned", lambda: watch.learned == 1400, 5)


@both_families
def test_forged_errors_teach_the_kernel_nothing(topology: Topology, outer: int, firewall: FirewallBackend) -> None:
    """Each of these is believed by a kernel without the guard, or could be."""
    with watched(topology, outer, firewall) as watch:
        watch.guard()
        watch.listen()
        true = watch.error()
        spi = watch.sa.spi
        forged = [
            (replace(true, payload=esp(spi + 99, 1)), Reason.UNKNOWN_SPI),
            (replace(true, payload=esp(spi, 0xFFFFFF)), Reason.SEQUENCE),
            (replace(true, payload=esp(spi, 0)), Reason.SEQUENCE),
            (replace(true, mtu=552 if outer == 4 else 1279), Reason.BELOW_FLOOR),
            (replace(true, quoted_length=100), Reason.FITS),
            (replace(true, protocol=17, payload=udp(4500, 4500, 1480, UNKNOWN)), Reason.UNKNOWN_SPI),
            (replace(true, protocol=6, payload=bytes(40)), Reason.PROTOCOL),
            (replace(true, protocol=47, payload=bytes(40)), Reason.PROTOCOL),
            (replace(true, protocol=1 if outer == 4 else 58, payload=bytes(40)), Reason.PROTOCOL),
        ]
        if outer == 4:
            forged += [
                (replace(true, mtu=0), Reason.NO_MTU),
                (replace(true, flags=0), Reason.MAY_FRAGMENT),
                (replace(true, flags=0x4001), Reason.FRAGMENT),
                (replace(true, options=bytes(8)), Reason.HEADERS),
            ]
        for error, _ in forged:
            send(watch.router, error)
        watch.heard(len(forged))
        assert watch.reasons == [reason for _, reason in forged]
        assert watch.learned is None
        watch.talk()
        send(watch.router, replace(true, mtu=1444))
        watch.heard(len(forged) + 1)
        eventually("the true one is believed", lambda: watch.learned == 1444, 5)


def test_an_error_in_fragments_does_not_get_past(topology: Topology, firewall: FirewallBackend) -> None:
    with watched(topology, 4, firewall) as watch:
        watch.guard()
        watch.listen()
        forged = watch.error(protocol=17, payload=udp(4500, 4500, 1480, UNKNOWN), mtu=1300)
        send_fragmented(watch.router, forged, ROUTER[0])
        watch.heard(1)
        assert watch.reasons == [Reason.UNKNOWN_SPI] and watch.learned is None


def test_an_error_behind_extension_headers_does_not_get_past(topology: Topology, firewall: FirewallBackend) -> None:
    with watched(topology, 6, firewall) as watch:
        watch.guard()
        watch.listen()
        send_with_options(watch.router, watch.error(protocol=17, payload=udp(1, 2, 1480, UNKNOWN)))
        watch.heard(1)
        assert watch.reasons == [Reason.UNKNOWN_SPI] and watch.learned is None


@pytest.mark.parametrize("first", [8, 24, 48])
def test_an_ipv6_error_in_fragments_does_not_get_past(
    topology: Topology, firewall: FirewallBackend, first: int
) -> None:
    """INPUT sees the fragments of IPv6, before they are put together; the first need not show whom it is about."""
    with watched(topology, 6, firewall) as watch:
        forged = watch.error(protocol=17, payload=udp(4500, 4500, 1480, UNKNOWN), mtu=1300)
        send_fragmented6(watch.router, forged, first)
        eventually("without a guard it is believed", lambda: watch.learned == 1300, 5)
        watch.ns.run(["ip", "-6", "route", "flush", "cache"])
        assert watch.learned is None
        watch.guard()
        watch.listen()
        send_fragmented6(watch.router, forged, first)
        send(watch.router, watch.error(mtu=1444))
        eventually("a true one behind it is believed", lambda: watch.learned == 1444, 5)
        assert Reason.ACCEPTED in watch.reasons


def test_esp_in_udp(topology: Topology, firewall: FirewallBackend) -> None:
    """The kernel believes every quote of UDP to the peer; with the guard only those of our ports, SPI and numbers."""
    with watched(topology, 4, firewall, Encap(4500, 4500)) as watch:
        watch.guard()
        watch.listen()
        sent = esp(watch.sa.spi, watch.numbers(watch.sa.id) or 0)
        true = watch.error(protocol=17, payload=udp(4500, 4500, 1480, sent))
        forged = [
            (udp(4500, 4500, 1480, b""), Reason.SHORT_QUOTE),
            (udp(4500, 4500, 1480, esp(watch.sa.spi + 9, 1)), Reason.UNKNOWN_SPI),
            (udp(4500, 4500, 1480, esp(watch.sa.spi, 0xFFFFFF)), Reason.SEQUENCE),
            (udp(4500, 4501, 1480, sent), Reason.PORTS),
            (udp(500, 500, 1480, bytes(28)), Reason.IKE),
            (udp(4500, 4500, 1480, bytes(28)), Reason.IKE),
        ]
        for payload, _ in forged:
            send(watch.router, replace(true, payload=payload))
        watch.heard(len(forged))
        assert watch.reasons == [reason for _, reason in forged] and watch.learned is None
        send(watch.router, true)
        eventually("the true one is believed", lambda: watch.learned == 1400, 5)


def test_a_flood(topology: Topology, firewall: FirewallBackend) -> None:
    """Beyond the limit nothing costs more than a rule: nothing is learned, data flows, few are judged at all."""
    with watched(topology, 4, firewall) as watch:
        watch.guard()
        watch.listen()
        forged = watch.error(protocol=17, payload=udp(4500, 4500, 1480, UNKNOWN))
        began = time.monotonic()
        with watch.router.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            for number in range(5_000):
                sock.sendto(forged.icmp4, (forged.local, 0))
                if number % 1000 == 0:
                    watch.talk()
        took = time.monotonic() - began
        assert watch.learned is None and set(watch.reasons) == {Reason.UNKNOWN_SPI}
        assert len(watch.judged) <= 200 + 500 * (took + 1)
        watch.talk()


@both_families
def test_nobody_listens(topology: Topology, outer: int, firewall: FirewallBackend) -> None:
    """What names a peer is dropped, be it true or forged; data flows, and errors about others pass."""
    with watched(topology, outer, firewall) as watch:
        watch.guard()
        send(watch.router, watch.error())
        send(watch.router, watch.error(protocol=17, payload=udp(4500, 4500, 1480, UNKNOWN)))
        watch.talk()
        assert watch.learned is None
        other = "172.16.2.77" if outer == 4 else "fd16:2::77"
        payload = udp(1000, 2000, 1480, UNKNOWN)
        send(watch.router, replace(watch.error(protocol=17, payload=payload), remote=other))
        eventually("an error about a stranger passes", lambda: learned(watch.ns, other) == 1400, 5)
        assert watch.learned is None


def test_the_listener_hangs(topology: Topology, firewall: FirewallBackend) -> None:
    with watched(topology, 4, firewall) as watch:
        watch.guard()
        watch.listen()
        watch.hold.clear()
        for _ in range(600):  # more than the queue holds
            send(watch.router, watch.error(protocol=17, payload=udp(4500, 4500, 1480, UNKNOWN)))
        assert watch.learned is None and not watch.judged
        watch.talk()
        watch.hold.set()
        watch.heard(1)
        time.sleep(0.5)
        assert watch.learned is None and set(watch.reasons) == {Reason.UNKNOWN_SPI}
        send(watch.router, watch.error())
        eventually("it goes on", lambda: Reason.ACCEPTED in watch.reasons, 10)


def test_a_verdict_that_fails_is_a_drop(topology: Topology, firewall: FirewallBackend) -> None:
    with watched(topology, 4, firewall) as watch:
        watch.guard()
        watch.listen()
        assert watch.judge is not None
        watch.judge.judge = None  # type: ignore[assignment, method-assign]
        send(watch.router, watch.error())
        eventually("the fault is told", lambda: bool(watch.faults), 5)
        assert watch.learned is None
        watch.faults.clear()


@both_families
def test_ignored_peers(topology: Topology, outer: int, firewall: FirewallBackend) -> None:
    with watched(topology, outer, firewall) as watch:
        watch.guard(IcmpGuard(ignored=frozenset([watch.gateway.remote])))
        send(watch.router, watch.error())
        watch.talk()
        assert watch.learned is None
        watch.guard(IcmpGuard())
        send(watch.router, watch.error())
        eventually("without a guard it is believed", lambda: watch.learned == 1400, 5)


def test_many_peers_and_damage(topology: Topology, firewall: FirewallBackend) -> None:
    """Several rules a family; each peer is found in them; a removed or shadowed rule is noticed and mended."""
    with watched(topology, 4, firewall) as watch:
        peers = [ip_address("172.20.0.0") + n for n in range(300)] + [ip_address("fd20::") + n for n in range(300)]
        guard = IcmpGuard(frozenset([*peers, watch.gateway.remote]))
        watch.guard(guard)
        watch.listen()
        for peer in (peers[0], peers[150], peers[299]):
            send(watch.router, replace(watch.error(), remote=str(peer)))
        watch.heard(3)
        assert [j.peer for j in watch.judged] == [peers[0], peers[150], peers[299]]
        v6 = Error(OUTER_A[1], str(peers[450]), esp(7, 7), reporter=ROUTER[1])
        send(watch.router, v6)
        watch.heard(4)
        assert watch.judged[3].peer == peers[450]
        desired = replace(watch.gateway.desired(), icmp=guard)
        for damage in DAMAGE[firewall]:
            watch.ns.run(damage)
            with inside(watch.ns):
                assert "icmp guard" in watch.gateway.kernel.plan(desired).render(), damage
            watch.gateway.converge(desired)
        before = watch.ns.run(["iptables-save", "-t", "mangle"]).stdout
        assert before.count("-j XFRMCTL-ICMP") == (firewall is FirewallBackend.IPTABLES)
        with inside(watch.ns):
            watch.gateway.kernel.cleanup()
        for tool in (["iptables-save", "-t", "mangle"], ["ip6tables-save", "-t", "mangle"], ["nft", "list", "tables"]):
            assert "xfrmctl" not in watch.ns.run(tool).stdout.lower()


DAMAGE = {
    FirewallBackend.IPTABLES: (
        ["iptables", "-t", "mangle", "-D", "XFRMCTL-ICMP", "2"],
        ["iptables", "-t", "mangle", "-I", "INPUT", "-p", "icmp", "-j", "ACCEPT"],
        ["ip6tables", "-t", "mangle", "-F", "XFRMCTL-JUDGE"],
    ),
    FirewallBackend.NFTABLES: (
        ["nft", "delete element inet xfrmctl-icmp judged4 { 172.20.0.7 }"],
        ["nft", "insert rule inet xfrmctl-icmp icmp4 accept"],
        ["nft", "flush chain inet xfrmctl-icmp judge6"],
        ["nft", "add table inet xfrmctl-icmp { flags dormant; }"],
        ["nft", "flush ruleset"],
    ),
}


def test_nf_tables_needs_no_program(topology: Topology, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Clamps and guard stand, change and go on a host with neither iptables nor ipset nor nft."""
    with watched(topology, 4, FirewallBackend.NFTABLES) as watch:
        usual = IcmpGuard(frozenset([watch.gateway.remote]))
        with monkeypatch.context() as bare:
            bare.setenv("PATH", str(tmp_path))
            watch.guard()
            for mss in (1300, 1200):
                watch.gateway.converge(replace(watch.gateway.desired(mss=mss), icmp=usual))
        tables = watch.ns.run(["nft", "list", "tables"]).stdout.split("\n")
        assert {"table inet xfrmctl", "table inet xfrmctl-icmp"} <= set(tables)
        with monkeypatch.context() as bare, inside(watch.ns):
            bare.setenv("PATH", str(tmp_path))
            assert watch.gateway.kernel.cleanup().problems == ()
        assert "xfrmctl" not in watch.ns.run(["nft", "list", "tables"]).stdout
