"""Rule sets as the programs print them, and what becomes of packets in them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from xfrmctl.diagnose.netfilter import iptables, nft
from xfrmctl.diagnose.netfilter.values import Fit, Packet, Table
from xfrmctl.diagnose.netfilter.walk import dropped, fates, partly_dropped, translated
from xfrmctl.netfilter.nft import parse_nft
from xfrmctl.netfilter.save import parse

OUT = Packet(
    source=ip_network("10.1.1.0/24"), destination=ip_network("10.1.2.0/24"), in_dev="lan", out_dev="wan", encrypts=True
)
SIX = Packet(source=ip_network("fd10:1::/64"), destination=ip_network("fd10:2::/64"))


def native(document: str, listing: str, foreign: Sequence[tuple[str, str]] = ()) -> list[Table]:
    return nft.tables_of(parse_nft(document, listing), foreign)


def tables(*rules: str, table: str = "filter", policy: str = "ACCEPT", chains: str = "") -> list[Table]:
    hook = "POSTROUTING" if table == "nat" else "FORWARD"
    text = f"*{table}\n:{hook} {policy} [7:420]\n{chains}" + "".join(f"{rule}\n" for rule in rules) + "COMMIT\n"
    return iptables.tables_of(parse(text, 4), "iptables-nft")


def forward(*rules: str, policy: str = "ACCEPT", chains: str = "") -> str:
    """What drops OUT at FORWARD, "" where nothing does for sure."""
    fate = dropped(tables(*rules, policy=policy, chains=chains), "forward", OUT)
    return fate.text.partition(": ")[2] if fate is not None else ""


@pytest.mark.parametrize(
    ("rule", "fit"),
    [
        ("-s 10.1.1.0/24", Fit.ALL),
        ("-s 10.0.0.0/8", Fit.ALL),
        ("-s 10.1.1.10/32", Fit.PART),
        ("-s 10.9.0.0/16", Fit.NO),
        ("! -s 10.9.0.0/16", Fit.ALL),
        ("! -d 10.1.2.0/24", Fit.NO),
        ("-s 10.1.1.0/24 -d 10.1.2.7/32", Fit.PART),
        ("-i lan -o wan", Fit.ALL),
        ("-i la+", Fit.ALL),
        ("-o ipsec0", Fit.NO),
        ("-p tcp -m tcp --dport 22", Fit.PART),
        ("-m conntrack --ctstate NEW", Fit.ALL),
        ("-m conntrack --ctstate RELATED,ESTABLISHED", Fit.NO),
        ("-m conntrack ! --ctstate INVALID", Fit.ALL),
        ("-m policy --dir out --pol ipsec", Fit.ALL),
        ("-m policy --dir out --pol none", Fit.NO),
        ("-m policy --dir in --pol ipsec", Fit.NO),
        ("-m policy --dir in --pol none", Fit.ALL),
        ("-f", Fit.NO),
        ('-m comment --comment "all of it"', Fit.ALL),
        ("-m set --match-set vpn src", Fit.UNKNOWN),
        ("-s 10.9.0.0/16 -m set --match-set vpn src", Fit.NO),
        ("-m limit --limit 3/sec", Fit.UNKNOWN),
        ("-p tcp -m tcp --tcp-flags SYN,RST SYN", Fit.PART),
    ],
)
def test_how_many_packets_a_rule_takes(rule: str, fit: Fit) -> None:
    (chain,) = tables(f"[1:60] -A FORWARD {rule} -j DROP")[0].chains.values()
    assert chain.rules[0].fit(OUT) is fit and chain.rules[0].packets == 1


def test_the_first_rule_that_takes_all_decides() -> None:
    drop = "[0:0] -A FORWARD -s 10.1.1.0/24 -j DROP"
    assert forward(drop) == "-A FORWARD -s 10.1.1.0/24 -j DROP"
    assert forward("[0:0] -A FORWARD -i lan -j ACCEPT", drop) == ""
    assert forward("[0:0] -A FORWARD -s 10.9.0.0/16 -j ACCEPT", drop) != ""


def test_a_part_that_passes_before_is_an_operators_wish() -> None:
    drop = "[0:0] -A FORWARD -j REJECT --reject-with icmp-port-unreachable"
    assert forward("[0:0] -A FORWARD -p tcp -m tcp --dport 443 -j ACCEPT", drop) == ""
    assert forward("[0:0] -A FORWARD -m set --match-set vpn src -j ACCEPT", drop) == ""


def test_the_policy_of_a_chain_drops() -> None:
    assert forward(policy="DROP") == "policy of FORWARD is drop"
    assert forward("[0:0] -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", policy="DROP") != ""


def test_jumps_and_returns() -> None:
    chains = ":vpn - [0:0]\n"
    jump, drop = "[0:0] -A FORWARD -d 10.1.2.0/24 -j vpn", "[0:0] -A FORWARD -j DROP"
    assert forward(jump, drop, "[0:0] -A vpn -j ACCEPT", chains=chains) == ""
    assert forward(jump, drop, "[0:0] -A vpn -j RETURN", chains=chains) == "-A FORWARD -j DROP"
    assert forward(jump, "[0:0] -A vpn -j DROP", chains=chains) == "-A vpn -j DROP"
    part = "[0:0] -A FORWARD -d 10.1.2.9/32 -j vpn"
    assert forward(part, "[0:0] -A vpn -j DROP", chains=chains) == ""
    found = partly_dropped(tables(part, "[3:9] -A vpn -j DROP", chains=chains), "forward", OUT)
    assert [f.packets for f in found] == [3]


def test_a_circle_of_jumps_ends() -> None:
    chains = ":one - [0:0]\n:two - [0:0]\n"
    rules = ("[0:0] -A FORWARD -j one", "[0:0] -A one -j two", "[0:0] -A two -j one")
    assert forward(*rules, chains=chains) == ""


def test_both_variants_are_passed_one_after_the_other() -> None:
    accepting = tables("[0:0] -A FORWARD -j ACCEPT")
    dropping = [replace(t, source="iptables-legacy") for t in tables("[0:0] -A FORWARD -j DROP")]
    fate = dropped([*accepting, *dropping], "forward", OUT)
    assert fate is not None and fate.table.source == "iptables-legacy"


def test_rules_of_the_other_family_take_nothing() -> None:
    assert dropped(tables("[0:0] -A FORWARD -j DROP"), "forward", SIX) is None


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (("-A POSTROUTING -o wan -j MASQUERADE",), True),
        (("-A POSTROUTING -s 10.1.1.7/32 -o wan -j SNAT --to-source 172.16.1.1",), True),
        (("-A POSTROUTING -o ipsec0 -j MASQUERADE",), False),
        (("-A POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT", "-A POSTROUTING -j MASQUERADE"), False),
        (("-A POSTROUTING -o wan -m policy --dir out --pol none -j MASQUERADE",), False),
        (("-A POSTROUTING -d 10.1.2.0/24 -j RETURN", "-A POSTROUTING -j MASQUERADE"), False),
        (("-A POSTROUTING -d 10.1.2.0/25 -j RETURN", "-A POSTROUTING -j MASQUERADE"), True),
        (("-A POSTROUTING -m set --match-set natted src -j MASQUERADE",), False),
    ],
)
def test_source_nat(rules: tuple[str, ...], found: bool) -> None:
    assert (translated(tables(*rules, table="nat"), OUT) is not None) is found


def test_what_is_not_understood_is_not_known() -> None:
    for match in ("-s nonsense", "-m rpfilter", "-m policy --dir in --pol ipsec --reqid 7", "--strange"):
        (chain,) = tables(f"-A FORWARD {match} -j DROP")[0].chains.values()
        assert chain.rules[0].fit(OUT) is Fit.UNKNOWN and chain.rules[0].packets is None


def ruleset(*expressions: object, family: str = "inet", hook: str = "forward", **chain: object) -> str:
    kind = {"type": "nat" if hook == "postrouting" else "filter", "hook": hook, "prio": 0, "policy": "accept"}
    entries: list[dict[str, object]] = [
        {"metainfo": {}},
        {"table": {"family": family, "name": "t"}},
        {
            "set": {
                "family": family,
                "table": "t",
                "name": "nets",
                "elem": [{"prefix": {"addr": "10.1.0.0", "len": 16}}],
            }
        },
        {"chain": {"family": family, "table": "t", "name": "c", **kind, **chain}},
    ]
    for handle, expression in enumerate(expressions, 5):
        rule = {"family": family, "table": "t", "chain": "c", "handle": handle, "expr": expression}
        entries.append({"rule": rule})
    return json.dumps({"nftables": entries})


def match(left: dict[str, object], right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


SADDR: dict[str, object] = {"payload": {"protocol": "ip", "field": "saddr"}}


@pytest.mark.parametrize(
    ("condition", "fit"),
    [
        (match(SADDR, "10.1.1.9"), Fit.PART),
        (match(SADDR, {"prefix": {"addr": "10.1.0.0", "len": 16}}), Fit.ALL),
        (match(SADDR, "@nets"), Fit.ALL),
        (match(SADDR, "@nets", "!="), Fit.NO),
        (match(SADDR, {"set": ["10.9.0.1", {"prefix": {"addr": "10.1.1.0", "len": 24}}]}), Fit.ALL),
        (match({"meta": {"key": "iifname"}}, "lan"), Fit.ALL),
        (match({"meta": {"key": "oifname"}}, {"set": ["eth*", "ipsec0"]}), Fit.NO),
        (match({"meta": {"key": "nfproto"}}, "ipv6"), Fit.NO),
        (match({"meta": {"key": "l4proto"}}, "udp"), Fit.PART),
        (match({"ct": {"key": "state"}}, ["established", "related"], "in"), Fit.NO),
        (match({"ct": {"key": "state"}}, "new"), Fit.ALL),
        (match({"rt": {"key": "ipsec"}}, True), Fit.ALL),
        (match({"meta": {"key": "secpath"}}, True), Fit.NO),
        (match({"meta": {"key": "ipsec"}}, True), Fit.NO),
        (match({"meta": {"key": "ipsec"}}, False), Fit.ALL),
        (match({"meta": {"key": "mark"}}, 1), Fit.UNKNOWN),
        (match({"&": [{"payload": {"protocol": "ip", "field": "frag-off"}}, 8191]}, 0, "!="), Fit.NO),
        ({"limit": {"rate": 3}}, Fit.UNKNOWN),
        ({"vmap": {}}, Fit.UNKNOWN),
    ],
)
def test_how_many_packets_a_rule_of_nft_takes(condition: dict[str, object], fit: Fit) -> None:
    (table,) = native(ruleset([condition, {"counter": {"packets": 9, "bytes": 1}}, {"drop": None}]), "")
    (rule,) = table.chains["c"].rules
    assert rule.fit(OUT) is fit and rule.packets == 9 and rule.verdict == "drop"


def test_the_text_of_a_rule_is_nfts_own() -> None:
    listing = (
        "table inet t { # handle 1\n\tchain c { # handle 2\n\t\tip saddr 10.0.0.0/8 counter packets 3 bytes 9 drop"
    )
    found = native(ruleset([match(SADDR, "@nets"), {"drop": None}]), listing + " # handle 5\n\t}\n}\n")
    fate = dropped(found, "forward", OUT)
    assert fate is not None and fate.text == "nft table inet t: c: ip saddr 10.0.0.0/8 drop"


def test_tables_of_iptables_are_left_to_iptables() -> None:
    assert native(ruleset([{"drop": None}], family="ip"), "", [("ip", "t")]) == []


def test_nft_masquerades() -> None:
    found = native(ruleset([match({"meta": {"key": "oifname"}}, "wan"), {"masquerade": None}], hook="postrouting"), "")
    assert translated(found, OUT) is not None
    exempt = [match({"rt": {"key": "ipsec"}}, True), {"accept": None}]
    assert translated(native(ruleset(exempt, [{"masquerade": None}], hook="postrouting"), ""), OUT) is None


def test_chains_of_a_hook_come_by_priority() -> None:
    late = native(ruleset([{"drop": None}], prio=10), "")
    early = tables("[0:0] -A FORWARD -j ACCEPT")
    assert [found[-1].table.source for found in fates([*late, *early], "forward", OUT)] == ["iptables-nft", "nft"]
