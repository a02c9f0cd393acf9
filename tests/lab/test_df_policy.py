"""DF outside and packets that do not fit, by configuration, on both data planes: what is on the wire, and what arrives.

The path carries 1,400 bytes, and no ICMP error gets through anywhere unless a test says otherwise.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest

from tests.lab.datagrams import ESP, UDP, Datagrams, Ip4, wire
from tests.lab.kernel_gateway import gateways as by_hand
from tests.lab.tunnel import LAN, MAIN, brought_up, connection, eventually, lan, text
from xfrmctl.kernel.desired import SetDf
from xfrmctl.kernel.firewall.df import table_text
from xfrmctl.kernel.ownership import DF_TABLE
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_A, HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.lab.traffic import Flow, ping
from xfrmctl.model.sa import DfPolicy
from xfrmctl.model.snapshot import ChildInfo, MtuInfo
from xfrmctl.pmtu.overhead import inner_mtu
from xfrmctl.pmtu.spelling import parse_suite

pytestmark = pytest.mark.lab

SUITE = "aes256gcm16"
NARROW = 1400
INNER = inner_mtu(NARROW, parse_suite(SUITE), 4, False)


def config(
    side: int, dataplane: str, *, outer: int = 4, encap: bool = False, path_mtu: Any = None, **child: Any
) -> str:
    entry = connection(side, {LAN: lan(side, dataplane, esp=[SUITE], **{"mtu": NARROW} | child)})
    ends = [ends[0 if outer == 4 else 1] for ends in (OUTER_A, OUTER_B)]
    entry["local"]["address"], entry["remote"]["address"] = ends[side], ends[1 - side]
    entry["ike"] = {"dpd": "30s", "encap": "always" if encap else "auto"}
    return text({MAIN: entry}, path_mtu=path_mtu or {})


@contextmanager
def gateways(topology: Topology, dataplane: str, **child: Any) -> Iterator[tuple[Gateway, Gateway]]:
    """Two of ours with a tunnel between them, over a path of 1,400 bytes that says nothing."""
    made = [Gateway(topology.ns(ns), config(side, dataplane, **child)) for side, ns in enumerate(("ga", "gb"))]
    for dev in ("ra", "rb"):
        topology.set_link_mtu("r", dev, NARROW)
    topology.filter_icmp("r")
    with brought_up(made[0], made[1]) as both:
        yield both


def child_of(gateway: Gateway) -> ChildInfo:
    """The newest one."""
    children = [c for ike in gateway.client.connection(MAIN).ike_sas for c in ike.children]
    return min(children, key=lambda c: c.established_s)


def flows(topology: Topology, address: str) -> None:
    """TCP from host A to host B flows."""
    flow = Flow(topology.ns("ha"), topology.ns("hb"), address).start()
    try:
        assert flow.moves(30)
    finally:
        flow.stop()


def shown(gateway: Gateway) -> str:
    """What ``show`` prints, its lines joined."""
    return " ".join(gateway.ctl_text("show").stdout.split())


def deaf(topology: Topology) -> None:
    """No host hears of sizes."""
    for node in ("ga", "gb"):
        topology.filter_icmp(node)


def esp(packets: Sequence[Ip4], to: str = OUTER_B[0]) -> list[Ip4]:
    return [p for p in packets if p.destination == to and (p.is_esp or (p.protocol in (ESP, UDP) and p.offset))]


@pytest.mark.parametrize("encap", [False, True])
def test_oversize_packets_with_df_go_in_fragments_made_before_encryption(topology: Topology, encap: bool) -> None:
    deaf(topology)
    fits = inner_mtu(NARROW, parse_suite(SUITE), 4, encap)
    sizes = [fits + 1, 1500, fits, 1500, 1400, fits - 100] * 10
    with (
        gateways(topology, "interface", oversize="fragment", encap=encap) as (a, _),
        Datagrams(topology.ns("ha"), topology.ns("hb"), HOST_B[0]) as datagrams,
    ):
        with wire(topology.ns("r"), "ra") as outside, wire(topology.ns("gb"), "lan") as inside:
            assert datagrams.arrive(sizes, df=True)
        sent = esp(outside)
        assert len(sent) == sum(2 if size > fits else 1 for size in sizes)
        assert max(p.length for p in sent) <= NARROW
        assert not any(p.fragment for p in sent), "each fragment is encrypted on its own"
        inner = [p for p in inside if p.protocol == UDP]
        assert all(p.df for p in inner if not p.fragment), "what fits keeps its DF"
        numbers = [p.id for p in inner if p.more and p.offset == 0]
        assert len(numbers) == 40
        assert len(set(numbers)) >= 37, "numbers at random: hardly two of them can be put together"
        table = a.namespace.run(["nft", "list", "table", "ip", "xfrmctl-df"]).stdout
        assert f"over-{fits}" in table


def test_tcp_that_hears_of_no_size_flows_in_fragments(topology: Topology) -> None:
    deaf(topology)
    with gateways(topology, "interface", oversize="fragment", mss="off"):
        with wire(topology.ns("r"), "ra") as outside:
            flows(topology, HOST_B[0])
        assert not any(p.fragment for p in esp(outside))
        assert max(p.length for p in esp(outside)) <= NARROW


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_by_default_senders_are_told_and_what_has_no_df_is_fragmented(topology: Topology, dataplane: str) -> None:
    with (
        gateways(topology, dataplane) as (a, _),
        Datagrams(topology.ns("ha"), topology.ns("hb"), HOST_B[0]) as datagrams,
    ):
        with wire(topology.ns("r"), "ra") as outside:
            assert datagrams.arrive([1500] * 5, df=False)
        assert ping(topology.ns("ha"), HOST_B[0], count=1, packet_bytes=1500, df=True).told_mtu == INNER
        assert f"IPv4 with DF: senders are told {INNER} by ICMP; without: fragmented" in shown(a)
        after = [p for p in esp(outside) if p.fragment]
        assert bool(after) is (dataplane == "policy"), "an xfrm interface fragments before encryption, policies after"
        assert max(p.length for p in esp(outside)) <= NARROW
        assert not any(p.df for p in esp(outside))


@pytest.mark.parametrize("encap", [False, True])
def test_df_set_is_on_every_packet_of_esp_and_on_no_other(topology: Topology, encap: bool) -> None:
    with (
        gateways(topology, "interface", df="set", encap=encap) as (a, _),
        Datagrams(topology.ns("ha"), topology.ns("hb"), HOST_B[0]) as datagrams,
    ):
        with wire(topology.ns("r"), "ra") as outside:
            for df in (False, True):
                assert datagrams.arrive([100, 1000, INNER - 100], df=df)
            assert datagrams.arrive([1500, 1500], df=False), "and what is too large goes in fragments that fit"
            a.client.rekey(MAIN, LAN)
            eventually("the new SA is there", lambda: child_of(a).established_s < 5)
            assert datagrams.arrive([1000, 1500], df=False)
            assert datagrams.arrive([3000], df=False)
        sent = esp(outside)
        assert len(sent) >= 14
        assert all(p.df and not p.fragment for p in sent)
        ike = [p for p in outside if p.is_ike and p.destination == OUTER_B[0]]
        assert ike
        assert not all(p.df for p in ike), "IKE is not touched"


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_df_clear_is_on_no_packet_and_each_has_a_number(topology: Topology, dataplane: str) -> None:
    with (
        gateways(topology, dataplane, df="clear"),
        Datagrams(topology.ns("ha"), topology.ns("hb"), HOST_B[0]) as datagrams,
    ):
        with wire(topology.ns("r"), "ra") as outside:
            for df in (False, True):
                assert datagrams.arrive([100, 1000, INNER], df=df)
        sent = esp(outside)
        assert len(sent) == 6
        assert not any(p.df for p in sent)
        assert len({p.id for p in sent}) == 6


def test_the_table_is_mended_and_goes_with_the_last_who_wants_it(topology: Topology) -> None:
    ga = topology.ns("ga")

    def stands() -> bool:
        found = ga.run(["nft", "list", "table", "ip", "xfrmctl-df"], check=False).stdout
        return f"over-{INNER}" in found and "th,64,32" in found

    with gateways(topology, "interface", df="set", oversize="fragment") as (a, _):
        assert stands()
        ga.run(["nft", "flush", "chain", "ip", "xfrmctl-df", "prerouting"])
        lines = a.ctl("plan", check=False)["lines"]
        assert any("df: the table is damaged" in line for line in lines), lines
        assert a.client.reload().ok
        assert stands()
        assert not [line for line in a.ctl("plan", check=False)["lines"] if "df" in line]
        a.kill()
        assert stands(), "the rules need no daemon"
        a.start()
        a.client.up(MAIN)
        a.wait_up(MAIN)
        assert stands()
        a.stop()
        assert "xfrmctl-df" not in ga.run(["nft", "list", "tables"]).stdout
        a.start()
        a.kill()
        assert stands()
        a.ctl_text("cleanup")
        assert "xfrmctl-df" not in ga.run(["nft", "list", "tables"]).stdout


TIGHT = 1300
"""A path on which 1,280 bytes inside do not fit."""


@contextmanager
def tight(topology: Topology, dataplane: str, **child: Any) -> Iterator[tuple[Gateway, Gateway]]:
    """As above, and where the router sends towards gateway B there is room for 1,300 bytes only."""
    with gateways(topology, dataplane, mtu=TIGHT, **child) as made:
        squeeze(topology, "rb")
        yield made


def squeeze(topology: Topology, narrow: str) -> None:
    """One of the router's links is narrow. It takes nothing larger either, so the other one must be wide."""
    for dev in ("ra", "rb"):
        topology.set_link_mtu("r", dev, TIGHT if dev == narrow else 1500)


