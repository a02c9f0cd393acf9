"""Rules of nf_tables as nft 1.0.6 printed them (nft-1.0.6.json, nft-1.0.6.txt): read, and judged against a packet."""

from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.unit.netfilter.rule_sets import PEER, packet
from tests.unit.netfilter.test_save_and_walk import Here
from xfrmctl.netfilter.expressions import NOTHING, read
from xfrmctl.netfilter.nft import NftChain, NftRule, NftRuleSet, parse_nft
from xfrmctl.netfilter.nftwalk import walk_nft
from xfrmctl.netfilter.packet import ESP, ICMP, SYN_ACK, UDP, Packet, Stranger
from xfrmctl.netfilter.save import RulesError
from xfrmctl.netfilter.walk import Verdict, Walk

FILES = Path(__file__).parent
TABLE = ("inet", "fw")


@cache
def rules() -> NftRuleSet:
    return parse_nft((FILES / "nft-1.0.6.json").read_text(), (FILES / "nft-1.0.6.txt").read_text())


def rule(text: str) -> NftRule:
    """The rule that nft prints so."""
    (found,) = (r for chain in rules().chains.values() for r in chain.rules if r.text == text)
    return found


def alone(text: str, asked: Packet, host: Stranger | None = None, policy: str = "accept") -> Walk:
    """The rule as the only one of a base chain."""
    chain = NftChain((*TABLE, "alone"), "forward", 0, "filter", policy, [rule(text)])
    return walk_nft(rules(), chain, asked, host or Here())


# ---- reading -----------------------------------------------------------------------------------------------------


def test_chains_stand_at_their_hooks_and_those_of_iptables_are_left_to_it() -> None:
    assert [c.name for c in rules().at("forward", 4)] == [("inet", "fw", "forwarded")]
    assert ("ip", "filter", "FORWARD") not in rules().chains
    assert ("inet", "asleep", "f") not in rules().chains, "a dormant table does nothing"
    post = rules().at("postrouting", 6)[0]
    assert (post.kind, post.priority, post.policy) == ("nat", 100, "accept")
    assert str(post.rules[0]) == 'table inet fw chain post: oifname "wan" ip saddr 10.1.1.0/24 masquerade'


@pytest.mark.parametrize(
    "document", ["", "[]", '{"nftables": [{"chain": {}}]}', '{"nftables": [7]}', '{"nftables": [{}]}']
)
def test_another_document_is_refused(document: str) -> None:
    with pytest.raises(RulesError, match="not what nft prints"):
        parse_nft(document, "")


# ---- matches -----------------------------------------------------------------------------------------------------

PING = packet(protocol=ICMP, destination_port=None, tcp_flags=None, mss=None, icmp_type=8, icmp_code=0)
DNS = packet(protocol=UDP, destination_port=53, tcp_flags=None, mss=None)
SIX = packet(source=ip_address("fd00::1"), destination=ip_address("fd02::1"))


