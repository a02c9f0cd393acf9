"""Keeps the rules and sets of the clamp as a plan wants them.

Order within one change: a set before the rule that names it; a rule out before its set is destroyed. A rule goes
only when its set is empty, whatever a plan of a part of the state may think.
"""

from collections.abc import Iterable, Sequence

from xfrmctl.kernel.desired import ClampRule, Element, IcmpGuard
from xfrmctl.kernel.firewall import clamp, guard
from xfrmctl.kernel.firewall.clamp import Standing
from xfrmctl.kernel.firewall.iptables import FirewallError, Ipset, Tables, mixed_variants
from xfrmctl.kernel.plan import AddClamps, ClampOperation, SetIcmpGuard
from xfrmctl.model.snapshot import ClampInfo

FAMILIES = (4, 6)


class Firewall:
    """Rules and sets, with a memory of what was read or written last."""

    def __init__(self) -> None:
        self._ipset = Ipset()
        self._tables = {family: Tables(family) for family in FAMILIES}
        self._standing: dict[int, Standing] = {}
        self._members: dict[ClampRule, set[Element]] = {}
        self._known = False
        self._icmp = IcmpGuard()
        self._guards: dict[int, guard.Standing] = {}

    def read(self) -> tuple[frozenset[Element], frozenset[ClampRule]]:
        """Members of all sets, and the rules in force. Raises FirewallError."""
        texts = {family: self._text(family) for family in FAMILIES}
        self._standing = {family: clamp.parse_save(text) for family, text in texts.items()}
        self._guards = {family: guard.parse_save(text) for family, text in texts.items()}
        self._members = {}
        for name in self._ipset.names():
            if clamp.rule_of_set(name) is not None:
                self._members.update(clamp.parse_sets(self._ipset.save(name)))
        self._known = True
        members = frozenset().union(*self._members.values())
        return members, frozenset().union(*(s.standing for s in self._standing.values()))

    def icmp(self) -> IcmpGuard | None:
        """The guard that was set last if all of it stood when it was read; None for anything else."""
        whole = all(guard.stands(self._icmp, family, have) for family, have in self._guards.items())
        return self._icmp if whole else None

    def set_icmp(self, operations: Sequence[SetIcmpGuard]) -> list[str]:
        """Guard these peers; gives what went wrong."""
        problems: list[str] = []
        for wanted in (operation.new for operation in operations):
            for family in FAMILIES:
                try:
                    have = guard.parse_save(self._text(family))
                    self._tables[family].restore(guard.restore_text(wanted, family, have))
                except FirewallError as error:
                    problems.append(f"ICMP errors about our peers (IPv{family}) are not judged: {error}")
            self._icmp = wanted
        return problems

    def apply(self, operations: Sequence[ClampOperation]) -> list[str]:
        """Carry out operations; gives what went wrong."""
        problems: list[str] = []
        for operation in operations:
            try:
                if not self._known:
                    self.read()
                if isinstance(operation, AddClamps):
                    self._add(operation.rules, operation.elements)
                else:
                    self._delete(operation.rules, operation.elements)
            except FirewallError as error:
                self._known = False  # read again before the next change
                problems.append(str(error))
        return problems

    def counters(self) -> list[ClampInfo]:
        """Every rule that stands or should stand. Raises FirewallError."""
        if not self._known:
            self.read()
        found: list[ClampInfo] = []
        for family in FAMILIES:
            rules = {rule for rule in self._members if rule.family == family}
            have = self._read_table(family) if rules or self._standing[family].chain else Standing()
            for rule in sorted(rules | set(have.rules)):
                counter = have.rules.get(rule, clamp.Counter())
                found.append(
                    ClampInfo(
                        family=family,
                        mss=rule.mss,
                        pairs=len(clamp.pairs_of(self._members.get(rule, ()))),
                        packets=counter.packets,
                        bytes=counter.bytes,
                        standing=rule in have.standing,
                    )
                )
        return found

    def warnings(self) -> list[str]:
        """What is wrong with the host's firewall as a whole."""
        try:
            return [text] if (text := mixed_variants()) else []
        except FirewallError as error:
            return [str(error)]

    def cleanup(self) -> tuple[dict[str, int], list[str]]:
        """Remove chains, jumps and sets of ours, in both variants; gives counts and problems."""
        removed = {"clamp_rules": 0, "clamp_sets": 0, "icmp_rules": 0}
        problems: list[str] = []
        for family in FAMILIES:
            for variant in ("", "nft", "legacy"):
                tables = Tables(family, variant)
                if not tables.in_use():
                    continue
                try:
                    text = tables.text()
                    have, watched = clamp.parse_save(text), guard.parse_save(text)
                    tables.restore(clamp.remove_text(have))
                    tables.restore(guard.remove_text(watched))
                    removed["clamp_rules"] += len(have.rules)
                    removed["icmp_rules"] += watched.rules
                except FirewallError as error:
                    problems.append(str(error))
        try:
            names = [name for name in self._ipset.names() if clamp.rule_of_set(name) is not None]
            self._ipset.restore("".join(f"destroy {name}\n" for name in names))
            removed["clamp_sets"] = len(names)
        except FirewallError as error:
            problems.append(str(error))
        self._known = False
        return removed, problems

    def _text(self, family: int) -> str:
        tables = self._tables[family]
        return tables.text() if tables.available() else ""

    def _read_table(self, family: int) -> Standing:
        return clamp.parse_save(self._text(family))

    def _add(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        wanted = set(rules) | {member.rule for member in members}
        fresh = sorted(rule for rule in wanted if rule not in self._members)
        text = "".join(f"{clamp.create_line(rule)}\n" for rule in fresh)
        self._ipset.restore(text + clamp.members_text(add=members))
        for rule in wanted:
            self._members.setdefault(rule, set())
        for member in members:
            self._members[member.rule].add(member)
        for family in FAMILIES:
            mine = [rule for rule in wanted if rule.family == family]
            have = self._standing[family]
            if not mine or have.standing.issuperset(mine):
                continue
            self._tables[family].restore(clamp.restore_text(have, add=mine))
            self._standing[family] = self._read_table(family)

    def _delete(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        for member in members:
            self._members.get(member.rule, set()).discard(member)
        empty = {rule for rule in rules if not self._members.get(rule)}
        for family in FAMILIES:
            gone = [rule for rule in empty if rule.family == family]
            text = clamp.restore_text(self._standing[family], delete=gone)
            if text:
                self._tables[family].restore(text)
                self._standing[family] = self._read_table(family)
        text = clamp.members_text(delete=(m for m in members if m.rule not in empty))
        text += "".join(f"destroy {clamp.set_name(rule)}\n" for rule in sorted(empty & set(self._members)))
        self._ipset.restore(text)
        for rule in empty:
            self._members.pop(rule, None)
