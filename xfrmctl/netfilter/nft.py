"""Reads what ``nft -j list ruleset`` and ``nft -a list ruleset`` print: expressions from the one, words from the other.

What iptables-nft keeps (tables and chains of its names in the families ip and ip6) is left to
:mod:`xfrmctl.netfilter.save`: nft cannot show all of its matches.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xfrmctl.netfilter.save import RulesError

_TABLES_OF_IPTABLES = {"raw", "mangle", "nat", "filter", "security"}
_CHAINS_OF_IPTABLES = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
_FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
_TABLE = re.compile(r"table (\S+) (\S+) \{.*")
_CHAIN = re.compile(r"\tchain (\S+) \{.*")
_RULE = re.compile(r"\t\t(.*?) # handle (\d+)")

Name = tuple[str, str, str]
"""Family, table, and the name of a chain, a set or a map."""


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule; ``expressions`` as libnftables-json(5) has them, ``text`` as nft prints it, counters included."""

    chain: Name
    handle: int
    expressions: tuple[Mapping[str, Any], ...]
    text: str

    def __str__(self) -> str:
        return f"table {self.chain[0]} {self.chain[1]} chain {self.chain[2]}: {self.text}"


@dataclass(slots=True)
class NftChain:
    """``hook`` is "" for a chain that only jumps lead to."""

    name: Name
    hook: str = ""
    priority: int = 0
    kind: str = ""
    policy: str = "accept"
    rules: list[NftRule] = field(default_factory=list)


@dataclass(slots=True)
class NftRuleSet:
    """``sets`` are elements of sets, and pairs of key and value of maps."""

    chains: dict[Name, NftChain] = field(default_factory=dict)
    sets: dict[Name, list[Any]] = field(default_factory=dict)

    def at(self, hook: str, version: int) -> list[NftChain]:
        """The base chains of a hook that packets of this IP version meet, in their order."""
        found = [c for c in self.chains.values() if c.hook == hook and version in _FAMILIES.get(c.name[0], ())]
        return sorted(found, key=lambda chain: chain.priority)


def parse_nft(document: str, listing: str) -> NftRuleSet:
    """Read both outputs. Raises RulesError where the document is not what nft prints."""
    texts, dormant = _texts(listing)
    found = NftRuleSet()
    try:
        for entry in json.loads(document)["nftables"]:
            ((kind, value),) = entry.items()
            if kind in ("set", "map"):
                found.sets[value["family"], value["table"], value["name"]] = value.get("elem", [])
            elif kind == "chain" and not _left_out(value, dormant):
                name = value["family"], value["table"], value["name"]
                found.chains[name] = NftChain(
                    name,
                    value.get("hook", ""),
                    int(value.get("prio", 0)),
                    value.get("type", ""),
                    value.get("policy", "accept"),
                )
            elif kind == "rule":
                name = value["family"], value["table"], value["chain"]
                text = texts.get((name, value["handle"]), json.dumps(value.get("expr", [])))
                if name in found.chains:
                    found.chains[name].rules.append(NftRule(name, value["handle"], tuple(value.get("expr", [])), text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RulesError(f"nft -j list ruleset: not what nft prints: {error!r}") from None
    return found


def _left_out(chain: Mapping[str, Any], dormant: set[tuple[str, str]]) -> bool:
    if (chain["family"], chain["table"]) in dormant:
        return True
    return chain["family"] != "inet" and chain["table"] in _TABLES_OF_IPTABLES and chain["name"] in _CHAINS_OF_IPTABLES


def _texts(listing: str) -> tuple[dict[tuple[Name, int], str], set[tuple[str, str]]]:
    """The words of each rule by its chain and handle; and the tables that are switched off."""
    texts: dict[tuple[Name, int], str] = {}
    dormant: set[tuple[str, str]] = set()
    table, chain = ("", ""), ""
    for line in listing.splitlines():
        if (opened := _TABLE.fullmatch(line)) is not None:
            table, chain = (opened[1], opened[2]), ""
        elif (opened := _CHAIN.fullmatch(line)) is not None:
            chain = opened[1]
        elif line == "\t}":
            chain = ""
        elif chain and (rule := _RULE.fullmatch(line)) is not None:
            texts[(*table, chain), int(rule[2])] = rule[1]
        elif not chain and line.startswith("\tflags ") and "dormant" in line:
            dormant.add(table)
    return texts, dormant
