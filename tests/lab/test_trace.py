"""Captures of real packets on both sides of a gateway: what was done there is what ``xfrmctl trace`` says."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from xfrmctl.lab import static, traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.topology import HOST_A, HOST_B, Topology
from xfrmctl.trace.comparison import Comparison, compare
from xfrmctl.trace.findings import Finding, Severity
from xfrmctl.trace.headers import read
from xfrmctl.trace.pairs import Side

pytestmark = pytest.mark.lab

CLAMP = ["-t", "mangle", "-A", "FORWARD", "-p", "tcp", "--tcp-flags", "SYN,RST", "SYN"]


class Points:
    """Two captures while the block runs, and what comes of comparing them."""

    found: Comparison

    def only(self, code: str) -> Finding:
        """The one finding of this kind."""
        (finding,) = (f for f in self.found.findings if f.code == code)
        return finding

    @property
    def faults(self) -> set[str]:
        """What was found beyond notes."""
        return {f.code for f in self.found.findings if f.severity is not Severity.NOTE}


@contextmanager
def between(topology: Topology, a: tuple[str, str], b: tuple[str, str], tmp_path: Path) -> Iterator[Points]:
    points = Points()
    files = [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    captures = [Capture(topology.ns(ns), dev, keep=f) for (ns, dev), f in zip((a, b), files, strict=True)]
    with captures[0], captures[1]:
        yield points
    assert all(capture.report.dropped == 0 for capture in captures)
    here, there = (read(file.name, BytesIO(file.read_bytes())) for file in files)
    points.found = compare(here, there)


HOSTS = (("ha", "eth0"), ("hb", "eth0"))


@pytest.fixture
def tunnel(topology: Topology) -> Topology:
    static.add_tunnel(topology)
    return topology


def test_a_healthy_tunnel_changes_nothing(tunnel: Topology, tmp_path: Path) -> None:
    with between(tunnel, *HOSTS, tmp_path) as points:
        for address in HOST_B:
            assert traffic.transfer(tunnel.ns("ha"), tunnel.ns("hb"), address, size=20_000).complete
    assert points.faults == set() and points.found.pairs == 2
    assert points.only("routers-between").values == {"there": 2, "back": 2}


def test_a_clamp_is_found_with_its_arithmetic(tunnel: Topology, tmp_path: Path) -> None:
    out = [*CLAMP, "-m", "policy", "--dir", "out", "--pol", "ipsec", "-j", "TCPMSS"]
    tunnel.ns("ga").run(["iptables", *out, "--clamp-mss-to-pmtu"])
    with between(tunnel, *HOSTS, tmp_path) as points:
        assert traffic.transfer(tunnel.ns("ha"), tunnel.ns("hb"), HOST_B[0], size=20_000).complete
    assert points.faults == {"mss-rewritten"}
    clamp = points.only("mss-rewritten")
    assert clamp.values == {"version": 4, "from": 1460, "to": 1406, "opening": "SYN"}
    assert clamp.fits[0].text == "ESP aes256gcm16, outer IPv4, path MTU 1500 (Ethernet)"
    assert any("only one direction" in detail for detail in clamp.details)


def test_frag_needed_of_the_gateway(tunnel: Topology, tmp_path: Path) -> None:
    with between(tunnel, *HOSTS, tmp_path) as points:
        assert traffic.transfer(tunnel.ns("ha"), tunnel.ns("hb"), HOST_B[0], size=200_000).complete
    message = points.only("frag-needed")
    assert message.values == {"mtu": 1446, "reporter": "10.1.1.1", "host": HOST_A[0]}
    assert any("its sender is on the link of that point" in detail for detail in message.details)
    assert any(fit.outer_mtu == 1500 and fit.suite == "aes256gcm16" for fit in message.fits)


def test_a_black_hole_and_where_it_is(tunnel: Topology, tmp_path: Path) -> None:
    tunnel.ns("ga").run(["iptables", "-A", "OUTPUT", "-p", "icmp", "-j", "DROP"])
    with between(tunnel, *HOSTS, tmp_path) as points:
        flow = traffic.Flow(tunnel.ns("ha"), tunnel.ns("hb"), HOST_B[0]).start()
        assert not flow.moves(within_s=1.5)
        flow.stop()
    hole = points.only("large-packets-lost")
    assert hole.severity is Severity.FAULT and "between A and B" in hole.title
    assert hole.values["smallest_lost"] == 1500


def test_the_suite_is_known_by_its_sizes(tunnel: Topology, tmp_path: Path) -> None:
    with between(tunnel, ("ga", "lan"), ("r", "rb"), tmp_path) as points:
        for size in (1, 100, 501, 1002, 1303):
            assert traffic.transfer(tunnel.ns("ha"), tunnel.ns("hb"), HOST_B[0], size=size).complete
    encrypted = points.only("encrypted")
    assert encrypted.values["suites"] == "aes256gcm16" and encrypted.evidence[0].side is Side.B


def test_a_host_with_offload_is_found(tunnel: Topology, tmp_path: Path) -> None:
    """What the host leaves to its device to cut is no packet of any wire."""
    tunnel.ns("ha").run(["ethtool", "-K", "eth0", "tx", "on", "sg", "on", "tso", "on", "gso", "on"])
    with between(tunnel, *HOSTS, tmp_path) as points:
        assert traffic.transfer(tunnel.ns("ha"), tunnel.ns("hb"), HOST_B[0], size=500_000).complete
    found = points.only("offload")
    assert {evidence.side for evidence in found.evidence} == {Side.A} and int(found.values["largest"]) > 1500
    assert "large-packets-lost" not in points.faults


def test_a_proxy_that_answers_in_the_servers_name_is_found(tunnel: Topology, tmp_path: Path) -> None:
    """The kernel's own: it answers the SYN with a number of its own, and counts it into the server's ever after."""
    gb, syn = tunnel.ns("gb"), ["-p", "tcp", "-d", HOST_B[0]]
    gb.run(["sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0", "net.ipv4.tcp_timestamps=1"])
    hook = "type filter hook prerouting priority raw"
    rule = f"ip daddr {HOST_B[0]} tcp flags & (fin | syn | rst | ack) == syn notrack"
    gb.run(["nft", "-f", "-"], stdin=f"table ip proxy {{\nchain first {{ {hook};\n{rule}\n}}\n}}\n")
    proxy = ["SYNPROXY", "--sack-perm", "--timestamp", "--wscale", "7", "--mss", "1300"]
    states = ["-m", "conntrack", "--ctstate"]
    gb.run(["iptables", "-A", "FORWARD", *syn, *states, "INVALID,UNTRACKED", "-j", *proxy])
    gb.run(["iptables", "-A", "FORWARD", *syn, *states, "INVALID", "-j", "DROP"])
    with between(tunnel, *HOSTS, tmp_path) as points:
        assert traffic.transfer(tunnel.ns("ha"), tunnel.ns("hb"), HOST_B[0], size=20_000).complete
    found = points.only("tcp-proxy")
    assert any("The window of the SYN is another" in sign and sign.endswith(" 0 after.") for sign in found.details)
    assert {evidence.side for evidence in found.evidence} == {Side.A, Side.B}


def test_live_on_both_sides_of_the_gateway(tunnel: Topology) -> None:
    """The packets that ESP brought are seen decrypted on wan, so the SYN-ACK is seen on both sides."""
    tunnel.ns("ga").run(
        ["iptables", *CLAMP, "-m", "policy", "--dir", "in", "--pol", "ipsec", "-j", "TCPMSS", "--set-mss", "1200"]
    )
    argv = [sys.executable, "-m", "xfrmctl", "trace", "--live", "lan", "wan", "--seconds", "3", "--json"]
    done = threading.Event()

    def connect() -> None:
        while not done.wait(0.3):
            traffic.transfer(tunnel.ns("ha"), tunnel.ns("hb"), HOST_B[0], size=100)

    connecting = threading.Thread(target=connect)
    connecting.start()
    try:
        run = tunnel.ns("ga").run(argv, check=False)
    finally:
        done.set()
        connecting.join()
    found = json.loads(run.stdout)
    assert run.returncode == 1, found
    (clamp,) = (f for f in found["findings"] if f["code"] == "mss-rewritten")
    assert clamp["values"] == {"version": 4, "from": 1460, "to": 1200, "opening": "SYN-ACK"}
    assert "between B and A" in clamp["title"]
