"""Reads ``nft -j list ruleset``, with the text of each rule from ``nft -a list ruleset``.

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
from xfrmctl.netfilter.packet import PROTOCOLS

VERSIONS = {"ip": 4, "ip6": 6, "inet": 0}
_VERDICTS = {"accept": ACCEPT, "drop": DROP, "reject": REJECT, "return": RETURN, "masquerade": SNAT, "snat": SNAT}
_HANDLE = re.compile(r"^\s*(.*?) # handle (\d+)$")
_OPENED = re.compile(r"^(table) (\S+) (\S+) \{|^\s+(chain) (\S+) \{")
Place = tuple[str, str, str]
"""Family, table, chain."""


def texts(listing: str) -> dict[tuple[Place, int], str]:
    """The rules of ``nft -a list ruleset`` by their place and handle."""
    found: dict[tuple[Place, int], str] = {}
    family, table, chain = "", "", ""
    for line in listing.splitlines():
        opened = _OPENED.match(line)
        if opened is not None:
            if opened[1]:
                family, table, chain = opened[2], opened[3], ""
            else:
                chain = opened[5]
        elif (rule := _HANDLE.match(line)) is not None and chain:
            found[(family, table, chain), int(rule[2])] = rule[1]
    return found


def parse(document: str, listing: str, foreign: Iterable[tuple[str, str]] = ()) -> list[Table]:
    """All tables but ``foreign`` (family, name). Raises ValueError where the document is not JSON."""
    skip = set(foreign)
    shown = texts(listing)
    sets: dict[tuple[str, str, str], list[Any]] = {}
    chains: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    rules: dict[Place, list[dict[str, Any]]] = {}
    for entry in json.loads(document).get("nftables", []):
        ((kind, value),) = entry.items()
        where = value.get("family", ""), value.get("table", "")
        if kind == "set":
            sets[(*where, value["name"])] = value.get("elem", [])
        elif kind == "chain":
            chains.setdefault(where, {})[value["name"]] = value
        elif kind == "rule":
            rules.setdefault((*where, value["chain"]), []).append(value)
    found = []
    for (family, name), held in chains.items():
        if (family, name) in skip or family not in VERSIONS:
            continue
        local = {set_name: elements for (f, t, set_name), elements in sets.items() if (f, t) == (family, name)}
        made = {
            chain: _chain(value, [_rule(r, shown, local) for r in rules.get((family, name, chain), [])])
            for chain, value in held.items()
        }
        found.append(Table(source="nft", version=VERSIONS[family], name=name, chains=made))
    return found


def _chain(value: Mapping[str, Any], rules: list[Rule]) -> Chain:
    return Chain(
        name=value["name"],
        rules=tuple(rules),
        hook=value.get("hook", ""),
        priority=int(value.get("prio", 0)),
        policy=value.get("policy", ACCEPT),
    )


def _rule(value: Mapping[str, Any], shown: Mapping[tuple[Place, int], str], sets: Mapping[str, list[Any]]) -> Rule:
    place = value["family"], value["table"], value["chain"]
    conditions: list[Condition] = []
    verdict, target = NOTHING, ""
    packets: int | None = None
    for part in value.get("expr", []):
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
    text = re.sub(
        r"counter packets \d+ bytes \d+ ?", "", shown.get((place, value["handle"]), json.dumps(value["expr"]))
    )
    text = f"{value['chain']}: {text}"
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
            case {"meta": {"key": "secpath"}}:
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
