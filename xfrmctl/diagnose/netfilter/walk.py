"""Follows packets through the chains of a hook, in the order of their priorities, as ``nf_hook_slow`` does.

An accept ends a chain, and the next one of the hook goes on; a drop ends it all. What takes a part of the packets only
is noted, and the rest goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    Chain,
    Fit,
    Packet,
    Rule,
    Table,
)

DEEPEST = 16
"""Jumps within jumps; netfilter itself allows as many (NFT_JUMP_STACK_SIZE)."""

DROPS = {DROP, REJECT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What a rule, or the policy of a chain (``rule`` None), does to packets. ``fit``: to how many of them."""

    verdict: str
    fit: Fit
    table: Table
    chain: Chain
    rule: Rule | None

    @property
    def text(self) -> str:
        """The evidence: where it stands, and the rule as the program prints it."""
        if self.rule is None:
            return f"{self.table}: policy of {self.chain.name} is {self.chain.policy}"
        return f"{self.table}: {self.rule.text}"

    @property
    def key(self) -> tuple[str, str, str]:
        """Names it over time."""
        return str(self.table), self.chain.name, self.rule.text if self.rule is not None else "policy"

    @property
    def packets(self) -> int | None:
        """What it has counted."""
        return self.rule.packets if self.rule is not None else self.chain.policy_packets


def hooked(tables: Sequence[Table], hook: str, version: int) -> list[tuple[Table, Chain]]:
    """The chains of a hook in the order in which packets meet them."""
    found = [
        (table, chain)
        for table in tables
        if table.version in (0, version)
        for chain in table.chains.values()
        if chain.hook == hook
    ]
    return sorted(found, key=lambda pair: pair[1].priority)


def fates(tables: Sequence[Table], hook: str, packet: Packet) -> Iterator[list[Fate]]:
    """For each chain of the hook what happens there, in order; the last of a list is for all that is left.

    After a chain that drops all of them there is no further one.
    """
    for table, chain in hooked(tables, hook, packet.source.version):
        found: list[Fate] = []
        if not _chain(table, chain, packet, Fit.ALL, found, 0):
            found.append(Fate(verdict=chain.policy, fit=Fit.ALL, table=table, chain=chain, rule=None))
        yield found
        if found[-1].verdict in DROPS:
            return


def _chain(table: Table, chain: Chain, packet: Packet, most: Fit, found: list[Fate], depth: int) -> bool:
    """Whether nothing is left after a chain."""
    for rule in chain.rules:
        fit = min(most, rule.fit(packet))
        if fit is Fit.NO or rule.verdict == NOTHING:
            continue
        if rule.verdict == RETURN:
            if fit is Fit.ALL:
                return False
            found.append(Fate(verdict=RETURN, fit=fit, table=table, chain=chain, rule=rule))
        elif rule.verdict in (JUMP, GOTO):
            inner = table.chains.get(rule.target)
            if inner is None or depth >= DEEPEST:
                continue
            ended = _chain(table, inner, packet, fit, found, depth + 1)
            if fit is Fit.ALL and (ended or rule.verdict == GOTO):
                return ended
        else:
            found.append(Fate(verdict=rule.verdict, fit=fit, table=table, chain=chain, rule=rule))
            if fit is Fit.ALL and rule.verdict != MSS:
                return True
    return False


def dropped(tables: Sequence[Table], hook: str, packet: Packet) -> Fate | None:
    """Who drops all of the packets at a hook, for sure; None where some pass, or where nobody can say."""
    for found in fates(tables, hook, packet):
        end = found[-1]
        if end.verdict in DROPS and not any(f.verdict in (ACCEPT, RETURN) for f in found[:-1]):
            return end
    return None


def partly_dropped(tables: Sequence[Table], hook: str, packet: Packet) -> list[Fate]:
    """Rules that drop some of the packets, for sure, where not all are dropped."""
    return [
        fate
        for found in fates(tables, hook, packet)
        for fate in found
        if fate.verdict in DROPS and fate.fit is Fit.PART and fate.rule is not None
    ]


def translated(tables: Sequence[Table], packet: Packet) -> Fate | None:
    """The rule that gives all or a part of the packets another source address; None where none does for sure."""
    for found in fates(tables, "postrouting", packet):
        for fate in found:
            if fate.verdict == SNAT and fate.fit >= Fit.PART:
                return fate
            if fate.verdict in (ACCEPT, RETURN) and fate.fit is Fit.ALL:
                break
    return None
