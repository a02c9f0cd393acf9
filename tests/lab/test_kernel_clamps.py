"""The clamp in the four cases (forwarded and the gateway's own, both directions), both data planes, both families."""

import re
import socket
import struct
from contextlib import closing
from ipaddress import ip_address, ip_network

import pytest

from tests.lab.kernel_gateway import Gateway, gateways, inside
from xfrmctl.kernel.desired import Clamp, ClampRule, Desired
from xfrmctl.kernel.firewall import clamp
from xfrmctl.kernel.firewall.iptables import Ipset, Tables
from xfrmctl.kernel.netlink import ipset
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import HOST_A, HOST_B, Topology
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.sa import DataPlane

pytestmark = pytest.mark.lab

MSS = 1000
GATEWAY_A = ("10.1.1.1", "fd10:1::1")


def connect(client: Namespace, source: str, server: Namespace, address: str) -> tuple[int, int]:
    """Open a connection; gives what client and server take for the largest segment to the other (TCP_MAXSEG)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with server.socket(family, socket.SOCK_STREAM) as listener, client.socket(family, socket.SOCK_STREAM) as sock:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, 5300))
        listener.listen()
        listener.settimeout(5)
        sock.settimeout(5)
        sock.bind((source, 0))
        sock.connect((address, 5300))
        with listener.accept()[0] as accepted:
            option = (socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            return sock.getsockopt(*option), accepted.getsockopt(*option)


@pytest.fixture(params=[FirewallBackend.IPTABLES, FirewallBackend.NFTABLES], ids=lambda kind: kind.value)
def firewall(request: pytest.FixtureRequest) -> FirewallBackend:
    """Each test runs with both."""
    kind: FirewallBackend = request.param
    return kind


@pytest.mark.parametrize("plane", list(DataPlane))
@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_all_four_cases(topology: Topology, plane: DataPlane, family: int, firewall: FirewallBackend) -> None:
    ha, hb, ga_ns = (topology.ns(name) for name in ("ha", "hb", "ga"))
    a, b, gateway = HOST_A[family], HOST_B[family], GATEWAY_A[family]
    with gateways(topology, plane=plane, firewall=firewall) as both:
        ga, gb = both
        for one in both:
            one.converge(one.desired(mss=MSS if one is ga else 0))  # gateway A alone clamps
            one.kernel.install(one.sas())
        with Capture(hb, "eth0") as at_b, Capture(ha, "eth0") as at_a:
            for client, source, server, address in (
                (ha, a, hb, b),  # forwarded, out
                (hb, b, ha, a),  # forwarded, in
                (ga_ns, gateway, hb, b),  # the gateway's own, out
                (hb, b, ga_ns, gateway),  # the gateway's own, in
            ):
                sizes = connect(client, source, server, address)
                assert all(MSS - 60 < size <= MSS for size in sizes), (source, address, sizes)
        assert [syn.mss for syn in at_b.report.syns if str(syn.dst) == b] == [MSS] * 4
        assert [syn.mss for syn in at_a.report.syns if str(syn.dst) == a] == [MSS] * 2
        with inside(ga.ns):
            counters = {info.family: info for info in ga.kernel.clamp_counters()}
        info = counters[4 if family == 0 else 6]
        assert (info.mss, info.pairs, info.standing) == (MSS, 1, True)
        assert info.packets == 8  # every SYN and SYN-ACK once, though an xfrm interface shows them twice
        assert gb.kernel is not None


@pytest.mark.parametrize("plane", list(DataPlane))
def test_a_smaller_mss_is_never_raised(topology: Topology, plane: DataPlane, firewall: FirewallBackend) -> None:
    """Neither in a SYN nor in a SYN-ACK, of either family."""
    ha, hb = topology.ns("ha"), topology.ns("hb")
    with gateways(topology, plane=plane, firewall=firewall) as both:
        for one in both:
            one.converge(one.desired(mss=1300))
            one.kernel.install(one.sas())
        ha.batch(["route change default via 10.1.1.1 advmss 500", "route change ::/0 via fd10:1::1 advmss 700"])
        for a, b, mss in zip(HOST_A, HOST_B, (500, 700), strict=True):
            with Capture(hb, "eth0") as capture:
                connect(ha, a, hb, b)
                connect(hb, b, ha, a)
            arrived = [(syn.ack, syn.mss) for syn in capture.report.syns if str(syn.dst) == b]
            assert arrived == [(False, mss), (True, mss)]


def bare_syn(source: Namespace, here: str, there: str) -> None:
    """A SYN without any option, made by hand."""
    v6 = ":" in here
    head = struct.pack("!HHIIBBHHH", 5301, 5300, 1, 0, 5 << 4, 2, 1024, 0, 0)
    ends = ip_address(here).packed + ip_address(there).packed
    total = sum(struct.unpack(f"!{len(ends + head) // 2}H", ends + head)) + socket.IPPROTO_TCP + len(head)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    segment = head[:16] + struct.pack("!H", ~total & 0xFFFF) + head[18:]
    family = socket.AF_INET6 if v6 else socket.AF_INET
    with source.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
        sock.bind((here, 0))
        sock.sendto(segment, (there, 0))


@pytest.mark.rfc("9293", "3.7.1")
@pytest.mark.parametrize("mss", [1300, 500])
def test_a_syn_without_an_mss_gets_the_default_or_less_by_iptables_and_none_by_nftables(
    topology: Topology, firewall: FirewallBackend, mss: int
) -> None:
    """Whoever gets none takes 536, over IPv6 1,220: what TCPMSS writes, if the clamp is not smaller still."""
    ha, hb = topology.ns("ha"), topology.ns("hb")
    with gateways(topology, firewall=firewall) as both:
        for one in both:
            one.converge(one.desired(mss=mss))
            one.kernel.install(one.sas())
        for a, b, default in zip(HOST_A, HOST_B, (536, 1220), strict=True):
            with Capture(hb, "eth0") as capture:
                bare_syn(ha, a, b)
                traffic.ping(ha, b, count=1)
            written = min(mss, default) if firewall is FirewallBackend.IPTABLES else None
            syns = [syn for syn in capture.report.syns if not syn.ack]
            assert [(str(syn.src), syn.mss) for syn in syns] == [(a, written)]


def test_moving_to_another_mss_keeps_the_counters_of_the_rest(topology: Topology, firewall: FirewallBackend) -> None:
    with gateways(topology, firewall=firewall) as (ga, gb):
        for one in (ga, gb):
            one.converge(one.desired(mss=MSS if one is ga else 0))
            one.kernel.install(one.sas())
        connect(topology.ns("ha"), HOST_A[0], topology.ns("hb"), HOST_B[0])
        base = ga.desired(mss=MSS)
        more = Clamp(ip_network("10.1.0.0/16"), ip_network("0.0.0.0/0"), 900)
        ga.converge(Desired(base.policies, base.interfaces, base.routes, base.clamps | {more}))
        assert _counters(ga) == {(4, 900): 0, (4, MSS): 2, (6, MSS): 0}
        connect(topology.ns("ha"), HOST_A[0], topology.ns("hb"), HOST_B[0])
        counters = _counters(ga)
        assert counters[4, 900] == 2  # in both sets: the smaller one applies, whichever rule comes first
        ga.converge(base)
        assert _counters(ga).keys() == {(4, MSS), (6, MSS)}


def test_a_flushed_chain_is_noticed_and_mended(topology: Topology) -> None:
    with gateways(topology, firewall=FirewallBackend.IPTABLES) as (ga, _):
        desired = ga.desired(mss=MSS)
        ga.converge(desired)
        ga.ns.run(["iptables", "-w", "-t", "mangle", "-D", "INPUT", "1"])
        ga.ns.run(["ip6tables", "-w", "-t", "mangle", "-F"])
        with inside(ga.ns):
            assert [info.standing for info in ga.kernel.clamp_counters()] == [False, False]
            assert ga.kernel.plan(desired).render().count("clamp rule") == 2
        ga.converge(desired)
        ga.ns.run(["iptables", "-w", "-t", "mangle", "-F"])
        ga.ns.run(["iptables", "-w", "-t", "mangle", "-X", "XFRMCTL-MSS"])
        ga.ns.run(["ipset", "destroy", "xfrmctl-4-1000"])
        ga.converge(desired)


@pytest.mark.parametrize("where", ["POSTROUTING", "INPUT"])
def test_a_rule_that_takes_syns_away_before_ours_is_told_and_ours_comes_first_again(
    topology: Topology, where: str
) -> None:
    ha, hb, ga_ns = topology.ns("ha"), topology.ns("hb"), topology.ns("ga")
    client, server, address = (ha, hb, HOST_B[0]) if where == "POSTROUTING" else (hb, ga_ns, GATEWAY_A[0])
    source = HOST_A[0] if client is ha else HOST_B[0]
    with gateways(topology, firewall=FirewallBackend.IPTABLES) as both:
        ga, _ = both
        for one in both:
            one.converge(one.desired(mss=MSS if one is ga else 0))
            one.kernel.install(one.sas())
        ga_ns.run(["iptables", "-w", "-t", "mangle", "-I", where, "-j", "MARK", "--set-mark", "1"])
        with inside(ga.ns):
            assert [info.standing for info in ga.kernel.clamp_counters()] == [True, True], "this one is in nobody's way"
        ga_ns.run(["iptables", "-w", "-t", "mangle", "-I", where, "-p", "tcp", "-j", "ACCEPT"])
        assert max(connect(client, source, server, address)) > MSS
        with inside(ga.ns):
            assert [info.standing for info in ga.kernel.clamp_counters()] == [False, True]
            report = ga.kernel.converge(ga.desired(mss=MSS))
            (said,) = report.disturbances
            assert not report.problems
            assert f"[-A {where} -p tcp -j ACCEPT]" in said and "IPv4" in said
            assert ga.kernel.converge(ga.desired(mss=MSS)).disturbances == ()
        assert max(connect(client, source, server, address)) <= MSS
        rules = ga_ns.run(["iptables", "-t", "mangle", "-S", where]).stdout
        assert rules.count("XFRMCTL-MSS") == 1 and rules.count("-j ACCEPT") == 1 and rules.count("-j MARK") == 1


NFT = "inet xfrmctl"


@pytest.mark.parametrize(
    "damage",
    [
        "delete table inet xfrmctl",
        "flush ruleset",
        "flush chain inet xfrmctl input",
        "insert rule inet xfrmctl postrouting accept",
        "insert rule inet xfrmctl syn return",
        "flush chain inet xfrmctl mss4-1000",
        "add table inet xfrmctl { flags dormant; }",
    ],
)
def test_a_damaged_table_is_noticed_and_mended(topology: Topology, damage: str) -> None:
    with gateways(topology, firewall=FirewallBackend.NFTABLES) as both:
        ga, _ = both
        for one in both:
            one.converge(one.desired(mss=MSS if one is ga else 0))
            one.kernel.install(one.sas())
        connect(topology.ns("ha"), HOST_A[0], topology.ns("hb"), HOST_B[0])
        ga.ns.run(["nft", damage])
        with inside(ga.ns):
            assert [info.standing for info in ga.kernel.clamp_counters()] == [False, False]
            assert ga.kernel.plan(ga.desired(mss=MSS)).render().count("+ clamp rule") == 2
            (said,) = ga.kernel.converge(ga.desired(mss=MSS)).disturbances
            assert "our inet xfrmctl" in said and "spare the table" in said
        ga.converge(ga.desired(mss=MSS))
        with Capture(topology.ns("hb"), "eth0") as capture:
            connect(topology.ns("ha"), HOST_A[0], topology.ns("hb"), HOST_B[0])
        assert [syn.mss for syn in capture.report.syns if str(syn.dst) == HOST_B[0]] == [MSS]


def test_a_lost_member_of_a_map_is_put_back_without_touching_the_rest(topology: Topology) -> None:
    with gateways(topology, firewall=FirewallBackend.NFTABLES) as (ga, _):
        desired = ga.desired(mss=MSS)
        ga.converge(desired)
        listing = ["nft", "-a", "-s", "list", "table", *NFT.split()]
        before = ga.ns.run(listing).stdout
        ga.ns.run(["nft", f"delete element {NFT} pairs4-24-24 {{ 10.1.1.0 . 10.1.2.0 }}"])
        with inside(ga.ns):
            assert ga.kernel.plan(desired).render() == "+ clamp 10.1.1.0/24 <-> 10.1.2.0/24 mss 1000"
        ga.converge(desired)
        after = ga.ns.run(listing).stdout  # with the handles: nothing was made anew
        assert sorted(re.split(r"[,\s]+", before)) == sorted(re.split(r"[,\s]+", after))


def test_overlapping_pairs_take_the_smaller_mss_in_any_order(topology: Topology, firewall: FirewallBackend) -> None:
    """The wide pair begins where the narrow one does, crosses another one, and comes before and after them."""
    wide = Clamp(ip_network("10.1.0.0/16"), ip_network("10.1.0.0/16"), 950)
    narrow = Clamp(ip_network("10.1.1.0/24"), ip_network("10.1.2.0/24"), 1000)
    host = Clamp(ip_network(HOST_A[0]), ip_network("0.0.0.0/0"), 900)
    with gateways(topology, firewall=firewall) as both:
        ga, _ = both
        for one in both:
            one.converge(one.desired())
            one.kernel.install(one.sas())
        base = ga.desired()
        for clamps in ([wide], [wide, narrow], [wide, narrow, host], [narrow, host], [narrow], [narrow, wide]):
            ga.converge(Desired(base.policies, base.interfaces, base.routes, frozenset(clamps)))
            with Capture(topology.ns("hb"), "eth0") as capture:
                connect(topology.ns("ha"), HOST_A[0], topology.ns("hb"), HOST_B[0])
            smallest = min(clamp.mss for clamp in clamps)
            assert [syn.mss for syn in capture.report.syns if str(syn.dst) == HOST_B[0]] == [smallest], clamps
        ga.converge(base)


def test_the_other_back_end_leaves_nothing_behind(topology: Topology) -> None:
    with gateways(topology, firewall=FirewallBackend.IPTABLES) as (ga, _):
        ga.converge(ga.desired(mss=MSS))
    with gateways(topology, firewall=FirewallBackend.NFTABLES) as (ga, _):
        ga.converge(ga.desired(mss=MSS))
        assert "XFRMCTL-MSS" not in ga.ns.run(["iptables-save"]).stdout and not ga.ns.run(["ipset", "save"]).stdout
        assert NFT in ga.ns.run(["nft", "list", "tables"]).stdout
    with gateways(topology, firewall=FirewallBackend.IPTABLES) as (ga, _):
        ga.converge(ga.desired(mss=MSS))
        assert "XFRMCTL-MSS" in ga.ns.run(["iptables-save"]).stdout
        assert NFT not in ga.ns.run(["nft", "list", "tables"]).stdout


def test_a_changing_mss_stays_in_one_map(topology: Topology) -> None:
    with gateways(topology, firewall=FirewallBackend.NFTABLES) as (ga, _):
        for mss in (1000, 1100, 900, 1000):
            ga.converge(ga.desired(mss=mss))
            assert _counters(ga) == {(4, mss): 0, (6, mss): 0}
            maps = ga.ns.run(["nft", "list", "maps", "inet"]).stdout
            assert sorted(re.findall(r"map (\S+)", maps)) == ["pairs4-24-24", "pairs6-64-64"]
        ga.converge(ga.desired())
        assert NFT not in ga.ns.run(["nft", "list", "tables"]).stdout


def test_rules_in_the_other_variant_are_reported(topology: Topology) -> None:
    with gateways(topology, firewall=FirewallBackend.IPTABLES) as (ga, _):
        with inside(ga.ns):
            assert ga.kernel.converge(ga.desired(mss=MSS)).problems == ()
        ga.ns.run(["iptables-legacy", "-w", "-t", "mangle", "-A", "FORWARD", "-j", "ACCEPT"])
        with inside(ga.ns):
            [problem] = ga.kernel.converge(ga.desired(mss=MSS)).problems
        assert "nft" in problem and "iptables-legacy-save" in problem


def test_traffic_flows_through_a_clamped_tunnel(topology: Topology, firewall: FirewallBackend) -> None:
    with gateways(topology, firewall=firewall) as both:
        for one in both:
            one.converge(one.desired(mss=1300))
            one.kernel.install(one.sas())
        done = traffic.transfer(topology.ns("ha"), topology.ns("hb"), HOST_B[0], size=2_000_000)
        assert done.complete


def _counters(gateway: Gateway) -> dict[tuple[int, int], int]:
    with inside(gateway.ns):
        return {(info.family, info.mss): info.packets for info in gateway.kernel.clamp_counters()}


@pytest.mark.parametrize("family", [4, 6])
def test_both_variants_take_our_text_and_cleanup_clears_both(topology: Topology, family: int) -> None:
    rule = ClampRule(family, 1234)
    with gateways(topology) as (ga, _), inside(ga.ns):
        with closing(Ipset()) as sets:
            sets.write([ipset.create(clamp.set_name(rule), family, 100)])
        for variant in ("nft", "legacy"):
            tables = Tables(family, variant)
            tables.restore(clamp.restore_text(clamp.Standing(), add=[rule]))
            assert tables.save().standing == {rule}
        report = ga.kernel.cleanup()
        assert report.problems == () and report.removed["clamp_rules"] == 2 and report.removed["clamp_sets"] == 1
        assert all(not Tables(family, variant).save().lines for variant in ("nft", "legacy"))
