"""Messages about tables, chains, rules, sets and members of nf_tables, both ways.

All in the family ``inet``. A rule says in its comment what it is: rules cannot be changed in place, so one that has our
comment is as we wrote it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from xfrmctl.kernel.netlink import netfilter as nf
from xfrmctl.kernel.netlink.constants import NLM_F_CREATE, NLM_F_EXCL
from xfrmctl.kernel.netlink.expressions import counted
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import attribute, attributes

NEW_TABLE, GET_TABLE, DEL_TABLE = 0, 1, 2
NEW_CHAIN, GET_CHAIN, DEL_CHAIN = 3, 4, 5
NEW_RULE, GET_RULE, DEL_RULE = 6, 7, 8
NEW_SET, GET_SET, DEL_SET = 9, 10, 11
NEW_MEMBER, GET_MEMBER, DEL_MEMBER = 12, 13, 14
GET_GENERATION = 16

LOCAL_IN, POST_ROUTING = 1, 4
"""Hooks (``include/uapi/linux/netfilter.h``)."""

_APPEND = NLM_F_CREATE | 0x800
_MAP, _METER = 0x8, 0x20 | 0x10
_METER_MS = 60_000
_VERDICTS = 0xFFFFFF00
_DORMANT = 0x1
_LIST_ELEM = 1
_MEMBERS_PER_MESSAGE = 500
"""A nest of members is at most 65,535 octets long."""

IPV4, IPV6 = 7, 8
"""Data types as the program nft numbers them, so that it can show our sets."""


def joined(*types: int) -> int:
    """The type of several values behind one another."""
    found = 0
    for kind in types:
        found = found << 6 | kind
    return found


@dataclass(frozen=True, slots=True)
class Set:
    """A set, or a map of verdicts: a hash table in the kernel.

    ``meter``: rules put in what they meet, with its rate; at most ``room`` members, none for longer than a minute
    after it was met last.
    """

    name: str
    key_type: int
    key_size: int
    is_map: bool = False
    meter: bool = False
    room: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """``what`` it is, and its expressions."""

    what: str
    expressions: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with its rules; with a hook, packets enter it there."""

    name: str
    rules: tuple[Rule, ...]
    hook: int | None = None
    priority: int = 0


@dataclass(slots=True)
class Found:
    """What a table holds. Rules of a chain by what they are, each with its counter (packets, octets), in order."""

    present: bool = False
    dormant: bool = False
    hooks: dict[str, tuple[int, int] | None] = field(default_factory=dict)
    rules: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    sets: dict[str, tuple[int, int]] = field(default_factory=dict)


# -- what is written


def _new(command: int, payload: bytes, flags: int = NLM_F_CREATE | NLM_F_EXCL) -> Request:
    return nf.message(nf.NFTABLES, command, payload, flags=flags)


def new_table(table: str) -> Request:
    """Make a table, or wake one that sleeps; that it is there already is no failure."""
    return _new(NEW_TABLE, nf.text(1, table) + nf.u32(2, 0), NLM_F_CREATE)


def delete_table(table: str) -> Request:
    """Delete a table with all that is in it."""
    return _new(DEL_TABLE, nf.text(1, table), 0)


def new_chain(table: str, chain: Chain) -> list[Request]:
    """Make a chain and its rules."""
    payload = nf.text(1, table) + nf.text(3, chain.name)
    if chain.hook is not None:
        payload += nf.nest(4, nf.u32(1, chain.hook) + nf.u32(2, chain.priority & 0xFFFFFFFF))
        payload += nf.u32(5, 1) + nf.text(7, "filter")
    return [_new(NEW_CHAIN, payload), *(new_rule(table, chain.name, rule) for rule in chain.rules)]


def new_rule(table: str, chain: str, rule: Rule) -> Request:
    """Append a rule to a chain."""
    payload = nf.text(1, table) + nf.text(2, chain) + nf.nest(4, rule.expressions)
    comment = rule.what.encode() + b"\0"
    return _new(NEW_RULE, payload + attribute(7, bytes([0, len(comment)]) + comment), _APPEND)


def flush_chain(table: str, chain: str) -> Request:
    """Delete all rules of a chain."""
    return _new(DEL_RULE, nf.text(1, table) + nf.text(2, chain), 0)


def delete_chain(table: str, chain: str) -> Request:
    """Delete a chain with its rules; nothing may lead there any more."""
    return _new(DEL_CHAIN, nf.text(1, table) + nf.text(3, chain), 0)


def new_set(table: str, new: Set, number: int) -> Request:
    """Make a set. ``number`` is its own within the transaction."""
    flags = (_MAP if new.is_map else 0) | (_METER if new.meter else 0)
    payload = nf.text(1, table) + nf.text(2, new.name) + nf.u32(3, flags)
    payload += nf.u32(4, new.key_type) + nf.u32(5, new.key_size)
    if new.is_map:
        payload += nf.u32(6, _VERDICTS)
    if new.room:
        payload += nf.nest(9, nf.u32(1, new.room))
    if new.meter:
        payload += nf.u64(11, _METER_MS)
    return _new(NEW_SET, payload + nf.u32(10, number))


