"""Two hundred children between two gateways: the times are printed, not asserted; that all is there and right is."""

import re
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.lab.tunnel import MAIN, connection, eventually, lan, no_alarm, text
from xfrmctl.lab import traffic
from xfrmctl.lab.counters import kernel_sas
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import Topology

pytestmark = [pytest.mark.lab, pytest.mark.slow]

TRUE_STARTS = True

CHILDREN = 200
SAMPLE = (2, 77, 200)
PING_BYTES, PINGS = 500, 4
MSS = {0: "auto", 1: 1300, 2: 1200}
"""By the child's number modulo 3: three distinct values."""


def address(number: int) -> str:
    """Host B's address behind a child."""
    return f"10.1.2.{number}"


def config(side: int) -> str:
    children = {}
    for number in range(1, CHILDREN + 1):
        nets = ["10.1.1.0/24", f"{address(number)}/32"]
        children[f"net{number}"] = lan(
            side, local_ts=nets[side], remote_ts=nets[1 - side], mss=MSS[number % 3], esp="aes128gcm16"
        )
    more = {"ike": {"dpd": "30s"}}
    # Without echoes: they would be counted, too.
    return text({MAIN: connection(side, children, **more)}, path_mtu={"echo": "off"})


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as made:
        made.ns("hb").batch([f"address add {address(n)}/32 dev eth0" for n in SAMPLE])
        yield made


@pytest.fixture(scope="module")
def gateways(topology: Topology) -> Iterator[tuple[Gateway, Gateway]]:
    a, b = (Gateway(topology.ns(ns), config(side)) for side, ns in enumerate(("ga", "gb")))
    try:
        b.start()
        began = time.monotonic()
        a.start(wait=False)
        a.wait_ready()
        ready = time.monotonic()
        eventually("all are up", lambda: a.status().connections[0].state == "up", timeout_s=120, every_s=0.2)
        up = time.monotonic()
        log = a.log_lines()
        print(f"\n  {CHILDREN} children: first status {ready - began:.2f} s after the start")
        print(f"  all up {up - ready:.2f} s later")
        print(f"  by the daemon's log {_spent(log)}")
        yield a, b
    finally:
        for gateway in (a, b):
            gateway.close()


def _spent(log: Sequence[str]) -> str:
    """From "ready" to the last child, by the time stamps of the log."""
    stamps = [line.split()[0] for line in log if " ESP in " in line]
    return f"first child {stamps[0][11:23]}, last child {stamps[-1][11:23]}" if stamps else "unknown"


def test_all_children_are_listed(gateways: tuple[Gateway, Gateway]) -> None:
    for gateway in gateways:
        status = gateway.ctl("show")
        (main,) = status["connections"]
        assert main["state"] == "up"
        assert len(main["children"]) == CHILDREN
        assert {child["state"] for child in main["children"]} == {"up"}
        installed = [child for ike in main["ike_sas"] for child in ike["children"]]
        assert len(installed) == CHILDREN == len({child["name"] for child in installed})
        assert not any(child["inbound"]["missing"] or child["outbound"]["missing"] for child in installed)
        assert status["kernel"]["states"] == 2 * CHILDREN == len(kernel_sas(gateway.namespace))
        assert status["kernel"]["problems"] == []


def test_one_rule_per_distinct_mss(gateways: tuple[Gateway, Gateway]) -> None:
    """At once, or when the reconciler has caught up with the last child."""

    def rules() -> list[str]:
        saved = gateways[0].namespace.run(["iptables-save", "-t", "mangle"]).stdout
        return sorted(re.findall(r"-A XFRMCTL-MSS .*--set-mss (\d+)", saved))

    eventually(f"one rule for each of three values: {rules()}", lambda: len(rules()) == 3)
    assert {"1200", "1300"} < set(rules())
    sets = gateways[0].namespace.run(["ipset", "save"]).stdout
    assert len(re.findall(r"^add xfrmctl-4-", sets, re.MULTILINE)) == 2 * CHILDREN
    assert sum(clamp.pairs for clamp in gateways[0].status().clamps) == CHILDREN


def test_each_child_counts_its_own_bytes(topology: Topology, gateways: tuple[Gateway, Gateway]) -> None:
    def counted(gateway: Gateway) -> dict[str, tuple[int, int, int, int]]:
        (main,) = gateway.status().connections
        return {
            c.name: (c.inbound.bytes, c.inbound.packets, c.outbound.bytes, c.outbound.packets)
            for ike in main.ike_sas
            for c in ike.children
        }

    before = [counted(gateway) for gateway in gateways]
    for number in SAMPLE:
        done = traffic.ping(topology.ns("ha"), address(number), count=PINGS, packet_bytes=PING_BYTES)
        assert done.loss == 0
    after = [counted(gateway) for gateway in gateways]
    for side in (0, 1):
        for name, now in after[side].items():
            grown = tuple(now[at] - before[side][name][at] for at in range(4))
            if int(name.removeprefix("net")) in SAMPLE:
                # The kernel counts the packet that goes into ESP on output, and less the header on input.
                assert grown[1] == grown[3] == PINGS, name
                assert PINGS * (PING_BYTES - 40) <= grown[0] <= PINGS * (PING_BYTES + 80), (name, grown)
                assert PINGS * (PING_BYTES - 40) <= grown[2] <= PINGS * (PING_BYTES + 80), (name, grown)
            else:
                assert grown == (0, 0, 0, 0), name


def test_no_finding_among_them(gateways: tuple[Gateway, Gateway]) -> None:
    no_alarm(*gateways)


def test_stop_takes_all_away(gateways: tuple[Gateway, Gateway]) -> None:
    a, b = gateways
    began = time.monotonic()
    assert a.stop() == 0
    print(f"stop: {time.monotonic() - began:.2f} s")
    assert kernel_sas(a.namespace) == []
    eventually("the peer's SAs are gone", lambda: not kernel_sas(b.namespace), timeout_s=5)
    assert "XFRMCTL" not in a.namespace.run(["iptables-save"]).stdout
    assert a.namespace.run(["ipset", "list", "-n"]).stdout == ""
    policies = a.namespace.run(["ip", "xfrm", "policy"]).stdout
    assert policies.count("action block") == 3 * CHILDREN == policies.count("dir ")
