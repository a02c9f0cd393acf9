"""The cells of every test run, for the test file of whoever is at the other end."""

from typing import ClassVar

import pytest

from tests.lab.blackhole.cells import Cell, chosen
from tests.lab.blackhole.walk import Walk
from xfrmctl.lab.job import virtual_time


class BlackHoles:
    """A subclass in a test file names the ends and runs them, in the order in which tunnels can be kept."""

    ends: ClassVar[str]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "cell" in metafunc.fixturenames:
            cells = chosen(self.ends)
            metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells])

    def test_cell(self, cell: Cell, walk: Walk) -> None:
        """By the clock on the wall, seconds are for the table only: a busy machine makes some of its own."""
        result = walk.try_cell(cell)
        if not result.ok:
            print(walk.log_tail())
        assert result.missed == [], result.as_json()
        assert result.late == [] or not virtual_time(), result.as_json()
