"""Faults of the host around the tunnel; see test_diagnose.py."""

import pytest

from tests.lab.faults.check import check, healthy, in_turn, names
from tests.lab.faults.fault import Fault
from tests.lab.faults.host import HOST, INTERFACE, NARROWED, POLICY, RECURSIVE
from tests.lab.faults.pair import Pair

pytestmark = pytest.mark.lab


FAULTS = in_turn((*HOST, *POLICY))


@pytest.mark.parametrize("fault", FAULTS, ids=names(FAULTS))
def test_fault_of_policies(policies: Pair, fault: Fault) -> None:
    check(policies, fault)


@pytest.mark.parametrize("fault", INTERFACE, ids=names(INTERFACE))
def test_fault_of_interfaces(interfaces: Pair, fault: Fault) -> None:
    check(interfaces, fault)


def test_no_finding_outlives_its_fault(policies: Pair, interfaces: Pair) -> None:
    for pair in (policies, interfaces):
        healthy(pair)


@pytest.mark.parametrize("fault", NARROWED, ids=names(NARROWED))
def test_fault_of_policies_that_leaves_traces(policies: Pair, fault: Fault) -> None:
    check(policies, fault, back=False)


@pytest.mark.parametrize("fault", RECURSIVE, ids=names(RECURSIVE))
def test_fault_of_interfaces_that_leaves_traces(interfaces: Pair, fault: Fault) -> None:
    check(interfaces, fault, back=False)
