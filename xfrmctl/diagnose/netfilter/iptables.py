"""Reads ``iptables-save -c`` (and ip6tables-save)."""

import re
import shlex
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

PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
"""``enum nf_ip_hook_priorities``; nat at postrouting comes last."""
NAT_SOURCE = 100

NUMBERS = {"icmp": 1, "ipip": 4, "ipencap": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50,
           "ah": 51, "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132}  # fmt: skip
_VERDICTS = {
    "ACCEPT": ACCEPT, "DROP": DROP, "REJECT": REJECT, "RETURN": RETURN, "MASQUERADE": SNAT, "SNAT": SNAT,
    "NETMAP": SNAT, "TCPMSS": MSS,
}  # fmt: skip
_NO_CONDITION = {"-m", "--comment"}
_COUNTED = re.compile(r"^\[(\d+):\d+\] (-A .*)$")
_POLICY = re.compile(r"^:(\S+) (\S+) \[(\d+):\d+\]$")


def parse(text: str, source: str, version: int) -> list[Table]:
    """All tables. Lines that are not understood have no effect."""
    tables: list[Table] = []
    name = ""
    chains: dict[str, tuple[str, int]] = {}
    rules: dict[str, list[Rule]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            name, chains, rules = line[1:].strip(), {}, {}
        elif (policy := _POLICY.match(line)) is not None:
            chains[policy[1]] = policy[2], int(policy[3])
            rules[policy[1]] = []
        elif line == "COMMIT":
            made = {c: _chain(name, c, *chains[c], rules[c]) for c in chains}
            tables.append(Table(source=source, version=version, name=name, chains=made))
        else:
            _add(line, rules)
    return tables


def _chain(table: str, name: str, policy: str, packets: int, rules: list[Rule]) -> Chain:
    if policy == "-":
        return Chain(name=name, rules=tuple(rules))
    priority = NAT_SOURCE if table == "nat" and name in ("POSTROUTING", "INPUT") else PRIORITIES.get(table, 0)
    return Chain(
        name=name, rules=tuple(rules), hook=name.lower(), priority=priority, policy=policy.lower(),
        policy_packets=packets,
    )  # fmt: skip


def _add(line: str, rules: dict[str, list[Rule]]) -> None:
    counted = _COUNTED.match(line)
    body = counted[2] if counted is not None else line
    if not body.startswith("-A "):
        return
    try:
        words = shlex.split(body)
    except ValueError:
        return
    chain = rules.get(words[1])
    if chain is not None:
        chain.append(_rule(words[2:], body, int(counted[1]) if counted is not None else None, set(rules)))


def _rule(words: list[str], text: str, packets: int | None, chains: set[str]) -> Rule:
    conditions: list[Condition] = []
    verdict, target = NOTHING, ""
    negated, policy_direction = False, ""
    position = 0
    while position < len(words):
        word = words[position]
        following = words[position + 1] if position + 1 < len(words) else ""
        if word == "!":
            negated, position = True, position + 1
            continue
        if word in ("-j", "-g"):
            verdict = _VERDICTS.get(following, NOTHING)
            if following in chains:
                verdict, target = (JUMP if word == "-j" else GOTO), following
            break
        width = 1 if word == "-f" or not following or following == "!" or following.startswith("-") else 2
        if word == "--dir":
            policy_direction = following
        elif word not in _NO_CONDITION:
            condition = _condition(word, following, words[position + 2 : position + 3], policy_direction)
            conditions.append(Not(condition) if negated else condition)
            width = 3 if word == "--tcp-flags" else width
        negated = False
        position += width
    return Rule(text=text, conditions=tuple(conditions), verdict=verdict, target=target, packets=packets)


def _condition(word: str, value: str, more: list[str], direction: str) -> Condition:
    reader = _READERS.get(word)
    try:
        if word == "--tcp-flags" and more == ["SYN"]:
            return Syn()
        if word == "--pol":
            inbound = Ipsec(direction == "in")
            return inbound if value == "ipsec" else Not(inbound) if value == "none" else Other(word)
        return reader(value) if reader is not None else Other(f"{word} {value}")
    except ValueError:
        return Other(f"{word} {value}")


def _addresses(field: str) -> Callable[[str], Condition]:
    return lambda value: Addresses(field, tuple(ip_network(part, strict=False) for part in value.split(",")))


def _devices(field: str) -> Callable[[str], Condition]:
    return lambda value: Devices(field, (value[:-1] + "*" if value.endswith("+") else value,))


def _protocols(value: str) -> Condition:
    return Protocols(frozenset({NUMBERS[value] if value in NUMBERS else int(value)}))


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
    "--ctstate": _states,
    "--state": _states,
}
