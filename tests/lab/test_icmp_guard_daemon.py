"""The ICMP guard of a whole daemon: two of ours, a router that tells the truth, and somebody who lies."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab.icmp_attacks import learned, send
from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, text
from tests.unit.guard.icmp_errors import Error, esp, udp
from xfrmctl.lab import traffic
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_B, INNER_A, INNER_B, OUTER_A, OUTER_B, Topology

pytestmark = pytest.mark.lab

ROUTER = "172.16.1.254"
LINK = 1500
FORGED_UDP = udp(4500, 4500, 1480, b"\xfe" * 40)


@dataclass
class Pair:
    """Two gateways with a tunnel; gateway A is the one that is lied to."""

    topology: Topology
    a: Gateway
    b: Gateway

    def error(self, **more: object) -> Error:
        """An error that quotes a packet of gateway A's newest outbound SA."""
        (ike,) = self.a.client.connection(MAIN).ike_sas
        out = ike.children[-1].outbound
        usual: dict[str, object] = {"payload": esp(int(out.spi, 16), out.packets), "reporter": ROUTER}
        return Error(OUTER_A[0], OUTER_B[0], **(usual | more))  # type: ignore[arg-type]

    def send(self, error: Error) -> None:
        send(self.topology.ns("r"), error)

    def talk(self) -> None:
        assert traffic.ping(self.topology.ns("ha"), HOST_B[0], count=5, interval_s=0.02).loss == 0

    @property
    def learned(self) -> int | None:
        """What the kernel takes the path to carry, by its own exception or by our route; None where that is all."""
        found = learned(self.topology.ns("ga"), OUTER_B[0])
        return found if found != LINK else None

    def counted(self, reason: str) -> int:
        """Errors judged so, as the metrics tell."""
        found = re.findall(
            rf'xfrmctl_icmp_errors_judged_total\{{[^}}]*reason="{reason}"[^}}]*\}} (\d+)', self.metrics()
        )
        return sum(map(int, found))

    def metrics(self) -> str:
        script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9877/metrics').read().decode())"
        return self.topology.ns("ga").run(["python3", "-c", script]).stdout


def config(side: int, icmp: dict[str, str] | None = None, firewall: str = "iptables", inner: int = 2) -> str:
    """Without probes: they would find within a moment that no error here is true, and undo it."""
    settings: dict[str, Any] = {"path_mtu": {"probe": False}, "firewall": firewall} | ({"icmp": icmp} if icmp else {})
    nets = (list(INNER_A[:inner]), list(INNER_B[:inner]))
    return text({MAIN: connection(side, {LAN: lan(side, local_ts=nets[side], remote_ts=nets[1 - side])})}, **settings)


both_firewalls = pytest.mark.parametrize("firewall", ["iptables", "nftables"])


@contextmanager
def paired(
    topology: Topology, icmp: dict[str, str] | None = None, firewall: str = "iptables", inner: int = 2
) -> Iterator[Pair]:
    """``inner`` 1 is a tunnel for IPv4 alone, 2 for both."""
    ours = config(0, icmp, firewall, inner)
    with Gateway(topology.ns("gb"), config(1, inner=inner)) as b, Gateway(topology.ns("ga"), ours) as a:
        pair = Pair(topology, a, b)
        a.wait_up(MAIN)
        b.wait_up(MAIN)
        pair.talk()
        yield pair


@both_firewalls
def test_true_and_forged(topology: Topology, firewall: str) -> None:
    with paired(topology, firewall=firewall) as pair:
        pair.send(pair.error(payload=FORGED_UDP, protocol=17))
        pair.send(replace(pair.error(), payload=esp(0xDEADBEEF, 1)))
        eventually("both are counted", lambda: pair.counted("unknown_spi") == 2, 10)
        assert pair.learned is None
        pair.talk()
        pair.send(pair.error(mtu=1390))
        eventually("the true one is counted", lambda: pair.counted("accepted") == 1, 10)
        eventually("and believed", lambda: pair.learned == 1390, 5)
        told = "\n".join(pair.a.log_lines())
        assert f"ICMP error of {ROUTER} about {OUTER_B[0]}, MTU 1390: believed (accepted)" in told
        assert "dropped (unknown_spi)" in told


