"""xfrmctl against libreswan's pluto, each as initiator and as responder: the interop matrix."""

from collections.abc import Iterator

import pytest

from tests.lab.bench import Bench
from tests.lab.matrix.suite import Arranger, Interop, all_credentials
from xfrmctl.lab.peers.libreswan import Libreswan
from xfrmctl.lab.topology import Topology

pytestmark = [pytest.mark.lab, pytest.mark.interop]


@pytest.fixture(scope="module")
def running() -> Iterator[Bench[Libreswan]]:
    known = all_credentials("libreswan")
    with Topology() as topology, Bench(topology, lambda there: Libreswan(there, known)).daemons() as made:
        yield made


@pytest.fixture(scope="module")
def arranger(running: Bench[Libreswan]) -> Arranger:
    return Arranger(running, "libreswan")


class TestLibreswan(Interop):
    peer_name = "libreswan"
