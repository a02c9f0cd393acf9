"""The kernel alone, with SAs put in by hand: what the captures and the traffic tools say about it is true."""

import pytest

from xfrmctl.lab import static, traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.counters import kernel_sas
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.topology import HOST_B, Topology

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("outer", [4, 6])
def test_only_esp_crosses_the_router(topology: Topology, outer: int) -> None:
    static.add_tunnel(topology, outer=outer)
    a, b = topology.ns("ha"), topology.ns("hb")
    with Capture(topology.ns("r"), "rb") as capture:
        for address in HOST_B:
            assert traffic.ping(a, address).loss == 0
            assert traffic.transfer(a, b, address, size=2_000_000).complete
            assert traffic.udp(a, b, address, payload_bytes=1000) == 10
    report = capture.report
    assert report.problems() == []
    assert report.largest <= 1500
    carried = sum(sa.packets for sa in kernel_sas(topology.ns("gb")))
    assert report.esp == carried > 0


def test_capture_sees_plaintext_and_says_so(topology: Topology) -> None:
    with Capture(topology.ns("r"), "ra") as capture:
        assert traffic.ping(topology.ns("ha"), HOST_B[0], count=2, wait_s=0.3).received == 0
    assert capture.report.counts[Kind.PLAINTEXT] == 2
    assert "2 packets in clear" in capture.report.problems()[0]


def test_capture_of_silence_is_no_proof(topology: Topology) -> None:
    with Capture(topology.ns("r"), "rb") as capture:
        pass
    assert capture.report.problems() == ["no ESP packet at all"]
    assert capture.report.problems(esp_expected=False) == []


def test_syn_is_seen_with_its_mss(topology: Topology) -> None:
    static.add_tunnel(topology)
    with Capture(topology.ns("hb"), "eth0") as capture:
        for address in HOST_B:
            traffic.transfer(topology.ns("ha"), topology.ns("hb"), address, size=1000)
    assert [syn.mss for syn in capture.report.syns if not syn.ack] == [1460, 1440]


def test_flow_survives_a_narrower_path(topology: Topology) -> None:
    static.add_tunnel(topology)
    flow = traffic.Flow(topology.ns("ha"), topology.ns("hb"), HOST_B[0]).start()
    assert flow.moves(within_s=5)
    topology.set_path_mtu(1400)
    assert flow.moves(within_s=5)
    assert flow.moves(within_s=5)
    assert flow.stop().path_mtu == 1346  # what AES-GCM leaves of 1400


def test_filtered_icmp_stops_the_flow(topology: Topology) -> None:
    """The black hole that the program exists for: here it is, with nobody to cure it."""
    static.add_tunnel(topology)
    topology.set_path_mtu(1400)
    topology.filter_icmp("r")
    done = traffic.transfer(topology.ns("ha"), topology.ns("hb"), HOST_B[0], size=1_000_000, timeout_s=4)
    assert not done.complete
