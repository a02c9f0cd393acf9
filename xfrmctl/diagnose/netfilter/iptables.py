"""Rules of iptables, as :mod:`xfrmctl.netfilter.save` has read them, for packets that stand for many."""

from collections.abc import Callable
from ipaddress import ip_network

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
    Syn,
    Table,
)
from xfrmctl.netfilter import rules as read
from xfrmctl.netfilter.packet import PROTOCOLS

PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
"""``enum nf_ip_hook_priorities``; nat at postrouting comes last."""
NAT_SOURCE = 100

_VERDICTS = {
    "ACCEPT": ACCEPT, "DROP": DROP, "REJECT": REJECT, "RETURN": RETURN, "MASQUERADE": SNAT, "SNAT": SNAT,
    "NETMAP": SNAT, "TCPMSS": MSS,
}  # fmt: skip
_SAYS_NOTHING = {"", "tcp", "udp", "comment"}
"""Modules that without an option take every packet."""


def tables_of(rules: read.RuleSet, source: str) -> list[Table]:
    """All tables of a rule set. ``source``: iptables-nft or iptables-legacy."""
    return [
        Table(
            source=source,
            version=rules.family,
            name=name,
            chains={chain.name: _chain(name, chain, set(chains)) for chain in chains.values()},
        )
        for name, chains in rules.tables.items()
    ]


def _chain(table: str, chain: read.Chain, names: set[str]) -> Chain:
    rules = tuple(_rule(rule, names) for rule in chain.rules)
    if chain.policy is None:
        return Chain(name=chain.name, rules=rules)
    late = table == "nat" and chain.name in ("POSTROUTING", "INPUT")
    return Chain(
        name=chain.name,
        rules=rules,
        hook=chain.name.lower(),
        priority=NAT_SOURCE if late else PRIORITIES.get(table, 0),
        policy=chain.policy.lower(),
        policy_packets=chain.packets,
    )


def _rule(rule: read.Rule, chains: set[str]) -> Rule:
    verdict, target = NOTHING, ""
    if rule.target is not None and rule.target.name in chains:
        verdict, target = (GOTO if rule.target.goto else JUMP), rule.target.name
    elif rule.target is not None:
        verdict = _VERDICTS.get(rule.target.name, NOTHING)
    conditions = tuple(c for match in rule.matches for c in _conditions(match))
    return Rule(text=rule.text, conditions=conditions, verdict=verdict, target=target, packets=rule.packets)


def _conditions(match: read.Match) -> list[Condition]:
    if match.module == "policy":
        return [_policy(match)]
    if not match.options and match.module not in _SAYS_NOTHING:
        return [Other(str(match))]
    return [_one(option) for option in match.options if option.name != "--comment"]


def _policy(match: read.Match) -> Condition:
    """``--dir in|out --pol ipsec|none``; more about the SA is not judged."""
    direction, wanted = match.get("--dir"), match.get("--pol")
    if direction is None or wanted is None or len(match.options) > 2 or wanted.value not in ("ipsec", "none"):
        return Other(str(match))
    condition = Ipsec(direction.value == "in")
    return condition if (wanted.value == "ipsec") is not wanted.negated else Not(condition)


def _one(option: read.Option) -> Condition:
    reader = _READERS.get(option.name)
    if reader is None:
        return Other(str(option))
    try:
        condition = reader(option.value)
    except ValueError:
        return Other(str(option))
    return Not(condition) if option.negated else condition


def _flags(value: str) -> Condition:
    """Of SYN and RST, or of more, only SYN."""
    mask, _, wanted = value.partition(" ")
    return Syn() if wanted == "SYN" and "SYN" in mask.split(",") else Other(f"--tcp-flags {value}")


def _addresses(field: str) -> Callable[[str], Condition]:
    return lambda value: Addresses(field, tuple(ip_network(part, strict=False) for part in value.split(",")))


def _devices(field: str) -> Callable[[str], Condition]:
    return lambda value: Devices(field, (value[:-1] + "*" if value.endswith("+") else value,))


def _protocols(value: str) -> Condition:
    return Protocols(frozenset({PROTOCOLS[value] if value in PROTOCOLS else int(value)}))


def _ports(value: str) -> Condition:
    pairs = [part.partition(":") for part in value.split(",")]
    return Ports(tuple((int(low or 0), int(high or (65535 if colon else low))) for low, colon, high in pairs))


def _states(value: str) -> Condition:
    return States(frozenset(value.lower().split(",")))


_READERS: dict[str, Callable[[str], Condition]] = {
    "-s": _addresses("source"),
    "-d": _addresses("destination"),
    "-i": _devices("in_dev"),
    "-o": _devices("out_dev"),
    "-p": _protocols,
    "-f": lambda _: Fragments(),
    "--dport": _ports,
    "--dports": _ports,
    "--sport": lambda _: Ports((), far=True),
    "--sports": lambda _: Ports((), far=True),
    "--tcp-flags": _flags,
    "--ctstate": _states,
    "--state": _states,
}
