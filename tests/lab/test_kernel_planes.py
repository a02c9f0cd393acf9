"""Never in clear: both data planes, both families, through every change of state; the router's capture is the proof."""

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.kernel_gateway import IF_ID, REQID, gateways, inside
from xfrmctl.kernel.desired import Desired, XfrmInterface
from xfrmctl.kernel.ownership import if_id_for
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.topology import HOST_B, Topology
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.sa import DataPlane

pytestmark = pytest.mark.lab


@contextmanager
def flood(topology: Topology) -> Iterator[None]:
    """Pings of both families, forwarded and the gateway's own, all the while."""
    started: list[subprocess.Popen[bytes]] = []
    for node, sources in (("ha", (None, None)), ("ga", ("10.1.1.1", "fd10:1::1"))):
        for address, source in zip(HOST_B, sources, strict=True):
            argv = ["ping", "-n", "-q", "-i", "0.005", *(["-I", source] if source else []), address]
            started.append(topology.ns(node).popen(argv))
    time.sleep(0.3)
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.parametrize("plane", list(DataPlane))
def test_no_state_and_no_change_of_state_lets_a_packet_out_in_clear(topology: Topology, plane: DataPlane) -> None:
    with gateways(topology, plane=plane) as both:
        ga, gb = both
        gb.converge(gb.desired())
        gb.kernel.install(gb.sas())
        ga.converge(ga.desired(up=False))
        with Capture(topology.ns("r"), "ra") as capture, flood(topology):
            for turn in range(4):
                ga.converge(ga.desired(mss=1300 - turn))  # a trap
                ga.kernel.install(ga.sas())
                time.sleep(0.2)
                ga.kernel.delete([sa.id for sa, _ in ga.sas()])  # a trap again
                ga.converge(ga.desired(up=False))  # fails closed
            if plane is DataPlane.POLICY:
                for turn in range(200):  # replaced in place: no gap to fall into
                    states = (ga.desired(up=False), ga.desired())
                    with inside(ga.ns):
                        assert not ga.kernel.change(states[turn % 2], states[1 - turn % 2]).problems
            else:
                ga.converge(ga.desired())
                ga.kernel.install(ga.sas())
                time.sleep(0.2)
                ga.ns.batch(["link delete ipsec1"])  # somebody else does
                time.sleep(0.3)
                ga.converge(ga.desired())
                ga.ns.batch(["link set ipsec1 down"])
                time.sleep(0.3)
                ga.converge(ga.desired())
                for mtu in itertools.islice(itertools.cycle((1300, 1400)), 10):
                    ga.converge(ga.desired(mtu=mtu))
            time.sleep(0.2)
        assert capture.report.problems() == []


@pytest.mark.parametrize("plane", list(DataPlane))
def test_the_tunnel_works_again_after_all_that(topology: Topology, plane: DataPlane) -> None:
    with gateways(topology, plane=plane) as both:
        for gateway in both:
            gateway.converge(gateway.desired(up=False))
        for address in HOST_B:
            assert traffic.ping(topology.ns("ha"), address, count=2, wait_s=0.3).received == 0
        for gateway in both:
            gateway.converge(gateway.desired())
            gateway.kernel.install(gateway.sas())
        for address in HOST_B:
            assert traffic.ping(topology.ns("ha"), address).loss == 0


def test_an_interface_that_changes_its_if_id_is_made_anew(topology: Topology) -> None:
    with gateways(topology, plane=DataPlane.INTERFACE) as (ga, _):
        ga.converge(ga.desired())
        up = ga.desired()
        other = if_id_for(2)
        ga.converge(Desired({}, {"ipsec1": XfrmInterface("ipsec1", other, 1400)}, up.routes))
        assert f"{other:#x}" in ga.ns.run(["ip", "-d", "link", "show", "ipsec1"]).stdout
        ga.converge(Desired({}, {"renamed": XfrmInterface("renamed", other, 1400)}))
        ga.converge(up)
        text = ga.ns.run(["ip", "-d", "link", "show", "type", "xfrm"]).stdout
        assert f"{IF_ID:#x}" in text and "renamed" not in text and "alias xfrmctl" in text


