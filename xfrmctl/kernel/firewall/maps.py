"""The clamp by nf_tables: one map for all tunnels, a chain per MSS, each change one transaction.

A table that was changed by somebody else, if only by a rule, is made anew as a whole; the counters are carried over.
"""

from collections.abc import Iterable, Mapping

from xfrmctl.kernel.desired import ClampRule, Element
from xfrmctl.kernel.firewall import nft
from xfrmctl.kernel.firewall.clamp import Counter
from xfrmctl.kernel.firewall.nft import Change, Table
from xfrmctl.kernel.firewall.programs import FirewallError, installed, run


class MapClamps:
    """Our table of nf_tables, with a memory of what was read or written last."""

    def __init__(self) -> None:
        self._table = Table()
        self.disturbances: list[str] = []

    def read(self, mangle: Mapping[int, str]) -> tuple[frozenset[Element], frozenset[ClampRule]]:
        """Members of all maps, and the rules in force. ``mangle``: nothing of this is there. Raises FirewallError."""
        before, self._table = self._table, self._read()
        if before.standing and not self._table.whole:
            done = "changed" if self._table.present else "deleted (nft flush ruleset does)"
            self.disturbances.append(
                f"nftables: another program has {done} our {nft.TABLE}, which clamps the MSS: have it spare the table"
            )
        members = frozenset(member for pairs in self._table.pairs.values() for member in pairs)
        return members, self._table.standing

    def counters(self) -> dict[ClampRule, tuple[Counter, bool, frozenset[Element]]]:
        """Every rule that stands or should stand: its counter, whether it stands, its members. Raises FirewallError."""
        members: dict[ClampRule, set[Element]] = {rule: set() for rule in self._table.rules}
        for pairs in self._table.pairs.values():
            for member in pairs:
                members.setdefault(member.rule, set()).add(member)
        have = self._read(members=False)
        return {
            rule: (have.rules.get(rule, Counter()), rule in have.standing, frozenset(members.get(rule, ())))
            for rule in members.keys() | have.rules.keys()
        }

    def remove(self) -> tuple[int, int, list[str]]:
        """Remove our table; gives the numbers of its rules and maps, and problems."""
        if not installed("nft"):
            return 0, 0, []
        try:
            have = self._read(members=False)
            if have.present:
                run(["nft", "-f", "-"], nft.remove_text())
        except FirewallError as error:
            return 0, 0, [] if "not supported" in str(error) else [str(error)]
        return len(have.rules), sum(len(pairs.layers) for pairs in have.pairs.values()), []

    def add(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        """Make rules stand and put members into the maps. Raises FirewallError."""
        table = self._table
        wanted = set(rules) | {member.rule for member in members}
        fresh = {rule: Counter() for rule in wanted if rule not in table.rules}
        before, change = self._layers(), Change()
        for member in sorted(members, key=_order):
            number = table.pairs[member.rule.family].add(member)
            if number is not None:
                change.new.setdefault(nft.map_name(member.rule.family, number), []).append(member)
        if table.whole:
            first, last = nft.maps_text(before, self._layers())
            self._write(nft.rules_text(fresh) + first + change.text() + last)
            table.rules |= fresh
        else:
            serving = {member.rule for pairs in table.pairs.values() for member in pairs}
            kept = {rule: counter for rule, counter in table.rules.items() if rule in serving | wanted}
            table.rules = self._counted(kept) | fresh
            self._write(nft.table_text(table))
            table.present = table.whole = True

    def delete(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        """Take members out, then drop those of the rules that serve nobody any more. Raises FirewallError."""
        table = self._table
        before, change = self._layers(), Change()
        for member in members:
            number = table.pairs[member.rule.family].remove(member)
            if number is not None:
                change.gone.setdefault(nft.map_name(member.rule.family, number), []).append(member)
        for member in members:
            family = member.rule.family
            sunk = table.pairs[family].sink((member.source, member.destination))
            if sunk is not None:
                what, whence, whither = sunk
                change.gone.setdefault(nft.map_name(family, whence), []).append(what)
                change.new.setdefault(nft.map_name(family, whither), []).append(what)
        for pairs in table.pairs.values():
            pairs.trim()
        used = {member.rule for pairs in table.pairs.values() for member in pairs} if rules else set()
        empty = {rule for rule in rules if rule in table.rules and rule not in used}
        for rule in empty:
            del table.rules[rule]
        if not table.present:
            return
        if not table.rules:
            self._write(nft.remove_text())
            self._table = Table()
            return
        first, last = nft.maps_text(before, self._layers())
        self._write(first + change.text() + last + nft.drop_rules_text(empty))

    def _layers(self) -> dict[int, int]:
        return {family: len(pairs.layers) for family, pairs in self._table.pairs.items()}

    def _counted(self, rules: Mapping[ClampRule, Counter]) -> dict[ClampRule, Counter]:
        """These rules with what they count now."""
        now = self._read(members=False).rules
        return {rule: now.get(rule, counter) for rule, counter in rules.items()}

    @staticmethod
    def _write(text: str) -> None:
        if text:
            run(["nft", "-f", "-"], text)

    @staticmethod
    def _read(*, members: bool = True) -> Table:
        # A terse listing of the ruleset asks the kernel for no members; that of a table does, and hides them.
        terse = ["-t", "list", "ruleset", nft.TABLE.split()[0]]
        if nft.dormant(run(["nft", *terse])):
            return Table(present=True)  # asked for JSON now, nft 1.0.6 tells nonsense, or crashes
        found = nft.parse(run(["nft", "-j", *terse]))
        whole = found.whole
        if members and found.present:
            found = nft.parse(run(["nft", "-j", "list", "table", *nft.TABLE.split()]))
        found.whole &= whole
        return found


def _order(member: Element) -> tuple[int, ...]:
    """Longer prefixes first, so that the same members give the same layers."""
    source, destination = member.source, member.destination
    return (
        -source.prefixlen,
        -destination.prefixlen,
        int(source.network_address),
        int(destination.network_address),
        member.rule.mss,
    )
