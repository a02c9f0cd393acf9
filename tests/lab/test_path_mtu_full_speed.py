"""Path MTU by the clock on the wall, while TCP at full speed in both directions takes all that the machine has."""

import pytest

from tests.lab.test_path_mtu import survives
from xfrmctl.lab.topology import Topology

pytestmark = pytest.mark.lab


def test_no_black_hole_on_a_busy_machine(topology: Topology) -> None:
    survives(topology, 4, encap=False, dataplane="policy")
