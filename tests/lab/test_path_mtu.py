"""Path MTU, end to end: a path that becomes narrow in silence is found by probes, and its recovery by ageing.

The router is the narrow place in both directions, and neither sends nor forwards a word about it. Kernel alone: 0 bit/s
for ever (KERNEL-FACTS).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, text
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import HOST_A, HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.lab.traffic import Flow
from xfrmctl.model.snapshot import MtuInfo
from xfrmctl.pmtu.overhead import inner_mtu
from xfrmctl.pmtu.spelling import parse_suite

pytestmark = pytest.mark.lab

SUITE = "aes256gcm16"
NARROW, WIDE = 1400, 1500
AGING_S = 8
RESUMES_S = 10


@contextmanager
def gateways(
    topology: Topology, *, outer: int = 4, encap: bool = False, dataplane: str = "policy", **path_mtu: Any
) -> Iterator[tuple[Gateway, Gateway]]:
    """Two of ours with a tunnel between them, over IPv4 or IPv6, the ageing time shortened."""
    which = 0 if outer == 4 else 1
    ends = (OUTER_A[which], OUTER_B[which])
    made = []
    for side, ns in enumerate(("ga", "gb")):
        entry = connection(side, {LAN: lan(side, dataplane, esp=[SUITE])})
        entry["local"]["address"], entry["remote"]["address"] = ends[side], ends[1 - side]
        entry["ike"] = {"dpd": "30s", "encap": "always" if encap else "auto"}
        settings = {"aging": f"{AGING_S}s", **path_mtu}
        made.append(Gateway(topology.ns(ns), text({MAIN: entry}, path_mtu=settings), options=("--log-level", "debug")))
    try:
        for gateway in reversed(made):
            gateway.start()
        made[0].client.up(MAIN)
        for gateway in made:
            gateway.wait_up(MAIN)
        yield made[0], made[1]
    except AssertionError:
        for gateway in made:
            print(gateway.log_tail(60))
        raise
    finally:
        for gateway in made:
            gateway.close()


def sizes(gateway: Gateway) -> MtuInfo:
    (child,) = [c for ike in gateway.client.connection(MAIN).ike_sas for c in ike.children]
    assert child.mtu is not None
    return child.mtu


def believes(gateway: Gateway, outer_mtu: int) -> bool:
    found = sizes(gateway)
    return (found.outer_mtu, found.source) == (outer_mtu, "probe")


def squeeze(topology: Topology, mtu: int) -> None:
    """What the router forwards, either way."""
    for dev in ("ra", "rb"):
        topology.set_link_mtu("r", dev, mtu)


def passes(host: Namespace, address: str, size: int) -> bool:
    """Whether an IP packet of this size with DF is answered."""
    payload = size - (48 if ":" in address else 28)
    done = host.run(["ping", "-n", "-M", "do", "-c", "1", "-W", "2", "-s", str(payload), address], check=False)
    return done.returncode == 0


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
@pytest.mark.parametrize("encap", [False, True], ids=["esp", "udp"])
@pytest.mark.parametrize("outer", [4, 6])
def test_no_black_hole(topology: Topology, outer: int, encap: bool, dataplane: str) -> None:
    wide, narrow = (inner_mtu(size, parse_suite(SUITE), outer, encap) for size in (WIDE, NARROW))
    ha, hb = topology.ns("ha"), topology.ns("hb")
    with gateways(topology, outer=outer, encap=encap, dataplane=dataplane) as ends:
        for gateway in ends:
            eventually("the path is confirmed", lambda gateway=gateway: believes(gateway, WIDE))  # type: ignore[misc]
        topology.filter_icmp("r")
        flows = (Flow(ha, hb, HOST_B[0]).start(), Flow(hb, ha, HOST_A[0], port=5202).start())
        try:
            for flow in flows:
                assert flow.moves(10)
            squeeze(topology, NARROW)
            for gateway in ends:
                eventually("found", lambda gateway=gateway: believes(gateway, NARROW), RESUMES_S)  # type: ignore[misc]
                assert sizes(gateway).inner_mtu == narrow
            for flow in flows:
                assert flow.moves(RESUMES_S)
            assert passes(ha, HOST_B[0], narrow)
            assert passes(hb, HOST_A[0], narrow)
            assert not passes(ha, HOST_B[0], narrow + 1)
            squeeze(topology, WIDE)
            for gateway in ends:
                what = "found again"
                eventually(what, lambda gateway=gateway: believes(gateway, WIDE), 3 * AGING_S)  # type: ignore[misc]
                assert sizes(gateway).inner_mtu == wide
            for flow in flows:
                assert flow.moves(10)
        finally:
            for flow in flows:
                flow.stop()
            topology.unfilter_icmp("r")
        for host in (ha, hb):
            host.run(["ip", "route", "flush", "cache"])
        assert passes(ha, HOST_B[0], wide)
        assert passes(hb, HOST_A[0], wide)
