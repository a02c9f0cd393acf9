"""The network itself: it comes up, it changes as told, and it leaves nothing behind."""

import ipaddress
import subprocess

import pytest

from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.topology import OUTER_A, OUTER_B, Topology, leftovers

pytestmark = pytest.mark.lab


def test_gateways_reach_each_other_in_both_families(topology: Topology) -> None:
    for address in OUTER_B:
        assert traffic.ping(topology.ns("ga"), address).loss == 0
    for address in OUTER_A:
        assert traffic.ping(topology.ns("gb"), address).loss == 0


def test_two_topologies_stand_side_by_side(topology: Topology) -> None:
    with Topology() as second:
        assert second.prefix != topology.prefix
        for each in (topology, second):
            assert traffic.ping(each.ns("ga"), OUTER_B[0], count=1).loss == 0


def test_nothing_is_left_behind_not_even_processes() -> None:
    class Mishap(Exception):
        pass

    topology = Topology()
    with pytest.raises(Mishap), topology:
        sleeper = topology.ns("gb").popen(["sleep", "1000"])
        raise Mishap
    assert leftovers(topology.prefix) == []
    assert sleeper.wait(timeout=5) != 0
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    assert "lan" not in links and "wan" not in links


def test_half_built_topology_is_removed() -> None:
    topology = Topology()
    topology.ns("gb").add()
    with pytest.raises(LabError, match="File exists"), topology:
        pass
    assert leftovers(topology.prefix) == []


def test_path_mtu_and_icmp_filter(topology: Topology) -> None:
    topology.set_path_mtu(1400)
    a = topology.ns("ga")
    told = traffic.ping(a, OUTER_B[0], packet_bytes=1500, df=True, wait_s=0.5)
    assert (told.received, told.told_mtu) == (0, 1400)
    a.run(["ip", "route", "flush", "cache"])
    topology.filter_icmp("r")
    silent = traffic.ping(a, OUTER_B[0], packet_bytes=1500, df=True, wait_s=0.5)
    assert (silent.received, silent.told_mtu) == (0, None)
    assert traffic.ping(a, OUTER_B[0], packet_bytes=1400, df=True).loss == 0
    topology.unfilter_icmp("r")
    assert traffic.ping(a, OUTER_B[0], packet_bytes=1500, df=True, wait_s=0.5).told_mtu == 1400


def test_ipv6_path_mtu_and_icmp_filter(topology: Topology) -> None:
    topology.set_path_mtu(1400)
    a = topology.ns("ga")
    topology.filter_icmp("r")
    silent = traffic.ping(a, OUTER_B[1], packet_bytes=1500, df=True, wait_s=0.5)
    assert (silent.received, silent.told_mtu) == (0, None)
    topology.unfilter_icmp("r")
    assert traffic.ping(a, OUTER_B[1], packet_bytes=1500, df=True, wait_s=0.5).told_mtu == 1400


def test_link_down_and_up_again(topology: Topology) -> None:
    a = topology.ns("ga")
    with topology.link_down("ga", "wan"):
        assert traffic.ping(a, OUTER_B[0], count=1, wait_s=0.5).received == 0
    for address in OUTER_B:
        assert traffic.ping(a, address, count=5).received > 0


def test_nat_box_translates_every_address(nat_topology: Topology) -> None:
    private = (ipaddress.ip_network("192.168.9.0/24"), ipaddress.ip_network("fd19:9::/64"))
    assert all(ipaddress.ip_address(own) in net for own, net in zip(nat_topology.ga_address, private, strict=True))
    with Capture(nat_topology.ns("r"), "ra", inner=private) as capture:
        for address in OUTER_B:
            assert traffic.ping(nat_topology.ns("ga"), address).loss == 0
    assert capture.report.counts[Kind.PLAINTEXT] == 0
    assert capture.report.counts[Kind.ICMP] == 12