@pytest.mark.parametrize(
    ("text", "asked", "takes"),
    [
        ("ct state established,related accept", packet(state="ESTABLISHED"), True),
        ("ct state established,related accept", packet(), False),
        (
            'ct state { new, untracked } iifname "lan*" oifname { "x", "wan" } counter packets 0 bytes 0 accept',
            packet(),
            True,
        ),
        (
            'ct state { new, untracked } iifname "lan*" oifname { "x", "wan" } counter packets 0 bytes 0 accept',
            packet(iif="wan"),
            False,
        ),
        ("ip saddr @peers tcp dport { 22, 80-90 } accept", packet(destination_port=85), True),
        ("ip saddr @peers tcp dport { 22, 80-90 } accept", packet(destination_port=91), False),
        (
            "ip saddr @peers tcp dport { 22, 80-90 } accept",
            packet(source=ip_address("192.0.2.7"), destination_port=22),
            True,
        ),
        (
            "ip saddr @peers tcp dport { 22, 80-90 } accept",
            packet(source=ip_address("192.0.2.1"), destination_port=22),
            False,
        ),
        ("ip saddr @peers tcp dport { 22, 80-90 } accept", packet(destination_port=None), None),
        ("ip saddr @peers tcp dport { 22, 80-90 } accept", DNS, False),
        ("tcp flags syn / fin,syn,rst,ack accept", packet(), True),
        ("tcp flags syn / fin,syn,rst,ack accept", packet(tcp_flags=SYN_ACK), False),
        ("meta l4proto { tcp, udp } th dport 53 accept", DNS, True),
        ("meta l4proto { tcp, udp } th dport 53 accept", PING, False),
        ("rt ipsec exists accept", packet(goes_through=(PEER,)), True),
        ("rt ipsec exists accept", packet(), False),
        ("rt ipsec exists accept", packet(goes_through=None), None),
        ("meta ipsec exists accept", packet(came_through=(PEER,)), True),
        ("meta ipsec exists accept", packet(goes_through=(PEER,)), False),
        ("ipsec out reqid 7 accept", packet(goes_through=(replace(PEER, reqid=7),)), True),
        ("ipsec out reqid 7 accept", packet(goes_through=(PEER,)), False),
        ("ipsec out reqid 7 accept", packet(), False),
        ("ip protocol esp accept", packet(protocol=ESP), True),
        ("ip protocol esp accept", SIX, False),
        ("limit rate 5/second accept", packet(), None),
        ("fib daddr type local accept", packet(destination=ip_address("10.1.1.1")), True),
        ("fib daddr type local accept", packet(), False),
        ("icmp type echo-request icmp code net-unreachable accept", PING, True),
        ("icmp type echo-request icmp code net-unreachable accept", packet(), False),
        ('iif "lo" accept', packet(), False),
        ("esp spi 100-200 accept", packet(protocol=ESP, spi=150), True),
        ("esp spi 100-200 accept", packet(protocol=ESP, spi=201), False),
        ("esp spi 100-200 accept", packet(protocol=ESP), None),
    ],
)
def test_a_match(text: str, asked: Packet, takes: bool | None) -> None:
    """The chain drops what the rule does not accept."""
    done = alone(text, asked, policy="drop")
    assert (done.verdict is Verdict.ACCEPT) == (takes is True)
    assert bool(done.conditions) == (takes is None) and all("depends on" in c for c in done.conditions)


@pytest.mark.parametrize(
    ("text", "asked", "takes"),
    [
        ("meta mark & 0x000000ff == 0x00000005 drop", packet(mark=0x105), True),
        ("meta mark & 0x000000ff == 0x00000005 drop", packet(mark=6), False),
        ("meta mark & 0x000000ff == 0x00000005 drop", packet(mark=None), None),
        ("fib saddr . iif oif missing drop", packet(reverse_path=False), True),
        ("fib saddr . iif oif missing drop", packet(reverse_path=True), False),
        ("fib saddr . iif oif missing drop", packet(), None),
        ("ip daddr 10.1.2.10-10.1.2.20 reject", packet(), True),
        ("ip daddr 10.1.2.10-10.1.2.20 reject", packet(destination=ip_address("10.1.2.21")), False),
        ("ip length > 1400 drop", packet(length=1401), True),
        ("ip length > 1400 drop", packet(length=1400), False),
        ("ip length > 1400 drop", packet(), None),
        ("tcp dport != 443 drop", packet(destination_port=80), True),
        ("tcp dport != 443 drop", packet(), False),
        ("tcp dport != 443 drop", PING, False),
        ("ct state vmap { invalid : drop, established : accept, related : accept }", packet(state="INVALID"), True),
        ("ct state vmap { invalid : drop, established : accept, related : accept }", packet(), False),
    ],
)
def test_a_drop(text: str, asked: Packet, takes: bool | None) -> None:
    matching = [r.text for c in rules().chains.values() for r in c.rules if r.text.startswith(text)]
    done = alone(matching[0], asked)
    assert (not done.passes) == (takes is True) and bool(done.conditions) == (takes is None)


