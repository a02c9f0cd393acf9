"""DF outside and packets that do not fit, by configuration, on both data planes: what is on the wire, and what arrives.

The path carries 1,400 bytes, and no ICMP error gets through anywhere unless a test says otherwise.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.datagrams import ESP, UDP, Datagrams, Ip4, wire
from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, text
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.lab.traffic import Flow, ping
from xfrmctl.model.snapshot import ChildInfo
from xfrmctl.pmtu.overhead import inner_mtu
from xfrmctl.pmtu.spelling import parse_suite

pytestmark = pytest.mark.lab

SUITE = "aes256gcm16"
NARROW = 1400
INNER = inner_mtu(NARROW, parse_suite(SUITE), 4, False)


def config(side: int, dataplane: str, *, outer: int = 4, encap: bool = False, **child: Any) -> str:
    entry = connection(side, {LAN: lan(side, dataplane, esp=[SUITE], **{"mtu": NARROW} | child)})
    ends = [ends[0 if outer == 4 else 1] for ends in (OUTER_A, OUTER_B)]
    entry["local"]["address"], entry["remote"]["address"] = ends[side], ends[1 - side]
    entry["ike"] = {"dpd": "30s", "encap": "always" if encap else "auto"}
    return text({MAIN: entry})


@contextmanager
def gateways(topology: Topology, dataplane: str, **child: Any) -> Iterator[tuple[Gateway, Gateway]]:
    """Two of ours with a tunnel between them, over a path of 1,400 bytes that says nothing."""
    made = [Gateway(topology.ns(ns), config(side, dataplane, **child)) for side, ns in enumerate(("ga", "gb"))]
    for dev in ("ra", "rb"):
        topology.set_link_mtu("r", dev, NARROW)
    topology.filter_icmp("r")
    try:
        for gateway in reversed(made):
            gateway.start()
        made[0].client.up(MAIN)
        for gateway in made:
            gateway.wait_up(MAIN)
        yield made[0], made[1]
    except AssertionError:
        for gateway in made:
            print(gateway.log_tail(60))
        raise
    finally:
        for gateway in made:
            gateway.close()


def child_of(gateway: Gateway) -> ChildInfo:
    """The newest one."""
    children = [c for ike in gateway.client.connection(MAIN).ike_sas for c in ike.children]
    return min(children, key=lambda c: c.established_s)


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
        flow = Flow(topology.ns("ha"), topology.ns("hb"), HOST_B[0]).start()
        try:
            with wire(topology.ns("r"), "ra") as outside:
                assert flow.moves(30)
        finally:
            flow.stop()
        assert not any(p.fragment for p in esp(outside))
        assert max(p.length for p in esp(outside)) <= NARROW


@pytest.mark.parametrize("dataplane", ["policy", "interface"])
def test_by_default_senders_are_told_and_what_has_no_df_is_fragmented(topology: Topology, dataplane: str) -> None:
    with (
        gateways(topology, dataplane),
        Datagrams(topology.ns("ha"), topology.ns("hb"), HOST_B[0]) as datagrams,
    ):
        with wire(topology.ns("r"), "ra") as outside:
            assert datagrams.arrive([1500] * 5, df=False)
        assert ping(topology.ns("ha"), HOST_B[0], count=1, packet_bytes=1500, df=True).told_mtu == INNER
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
        lines = a.ctl("plan")["lines"]
        assert any("df: the table is damaged" in line for line in lines), lines
        assert a.client.reload().ok
        assert stands()
        assert not [line for line in a.ctl("plan")["lines"] if "df" in line]
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