def test_foreign_objects_in_the_way_are_reported_and_stay(topology: Topology) -> None:
    with gateways(topology, plane=DataPlane.INTERFACE) as (ga, _):
        ga.ns.batch(
            [
                "link add ipsec1 type dummy",
                "route add blackhole 10.1.2.0/24 metric 9000",
                f"xfrm policy add src 10.1.1.0/24 dst 10.1.2.0/24 dir out if_id {IF_ID:#x} action block",
            ]
        )
        with inside(ga.ns):
            text = "\n".join(ga.kernel.converge(ga.desired()).problems)
        assert "ip link delete ipsec1" in text
        shown = ga.ns.run(["ip", "link", "show", "ipsec1"]).stdout
        assert "alias" not in shown and "UP" not in shown, "a stranger of the same name is not dressed as ours"
        assert "ip route delete 10.1.2.0/24 metric 9000" in text
        assert "ip xfrm policy delete src 10.1.1.0/24 dst 10.1.2.0/24 dir out" in text
        policies = ga.ns.run(["ip", "xfrm", "policy"]).stdout
        assert policies.count("action block") == 1 and policies.count(str(REQID)) == 5
        ga.ns.batch(
            [
                "link delete ipsec1",
                "route delete blackhole 10.1.2.0/24 metric 9000",
                f"xfrm policy delete src 10.1.1.0/24 dst 10.1.2.0/24 dir out if_id {IF_ID:#x}",
            ]
        )
        ga.converge(ga.desired())


FOREIGN = [
    "xfrm state add src 10.9.9.1 dst 10.9.9.2 proto esp spi 0x7777 reqid 7 mode tunnel"
    " aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128",
    "xfrm policy add src 10.9.1.0/24 dst 10.9.2.0/24 dir out action block",
    "xfrm policy add src 10.9.1.0/24 dst 10.9.3.0/24 dir out"
    " tmpl src 10.9.9.1 dst 10.9.9.2 proto esp reqid 7 mode tunnel",
    "link add foreign0 type xfrm if_id 99",
    "link set foreign0 up",
    "route add 10.1.2.0/24 dev foreign0 metric 500",
    "route add blackhole 10.77.0.0/16",
]


FOREIGN_TABLE = """
table inet other {
    map pairs4-0 { type ipv4_addr . ipv4_addr : verdict; flags interval; }
    chain postrouting { type filter hook postrouting priority mangle; ip saddr . ip daddr vmap @pairs4-0; }
}
add element inet other pairs4-0 { 10.1.0.0/16 . 10.2.0.0/16 : accept }
"""


def _everything(topology: Topology) -> str:
    ga = topology.ns("ga")
    commands = [
        ["ip", "xfrm", "state"],
        ["ip", "xfrm", "policy"],
        ["ip", "-o", "link"],
        ["ip", "route", "show", "table", "all"],
        ["ip", "-6", "route", "show", "table", "all"],
        ["iptables-save"],
        ["ip6tables-save"],
        ["ipset", "save"],
        ["nft", "list", "table", "inet", "other"],
        ["nft", "list", "tables"],
    ]
    text = "\n".join(ga.run(command).stdout for command in commands)
    return "\n".join(line for line in text.splitlines() if not line.startswith(("#", ":")))


@pytest.mark.parametrize("firewall", [FirewallBackend.IPTABLES, FirewallBackend.NFTABLES])
@pytest.mark.parametrize("plane", list(DataPlane))
def test_cleanup_removes_every_trace_of_us_and_nothing_else(
    topology: Topology, plane: DataPlane, firewall: FirewallBackend
) -> None:
    ga_ns = topology.ns("ga")
    ga_ns.batch(FOREIGN)
    ga_ns.run(["ipset", "create", "other", "hash:net,net"])
    ga_ns.run(["nft", "-f", "-"], stdin=FOREIGN_TABLE)
    for tool in ("iptables", "ip6tables"):
        ga_ns.run([tool, "-w", "-t", "mangle", "-N", "OTHER"])
        ga_ns.run([tool, "-w", "-t", "mangle", "-A", "POSTROUTING", "-p", "tcp", "-j", "OTHER"])
    before = _everything(topology)
    with gateways(topology, plane=plane, firewall=firewall) as (ga, _):
        ga.converge(ga.desired(mss=1300))
        ga.kernel.install(ga.sas())
        assert _everything(topology) != before
    with gateways(topology, plane=plane) as (fresh, _), inside(fresh.ns):  # as after a crash: nothing is remembered
        report = fresh.kernel.cleanup()
        assert report.problems == ()
        assert report.removed["sas"] == 2 and report.removed["policies"] == 6
        assert report.removed["clamp_rules"] == report.removed["clamp_sets"] == 2
        assert report.removed["interfaces"] == (1 if plane is DataPlane.INTERFACE else 0)
        again = fresh.kernel.cleanup()
        assert not any(again.removed.values()) and again.problems == ()
    assert _everything(topology) == before
