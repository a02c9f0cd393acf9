"""``xfrmctl diagnose``: each fault is made for real and gives its finding and no other; a healthy tunnel gives none."""

from collections.abc import Iterator

import pytest

from tests.lab.faults.fault import Fault
from tests.lab.faults.host import HOST, INTERFACE, POLICY
from tests.lab.faults.negotiation import NEGOTIATION, REACH
from tests.lab.faults.pair import Pair
from xfrmctl.lab.topology import Topology

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


def check(pair: Pair, fault: Fault) -> None:
    """The finding and no other, and no finding when the fault is over."""
    with pair.fault(fault):
        found = pair.diagnose(fault.side, fault.seconds)
    assert [f.id for f in found] == [fault.finding], found
    told = " ".join([*found[0].evidence, found[0].symptom])
    assert fault.evidence in told, told
    assert found[0].cause and (found[0].cure_here or found[0].cure_peer)
    with pair.traffic():
        assert pair.diagnose(fault.side, 0.3) == []


@pytest.mark.parametrize(
    "fault", [*NEGOTIATION, *REACH, *HOST, *POLICY], ids=_names((*NEGOTIATION, *REACH, *HOST, *POLICY))
)
def test_fault_of_policies(policies: Pair, fault: Fault) -> None:
    check(policies, fault)


@pytest.mark.parametrize("fault", INTERFACE, ids=_names(INTERFACE))
def test_fault_of_interfaces(interfaces: Pair, fault: Fault) -> None:
    check(interfaces, fault)


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
