"""Clamps as nf_tables has them, both ways: what nft is told, and what it tells as JSON. Pure.

One table of ours. The map finds the chain of the pair's MSS, in one look-up for all tunnels::

    table inet xfrmctl {
        map pairs4-0 { type ipv4_addr . ipv4_addr : verdict; flags interval; elements = {
            10.1.1.0/24 . 10.1.2.0/24 : jump mss4-1406, 10.1.2.0/24 . 10.1.1.0/24 : jump mss4-1406 } }
        chain mss4-1406 { tcp option maxseg size > 1406 counter tcp option maxseg size set 1406 }
        chain syn { ip saddr . ip daddr vmap @pairs4-0 }
        chain postrouting { type filter hook postrouting priority mangle; tcp flags & (syn | rst) == syn jump syn }
        chain input { type filter hook input priority mangle; tcp flags & (syn | rst) == syn jump syn }
    }

* The hooks are those of :mod:`xfrmctl.kernel.firewall.clamp`, for the same reasons.
* A map holds pairs of which no two share a packet; the others are in ``pairs4-1`` and so on, see
  :mod:`xfrmctl.kernel.firewall.layers`. A verdict of one map does not end the walk through the others.
* The comparison comes first: an MSS is never raised, and the counter counts packets that were rewritten.
* nf_tables adds no option to a SYN without one (``nft_exthdr`` ends the rule). Whoever gets such a SYN sends segments
  of 536 bytes, over IPv6 of 1,220 (RFC 9293 3.7.1), so only an MSS below these two is not enforced upon him.
* An ``accept`` in another table's chain does not skip ours: nothing but a change of our table shadows it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from xfrmctl.kernel.desired import ClampRule, Element
from xfrmctl.kernel.firewall.clamp import Counter
from xfrmctl.kernel.firewall.layers import Layers
from xfrmctl.kernel.ownership import NFT_TABLE
from xfrmctl.model.address import IPNetwork

TABLE = f"inet {NFT_TABLE}"
HOOKS = ("postrouting", "input")
PRIORITY = -150
"""``NF_IP_PRI_MANGLE`` (``include/uapi/linux/netfilter_ipv4.h``)."""

FAMILIES = (4, 6)
_KEYS = {4: "ip saddr . ip daddr", 6: "ip6 saddr . ip6 daddr"}
_TYPES = {4: "ipv4_addr . ipv4_addr", 6: "ipv6_addr . ipv6_addr"}
_MAP = re.compile(r"pairs([46])-(\d+)")
_DORMANT = re.compile(rf"^table {TABLE} {{.*\n(?:\s+comment .*\n)?\s+flags .*\bdormant\b", re.MULTILINE)
_CHAIN = re.compile(r"mss([46])-(\d+)")


@dataclass(slots=True)
class Table:
    """What our table holds. ``whole``: every rule and every map is as we make it, and nothing else is in its way."""

    present: bool = False
    whole: bool = False
    rules: dict[ClampRule, Counter] = field(default_factory=dict)
    pairs: dict[int, Layers] = field(default_factory=lambda: {family: Layers() for family in FAMILIES})

    @property
    def standing(self) -> frozenset[ClampRule]:
        """Rules that are in force."""
        return frozenset(self.rules) if self.whole else frozenset()


@dataclass(slots=True)
class Change:
    """Members that leave and come, by map; nft gets those that leave first, all in one transaction."""

    gone: dict[str, list[Element]] = field(default_factory=dict)
    new: dict[str, list[Element]] = field(default_factory=dict)

    def text(self) -> str:
        """As nft reads it, a line for each member."""
        lines: list[str] = []
        for name, members in self.gone.items():
            keys = (f"    {m.source} . {m.destination}," for m in members)
            lines += [f"delete element {TABLE} {name} {{", *keys, "}"]
        for name, members in self.new.items():
            keys = (f"    {m.source} . {m.destination} : jump {chain_name(m.rule)}," for m in members)
            lines += [f"add element {TABLE} {name} {{", *keys, "}"]
        return "".join(f"{line}\n" for line in lines)


def chain_name(rule: ClampRule) -> str:
    """The chain of a rule."""
    return f"mss{rule.family}-{rule.mss}"


def map_name(family: int, number: int) -> str:
    """The map of a layer."""
    return f"pairs{family}-{number}"


def rules_text(rules: Mapping[ClampRule, Counter]) -> str:
    """Make the chains of these rules, with counters that begin at these numbers."""
    size = "tcp option maxseg size"
    return "".join(
        f"add chain {TABLE} {chain_name(rule)}\n"
        f"add rule {TABLE} {chain_name(rule)} {size} > {rule.mss}"
        f" counter packets {counter.packets} bytes {counter.bytes} {size} set {rule.mss}\n"
        for rule, counter in sorted(rules.items())
    )


def drop_rules_text(rules: Iterable[ClampRule]) -> str:
    """Delete the chains of these rules; no member may lead there any more."""
    names = [chain_name(rule) for rule in sorted(rules)]
    return "".join(f"flush chain {TABLE} {name}\ndelete chain {TABLE} {name}\n" for name in names)


def maps_text(before: Mapping[int, int], after: Mapping[int, int]) -> tuple[str, str]:
    """What brings so many maps of each family to so many: what goes before the members' change, and what after it."""
    if before == after:
        return "", ""
    first, last = "", f"flush chain {TABLE} syn\n"
    for family in FAMILIES:
        for number in range(before[family], after[family]):
            first += (
                f"add map {TABLE} {map_name(family, number)} {{ type {_TYPES[family]} : verdict; flags interval; }}\n"
            )
        for number in range(after[family]):
            last += f"add rule {TABLE} syn {_KEYS[family]} vmap @{map_name(family, number)}\n"
    for family in FAMILIES:
        for number in range(after[family], before[family]):
            last += f"delete map {TABLE} {map_name(family, number)}\n"
    return first, last


