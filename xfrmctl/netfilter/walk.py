"""A packet through the chains of one table at one hook.

The rules stand in the order of the kernel; the first verdict decides; a chain of the user's returns to its caller; a
built-in chain that comes to its end has its policy (``ipt_do_table``). What cannot be decided is assumed not to match,
and its verdict is kept as a condition: "would DROP if …".
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from xfrmctl.netfilter.match import rule_matches
from xfrmctl.netfilter.nat import TARGETS, translate
from xfrmctl.netfilter.nft import NftRule
from xfrmctl.netfilter.options import number
from xfrmctl.netfilter.packet import Host, Packet
from xfrmctl.netfilter.rules import Chain, Rule, RuleSet, Target
from xfrmctl.netfilter.truth import Truth

MAX_DEPTH = 64
"""Jumps within jumps; the kernel refuses loops."""

TCP_OVER_IP = {4: 40, 6: 60}


class Verdict(Enum):
    """What becomes of the packet."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    QUEUE = "queue"


_FINAL = {
    "ACCEPT": Verdict.ACCEPT,
    "DROP": Verdict.DROP,
    "REJECT": Verdict.REJECT,
    "QUEUE": Verdict.QUEUE,
    "NFQUEUE": Verdict.QUEUE,
    "TPROXY": Verdict.ACCEPT,
}
_GOES_ON = {
    "LOG", "NFLOG", "ULOG", "AUDIT", "TRACE", "CHECKSUM", "CLASSIFY", "CONNSECMARK", "SECMARK", "DSCP", "TOS", "ECN",
    "TTL", "HL", "HMARK", "IDLETIMER", "LED", "RATEEST", "SET", "TEE", "TCPOPTSTRIP",
}  # fmt: skip
"""Targets after which the next rule is asked, and which change nothing that rules or policies are asked about here."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A rule that took the packet (``certain``), or may take it; ``effect`` is what it does to it."""

    rule: Rule | NftRule
    certain: bool
    why: str
    effect: str


