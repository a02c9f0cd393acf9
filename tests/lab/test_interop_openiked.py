"""xfrmctl against OpenIKED's iked, each as initiator and as responder: the interop matrix."""

from collections.abc import Iterator

import pytest

from tests.lab.bench import Bench
from tests.lab.matrix.suite import Arranger, Interop
from xfrmctl.lab.peers.openiked import OpenIked
from xfrmctl.lab.topology import Topology

pytestmark = [pytest.mark.lab, pytest.mark.interop]


@pytest.fixture(scope="module")
def running() -> Iterator[Bench[OpenIked]]:
    with Topology() as topology, Bench(topology, OpenIked).daemons() as made:
        yield made


@pytest.fixture(scope="module")
def arranger(running: Bench[OpenIked]) -> Arranger:
    return Arranger(running, "openiked")


class TestOpenIked(Interop):
    peer_name = "openiked"