def table_text(table: Table) -> str:
    """Make the table anew, in one step, whatever there was of it."""
    text = remove_text() + f"add table {TABLE}\nadd chain {TABLE} syn\n" + rules_text(table.rules)
    counts = {family: len(pairs.layers) for family, pairs in table.pairs.items()}
    first, last = maps_text(dict.fromkeys(FAMILIES, 0), counts)
    change = Change()
    for family, pairs in table.pairs.items():
        for number, layer in enumerate(pairs.layers):
            members = [Element(rule, *pair) for pair, rule in layer.pairs.items()]
            if members:
                change.new[map_name(family, number)] = members
    text += first + change.text() + last
    for hook in HOOKS:
        text += f"add chain {TABLE} {hook} {{ type filter hook {hook} priority {PRIORITY}; policy accept; }}\n"
        text += f"add rule {TABLE} {hook} tcp flags & (syn | rst) == syn jump syn\n"
    return text


def remove_text() -> str:
    """Delete the table. To add it first makes it no failure that it is gone."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"


def dormant(text: str) -> bool:
    """Whether ``nft -t list ruleset inet`` says that our table has no effect; nft 1.0.6 has nonsense there as JSON."""
    return _DORMANT.search(text) is not None


def parse(text: str) -> Table:
    """Read ``nft -j list table inet xfrmctl``, or the whole ruleset; with ``-t`` there are no members in it."""
    items = [item for item in json.loads(text)["nftables"] if _is_ours(item)]
    if not items:
        return Table()
    found = Table(present=True, whole=True)
    rules: dict[str, list[Any]] = {}
    hooked: set[str] = set()
    maps: set[str] = set()
    for item in items:
        match item:
            case {"chain": {"name": name}}:
                rules.setdefault(name, [])
                if _is_hook(item["chain"]):
                    hooked.add(name)
            case {"rule": {"chain": chain, "expr": expressions}}:
                rules.setdefault(chain, []).append(expressions)
            case {"map": {"name": name}} if (at := _MAP.fullmatch(name)) is not None:
                maps.add(name)
                if not _members(int(at[1]), int(at[2]), item["map"], found):
                    found.whole = False
    for name, lines in rules.items():
        if (at := _CHAIN.fullmatch(name)) is not None:
            rule = ClampRule(int(at[1]), int(at[2]))
            counter = _counter(rule, lines)
            found.whole &= counter is not None
            found.rules[rule] = counter or Counter()
    walked = [_walked(expressions) for expressions in rules.get("syn", ())]
    found.whole &= hooked == set(HOOKS) and all(_leads_on(rules.get(hook, [])) for hook in HOOKS)
    found.whole &= sorted(walked) == sorted(maps) == sorted(_expected(found))
    return found


def _is_ours(item: Mapping[str, Any]) -> bool:
    [(kind, content)] = item.items()
    return f"{content.get('family')} {content.get('name' if kind == 'table' else 'table')}" == TABLE


def _is_hook(chain: Mapping[str, Any]) -> bool:
    what = tuple(chain.get(key) for key in ("type", "hook", "prio"))
    return chain["name"] in HOOKS and what == ("filter", chain["name"], PRIORITY)


def _leads_on(lines: list[Any]) -> bool:
    """Whether a hook's chain sends every SYN to ``syn`` and does nothing else."""
    match lines:
        case [[{"match": {"right": "syn", "left": left}}, {"jump": {"target": "syn"}}]]:
            return '"field": "flags"' in json.dumps(left)
    return False


def _walked(expressions: list[Any]) -> str:
    """The map that a rule of ``syn`` looks into; "" for any other rule."""
    match expressions:
        case [{"vmap": {"data": str(name)}}]:
            return name.removeprefix("@")
    return ""


def _counter(rule: ClampRule, lines: list[Any]) -> Counter | None:
    """The counter of a chain that does what it should."""
    match lines:
        case [
            [
                {"match": {"op": ">", "right": int(above)}},
                {"counter": {"packets": int(packets), "bytes": int(size)}},
                {"mangle": {"value": int(value)}},
            ]
        ] if above == value == rule.mss:
            return Counter(packets, size)
    return None


def _expected(table: Table) -> list[str]:
    return [map_name(family, n) for family, pairs in table.pairs.items() for n in range(len(pairs.layers))]


def _members(family: int, number: int, content: Mapping[str, Any], table: Table) -> bool:
    """Take the members of a map; whether all of them are such as we write."""
    whole = "interval" in content.get("flags", ()) and content.get("map") == "verdict"
    pairs = table.pairs[family]
    pairs.reserve(number)
    for member in content.get("elem", ()):
        match member:
            case [{"concat": [source, destination]}, {"jump": {"target": str(target)}}]:
                at = _CHAIN.fullmatch(target)
                pair = (_network(source), _network(destination))
                if at is not None and int(at[1]) == family and pairs.put(number, pair, ClampRule(family, int(at[2]))):
                    continue
        whole = False
    return whole


def _network(value: Any) -> IPNetwork | None:
    match value:
        case str(address):
            return _parsed(address)
        case {"prefix": {"addr": str(address), "len": int(length)}}:
            return _parsed(f"{address}/{length}")
    return None


@lru_cache(maxsize=1 << 16)
def _parsed(text: str) -> IPNetwork:
    return ip_network(text)
