"""``xfrmctl diagnose``: each fault is made for real and gives its finding and no other; a healthy tunnel gives none."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import pki
from tests.lab.faults.check import check, healthy, in_turn, names
from tests.lab.faults.fault import Fault
from tests.lab.faults.negotiation import NEGOTIATION, REACH
from tests.lab.faults.pair import Pair
from tests.lab.faults.sequence import set_sequence
from tests.lab.tunnel import LAN, MAIN, eventually
from xfrmctl.lab.job import inside
from xfrmctl.lab.topology import OUTER_B, Topology

pytestmark = pytest.mark.lab


def test_sequence_numbers_close_to_their_end(policies: Pair) -> None:
    pair = policies
    (ike,) = pair.gateways[0].client.connection(MAIN).ike_sas
    spi = int(ike.children[-1].outbound.spi, 16)
    set_sequence(pair.topology.ns("ga"), OUTER_B[0], spi, 2**32 - 2**20)
    try:
        with pair.traffic():
            found = pair.diagnose()
    finally:
        assert pair.gateways[0].client.rekey(MAIN, LAN).ok
    assert [f.id for f in found] == ["sequence-numbers-end"]
    eventually("the new SA has its own numbers", lambda: pair.diagnose(0, 0) == [])


def test_without_a_daemon_that_is_what_is_said_first(policies: Pair) -> None:
    gateway = policies.gateways[0]
    gateway.stop()
    try:
        policies.run(("ga: sysctl -w net.ipv4.ip_forward=0",))
        config = str(gateway.config_file)
        done = gateway.ctl_text("diagnose", "--seconds", "0", "--config", config, "--json", check=False)
    finally:
        policies.run(("ga: sysctl -w net.ipv4.ip_forward=1",))
        gateway.start()
        policies.restore()
    assert done.returncode == 1
    assert [f["id"] for f in json.loads(done.stdout)["findings"]] == ["daemon-not-running", "forwarding-off"]


def test_a_ca_that_nobody_knows(policies: Pair) -> None:
    with policies.certificates(-1, 40, pki.root(common="Another CA", number=9)):
        (found,) = policies.diagnose(0)
    assert found.id == "certificate-untrusted" and any("Another CA" in text for text in found.evidence), found


CERTIFICATES = {
    "certificate-expired": (-40, -10, "was valid until"),
    "certificate-not-yet-valid": (10, 40, "is valid from"),
    "clock-wrong": (0.02, 40, "one of the clocks is likely off"),
}


@pytest.mark.parametrize("finding", CERTIFICATES)
def test_certificates_out_of_their_time(policies: Pair, finding: str) -> None:
    """The peer's certificate, as we see it; and our own, as the peer does."""
    begin, stop, evidence = CERTIFICATES[finding]
    with policies.certificates(begin, stop):
        (found,) = policies.diagnose(0)
        (own,) = policies.diagnose(1)
    assert (found.id, own.id) == (finding, f"own-certificate-{'expired' if stop < 0 else 'not-yet-valid'}")
    assert any(evidence in text for text in found.evidence), found


FAULTS = in_turn((*NEGOTIATION, *REACH))


@contextmanager
def clock(wall: float) -> Iterator[None]:
    """The guest's clock says this while the block runs; all gateways have it."""
    ahead = time.time() - time.monotonic()
    time.clock_settime(time.CLOCK_REALTIME, wall)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + ahead)


@pytest.mark.skipif(inside() != "guest", reason="a machine's own clock is not touched")
def test_a_clock_that_starts_in_the_past(policies: Pair) -> None:
    """As after a cold start without a battery: both certificates are in order, and neither is valid yet."""
    with policies.certificates(-40, 400):
        policies.gateways[0].wait_up(MAIN)
        with clock(86400.0):
            policies.gateways[0].client.down(MAIN)
            policies.gateways[0].client.up(MAIN, timeout_s=6)
            found = [policies.diagnose(side, 0) for side in (0, 1)]
    assert [[f.id for f in one] for one in found] == [["clock-wrong"], ["clock-wrong"]], found
    assert all("timedatectl set-ntp true" in one.lines[0].text for (one,) in found)


@pytest.mark.parametrize("fault", FAULTS, ids=names(FAULTS))
def test_fault_between_the_two(policies: Pair, fault: Fault) -> None:
    check(policies, fault)


def test_a_healthy_tunnel_has_no_finding(policies: Pair, interfaces: Pair) -> None:
    """Nor has one after all these faults."""
    for pair in (policies, interfaces):
        healthy(pair)


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_a_healthy_tunnel_through_a_nat_has_no_finding(dataplane: str) -> None:
    with Topology(nat=True) as topology, Pair(topology, dataplane) as pair, pair.traffic():
        for side in (0, 1):
            assert pair.diagnose(side) == []


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_a_healthy_tunnel_over_ipv6_has_no_finding(dataplane: str) -> None:
    with Topology() as topology, Pair(topology, dataplane, which=1) as pair, pair.traffic():
        for side in (0, 1):
            assert pair.diagnose(side) == []