@pytest.mark.rfc("1191", "5")
def test_an_old_router_that_names_no_mtu(topology: Topology) -> None:
    """The kernel would make 552 of it; the engine takes the next plateau, and the one below when that is too much.

    With IPv6 inside the route would then say what its 1,280 bytes need (:mod:`xfrmctl.daemon.narrow`).
    """
    with paired(topology, inner=1) as pair:
        for quoted, plateau in ((1500, 1492), (1492, 1280)):
            pair.send(pair.error(mtu=0, quoted_length=quoted))
            eventually(f"{plateau} is believed", lambda size=plateau: pair.learned == size, 10)  # type: ignore[misc]
        assert pair.counted("no_mtu") == 2


@both_firewalls
def test_a_rekey_takes_the_guard_along(topology: Topology, firewall: str) -> None:
    with paired(topology, firewall=firewall) as pair:
        old = pair.error()
        assert pair.a.client.rekey(MAIN, LAN).ok
        pair.talk()
        pair.send(replace(old, mtu=1400))
        eventually("the old SPI is known during the overlap", lambda: pair.counted("accepted") == 1, 10)
        pair.send(pair.error(mtu=1380))
        eventually("the new one is known", lambda: pair.counted("accepted") == 2, 10)
        assert pair.learned == 1380


def hung(pid: int) -> bool:
    """A thread of a process that is stopped goes on until the processor has told it so."""
    return all(
        stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    )


@both_firewalls
def test_the_daemon_hangs_or_is_dead(topology: Topology, firewall: str) -> None:
    """Nothing that names a peer gets to the kernel; data flows on, for the kernel needs no daemon for that."""
    with paired(topology, firewall=firewall) as pair:
        true = pair.error()
        os.kill(pair.a.pid, signal.SIGSTOP)
        eventually("every thread of it has stopped", lambda: hung(pair.a.pid), 10)
        try:
            pair.send(replace(true, payload=FORGED_UDP, protocol=17))
            pair.send(true)
            pair.talk()
            assert pair.learned is None
        finally:
            os.kill(pair.a.pid, signal.SIGCONT)
        eventually("it goes on where it was", lambda: pair.counted("accepted") == 1, 20)
        eventually("and the true one is believed", lambda: pair.learned == 1400, 5)
        pair.topology.ns("ga").run(["ip", "route", "flush", "cache"])
        pair.a.kill()
        pair.send(replace(true, payload=FORGED_UDP, protocol=17))
        pair.send(replace(true, mtu=1380))
        time.sleep(0.2)
        pair.talk()
        eventually("what the dead daemon believed is in force, and nothing lower", lambda: pair.learned == 1400, 5)
        pair.a.start()
        pair.a.wait_up(MAIN)
        pair.talk()
        pair.send(pair.error(mtu=1370))
        eventually("the next daemon judges", lambda: pair.learned == 1370, 20)


@pytest.mark.rfc("4301", "6.1.1")
def test_what_the_administrator_wants(topology: Topology) -> None:
    with paired(topology, {"frag_needed": "ignore"}) as pair:
        pair.send(pair.error())
        pair.talk()
        assert pair.learned is None
        pair.a.configure(config(0, {"frag_needed": "trust"}))
        assert pair.a.client.reload().ok
        forged = pair.error(payload=FORGED_UDP, protocol=17, mtu=1300)

        def believed() -> bool:
            pair.send(forged)
            return pair.learned == 1300

        eventually("whatever comes is believed", believed, 10, 0.3)
        pair.a.stop()
        for tool in ("iptables-save", "ip6tables-save"):
            assert "XFRMCTL" not in topology.ns("ga").run([tool, "-t", "mangle"]).stdout


def test_a_queue_that_somebody_else_has(topology: Topology) -> None:
    """The operator is told, and what names a peer is dropped."""
    script = (
        "import time; from netfilterqueue import NetfilterQueue as Q; q = Q(); q.bind(22598, lambda p: p.accept());"
        "print('bound', flush=True); time.sleep(60)"
    )
    other = topology.ns("ga").popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline()
        with paired(topology) as pair:
            problems = pair.a.status().kernel.problems
            assert any("another program listens" in p for p in problems), problems
    finally:
        with suppress(ProcessLookupError):
            other.kill()
        other.wait()
        if other.stdout is not None:
            other.stdout.close()
