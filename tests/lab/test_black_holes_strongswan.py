"""Black holes between a gateway of ours and strongSwan: the cells of every run (docs/black-holes.md)."""

import pytest

from tests.lab.blackhole.suite import BlackHoles

pytestmark = [pytest.mark.lab, pytest.mark.interop]
VIRTUAL_TIME = True


class TestStrongSwan(BlackHoles):
    ends = "strongswan"
