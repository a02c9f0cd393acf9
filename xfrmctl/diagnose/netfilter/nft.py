"""The rules that :mod:`xfrmctl.netfilter.nft` has read, as conditions on packets that stand for many.

Tables that iptables-nft has made are left to iptables-nft-save: nft cannot show their matches.
"""

import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from xfrmctl.diagnose.netfilter.values import (
    ACCEPT,
    DROP,
    GOTO,
    JUMP,
    MSS,
    NOTHING,
    REJECT,
    RETURN,
    SNAT,
    Addresses,
    Chain,
    Condition,
    Devices,
    Fragments,
    Ipsec,
    Not,
    Other,
    Ports,
    Protocols,
    Rule,
    States,
    Table,
    Version,
)
from xfrmctl.netfilter.nft import NftChain, NftRule, NftRuleSet
from xfrmctl.netfilter.packet import PROTOCOLS

VERSIONS = {"ip": 4, "ip6": 6, "inet": 0}
_COUNTED = re.compile(r"counter packets \d+ bytes \d+ ?")
_VERDICTS = {"accept": ACCEPT, "drop": DROP, "reject": REJECT, "return": RETURN, "masquerade": SNAT, "snat": SNAT}


def tables_of(rules: NftRuleSet, foreign: Iterable[tuple[str, str]] = ()) -> list[Table]:
    """All tables but ``foreign`` (family, name)."""
    skip = set(foreign)
    names = dict.fromkeys(chain[:2] for chain in rules.chains)
    return [_table(rules, *name) for name in names if name not in skip and name[0] in VERSIONS]


def _table(rules: NftRuleSet, family: str, name: str) -> Table:
    sets = {set_name: elements for (f, t, set_name), elements in rules.sets.items() if (f, t) == (family, name)}
    chains = {chain: _chain(found, sets) for (f, t, chain), found in rules.chains.items() if (f, t) == (family, name)}
    return Table(source="nft", version=VERSIONS[family], name=name, chains=chains)


def _chain(chain: NftChain, sets: Mapping[str, list[Any]]) -> Chain:
    return Chain(
        name=chain.name[2],
        rules=tuple(_rule(rule, sets) for rule in chain.rules),
        hook=chain.hook,
        priority=chain.priority,
        policy=chain.policy,
    )


def _rule(rule: NftRule, sets: Mapping[str, list[Any]]) -> Rule:
    conditions: list[Condition] = []
    verdict, target = NOTHING, ""
    packets: int | None = None
    for part in rule.expressions:
        ((kind, body),) = part.items()
        if kind == "match":
            conditions.append(_match(body, sets))
        elif kind == "counter":
            packets = body.get("packets") if isinstance(body, dict) else None
        elif kind in _VERDICTS:
            verdict = _VERDICTS[kind]
        elif kind in ("jump", "goto"):
            verdict, target = (JUMP if kind == "jump" else GOTO), body["target"]
        elif kind == "mangle" and "tcp option" in body.get("key", {}):
            verdict = MSS
        elif kind in ("vmap", "xt", "limit", "quota", "fib", "queue"):
            conditions.append(Other(kind))
    text = f"{rule.chain[2]}: {_COUNTED.sub('', rule.text)}"
    return Rule(text=text, conditions=tuple(conditions), verdict=verdict, target=target, packets=packets)


def _match(body: Mapping[str, Any], sets: Mapping[str, list[Any]]) -> Condition:
    condition = _condition(body.get("left"), _values(body.get("right"), sets))
    if condition is None:
        return Other(json.dumps(body))
    return Not(condition) if body.get("op") == "!=" else condition


def _values(right: Any, sets: Mapping[str, list[Any]]) -> list[Any]:
    if isinstance(right, str) and right.startswith("@"):
        return sets.get(right[1:], [])
    if isinstance(right, dict) and "set" in right:
        return list(right["set"])
    return list(right) if isinstance(right, list) else [right]


def _condition(left: Any, values: list[Any]) -> Condition | None:
    """What an expression asks for; None for what is not understood."""
    try:
        match left:
            case {"payload": {"protocol": "ip" | "ip6", "field": "saddr" | "daddr" as field}}:
                networks = tuple(n for value in values for n in _network(value))
                return Addresses("source" if field == "saddr" else "destination", networks)
            case {"payload": {"field": "protocol" | "nexthdr"}} | {"meta": {"key": "l4proto"}}:
                return Protocols(frozenset(_number(v) for v in values))
            case {"payload": {"protocol": "ip", "field": "frag-off"}} | {"&": [{"payload": {"field": "frag-off"}}, _]}:
                return Not(Fragments()) if values == [0] else None
            case {"payload": {"protocol": "tcp" | "udp" | "th", "field": "sport" | "dport" as field}}:
                return Ports(tuple(_range(v) for v in values), far=field == "sport")
            case {"meta": {"key": "iifname" | "iif" | "oifname" | "oif" as key}}:
                return Devices("in_dev" if key.startswith("i") else "out_dev", tuple(str(v) for v in values))
            case {"meta": {"key": "nfproto"}}:
                return Version({"ipv4": 4, "ipv6": 6}[values[0]])
            case {"meta": {"key": "ipsec" | "secpath"}}:
                return Ipsec(True) if values == [True] else Not(Ipsec(True))
            case {"rt": {"key": "ipsec"}}:
                return Ipsec(False) if values == [True] else Not(Ipsec(False))
            case {"ct": {"key": "state"}}:
                return States(frozenset(str(v) for v in values))
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return None


def _number(value: Any) -> int:
    return value if isinstance(value, int) else PROTOCOLS[value]


def _range(value: Any) -> tuple[int, int]:
    low, high = value["range"] if isinstance(value, dict) else (value, value)
    return int(low), int(high)


def _network(value: Any) -> "list[Any]":
    if isinstance(value, dict) and "prefix" in value:
        value = f"{value['prefix']['addr']}/{value['prefix']['len']}"
    return [ip_network(value, strict=False)]
