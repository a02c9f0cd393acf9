"""Selectors that two entries claim: which of them gets the packets and why, or that nobody could say.

Policies of one SPD (of the policy data plane, or of one interface) are ordered by how specific they are, so a narrower
entry within a wider one is a plan that works: it is told, as a warning. Equal ones, and such as overlap without either
being the more specific, are errors. Behind interfaces of their own, routes decide, by the longer prefix.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from xfrmctl.config.build import Report
from xfrmctl.config.document import Key
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.model.flow import MAX_FLOWS, flows
from xfrmctl.model.overlap import Pairs
from xfrmctl.model.plane import Mark
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.spd import Precedence, SpdEntry, vagueness

MAX_REPORTED = 50
"""Of 10,000 connections that overlap with one another nobody reads each pair."""

LineOf = Callable[[Key], int]
ONE_SA = "make them disjoint, so that each packet has one SA"


@dataclass(frozen=True, slots=True)
class Entry:
    """A child or a policy as it takes part in the order of the SPD. ``if_id`` 0 is the policy data plane."""

    key: Key
    label: str
    connection: str
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    if_id: int = 0
    mark: Mark | None = None
    precedence: Precedence = Precedence.SPECIFIC

    @classmethod
    def of_child(cls, connection: ConnectionConfig, child: ChildConfig) -> "Entry":
        """A child."""
        return cls(
            ("connections", connection.name, "children", child.name),
            f"child {child.name!r} of connection {connection.name!r}",
            connection.name,
            child.local_ts,
            child.remote_ts,
            child.if_id,
            child.options.mark_out,
        )

    @classmethod
    def of_policy(cls, policy: SpdEntry) -> "Entry":
        """A policy that is no child's."""
        key: Key = ("policies", policy.name)
        where, more = policy.local_ts, policy.remote_ts
        return cls(key, f"policy {policy.name!r}", "", where, more, precedence=policy.precedence)


@dataclass(frozen=True, slots=True)
class _Common:
    """A pair of selectors of each of two entries that overlap, and the networks in which they do."""

    ours: tuple[TrafficSelector, TrafficSelector]
    theirs: tuple[TrafficSelector, TrafficSelector]

    @property
    def same(self) -> bool:
        return self.ours == self.theirs


def check_overlaps(
    connections: Iterable[ConnectionConfig],
    policies: Iterable[SpdEntry],
    report: Report,
    warn: Report,
    line_of: LineOf,
) -> None:
    """Report every pair of entries that overlap; the work grows with entries and overlaps, not with their square."""
    entries = [Entry.of_child(c, child) for c in connections for child in c.children]
    entries += [Entry.of_policy(policy) for policy in policies]
    left = MAX_REPORTED
    for entry, other in _candidates(entries):
        common = _common(other, entry)
        verdict = _verdict(other, entry, common) if common is not None else None
        if common is None or verdict is None:
            continue
        tell, how, cure = (report if verdict[0] else warn), verdict[1], verdict[2]
        here, there = (f"{local} to {remote}" for local, remote in (common.theirs, common.ours))
        place = (*entry.key, "remote_ts")
        at = line_of((*other.key, "remote_ts"))
        tell(place, f"the selectors {here} {how.format(other=f'{other.label} in line {at} ({there})')}", cure)
        left -= 1
        if not left:
            warn(place, f"there are more overlaps than these {MAX_REPORTED}", "mend these, and check again")
            return


def _candidates(entries: Iterable[Entry]) -> Iterator[tuple[Entry, Entry]]:
    """Each entry with those before it whose networks overlap with its own, where that can matter."""
    spds: dict[int, Pairs[Entry]] = {}
    behind: Pairs[Entry] = Pairs()
    routed: Pairs[Entry] = Pairs()
    for entry in entries:
        seen = {id(entry)}
        own, plain = spds.setdefault(entry.if_id, Pairs()), spds.setdefault(0, Pairs())
        tables = [own, routed, plain] if entry.if_id else [own, behind]
        for table in tables:
            for other in table.overlapping(entry.local_ts, entry.remote_ts):
                if id(other) not in seen:
                    seen.add(id(other))
                    yield entry, other
        own.add(entry.local_ts, entry.remote_ts, entry)
        if entry.if_id:
            behind.add(entry.local_ts, entry.remote_ts, entry)
            routed.add(entry.local_ts, _with_routes(entry), entry)


def _with_routes(entry: Entry) -> list[TrafficSelector]:
    """A default route is never taken over, so everything may be behind many interfaces at once."""
    return [ts for ts in entry.remote_ts if any(n.prefixlen for n in ts.networks())]


def _common(one: Entry, two: Entry) -> _Common | None:
    """The first selectors in which they overlap; equal ones before others."""
    if one.mark is not None and two.mark is not None and one.mark.excludes(two.mark):
        return None
    found: _Common | None = None
    for ours in ((a, b) for a in one.local_ts for b in one.remote_ts):
        for theirs in ((a, b) for a in two.local_ts for b in two.remote_ts):
            if ours == theirs:
                return _Common(ours, theirs)
            if found is None and ours[0].intersect(theirs[0]) is not None and ours[1].intersect(theirs[1]) is not None:
                found = _Common(ours, theirs)
    return found


def _verdict(one: Entry, two: Entry, common: _Common) -> tuple[bool, str, str] | None:
    """Whether it is an error, how to say it, and the cure; None where nothing need be said."""
    if one.if_id and two.if_id and one.if_id != two.if_id:
        if not _with_routes(one) or not _with_routes(two):
            return None
        if common.ours[1] == common.theirs[1]:
            return True, "route the same destination as {other}", ONE_SA
        return _wins("the longer prefix wins, as among all routes") if one.connection != two.connection else None
    if one.precedence != two.precedence:
        return None  # written on purpose
    if common.same and one.mark == two.mark:
        return True, "are the same as those of {other}", ONE_SA
    if one.connection == two.connection and one.connection:
        return None
    if bool(one.if_id) != bool(two.if_id):
        winner = one if two.if_id else two
        return _wins(f"{winner.label} gets the packets of both: the SPD comes before any route into an interface")
    mine, theirs = _vagueness(two, common.theirs), _vagueness(one, common.ours)
    if mine == theirs:
        how = "overlap with those of {other}, and neither is the more specific: nobody could say which wins"
        return True, how, ONE_SA
    winner = two if mine < theirs else one
    return _wins(f"{winner.label} gets the packets of both, being the more specific")


def _wins(how: str) -> tuple[bool, str, str]:
    return False, f"overlap with those of {{other}}: {how}", "nothing, if that is the plan; else make them disjoint"


def _vagueness(entry: Entry, pair: tuple[TrafficSelector, TrafficSelector]) -> int:
    """As the SPD will have it; of a range, the widest of its parts counts."""
    parts = islice(flows((pair[0],), (pair[1],)), MAX_FLOWS)
    marked = entry.mark is not None
    return max((vagueness(f.local, f.remote, f.protocol, (f.near, f.far), marked=marked) for f in parts), default=0)
