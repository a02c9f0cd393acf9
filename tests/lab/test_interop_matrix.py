"""xfrmctl against strongSwan's charon, each as initiator and as responder: the interop matrix."""

from collections.abc import Iterator

import pytest

from tests.lab.bench import Bench
from tests.lab.matrix.suite import Arranger, Interop
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.topology import Topology

pytestmark = [pytest.mark.lab, pytest.mark.interop]


@pytest.fixture(scope="module")
def running() -> Iterator[Bench[StrongSwan]]:
    options = ("retransmit_timeout = 1.0", "retransmit_base = 1.0", "retransmit_tries = 3", "fragment_size = 576")
    with Topology() as topology:
        bench = Bench(topology, lambda there: StrongSwan(there, [], daemon_options=options))
        with bench.daemons() as made:
            yield made


@pytest.fixture(scope="module")
def arranger(running: Bench[StrongSwan]) -> Arranger:
    return Arranger(running, "strongswan")


class TestStrongSwan(Interop):
    peer_name = "strongswan"
