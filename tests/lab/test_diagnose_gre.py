"""Faults of a GRE device over transport mode, and nothing found on a healthy one; see test_diagnose.py."""

from collections.abc import Iterator

import pytest

from tests.lab.faults.check import check, healthy, names
from tests.lab.faults.fault import Fault
from tests.lab.faults.host import GRE_DEVICE
from tests.lab.faults.pair import GRE, Pair
from xfrmctl.lab.topology import Topology

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def devices() -> Iterator[Pair]:
    with Topology() as topology, Pair(topology, GRE) as pair:
        yield pair


def test_a_healthy_device_has_no_finding(devices: Pair) -> None:
    healthy(devices)


@pytest.mark.parametrize("fault", GRE_DEVICE, ids=names(GRE_DEVICE))
def test_fault_of_a_gre_device(devices: Pair, fault: Fault) -> None:
    check(devices, fault)