# ---- what rules change -------------------------------------------------------------------------------------------


def test_mss_by_a_map_of_verdicts_and_by_a_map_of_sizes() -> None:
    jumped = alone("ip saddr . ip daddr vmap @pairs", packet())
    assert jumped.packet.mss == 1406 and [v.effect for v in jumped.visits][-1].endswith("MSS 1460 becomes 1406")
    assert alone("ip saddr . ip daddr vmap @pairs", packet(mss=1200)).packet.mss == 1200
    assert alone("ip saddr . ip daddr vmap @pairs", packet(destination=ip_address("10.9.9.9"))).packet.mss == 1460
    sized = "tcp flags syn meta nfproto ipv4 tcp option maxseg size set @nh,96,32 . @nh,128,32 map @sizes"
    assert alone(sized, packet()).packet.mss == 1300
    assert alone(sized, packet(mss=None)).packet.mss is None, "nf_tables adds no option"
    to_mtu = "tcp flags syn / syn,rst tcp option maxseg size set rt mtu"
    assert alone(to_mtu, packet(path_mtu=1446)).packet.mss == 1406
    assert "the MTU of the route" in alone(to_mtu, packet()).conditions[0]


@pytest.mark.parametrize(
    ("family", "length", "mask", "near", "far", "hit"),
    [
        ("ip", 4, "255.255.255.0", "10.1.1.0", "10.1.2.0", True),
        ("ip", 4, "255.255.0.0", "10.1.1.0", "10.1.2.0", False),
        ("ip6", 6, "ffff:ffff::", "fd00::", "fd02::", True),
    ],
)
def test_addresses_under_masks_as_our_own_clamp_asks_for_them(
    family: str, length: int, mask: str, near: str, far: str, hit: bool
) -> None:
    ends = [{"&": [{"payload": {"protocol": family, "field": field}}, mask]} for field in ("saddr", "daddr")]
    asked = packet() if length == 4 else SIX
    clamp = NftChain((*TABLE, "m"), rules=[rule("tcp option maxseg size > 1406 counter packets 0 bytes 0 "
                                                "tcp option maxseg size set 1406")])  # fmt: skip
    vmap = NftRule((*TABLE, "f"), 1, ({"vmap": {"key": {"concat": ends}, "data": "@pairs"}},), "vmap")
    base = NftChain((*TABLE, "f"), "postrouting", -150, "filter", "accept", [vmap])
    pairs = [[{"concat": [near, far]}, {"jump": {"target": "m"}}]]
    held = NftRuleSet({base.name: base, clamp.name: clamp}, {(*TABLE, "pairs"): pairs})
    done = walk_nft(held, base, asked, Here())
    assert done.conditions == () and done.packet.mss == (1406 if hit else 1460)


def test_an_address_under_a_mask() -> None:
    both = [{"&": [{"payload": {"protocol": "ip", "field": end}}, "255.255.255.0"]} for end in ("saddr", "daddr")]
    found = read({"concat": both}, packet(destination=ip_address("10.1.2.77")), Here())
    assert found == (ip_address("10.1.1.0"), ip_address("10.1.2.0"))
    six = {"&": [{"payload": {"protocol": "ip6", "field": "saddr"}}, "ffff:ffff::"]}
    assert read(six, packet(), Here()) is NOTHING


@pytest.mark.parametrize(("prefix", "hit"), [("10.1.0.0", True), ("10.1.1.0", False)])
def test_a_prefix_with_host_bits_is_a_comparison_that_never_holds(prefix: str, hit: bool) -> None:
    right = {"prefix": {"addr": prefix, "len": 16}}
    match = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": right}}
    chain = NftChain((*TABLE, "p"), "forward", rules=[NftRule((*TABLE, "p"), 1, (match, {"drop": None}), "")])
    assert walk_nft(NftRuleSet(), chain, packet(), Here()).passes is not hit


