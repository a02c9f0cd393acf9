"""In place of the kernel's nf_tables: reads the messages of a transaction, and refuses what the kernel refuses."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from xfrmctl.kernel.firewall.programs import FirewallError
from xfrmctl.kernel.netlink import netfilter as nf
from xfrmctl.kernel.netlink import nftables as m
from xfrmctl.kernel.netlink.nftables import Found
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import attribute

NAMES = {
    m.NEW_TABLE: "new table",
    m.DEL_TABLE: "delete table",
    m.NEW_CHAIN: "new chain",
    m.DEL_CHAIN: "delete chain",
    m.NEW_RULE: "new rule",
    m.DEL_RULE: "flush chain",
    m.NEW_SET: "new set",
    m.DEL_SET: "delete set",
    m.NEW_MEMBER: "new members",
    m.DEL_MEMBER: "delete members",
}


@dataclass
class Table:
    found: Found = field(default_factory=lambda: Found(present=True))
    members: dict[str, dict[bytes, bytes]] = field(default_factory=dict)


class FakeTables:
    """What :class:`xfrmctl.kernel.firewall.nftables.NfTables` is for its users. ``log`` are the transactions."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.log: list[list[str]] = []
        self.reads = 0
        self.disturbances = 0

    def close(self) -> None:
        """Nothing to close."""

    def there(self) -> bool:
        return True

    def epoch(self) -> int:
        return self.disturbances

    def found(self, table: str) -> Found:
        self.reads += 1
        return self.tables[table].found if table in self.tables else Found()

    def members(self, table: str, name: str) -> dict[bytes, bytes]:
        return dict(self.tables[table].members[name])

    def commit(self, what: str, requests: Sequence[Request]) -> None:
        if requests:
            self.log.append([self._carry_out(request) for request in requests])

    def _carry_out(self, request: Request) -> str:
        command, facts = request.type & 0xFF, nf.body(memoryview(request.payload))
        name = nf.words(facts[1])
        if command == m.NEW_TABLE:
            self.tables.setdefault(name, Table())
            return f"new table {name}"
        _refuse(name not in self.tables, f"no table {name}")
        if command == m.DEL_TABLE:
            del self.tables[name]
            return f"delete table {name}"
        object_name = nf.words(facts[3 if command in (m.NEW_CHAIN, m.DEL_CHAIN) else 2])
        text = f"{NAMES[command]} {object_name}"
        return text + self._change(self.tables[name], command, object_name, facts)

    def _change(self, table: Table, command: int, name: str, facts: dict[int, memoryview]) -> str:
        found = table.found
        if command == m.NEW_CHAIN:
            _refuse(name in found.hooks, f"chain {name} twice")
            m.take_chains(found, nf.words(facts[1]), [_again(facts)])
        elif command == m.NEW_RULE:
            _refuse(name not in found.hooks, f"no chain {name}")
            m.take_rules(found, nf.words(facts[1]), [_again(facts)])
            return f": {found.rules[name][-1][0]}"
        elif command == m.DEL_RULE:
            found.rules[name] = []
        elif command == m.DEL_CHAIN:
            leads = any(name.encode() in members.values() for members in table.members.values())
            _refuse(leads or name not in found.hooks, f"chain {name} is in use, or was never there")
            del found.hooks[name], found.rules[name]
        elif command == m.NEW_SET:
            _refuse(name in found.sets, f"set {name} twice")
            m.take_sets(found, nf.words(facts[1]), [_again(facts)])
            table.members[name] = {}
        elif command == m.DEL_SET:
            used = any(what == name for rules in found.rules.values() for what, *_ in rules)
            _refuse(used or name not in found.sets, f"set {name} is in use, or was never there")
            del found.sets[name], table.members[name]
        else:
            return self._members(table, command, name, facts)
        return ""

    @staticmethod
    def _members(table: Table, command: int, name: str, facts: dict[int, memoryview]) -> str:
        have = table.members[name]
        told = list(m.members_from([_again(facts)]))
        for key, chain in told:
            if command == m.NEW_MEMBER:
                _refuse(have.get(key, chain) != chain, f"{key!r} of {name} cannot be changed in place")
                _refuse(bool(chain) and chain.decode() not in table.found.hooks, f"no chain {chain!r}")
                have[key] = chain
            else:
                _refuse(key not in have, f"{key!r} is not in {name}")
                del have[key]
        return f" {len(told)}"


def _again(facts: dict[int, memoryview]) -> memoryview:
    """A message with these attributes."""
    return memoryview(nf.message(nf.NFTABLES, 0, b"".join(attribute(k, bytes(v)) for k, v in facts.items())).payload)


def _refuse(when: bool, why: str) -> None:
    if when:
        raise FirewallError(why)
