"""Two strongSwans: the foreign daemon works in the lab before it is used to judge ours."""

import pytest

from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, OUTER_B, Topology

pytestmark = [pytest.mark.lab, pytest.mark.interop]


def ends(topology: Topology, family: int = 0, encap: bool = False) -> tuple[Connection, Connection]:
    """Both ends' connections; ``family`` is 0 for IPv4 outside and 1 for IPv6."""
    a, b = "a.example.org", "b.example.org"
    return (
        Connection(
            local=topology.ga_address[family],
            remote=OUTER_B[family],
            local_id=a,
            remote_id=b,
            encap=encap,
            children=[Child(local_ts=INNER_A, remote_ts=INNER_B)],
        ),
        Connection(
            local=OUTER_B[family],
            remote="%any",
            local_id=b,
            remote_id=a,
            children=[Child(local_ts=INNER_B, remote_ts=INNER_A)],
        ),
    )


@pytest.mark.parametrize(("family", "encap"), [(0, False), (1, False), (0, True)])
def test_tunnel(topology: Topology, family: int, encap: bool) -> None:
    ours, theirs = ends(topology, family, encap)
    with (
        StrongSwan(topology.ns("ga"), [ours]) as a,
        StrongSwan(topology.ns("gb"), [theirs]) as b,
        Capture(topology.ns("r"), "rb") as capture,
    ):
        a.initiate()
        for address in HOST_B:
            assert traffic.ping(topology.ns("ha"), address).loss == 0
        assert traffic.transfer(topology.ns("hb"), topology.ns("ha"), HOST_A[0], size=1_000_000).complete
        (near,), (far,) = a.children(), b.children()
        assert (near.bytes_out, near.bytes_in) == (far.bytes_in, far.bytes_out)
        assert near.bytes_in > 1_000_000
        assert near.encap is encap
        capture.stop()
    assert capture.report.problems() == []
    assert bool(capture.report.counts[Kind.UDP_ESP]) is encap


def test_behind_a_nat_box(nat_topology: Topology) -> None:
    ours, theirs = ends(nat_topology)
    with (
        StrongSwan(nat_topology.ns("ga"), [ours]) as a,
        StrongSwan(nat_topology.ns("gb"), [theirs]) as b,
        Capture(nat_topology.ns("r"), "rb") as capture,
    ):
        a.initiate()
        assert traffic.ping(nat_topology.ns("ha"), HOST_B[0]).loss == 0
        assert b.children()[0].encap
        remote_port = int(b.swanctl("--list-sas", "--raw").partition("remote-port=")[2].split()[0])
        assert 32000 <= remote_port <= 33000
        capture.stop()
    assert capture.report.counts[Kind.UDP_ESP] == 6
    assert capture.report.problems() == []


def test_crash_leaves_the_kernel_state_and_a_restart_works(topology: Topology) -> None:
    ours, theirs = ends(topology)
    with StrongSwan(topology.ns("ga"), [ours]) as a, StrongSwan(topology.ns("gb"), [theirs]):
        a.initiate()
        a.kill()
        assert traffic.ping(topology.ns("ha"), HOST_B[0]).loss == 0
        topology.ns("ga").batch(["xfrm state flush", "xfrm policy flush"])
        a.start()
        a.initiate()
        assert traffic.ping(topology.ns("ha"), HOST_B[0]).loss == 0
