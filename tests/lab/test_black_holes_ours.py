"""Black holes between a gateway of ours and a gateway of ours: the cells of every run (docs/black-holes.md)."""

import pytest

from tests.lab.blackhole.suite import BlackHoles

pytestmark = pytest.mark.lab
VIRTUAL_TIME = True


class TestOurs(BlackHoles):
    ends = "ours"