def test_marks() -> None:
    assert alone("meta mark set 0x00000007", packet()).packet.mark == 7
    assert alone("meta mark set meta mark & 0x000000f0", packet(mark=0x1FF)).packet.mark == 0xF0
    assert alone("ct mark set meta mark", packet(mark=9)).packet.connection_mark == 9
    assert alone("notrack", packet()).packet.state == "UNTRACKED"


@pytest.mark.parametrize(
    ("text", "asked", "source", "destination", "uncertain"),
    [
        ('oifname "wan" ip saddr 10.1.1.0/24 masquerade', packet(), "172.16.1.1:None", "10.1.2.10:443", False),
        ('oifname "wan" ip saddr 10.1.1.0/24 masquerade', packet(oif="lan"), "10.1.1.10:None", "10.1.2.10:443", False),
        ("meta l4proto tcp snat ip to 1.2.3.4:1-5", packet(), "1.2.3.4:1", "10.1.2.10:443", True),
        (
            "ip daddr 1.1.1.1 snat ip to 1.2.3.4-1.2.3.9",
            packet(destination=ip_address("1.1.1.1")),
            "1.2.3.4:None",
            "1.1.1.1:443",
            True,
        ),
        (
            "tcp dport 8080 dnat ip to 10.0.0.1:80",
            packet(destination_port=8080),
            "10.1.1.10:None",
            "10.0.0.1:80",
            False,
        ),
        ("tcp dport 81 redirect to :8080", packet(destination_port=81), "10.1.1.10:None", "10.1.1.1:8080", False),
        (
            "dnat ip to tcp dport map { 90 : 10.0.0.9 }",
            packet(destination_port=90),
            "10.1.1.10:None",
            "10.0.0.9:90",
            False,
        ),
        ("dnat ip to tcp dport map { 90 : 10.0.0.9 }", packet(), "10.1.1.10:None", "10.1.2.10:443", False),
    ],
)
def test_nat(text: str, asked: Packet, source: str, destination: str, uncertain: bool) -> None:
    done = alone(text, asked)
    found = done.packet
    assert f"{found.source}:{found.source_port}" == source
    assert f"{found.destination}:{found.destination_port}" == destination
    assert bool(done.conditions) == uncertain


def test_an_address_that_nobody_knows_is_a_condition() -> None:
    done = alone('oifname "wan" ip saddr 10.1.1.0/24 masquerade', packet(), Stranger())
    assert done.packet == packet() and "the address or port" in done.conditions[0]


# ---- walks -------------------------------------------------------------------------------------------------------


def test_a_whole_chain_with_jumps_gotos_and_a_policy() -> None:
    (chain,) = (c for c in rules().at("output", 4) if c.name[1] == "routed")

    def through(**changes: object) -> Walk:
        return walk_nft(rules(), chain, packet(**changes), Here())

    assert through(oif="lan").verdict is Verdict.ACCEPT, "return leads to the policy"
    left = through(source_port=2000)
    assert left.verdict is Verdict.ACCEPT and left.by is not None and left.by.text == "tcp sport 1024-65535 accept"
    assert through(source_port=80).verdict is Verdict.ACCEPT and through(source_port=80).by is None, (
        "goto does not return"
    )
    dropped = through(destination=ip_address("10.1.3.1"))
    assert dropped.verdict is Verdict.DROP and dropped.by is not None and dropped.by.text == "drop"
    assert through(destination=ip_address("10.9.9.9")).verdict is Verdict.DROP


def test_the_forward_chain_as_a_whole() -> None:
    (chain,) = rules().at("forward", 4)
    done = walk_nft(rules(), chain, packet(), Here())
    assert done.verdict is Verdict.ACCEPT and done.by is not None and "lan*" in done.by.text
    other = walk_nft(rules(), chain, packet(iif="dmz", oif="dmz", source=ip_address("198.51.100.1")), Here())
    assert other.verdict is Verdict.ACCEPT and other.by is not None and "fin,syn,rst,ack" in other.by.text
    answer = walk_nft(rules(), chain, packet(state="ESTABLISHED"), Here())
    assert answer.by is not None and answer.by.text.startswith("ct state vmap")