@pytest.mark.parametrize("encap", [False, True])
@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_ipv6_on_a_path_too_narrow_for_it_goes_in_esp_that_routers_fragment(
    topology: Topology, dataplane: str, encap: bool
) -> None:
    inner = inner_mtu(TIGHT, parse_suite(SUITE), 4, encap)
    ha, hb = topology.ns("ha"), topology.ns("hb")
    with tight(topology, dataplane, encap=encap) as ends:
        for gateway in ends:
            eventually("the SA that clears DF is there", partial(is_lifted, gateway))
        assert sizes_of(ends[0]).inner_mtu == inner < 1280
        assert sizes_of(ends[0]).mss_ipv6 == inner - 60
        with Datagrams(ha, hb, HOST_B[1]) as there, Datagrams(hb, ha, HOST_A[1]) as back:
            assert there.arrive([1280, inner + 1, inner, 100] * 3, df=True)
            squeeze(topology, "ra")
            assert back.arrive([1280, inner + 1, inner, 100] * 3, df=True)
        squeeze(topology, "rb")
        with wire(topology.ns("r"), "rb") as outside:
            flows(topology, HOST_B[1])
        assert not any(p.fragment for p in esp(outside)), "TCP needs no fragments"
        with Datagrams(ha, hb, HOST_B[0]) as datagrams:
            assert datagrams.arrive([1500, 1280, inner + 1, inner], df=False)
            assert datagrams.arrive([inner, 1000], df=True)
        assert any("IPv6 inside: only" in line for line in ends[0].log_lines())
        assert "no DF, for the sake of IPv6 inside" in shown(ends[0])
        came = value(ends[1], "xfrmctl_ip_fragments_received_total", family="ipv4")
        made = value(ends[1], "xfrmctl_ip_reassembled_total", family="ipv4")
        assert came >= 2 * made > 0, "outer fragments are counted where they are put together"
        assert value(ends[0], "xfrmctl_child_ipv6_lost", connection=MAIN, child=LAN) == 0


