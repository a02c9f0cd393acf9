"""What the tests with real ESP share. They run inside the lab: `make test-lab`, or one file with

xfrmctl lab run -- .venv/bin/python -m pytest -m lab tests/lab/test_lab_topology.py

A file that says ``VIRTUAL_TIME = True`` runs with ``--time-travel`` in `make test-lab`: waiting takes no time, and its
seconds do not depend on the machine. That is for files that wait for timers. It is not for those about what happens
between two programs that compute at once (a crash, a reload under traffic: there nothing happens in between), for what
computing costs, nor for anything that sends as fast as it can for so many seconds: it would never end.
"""

from collections.abc import Iterator

import pytest

from tests.lab.blackhole.site import Site
from tests.lab.blackhole.walk import Walk
from tests.lab.faults.pair import Pair
from tests.lab.interop import Bench
from tests.lab.nursery import Nursery
from xfrmctl.lab import gateway
from xfrmctl.lab.job import inside
from xfrmctl.lab.topology import Topology


@pytest.fixture(scope="session", autouse=True)
def inside_the_lab(request: pytest.FixtureRequest) -> None:
    """Refuse to make namespaces on the machine itself."""
    if inside() is None and any(item.get_closest_marker("lab") for item in request.session.items):
        pytest.exit("these tests run in the lab: xfrmctl lab run -- python -m pytest -m lab tests/lab", returncode=4)


@pytest.fixture(scope="module", autouse=True)
def nursery(request: pytest.FixtureRequest) -> Iterator[None]:
    """Daemons are forked by the nursery, except in the files that say ``TRUE_STARTS = True``."""
    if getattr(request.module, "TRUE_STARTS", False):
        yield
        return
    with Nursery() as made:
        gateway.Gateway.spawn = made.spawn
        yield
        gateway.Gateway.spawn = gateway.spawn


@pytest.fixture
def topology() -> Iterator[Topology]:
    """host A - gateway A - router - gateway B - host B."""
    with Topology() as made:
        yield made


@pytest.fixture
def nat_topology() -> Iterator[Topology]:
    """The same with a NAT box between gateway A and the router."""
    with Topology(nat=True) as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[Bench]:
    """Our gateway and charon, for all tests of a file."""
    with Bench.running() as made:
        yield made


@pytest.fixture
def bench(running: Bench) -> Iterator[Bench]:
    """The same, with the log of both where a test fails."""
    with running.told():
        yield running


@pytest.fixture(scope="module")
def policies() -> Iterator[Pair]:
    """Two gateways of ours with a tunnel of policies, for faults that are made and taken back."""
    with Topology() as made, Pair(made) as pair:
        yield pair


@pytest.fixture(scope="module")
def interfaces() -> Iterator[Pair]:
    """The same with an interface."""
    with Topology() as made, Pair(made, "interface") as pair:
        yield pair


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    """For the cells of the black-hole matrix."""
    with Site() as site:
        yield Walk(site)