def delete_set(table: str, name: str) -> Request:
    """Delete a set that no rule names."""
    return _new(DEL_SET, nf.text(1, table) + nf.text(2, name), 0)


def new_members(table: str, name: str, members: Iterable[tuple[bytes, bytes]]) -> Iterator[Request]:
    """Put members into a set: a key and the verdict that a map has for it; b"" for a set."""
    for some in _nests(members):
        yield _new(NEW_MEMBER, nf.text(1, table) + nf.text(2, name) + nf.nest(3, some), NLM_F_CREATE)


def delete_members(table: str, name: str, keys: Iterable[bytes]) -> Iterator[Request]:
    """Take members out of a set; one that is not there is a failure."""
    for some in _nests((key, b"") for key in keys):
        yield _new(DEL_MEMBER, nf.text(1, table) + nf.text(2, name) + nf.nest(3, some), 0)


def _nests(members: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    parts: list[bytes] = []
    for key, data in members:
        one = nf.nest(1, attribute(1, key)) + (nf.nest(2, data) if data else b"")
        parts.append(nf.nest(_LIST_ELEM, one))
        if len(parts) == _MEMBERS_PER_MESSAGE:
            yield b"".join(parts)
            parts.clear()
    if parts:
        yield b"".join(parts)


# -- what is read


def get(command: int, table: str = "", name: str = "") -> Request:
    """Ask for what a table holds, for the members of a set, or for the number of the ruleset's generation."""
    payload = (nf.text(1, table) if table else b"") + (nf.text(2, name) if name else b"")
    return nf.message(nf.NFTABLES, command, payload)


def generation_from(payload: memoryview) -> int:
    """The number of the generation: every transaction of anybody is one."""
    return nf.number(nf.body(payload).get(1))


def take_table(found: Found, payload: memoryview) -> None:
    """Note down the table itself."""
    found.present = True
    found.dormant = bool(nf.number(nf.body(payload).get(2)) & _DORMANT)


def take_chains(found: Found, table: str, payloads: Sequence[memoryview]) -> None:
    """Note down those of all chains that are in the table."""
    for payload in payloads:
        facts = nf.body(payload)
        if nf.words(facts.get(1)) == table:
            hook = nf.inner(facts[4]) if 4 in facts else None
            at = (nf.number(hook.get(1)), nf.number(hook.get(2))) if hook is not None else None
            name = nf.words(facts.get(3))
            found.hooks[name] = at
            found.rules.setdefault(name, [])


def take_rules(found: Found, table: str, payloads: Sequence[memoryview]) -> None:
    """Note down the rules of the table."""
    for payload in payloads:
        facts = nf.body(payload)
        if nf.words(facts.get(1)) == table:
            packets, size = counted(facts[4]) if 4 in facts else (0, 0)
            found.rules.setdefault(nf.words(facts.get(2)), []).append((_comment(facts.get(7)), packets, size))


def take_sets(found: Found, table: str, payloads: Sequence[memoryview]) -> None:
    """Note down the sets of the table: their flags and the size of their keys."""
    for payload in payloads:
        facts = nf.body(payload)
        if nf.words(facts.get(1)) == table:
            found.sets[nf.words(facts.get(2))] = (nf.number(facts.get(3)), nf.number(facts.get(5)))


def members_from(payloads: Sequence[memoryview]) -> Iterator[tuple[bytes, bytes]]:
    """The members of a set: key, and the name of the chain to which a map sends it."""
    for payload in payloads:
        for _, member in attributes(nf.body(payload).get(3, memoryview(b"")), 0):
            facts = nf.inner(member)
            if 1 in facts:
                yield bytes(nf.inner(facts[1]).get(1, b"")), _chain_of(facts.get(2))


def _chain_of(data: memoryview | None) -> bytes:
    verdict = nf.inner(data).get(2) if data is not None else None
    return nf.words(nf.inner(verdict).get(2)).encode() if verdict is not None else b""


def shape(wanted: Set) -> tuple[int, int]:
    """What :func:`take_sets` notes down of a set that we have made."""
    return (_MAP if wanted.is_map else 0) | (_METER if wanted.meter else 0), wanted.key_size


def at(chain: Chain) -> tuple[int, int] | None:
    """What :func:`take_chains` notes down of a chain that we have made."""
    return None if chain.hook is None else (chain.hook, chain.priority & 0xFFFFFFFF)


def _comment(userdata: memoryview | None) -> str:
    """What a rule says of itself: a list of type (0 is a comment), length, octets."""
    if userdata is None or len(userdata) < 2 or userdata[0] != 0:  # its head
        return ""
    return nf.words(userdata[2 : 2 + userdata[1]])