def is_lifted(gateway: Gateway) -> bool:
    """Whether the route to the peer is of a size that the path does not carry."""
    return "lock" in gateway.namespace.run(["ip", "route", "show", "table", "158"], check=False).stdout


def sizes_of(gateway: Gateway) -> MtuInfo:
    found = child_of(gateway).mtu
    assert found is not None
    return found


def value(gateway: Gateway, name: str, **labels: str) -> float:
    """One sample."""
    line = name + "{" + ",".join(f'{key}="{labels[key]}"' for key in sorted(labels)) + "} "
    (found,) = [line_.removeprefix(line) for line_ in gateway.metrics().splitlines() if line_.startswith(line)]
    return float(found)


def test_a_narrow_path_is_found_by_probes_and_df_comes_back_when_it_widens(topology: Topology) -> None:
    """Routers say what they think of probes, which have DF: the kernel must not learn it."""
    ha, hb = topology.ns("ha"), topology.ns("hb")
    with gateways(topology, "policy", mtu="auto", path_mtu={"aging": "8s", "confirm": "2s"}) as (a, _):
        topology.unfilter_icmp("r")
        squeeze(topology, "rb")
        flow = Flow(ha, hb, HOST_B[0]).start()  # somebody has to notice that the path has become narrow
        try:
            assert flow.moves(30)
            eventually("DF is clear, and the route is for IPv6", partial(is_lifted, a))
            assert sizes_of(a).outer_mtu == TIGHT
            with Datagrams(ha, hb, HOST_B[1]) as datagrams:
                for _ in range(3):
                    assert datagrams.arrive([1280, 1279, 1247, 1246, 500], df=True)
            assert sizes_of(a).outer_mtu == TIGHT
            assert is_lifted(a)
            for dev in ("ra", "rb"):
                topology.set_link_mtu("r", dev, 1500)
            eventually("the path is wide again", lambda: sizes_of(a).outer_mtu == 1500)
            eventually("and the route says so", lambda: not is_lifted(a))
        finally:
            flow.stop()
        eventually("DF is copied again", lambda: outer_of(a).startswith("DF as"))
        assert any("there is room again" in line for line in a.log_lines())


