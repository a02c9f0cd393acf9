"""Rekeying with real ESP: ten rekeys under a ping every millisecond, and not one is lost."""

import re
import subprocess

import pytest

from tests.lab.tunnel import eventually, no_alarm
from xfrmctl.lab.counters import kernel_sas
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.scenario import CHILD, CONNECTION, Pair, pair
from xfrmctl.lab.topology import HOST_B, Topology
from xfrmctl.model.snapshot import ChildInfo

pytestmark = pytest.mark.lab

PINGS = 5_000


def pings(host: Namespace, address: str, count: int = PINGS) -> "subprocess.Popen[bytes]":
    """One a millisecond; what it prints at the end says how many came back."""
    return host.popen(["ping", "-q", "-i", "0.001", "-W", "2", "-c", str(count), address], stdout=subprocess.PIPE)


def answered(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    out, _ = process.communicate(timeout=120)
    found = re.search(rb"(\d+) packets transmitted, (\d+) received", out)
    assert found is not None, out.decode()
    return int(found[1]), int(found[2])


def child(gateways: Pair) -> ChildInfo:
    (found,) = [c for ike in gateways.a.client.connection(CONNECTION).ike_sas for c in ike.children]
    return found


@pytest.mark.rfc("7296", "2.8")
@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_ten_rekeys_lose_no_ping(topology: Topology, dataplane: str) -> None:
    with pair(topology, dataplane=dataplane) as gateways:
        assert gateways.a.client.up(CONNECTION).ok
        first = child(gateways)
        flows = [pings(topology.ns("ha"), HOST_B[0]), pings(topology.ns("ha"), HOST_B[1])]
        for n in range(10):
            end = gateways.a if n % 2 else gateways.b
            result = end.client.rekey(CONNECTION, CHILD if n % 3 else None)
            assert result.ok, result.message
        assert any(flow.poll() is None for flow in flows), "the rekeys were over before the pings"
        for flow in flows:
            sent, received = answered(flow)
            assert (sent, received) == (PINGS, PINGS)
        now = child(gateways)
        assert now.inbound.spi != first.inbound.spi
        assert now.reqid == first.reqid
        no_alarm(gateways.a, gateways.b)


@pytest.mark.rfc("7296", "2.8")
def test_the_kernels_limits_start_a_rekey_and_old_sas_go(topology: Topology) -> None:
    """A limit of packets is soon reached; each end has its own, and they cross now and then."""
    limits = "        rekey: {time: off, packets: 700}\n"
    with pair(topology, extra=limits) as gateways:
        assert gateways.a.client.up(CONNECTION).ok
        flow = pings(topology.ns("ha"), HOST_B[0])
        sent, received = answered(flow)
        assert (sent, received) == (PINGS, PINGS)
        story = "\n".join(gateways.a.log_lines())
        assert story.count(f"{CHILD} rekeyed") >= 5
    with pair(topology) as gateways:
        assert gateways.a.client.up(CONNECTION).ok
        for _ in range(3):
            assert gateways.a.client.rekey(CONNECTION, CHILD).ok
        eventually(
            "what was replaced has left the kernel",
            lambda: all(len(kernel_sas(topology.ns(name))) == 2 for name in ("ga", "gb")),
            timeout_s=20,
            every_s=0.5,
        )
