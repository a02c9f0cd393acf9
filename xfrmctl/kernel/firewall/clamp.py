"""Clamps as text, both ways: what iptables-restore is told, what it and ipset save tell. Pure.

One chain of ours in the mangle table of each family, one rule per distinct MSS, membership in an ipset of the same
name, so a SYN costs the same with 1 or 10,000 tunnels::

    -A POSTROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN -j XFRMCTL-MSS
    -A INPUT       -p tcp -m tcp --tcp-flags SYN,RST SYN -j XFRMCTL-MSS
    -A XFRMCTL-MSS -p tcp -m tcp --tcp-flags SYN,RST SYN -m set --match-set xfrmctl-4-1406 src,dst
                   -m tcpmss ! --mss 0:1406 -j TCPMSS --set-mss 1406

* POSTROUTING sees every packet that is forwarded or sent, in clear, before XFRM takes it (or after XFRM has
  decrypted it); INPUT sees what is for the gateway itself. Packets of an xfrm interface pass POSTROUTING twice.
* A set holds both orientations of a pair, so SYN and SYN-ACK match ``src,dst`` alike.
* ``! --mss 0:N`` matches a larger MSS, or none (TCPMSS then writes the default, 536 or 1220, if N is not smaller),
  so the second pass does not match and the counters count packets that were rewritten. TCPMSS never raises an MSS.
* hash:net,net takes no /0 on every kernel, so /0 is held as its two halves.
* Of what others do, three things take the clamp away: they remove a part of it, they put a rule of theirs into our
  chain, or one that may end the walk of a SYN before our jump. A rule before it that only marks, counts or clamps does
  not, nor does any rule in another table or at another hook: an ACCEPT ends the walk through its own chain only.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_network

from xfrmctl.kernel.desired import Clamp, ClampRule, Element
from xfrmctl.kernel.ownership import CHAIN, SET_PREFIX
from xfrmctl.model.address import IPNetwork

HOOKS = ("POSTROUTING", "INPUT")
MAX_ELEMENTS = 1 << 20
_SYN = "-p tcp -m tcp --tcp-flags SYN,RST SYN"


@dataclass(frozen=True, slots=True)
class Counter:
    """Packets rewritten, and their bytes."""

    packets: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Standing:
    """What the mangle table of one family holds of ours. ``lines`` are as iptables-save wrote them.

    ``shadows``: by hook, the first rule of somebody else that may end a SYN's walk before our jump.
    ``strays``: rules in our chain that are none of ours.
    """

    chain: bool = False
    jumps: dict[str, str] = field(default_factory=dict)
    rules: dict[ClampRule, Counter] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    shadows: dict[str, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)

    @property
    def standing(self) -> frozenset[ClampRule]:
        """Rules that are in force: they are there, every hook leads to them, and nothing is in the way."""
        reached = self.jumps.keys() >= set(HOOKS) and not self.shadows and not self.strays
        return frozenset(self.rules) if reached else frozenset()

    def disturbance(self, family: int, wanted: frozenset[ClampRule]) -> str:
        """Why rules that stood are not in force any more, in a sentence with cause and cure; "" if they are."""
        if self.standing >= wanted:
            return ""
        table = f"iptables (IPv{family}), table mangle"
        if self.shadows:
            hook, line = next(iter(self.shadows.items()))
            what = f"the rule [{line}] stood before our jump in {hook} and took SYNs away from the MSS clamp"
            return f"{table}: {what}: have whoever adds it append it (-A) or insert it behind the first place"
        if self.strays:
            what = f"the rule [{self.strays[0]}] stood in our chain"
            return f"{table}: {what}: have whoever adds it use a chain of its own"
        what = "jumps to the MSS clamp's rules" if self.rules.keys() >= wanted else "the MSS clamp's rules"
        return (
            f"{table}: another program removed {what}:"
            " have it spare the chain XFRMCTL-MSS (iptables -F and restores without --noflush do not)"
        )


def elements(clamps: Iterable[Clamp]) -> frozenset[Element]:
    """The members that clamps need: both orientations, /0 in halves."""
    found: set[Element] = set()
    for clamp in clamps:
        rule = ClampRule(clamp.local.version, clamp.mss)
        for local in _halves(clamp.local):
            for remote in _halves(clamp.remote):
                found.add(Element(rule, local, remote))
                found.add(Element(rule, remote, local))
    return frozenset(found)


def pairs_of(members: Iterable[Element]) -> list[Clamp]:
    """Members as clamps, one for the two orientations of a pair, sorted. For people to read."""
    found: dict[tuple[int, ...], Clamp] = {}
    for member in members:
        low, high = sorted((member.source, member.destination), key=_order)
        key = (member.rule.family, *_order(low), *_order(high), member.rule.mss)
        found[key] = Clamp(low, high, member.rule.mss)
    return [found[key] for key in sorted(found)]


def set_name(rule: ClampRule) -> str:
    """The ipset of a rule."""
    return f"{SET_PREFIX}{rule.family}-{rule.mss}"


def rule_text(rule: ClampRule) -> str:
    """A rule without its command."""
    return (
        f"{CHAIN} {_SYN} -m set --match-set {set_name(rule)} src,dst"
        f" -m tcpmss ! --mss 0:{rule.mss} -j TCPMSS --set-mss {rule.mss}"
    )


def restore_text(have: Standing, add: Iterable[ClampRule] = (), delete: Iterable[ClampRule] = ()) -> str:
    """iptables-restore --noflush: only what changes, so that the counters of the rest stay. "" for no change.

    With the last rule the chain and its jumps go, too.
    """
    add, delete = sorted(set(add) - set(have.rules)), sorted(set(delete) & set(have.rules))
    wanted = (set(have.rules) | set(add)) - set(delete)
    if not wanted:
        return remove_text(have)
    lines = [] if have.chain or not add else [f":{CHAIN} - [0:0]"]
    lines += [f"-D {line.removeprefix('-A ')}" for line in have.strays]
    lines += [f"-A {rule_text(rule)}" for rule in add]
    for hook in HOOKS:
        if hook in have.shadows:  # all lines take effect at once: there is no moment without a jump
            lines.append(f"-D {have.jumps[hook].removeprefix('-A ')}")
        if hook not in have.jumps or hook in have.shadows:
            lines.append(f"-I {hook} {_SYN} -j {CHAIN}")
    lines += [f"-D {rule_text(rule)}" for rule in delete]
    return "\n".join(["*mangle", *lines, "COMMIT", ""]) if lines else ""


def after(have: Standing, add: Iterable[ClampRule] = (), delete: Iterable[ClampRule] = ()) -> Standing:
    """What stands when :func:`restore_text` has been carried out; its lines are not known."""
    rules = {rule: have.rules.get(rule, Counter()) for rule in {*have.rules, *add} - set(delete)}
    jumps = {hook: f"-A {hook} {_SYN} -j {CHAIN}" for hook in HOOKS}
    return Standing(chain=True, jumps=jumps, rules=rules) if rules else Standing()


def remove_text(have: Standing) -> str:
    """iptables-restore --noflush: every line that names our chain, then the chain. "" if there is nothing."""
    lines = [f"-D {line.removeprefix('-A ')}" for line in have.lines]
    if have.chain:
        lines.append(f"-X {CHAIN}")
    return "\n".join(["*mangle", *lines, "COMMIT", ""]) if lines else ""


_LINE = re.compile(r"^(?:\[(\d+):(\d+)\] )?(-A (\S+) .*)$")
_PASSING = re.compile(
    r" -j (?:MARK|CONNMARK|CONNSECMARK|SECMARK|CLASSIFY|DSCP|TOS|TTL|HL|ECN|CHECKSUM|TCPMSS|LOG|NFLOG|AUDIT|SET|TEE)\b"
)
"""Targets after which a packet goes on to the next rule (iptables-extensions(8): "non-terminating")."""

_PROTOCOL = re.compile(r" (! )?-p (\S+)")
_RULE = re.compile(rf"--match-set {re.escape(SET_PREFIX)}([46])-(\d+) src,dst.* --set-mss (\d+)\b")


def parse_save(text: str) -> Standing:
    """Read ``iptables-save -c -t mangle``."""
    found, before = Standing(), dict[str, str]()
    for line in text.splitlines():
        if line.startswith(f":{CHAIN} "):
            found.chain = True
        match = _LINE.match(line)
        if match is None:
            continue
        packets, size, body, chain = match.groups()
        if CHAIN not in line:
            if chain in HOOKS and _may_end_the_walk(body):
                before.setdefault(chain, body)
            continue
        rule = _RULE.search(body)
        if chain == CHAIN:
            found.lines.append(body)
            if rule is not None and rule[2] == rule[3]:
                counter = Counter(int(packets or 0), int(size or 0))
                found.rules[ClampRule(int(rule[1]), int(rule[2]))] = counter
            else:
                found.strays.append(body)
        elif re.search(rf"-[jg] {CHAIN}\b", body):
            found.lines.append(body)
            if chain in HOOKS and chain not in found.jumps:
                found.jumps[chain] = body
                if chain in before:
                    found.shadows[chain] = before[chain]
    return found


def _may_end_the_walk(rule: str) -> bool:
    """Whether a TCP packet may not come to the rules behind this one: in doubt, yes."""
    protocol = _PROTOCOL.search(rule)
    if protocol is not None and (protocol[2] == "tcp") is bool(protocol[1]):
        return False
    return re.search(r" -[jg] ", rule) is not None and _PASSING.search(rule) is None


def rule_of_set(name: str) -> ClampRule | None:
    """The rule that a set belongs to; None for a set that is not ours."""
    match = re.fullmatch(rf"{re.escape(SET_PREFIX)}([46])-(\d+)", name)
    return ClampRule(int(match[1]), int(match[2])) if match else None


def parse_sets(text: str) -> dict[ClampRule, set[Element]]:
    """Read ``ipset save``; sets of others are passed over."""
    found: dict[ClampRule, set[Element]] = {}
    for line in text.splitlines():
        match line.split():
            case ["create", name, *_] if (rule := rule_of_set(name)) is not None:
                found.setdefault(rule, set())
            case ["add", name, pair, *_] if (rule := rule_of_set(name)) is not None:
                source, _, destination = pair.partition(",")
                found.setdefault(rule, set()).add(Element(rule, _network(source), _network(destination)))
    return found


@lru_cache(maxsize=1 << 16)
def _network(text: str) -> IPNetwork:
    return ip_network(text)


def _halves(network: IPNetwork) -> Iterator[IPNetwork]:
    if network.prefixlen:
        yield network
    else:
        yield from network.subnets()


def _order(network: IPNetwork) -> tuple[int, int]:
    return int(network.network_address), network.prefixlen
