"""The clamp by nf_tables: maps for all tunnels, a chain per MSS, each change one transaction.

A table that was changed by somebody else, if only by a rule, is made anew as a whole; the counters are carried over.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping

from xfrmctl.kernel.desired import ClampRule, Element
from xfrmctl.kernel.firewall import nft
from xfrmctl.kernel.firewall.clamp import Counter
from xfrmctl.kernel.firewall.nft import Lengths, Pair, Table
from xfrmctl.kernel.firewall.nftables import NfTables
from xfrmctl.kernel.firewall.programs import FirewallError
from xfrmctl.kernel.netlink import nftables as messages
from xfrmctl.kernel.netlink.socket import Request

_WHAT = "clamp the MSS"


class MapClamps:
    """Our table of nf_tables, with a memory of what was read or written last.

    Where two ask for the same pair, the one with the larger MSS is remembered here and nowhere else.
    """

    def __init__(self, tables: NfTables) -> None:
        self._nf = tables
        self._epoch: int | None = None
        self._table = Table()
        self._hidden: dict[Pair, set[ClampRule]] = {}
        self._serving: Tally[ClampRule] = Tally()
        self._maps: Tally[Lengths] = Tally()
        self.disturbances: list[str] = []

    def close(self) -> None:
        """The socket is not its own."""

    def read(self, mangle: Mapping[int, str]) -> tuple[frozenset[Element], frozenset[ClampRule]]:
        """Members of all maps, and the rules in force. ``mangle``: nothing of this is there. Raises FirewallError.

        Nothing is read while nobody else has changed the ruleset.
        """
        epoch = self._nf.epoch()
        if epoch != self._epoch:
            found = self._nf.found(nft.TABLE)
            names = [name for name in found.sets if nft.lengths_from(name) is not None]
            maps = {name: self._nf.members(nft.TABLE, name) for name in names}
            before, self._table = self._table, nft.read(found, maps)
            if before.standing and not self._table.whole:
                done = "changed" if self._table.present else "deleted (nft flush ruleset does)"
                self.disturbances.append(
                    f"nftables: another program has {done} our inet {nft.TABLE}, which clamps the MSS:"
                    " have it spare the table"
                )
            self._remember()
            self._maps.update({lengths: 0 for name in names if (lengths := nft.lengths_from(name)) is not None})
            self._epoch = epoch
        hidden = ((pair, rule) for pair, rules in self._hidden.items() for rule in rules)
        members = frozenset(nft.elements([*self._table.pairs.items(), *hidden]))
        return members, self._table.standing

    def _remember(self) -> None:
        """Count anew whom the rules serve and which maps are in use."""
        pairs = self._table.pairs
        self._hidden = {
            pair: more
            for pair, rules in self._hidden.items()
            if pair in pairs and (more := {rule for rule in rules if rule.mss > pairs[pair].mss})
        }
        self._serving = Tally(pairs.values())
        for rules in self._hidden.values():
            self._serving.update(rules)
        self._maps = Tally(map(nft.lengths_of, pairs))

    def counters(self) -> dict[ClampRule, tuple[Counter, bool, frozenset[Element]]]:
        """Every rule that stands or should stand: its counter, whether it stands, its members. Raises FirewallError."""
        members: dict[ClampRule, set[Element]] = {rule: set() for rule in self._table.rules}
        for member in nft.elements(self._table.pairs.items()):
            members.setdefault(member.rule, set()).add(member)
        have = nft.read(self._nf.found(nft.TABLE), {})
        return {
            rule: (have.rules.get(rule, Counter()), rule in have.standing, frozenset(members.get(rule, ())))
            for rule in members.keys() | have.rules.keys()
        }

    def remove(self) -> tuple[int, int, list[str]]:
        """Remove our table; gives the numbers of its rules and maps, and problems."""
        if not self._nf.there():
            return 0, 0, []
        try:
            found = self._nf.found(nft.TABLE)
            if found.present:
                self._nf.commit("remove the clamp", [messages.delete_table(nft.TABLE)])
        except FirewallError as error:
            return 0, 0, [str(error)]
        maps = sum(nft.lengths_from(name) is not None for name in found.sets)
        return len(nft.read(found, {}).rules), maps, []

    def add(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        """Make rules stand and put members into the maps. Raises FirewallError."""
        table = self._table
        fresh = {rule: Counter() for rule in {*rules, *(m.rule for m in members)} if rule not in table.rules}
        was = {(m.source, m.destination): table.pairs.get((m.source, m.destination)) for m in members}
        for member in members:
            pair = (member.source, member.destination)
            have = table.pairs.get(pair)
            if have == member.rule or member.rule in self._hidden.get(pair, ()):
                continue
            self._serving[member.rule] += 1
            if have is not None:
                self._hidden.setdefault(pair, set()).add(max(have, member.rule))
            table.pairs[pair] = member.rule if have is None else min(have, member.rule)
        if table.whole:
            before = set(self._maps)
            swap = self._swap(was)
            self._write([*self._make(fresh, self._maps.keys() - before), *swap])
            table.rules |= fresh
        else:
            self._anew(fresh)

    def _anew(self, fresh: Mapping[ClampRule, Counter]) -> None:
        """Make the table in one step, whatever there was of it."""
        table = self._table
        self._remember()
        have = self._nf.found(nft.TABLE)
        counted = nft.read(have, {}).rules
        table.rules = {rule: counted.get(rule, Counter()) for rule in {*self._serving, *fresh}}
        requests = [messages.new_table(nft.TABLE), messages.delete_table(nft.TABLE)] if have.present else []
        requests.append(messages.new_table(nft.TABLE))
        requests += messages.new_chain(nft.TABLE, messages.Chain("syn", ()))
        requests += self._make(table.rules, self._maps.keys())
        for lengths, members in nft.by_map(table.pairs.items()).items():
            requests += messages.new_members(nft.TABLE, nft.map_name(lengths), members)
        for chain in nft.hooks():
            requests += messages.new_chain(nft.TABLE, chain)
        self._write(requests)
        table.present = table.whole = True

    def delete(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        """Take members out, then drop those of the rules that serve nobody any more. Raises FirewallError."""
        table = self._table
        was = {(m.source, m.destination): table.pairs.get((m.source, m.destination)) for m in members}
        for member in members:
            pair = (member.source, member.destination)
            hidden = self._hidden.get(pair, set())
            if member.rule in hidden:
                hidden.discard(member.rule)
            elif table.pairs.get(pair) == member.rule:
                del table.pairs[pair]
                if hidden:
                    table.pairs[pair] = min(hidden)
                    hidden.discard(table.pairs[pair])
            else:
                continue
            self._serving[member.rule] -= 1
            if not hidden:
                self._hidden.pop(pair, None)
        empty = {rule for rule in rules if rule in table.rules and not self._serving[rule]}
        for rule in empty:
            del table.rules[rule]
        if not table.present:
            return
        if not table.rules:
            self._write([messages.delete_table(nft.TABLE)])
            self._table = Table()
            self._remember()
            return
        swap = self._swap(was)
        unused = [lengths for lengths, count in self._maps.items() if not count]
        for lengths in unused:
            del self._maps[lengths]
        self._write([*swap, *self._drop(empty, unused)])

    def _make(self, rules: Mapping[ClampRule, Counter], maps: Iterable[Lengths]) -> list[Request]:
        requests: list[Request] = []
        for rule, counter in rules.items():
            requests += messages.new_chain(nft.TABLE, nft.chain(rule, counter))
        for number, lengths in enumerate(maps):
            requests.append(messages.new_set(nft.TABLE, nft.pairs_map(lengths), 1 + number))
            requests.append(messages.new_rule(nft.TABLE, "syn", nft.look_up(lengths)))
        return requests

    def _swap(self, was: Mapping[Pair, ClampRule | None]) -> list[Request]:
        """What brings the maps from what they had for these pairs to what they should have, and counts their pairs.

        A key that a map has cannot get another verdict: it goes and comes again, which nobody sees in between.
        """
        gone: list[tuple[Pair, ClampRule]] = []
        new: list[tuple[Pair, ClampRule]] = []
        for pair, old in was.items():
            now = self._table.pairs.get(pair)
            if old == now:
                continue
            self._maps[nft.lengths_of(pair)] += (now is not None) - (old is not None)
            if old is not None:
                gone.append((pair, old))
            if now is not None:
                new.append((pair, now))
        requests: list[Request] = []
        for lengths, members in nft.by_map(gone).items():
            requests += messages.delete_members(nft.TABLE, nft.map_name(lengths), (key for key, _ in members))
        for lengths, members in nft.by_map(new).items():
            requests += messages.new_members(nft.TABLE, nft.map_name(lengths), members)
        return requests

    def _drop(self, rules: Iterable[ClampRule], maps: list[Lengths]) -> list[Request]:
        requests: list[Request] = []
        if maps:  # one rule of a chain could be deleted by the kernel's number for it only
            requests.append(messages.flush_chain(nft.TABLE, "syn"))
            requests += [messages.new_rule(nft.TABLE, "syn", nft.look_up(lengths)) for lengths in self._maps]
            requests += [messages.delete_set(nft.TABLE, nft.map_name(lengths)) for lengths in maps]
        for rule in rules:
            requests.append(messages.delete_chain(nft.TABLE, nft.chain_name(rule)))
        return requests

    def _write(self, requests: list[Request]) -> None:
        epoch = self._epoch
        self._epoch = None  # until we know that it went well
        self._nf.commit(_WHAT, requests)
        self._epoch = epoch if epoch == self._nf.epoch() else None