@dataclass(frozen=True, slots=True)
class Walk:
    """The way through one table. ``by`` is the rule that decided, None where the chain's policy did.

    ``conditions`` are what the verdict and the packet depend on; empty where all is certain.
    """

    table: str
    hook: str
    verdict: Verdict
    by: Rule | NftRule | None
    packet: Packet
    visits: tuple[Visit, ...] = ()
    conditions: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether the packet goes on (a queue is assumed to give it back)."""
        return self.verdict in (Verdict.ACCEPT, Verdict.QUEUE)


def walk(rules: RuleSet, table: str, hook: str, packet: Packet, host: Host) -> Walk | None:
    """What the table does to the packet at the hook; None where it has no such chain."""
    chain = rules.chain(table, hook)
    if chain is None:
        return None
    way = _Way(rules, table, hook, packet, host)
    decided = way.through(chain, 0)
    verdict, rule = decided if decided is not None else (_policy(chain), None)
    return Walk(table, hook, verdict, rule, way.packet, tuple(way.visits), tuple(way.conditions))


def _policy(chain: Chain) -> Verdict:
    return Verdict.DROP if chain.policy == "DROP" else Verdict.ACCEPT


@dataclass(slots=True)
class _Way:
    rules: RuleSet
    table: str
    hook: str
    packet: Packet
    host: Host
    visits: list[Visit] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)

    def through(self, chain: Chain, depth: int) -> tuple[Verdict, Rule | None] | None:
        """A verdict and who gave it; None where the chain returns to its caller."""
        if depth > MAX_DEPTH:
            self.conditions.append(f"chains within chains deeper than {MAX_DEPTH}: not followed")
            return None
        for rule in chain.rules:
            answer = rule_matches(rule, self.packet, self.host)
            if answer.value is False:
                continue
            if answer.value is None:
                self._perhaps(rule, answer)
                continue
            target = rule.target
            if target is None:
                self.visits.append(Visit(rule, True, answer.why, "counts"))
                continue
            inner = self.rules.chain(self.table, target.name)
            if target.name == "RETURN" or inner is not None:
                self.visits.append(Visit(rule, True, answer.why, f"goes to {target.name}" if inner else "returns"))
                if inner is None:
                    return None
                decided = self.through(inner, depth + 1)
                if decided is not None or target.goto:
                    return decided
                continue
            decided = self._take(rule, target, answer)
            if decided is not None:
                return decided
        return None

    def _perhaps(self, rule: Rule, answer: Truth) -> None:
        effect = str(rule.target) if rule.target else "counts"
        self.visits.append(Visit(rule, False, answer.why, effect))
        if rule.target is not None and rule.target.name not in _GOES_ON:
            self.conditions.append(f"{rule} depends on {answer.why}")

    def _take(self, rule: Rule, target: Target, answer: Truth) -> tuple[Verdict, Rule | None] | None:
        before, verdict = self.packet, _FINAL.get(target.name)
        if verdict is None and target.name in TARGETS:
            done = translate(target, self.packet, self.host, self.hook)
            self.packet, verdict = done.packet, Verdict.ACCEPT
            if done.uncertain:
                self.conditions.append(f"{rule}: {done.uncertain}")
        elif verdict is None and target.name in _CHANGES:
            uncertain = self._change(target)
            if uncertain:
                self.conditions.append(f"{rule}: {uncertain}")
        elif verdict is None and target.name not in _GOES_ON:
            self.conditions.append(f"{rule}: the target {target.name} is not judged here")
        self.visits.append(Visit(rule, True, answer.why, _effect(target, before, self.packet)))
        return None if verdict is None else (verdict, rule)

    def _change(self, target: Target) -> str:
        try:
            self.packet, uncertain = _CHANGES[target.name](target, self.packet)
        except ValueError:
            return f"what {target} means"
        return uncertain


def _effect(target: Target, before: Packet, after: Packet) -> str:
    changed = changes(before, after)
    return f"{target}: {changed}" if changed else str(target)


def changes(before: Packet, after: Packet) -> str:
    """What has become other, in words; "" where nothing has."""
    return ", ".join(
        f"{what} {old} becomes {new}"
        for what, old, new in (
            ("source", before.source, after.source),
            ("source port", before.source_port, after.source_port),
            ("destination", before.destination, after.destination),
            ("destination port", before.destination_port, after.destination_port),
            ("MSS", before.mss, after.mss),
            ("mark", before.mark, after.mark),
            ("mark of the connection", before.connection_mark, after.connection_mark),
            ("state", before.state, after.state),
        )
        if old != new
    )


def _masked(target: Target, name: str, old: int | None) -> int | None:
    """``--set-xmark value/mask``: clear the bits of the mask, then exclusive or (``xt_mark.c``)."""
    option = target.get(name)
    if option is None:
        return None
    value, _, mask = option.value.partition("/")
    bits = number(mask) if mask else 0xFFFFFFFF
    if old is None:
        return number(value) if bits == 0xFFFFFFFF else None
    return (old & ~bits) ^ number(value)


def _mark(target: Target, packet: Packet) -> tuple[Packet, str]:
    mark = _masked(target, "--set-xmark", packet.mark)
    return replace(packet, mark=mark), "" if mark is not None else f"the mark that {target} makes"


def _connection_mark(target: Target, packet: Packet) -> tuple[Packet, str]:
    if target.get("--set-xmark") is not None:
        mark = _masked(target, "--set-xmark", packet.connection_mark)
        return replace(packet, connection_mark=mark), "" if mark is not None else f"the mark that {target} makes"
    masks = [target.get(name) for name in ("--nfmask", "--ctmask")]
    here, there = (number(m.value) if m is not None else 0xFFFFFFFF for m in masks)
    unknown = "the mark of the connection"
    if packet.connection_mark is None or packet.mark is None:
        return replace(packet, mark=None), unknown
    if target.get("--restore-mark") is not None:
        return replace(packet, mark=(packet.mark & ~here) ^ (packet.connection_mark & there)), ""
    if target.get("--save-mark") is not None:
        saved = (packet.connection_mark & ~there) ^ (packet.mark & here)
        return replace(packet, connection_mark=saved), ""
    return replace(packet, connection_mark=None), unknown


def _mss(target: Target, packet: Packet) -> tuple[Packet, str]:
    """``xt_TCPMSS.c``: never raises an MSS; 536 or 1220 stands for a missing option."""
    if packet.tcp_flags is not None and "SYN" not in packet.tcp_flags:
        return packet, ""
    option = target.get("--set-mss")
    if option is not None:
        wanted = number(option.value)
    elif packet.path_mtu is None:
        return packet, "the MTU of the routes to both ends"
    else:
        wanted = packet.path_mtu - TCP_OVER_IP[packet.version]
    return replace(packet, mss=wanted if packet.mss is None else min(packet.mss, wanted)), ""


def _untracked(target: Target, packet: Packet) -> tuple[Packet, str]:
    if target.name == "NOTRACK" or target.get("--notrack") is not None:
        return replace(packet, state="UNTRACKED"), ""
    return packet, ""


_CHANGES = {
    "MARK": _mark,
    "CONNMARK": _connection_mark,
    "TCPMSS": _mss,
    "CT": _untracked,
    "NOTRACK": _untracked,
}
