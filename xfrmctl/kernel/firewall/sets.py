"""The clamp by iptables and ipset: one rule per MSS, and a set of the same name that says for whom.

Order within one change: a set before the rule that names it; a rule out before its set is destroyed. A rule goes
only when its set is empty, whatever a plan of a part of the state may think.
"""

from collections.abc import Iterable, Mapping, Sequence

from xfrmctl.kernel.desired import ClampRule, Element
from xfrmctl.kernel.firewall import clamp
from xfrmctl.kernel.firewall.clamp import Counter, Standing
from xfrmctl.kernel.firewall.iptables import FAMILIES, VARIANTS, Ipset, Tables, mangle_text
from xfrmctl.kernel.firewall.programs import FirewallError
from xfrmctl.kernel.netlink import ipset


class SetClamps:
    """Rules and sets, with a memory of what was read or written last."""

    def __init__(self) -> None:
        self._ipset = Ipset()
        self._tables = {family: Tables(family) for family in FAMILIES}
        self._standing: dict[int, Standing] = {}
        self._members: dict[ClampRule, set[Element]] = {}
        self.disturbances: list[str] = []

    def close(self) -> None:
        """Close the socket."""
        self._ipset.close()

    def read(self, mangle: Mapping[int, str]) -> tuple[frozenset[Element], frozenset[ClampRule]]:
        """Members of all sets, and the rules in force. Raises FirewallError."""
        before, self._standing = self._standing, {family: clamp.parse_save(text) for family, text in mangle.items()}
        self.disturbances += [
            text
            for family, old in before.items()
            if old.standing and (text := self._standing[family].disturbance(family, old.standing))
        ]
        self._members = {}
        for name in self._ipset.names():
            if clamp.rule_of_set(name) is not None:
                self._members.update(clamp.parse_sets(self._ipset.save(name)))
        members = frozenset().union(*self._members.values())
        return members, frozenset().union(*(s.standing for s in self._standing.values()))

    def counters(self) -> dict[ClampRule, tuple[Counter, bool, frozenset[Element]]]:
        """Every rule that stands or should stand: its counter, whether it stands, its members. Raises FirewallError."""
        found: dict[ClampRule, tuple[Counter, bool, frozenset[Element]]] = {}
        for family in FAMILIES:
            rules = {rule for rule in self._members if rule.family == family}
            have = self._read_table(family) if rules or self._standing[family].chain else Standing()
            for rule in rules | set(have.rules):
                counter = have.rules.get(rule, Counter())
                found[rule] = (counter, rule in have.standing, frozenset(self._members.get(rule, ())))
        return found

    def remove(self) -> tuple[int, int, list[str]]:
        """Remove chains, jumps and sets of ours, in both variants; gives their numbers, and problems."""
        rules = sets = 0
        problems: list[str] = []
        for family in FAMILIES:
            for variant in VARIANTS:
                tables = Tables(family, variant)
                if not tables.in_use():
                    continue
                try:
                    have = tables.save()
                    tables.restore(clamp.remove_text(have))
                    rules += len(have.rules)
                except FirewallError as error:
                    problems.append(str(error))
        try:
            names = [name for name in self._ipset.names() if clamp.rule_of_set(name) is not None]
            self._ipset.write([ipset.destroy(name) for name in names])
            sets = len(names)
        except FirewallError as error:
            problems.append(str(error))
        return rules, sets, problems

    def add(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        """Make rules stand, then put members into their sets. Raises FirewallError."""
        wanted = set(rules) | {member.rule for member in members}
        fresh = sorted(rule for rule in wanted if rule not in self._members)
        requests = [ipset.create(clamp.set_name(rule), rule.family, clamp.MAX_ELEMENTS) for rule in fresh]
        requests += (ipset.add(clamp.set_name(m.rule), m.source, m.destination) for m in members)
        self._ipset.write(requests)
        for rule in wanted:
            self._members.setdefault(rule, set())
        for member in members:
            self._members[member.rule].add(member)
        for family in FAMILIES:
            mine = [rule for rule in wanted if rule.family == family]
            if mine and not self._standing[family].standing.issuperset(mine):
                self._change(family, add=mine)

    def delete(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        """Take members out, then drop those of the rules that serve nobody any more. Raises FirewallError."""
        for member in members:
            self._members.get(member.rule, set()).discard(member)
        empty = {rule for rule in rules if not self._members.get(rule)}
        self._ipset.write([ipset.delete(clamp.set_name(m.rule), m.source, m.destination) for m in members])
        for family in FAMILIES:
            self._change(family, delete=[rule for rule in empty if rule.family == family])
        self._ipset.write([ipset.destroy(clamp.set_name(rule)) for rule in sorted(empty & set(self._members))])
        for rule in empty:
            self._members.pop(rule, None)

    def _change(self, family: int, add: Sequence[ClampRule] = (), delete: Sequence[ClampRule] = ()) -> None:
        """Change rules, and note down what stands then; only when all of ours go must their lines be known."""
        have = self._standing[family]
        if delete and not set(have.rules) - set(delete):
            have = self._read_table(family)
        text = clamp.restore_text(have, add, delete)
        if text:
            self._tables[family].restore(text)
            self._standing[family] = clamp.after(have, add, delete)

    def _read_table(self, family: int) -> Standing:
        return clamp.parse_save(mangle_text(family))