def outer_of(gateway: Gateway) -> str:
    found = child_of(gateway).fragments
    assert found is not None
    return found.outer


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_where_nothing_helps_ipv6_tcp_flows_and_an_alarm_says_so(topology: Topology, dataplane: str) -> None:
    ha, hb = topology.ns("ha"), topology.ns("hb")
    inner = inner_mtu(TIGHT, parse_suite(SUITE), 6, False)
    with tight(topology, dataplane, outer=6) as (a, _):
        flows(topology, HOST_B[1])
        with Datagrams(ha, hb, HOST_B[1]) as datagrams:
            assert datagrams.arrive([inner, 500], df=True)
            assert not datagrams.arrive([1280], df=True)
            assert datagrams.arrive([inner, 500], df=True)
        assert value(a, "xfrmctl_child_ipv6_lost", connection=MAIN, child=LAN) == 1
        assert "no router fragments IPv6 outside" in shown(a)
        (line,) = [line for line in a.log_lines() if "IPv6 inside:" in line]
        assert "warning" in line
        assert "have the path carry 1356 bytes" in line


def test_where_the_first_link_is_the_narrow_one_an_alarm_says_so(topology: Topology) -> None:
    topology.set_link_mtu("ga", "wan", TIGHT)
    with gateways(topology, "policy", mtu="auto", path_mtu={"aging": "8s"}) as (a, _):
        flows(topology, HOST_B[1])
        assert value(a, "xfrmctl_child_ipv6_lost", connection=MAIN, child=LAN) == 1
        assert "the first link takes 1300 bytes only: raise its MTU to 1336" in shown(a)
        topology.set_link_mtu("ga", "wan", 1500)
        eventually("the alarm ends", lambda: not value(a, "xfrmctl_child_ipv6_lost", connection=MAIN, child=LAN))


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_a_new_df_policy_comes_with_a_rekey_at_reload_and_no_packet_is_lost(topology: Topology, dataplane: str) -> None:
    with gateways(topology, dataplane) as (a, b):
        name = a.client.connection(MAIN).ike_sas[0].name
        with wire(topology.ns("r"), "ra") as outside:
            pinging = topology.ns("ha").popen(
                ["ping", "-q", "-n", "-M", "do", "-i", "0.01", "-w", "12", HOST_B[0]], stdout=subprocess.PIPE
            )
            for policy in ("clear", "copy"):
                a.configure(config(0, dataplane, df=policy))
                (change,) = a.client.plan().connections
                assert (change.name, change.cost, change.rekeys) == (MAIN, "rekey", [LAN]), change
                before = child_of(a).outbound.spi
                result = a.client.reload()
                assert result.ok
                assert f"rekey of {MAIN}/{LAN}" in result.message
                eventually("a new SA stands", lambda old=before: child_of(a).outbound.spi != old)  # type: ignore[misc]
                wanted = "never" if policy == "clear" else "DF as"
                eventually("and does as it is told", lambda words=wanted: outer_of(a).startswith(words))  # type: ignore[misc]
            said = pinging.communicate(timeout=60)[0].decode()
        assert " 0% packet loss" in said, said
        assert {p.df for p in esp(outside)} == {True, False}
        assert a.client.connection(MAIN).ike_sas[0].name == name
        assert b.client.connection(MAIN).ike_sas[0].name == name


def test_why_df_set_is_refused_for_policies(topology: Topology) -> None:
    """A fact that the configuration relies on: with DF set on it, what a policy would have to fragment is lost."""
    with (
        gateways(topology, "policy") as (a, _),
        Datagrams(topology.ns("ha"), topology.ns("hb"), HOST_B[0]) as datagrams,
    ):
        assert datagrams.arrive([1500, 1000], df=False)
        rules = table_text([SetDf(ip_address(OUTER_B[0]))], 4500).replace(DF_TABLE, "by-hand")
        file = a.directory / "rules.nft"
        file.write_text(rules)
        a.namespace.run(["nft", "-f", str(file)])
        assert datagrams.arrive([1000], df=False)
        assert not datagrams.arrive([1500], df=False)


def test_why_df_needs_a_rekey(topology: Topology) -> None:
    """A fact that reload relies on: the kernel takes an update of a live SA, and ignores what it says of DF."""
    with by_hand(topology) as (ga, _):
        ga.kernel.install(ga.sas())
        (out, keys), *_ = ga.sas()
        ends = ["src", str(out.source), "dst", str(out.destination), "proto", "esp", "spi", hex(out.spi)]
        how = ["reqid", str(out.reqid), "mode", "tunnel", "flag", "nopmtudisc"]
        cipher = ["aead", "rfc4106(gcm(aes))", f"0x{keys.encryption.hex()}", "128"]
        ga.ns.run(["ip", "xfrm", "state", "update", *ends, *how, *cipher])
        assert "nopmtudisc" not in ga.ns.run(["ip", "xfrm", "state", "get", *ends]).stdout
        ga.kernel.delete([out.id])
        ga.kernel.install([(replace(out, df=DfPolicy.CLEAR), keys)])
        assert "nopmtudisc" in ga.ns.run(["ip", "xfrm", "state", "get", *ends]).stdout
