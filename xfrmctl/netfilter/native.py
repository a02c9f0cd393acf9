"""Base chains of nf_tables that iptables does not know, from the text of ``nft list ruleset``.

Their rules are quoted and not judged: whoever asks is told that the verdict depends on them. What iptables-nft keeps
(tables and chains of its names in the families ip and ip6) is left to :mod:`xfrmctl.netfilter.save`.
"""

import re
from dataclasses import dataclass

_TABLES_OF_IPTABLES = {"raw", "mangle", "nat", "filter", "security"}
_CHAINS_OF_IPTABLES = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
_TABLE = re.compile(r"table (\S+) (\S+) \{")
_CHAIN = re.compile(r"\tchain (\S+) \{")
_HOOK = re.compile(r"\t\ttype (\S+) hook (\S+)(?: device \S+)? priority ([^;]+);(?: policy (\S+);)?")


@dataclass(frozen=True, slots=True)
class NativeChain:
    """``family``: ip, ip6 or inet; ``hook``: prerouting, input, forward, output or postrouting."""

    family: str
    table: str
    name: str
    hook: str
    policy: str
    rules: tuple[str, ...]


def parse_native(text: str) -> list[NativeChain]:
    """Every base chain that stands at a hook of IP; what is not understood is passed over."""
    found: list[NativeChain] = []
    family = table = chain = hook = policy = ""
    rules: list[str] = []
    for line in text.splitlines():
        if (opened := _TABLE.fullmatch(line)) is not None:
            family, table = opened[1], opened[2]
        elif (opened := _CHAIN.fullmatch(line)) is not None:
            chain, hook, policy, rules = opened[1], "", "accept", []
        elif chain and (placed := _HOOK.fullmatch(line)) is not None:
            hook, policy = placed[2], placed[4] or "accept"
        elif chain and line == "\t}":
            of_iptables = family != "inet" and table in _TABLES_OF_IPTABLES and chain in _CHAINS_OF_IPTABLES
            if hook and not of_iptables and family in ("ip", "ip6", "inet"):
                found.append(NativeChain(family, table, chain, hook, policy, tuple(rules)))
            chain = ""
        elif chain and line.startswith("\t\t"):
            rules.append(line.strip())
    return found
