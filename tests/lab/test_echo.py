"""ESP itself is asked what it carries: a router that treats it otherwise than UDP is found out by echoes inside."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.test_path_mtu import SUITE, believes, flowing, gateways, passes, silence, sizes, wait_for
from tests.lab.tunnel import MAIN, eventually, no_alarm
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_B, Topology
from xfrmctl.pmtu.overhead import inner_mtu, packet_size
from xfrmctl.pmtu.spelling import parse_suite

pytestmark = pytest.mark.lab

NARROW, WIDE = 1400, 1500


@contextmanager
def esp_is_narrow(topology: Topology, outer: int) -> Iterator[None]:
    """The router loses ESP packets of more than 1400 bytes in silence, and lets all others pass."""
    tool = "iptables" if outer == 4 else "ip6tables"
    rule = ["FORWARD", "-p", "esp", "-m", "length", "--length", f"{NARROW + 1}:65535", "-j", "DROP"]
    topology.ns("r").run([tool, "-w", "-A", *rule])
    try:
        yield
    finally:
        topology.ns("r").run([tool, "-w", "-D", *rule])


def carrier(gateway: Gateway) -> str:
    path = sizes(gateway).path
    return path.carrier if path is not None else ""


@pytest.mark.parametrize(("outer", "dataplane"), [(4, "policy"), (4, "interface"), (6, "policy"), (6, "interface")])
def test_esp_that_is_treated_worse_than_udp_has_no_black_hole(topology: Topology, outer: int, dataplane: str) -> None:
    fits = inner_mtu(NARROW, parse_suite(SUITE), outer, False)
    exact = packet_size(fits, parse_suite(SUITE), outer, False)
    with gateways(topology, outer=outer, dataplane=dataplane) as ends:
        for gateway in ends:
            wait_for(gateway, WIDE)
        eventually("ESP confirms", lambda: all(carrier(gateway).startswith("esp") for gateway in ends))
        with silence(topology), flowing(topology) as flows, esp_is_narrow(topology, outer):
            began = time.monotonic()
            for flow in flows:
                assert flow.moves(60)
            print(f"TCP resumed after {time.monotonic() - began:.1f} s")
            for gateway in ends:
                eventually("the size that ESP takes", lambda g=gateway: believes(g, exact), 30)  # type: ignore[misc]
                assert sizes(gateway).inner_mtu == fits
                assert "pass as UDP, and are lost as ESP; ESP alone" in gateway.log_tail(400)
            for flow in flows:
                assert flow.moves(30)
            assert passes(topology.ns("ha"), HOST_B[0], fits)
            assert not passes(topology.ns("ha"), HOST_B[0], fits + 1)
            text = ends[0].metrics()
            assert f'xfrmctl_path_mtu_info{{carrier="esp",confidence="confirmed",connection="{MAIN}"' in text


def test_who_must_not_be_asked_is_not(topology: Topology) -> None:
    with gateways(topology, echo="off") as (a, b):
        for gateway in (a, b):
            wait_for(gateway, WIDE)
        topology.ns("ha").run(["ping", "-n", "-c", "20", "-i", "0.1", HOST_B[0]])
        assert carrier(a).startswith("udp")
        no_alarm(a, b)
