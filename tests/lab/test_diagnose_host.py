"""Faults of the host around the tunnel; see test_diagnose.py."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.lab.faults.check import check, names, told
from tests.lab.faults.fault import Fault
from tests.lab.faults.host import HOST, INTERFACE, NARROWED, POLICY, RECURSIVE
from tests.lab.faults.pair import Pair
from tests.lab.test_many_peers import hub, place, reached, spoke_config
from tests.lab.tunnel import eventually
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import Topology

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def policies() -> Iterator[Pair]:
    with Topology() as topology, Pair(topology) as pair:
        yield pair


@pytest.fixture(scope="module")
def interfaces() -> Iterator[Pair]:
    with Topology() as topology, Pair(topology, "interface") as pair:
        yield pair


@pytest.mark.parametrize("fault", [*HOST, *POLICY], ids=names((*HOST, *POLICY)))
def test_fault_of_policies(policies: Pair, fault: Fault) -> None:
    check(policies, fault)


@pytest.mark.parametrize("fault", INTERFACE, ids=names(INTERFACE))
def test_fault_of_interfaces(interfaces: Pair, fault: Fault) -> None:
    check(interfaces, fault)


@pytest.mark.parametrize(
    ("fault", "dataplane"),
    [*((fault, "policy") for fault in NARROWED), *((fault, "interface") for fault in RECURSIVE)],
    ids=names((*NARROWED, *RECURSIVE)),
)
def test_fault_that_leaves_traces(topology: Topology, fault: Fault, dataplane: str) -> None:
    with Pair(topology, dataplane) as pair, pair.fault(fault, back=False):
        told(fault, pair.diagnose(fault.side, fault.seconds))


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
