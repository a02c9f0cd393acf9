"""``xfrmctl diagnose``: each fault is made for real and gives its finding and no other; a healthy tunnel gives none."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests import pki
from tests.lab.faults.fault import Fault
from tests.lab.faults.host import HOST, INTERFACE, NARROWED, POLICY, RECURSIVE
from tests.lab.faults.negotiation import NEGOTIATION, REACH
from tests.lab.faults.pair import Pair
from tests.lab.faults.sequence import set_sequence
from tests.lab.test_many_peers import hub, place, reached, spoke_config
from tests.lab.tunnel import LAN, MAIN, eventually
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import OUTER_B, Topology
from xfrmctl.model.finding import Finding

pytestmark = pytest.mark.lab


def _names(faults: tuple[Fault, ...]) -> list[str]:
    return [fault.name for fault in faults]


@pytest.fixture(scope="module")
def policies() -> Iterator[Pair]:
    with Topology() as topology, Pair(topology) as pair:
        yield pair


@pytest.fixture(scope="module")
def interfaces() -> Iterator[Pair]:
    with Topology() as topology, Pair(topology, "interface") as pair:
        yield pair


def told(fault: Fault, found: list[Finding]) -> None:
    """The finding and no other, with what proves it."""
    assert [f.id for f in found] == [fault.finding], found
    text = " ".join([*found[0].evidence, found[0].symptom])
    assert fault.evidence in text, text
    assert found[0].cause and (found[0].cure_here or found[0].cure_peer)


def check(pair: Pair, fault: Fault) -> None:
    """The finding and no other, and no finding when the fault is over."""
    with pair.fault(fault):
        told(fault, pair.diagnose(fault.side, fault.seconds))
    with pair.traffic():
        assert pair.diagnose(fault.side, 0.3) == []


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


@pytest.mark.parametrize(
    "fault", [*NEGOTIATION, *REACH, *HOST, *POLICY], ids=_names((*NEGOTIATION, *REACH, *HOST, *POLICY))
)
def test_fault_of_policies(policies: Pair, fault: Fault) -> None:
    check(policies, fault)


@pytest.mark.parametrize("fault", INTERFACE, ids=_names(INTERFACE))
def test_fault_of_interfaces(interfaces: Pair, fault: Fault) -> None:
    check(interfaces, fault)


@pytest.mark.parametrize(
    ("fault", "dataplane"),
    [*((fault, "policy") for fault in NARROWED), *((fault, "interface") for fault in RECURSIVE)],
    ids=_names((*NARROWED, *RECURSIVE)),
)
def test_fault_that_leaves_traces(topology: Topology, fault: Fault, dataplane: str) -> None:
    with Pair(topology, dataplane) as pair, pair.fault(fault, back=False):
        told(fault, pair.diagnose(fault.side, fault.seconds))


@pytest.mark.parametrize("side", [0, 1])
def test_a_healthy_tunnel_has_no_finding(policies: Pair, interfaces: Pair, side: int) -> None:
    for pair in (policies, interfaces):
        assert pair.diagnose(side) == []  # without traffic
        with pair.traffic():
            assert pair.diagnose(side) == []


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


def test_peers_behind_one_nat_that_want_the_same_addresses(nat_topology: Topology) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(hub(nat_topology, "policy"))
        first, second = (stack.enter_context(place(nat_topology, f"s{n}", "nat", 20 + n, n)) for n in (1, 2))
        one = stack.enter_context(Gateway(first, spoke_config(1, "192.168.21.1")))
        assert one.client.up("hub").ok
        eventually("packets cross", lambda: reached(nat_topology, 1))
        assert server.client.diagnose(None, 0.5).findings == []
        greedy = spoke_config(1, "192.168.22.1").replace("fqdn:s1.", "fqdn:s2.")
        two = stack.enter_context(Gateway(second, greedy))
        assert not two.client.up("hub").ok
        (found,) = server.client.diagnose(None, 0.5).findings
        assert found.id == "selectors-taken" and "fqdn:s2.spokes.example.org asks for" in found.symptom
        # these namespaces are made without forwarding, which is found as well
        assert [f.id for f in two.client.diagnose(None, 0.5).findings] == ["selectors-differ", "forwarding-off"]
