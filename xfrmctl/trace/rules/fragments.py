"""Fragments: who makes them, and whether all parts arrive."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from xfrmctl.model.address import IPAddress
from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.packets import Point, Seen
from xfrmctl.trace.pairs import Side
from xfrmctl.trace.rules.case import Case, Ends, times

Datagram = tuple[IPAddress, IPAddress, int, int]
"""Source, destination, protocol, identification (RFC 791 3.2)."""


@dataclass(slots=True)
class _Parts:
    seen: list[Seen] = field(default_factory=list)

    @property
    def offsets(self) -> set[int]:
        return {s.fragment.offset for s in self.seen if s.fragment is not None}

    @property
    def size(self) -> int:
        """The largest part: what its maker took the next link to carry."""
        return max(s.length for s in self.seen)


def fragments(case: Case) -> Iterator[Finding]:
    """One finding for each two hosts and kind."""
    parts = {side: _parts(point) for side, point in case.points.items()}
    whole = {side: _whole(point) for side, point in case.points.items()}
    made: dict[tuple[Side | None, Ends], list[tuple[Side, _Parts]]] = defaultdict(list)
    short: dict[tuple[Side, Ends], list[tuple[_Parts, set[int]]]] = defaultdict(list)
    for side in Side:
        for datagram, found in parts[side].items():
            ends = datagram[:2]
            there = parts[side.other].get(datagram)
            if datagram in whole[side.other]:
                made[side.other, ends].append((side, found))
            elif there is None or side is Side.A:
                made[None, ends].append((side, found))
            if there is not None and found.offsets > there.offsets and case.upstream(*ends) is not side.other:
                short[side, ends].append((found, found.offsets - there.offsets))
    for (cut_behind, ends), cut in made.items():
        yield _made(cut_behind, ends, cut)
    for (first, ends), missing in short.items():
        yield _short(first, ends, missing)


def _parts(point: Point) -> dict[Datagram, _Parts]:
    found: dict[Datagram, _Parts] = defaultdict(_Parts)
    for seen in point.packets:
        if seen.fragment is not None and seen.identification is not None:
            found[_name(seen, seen.identification)].seen.append(seen)
    return dict(found)


def _whole(point: Point) -> set[Datagram]:
    return {
        _name(seen, seen.identification)
        for seen in point.packets
        if seen.fragment is None and seen.identification  # 0 is what packets with DF may all have (RFC 6864 4.1)
    }


def _name(seen: Seen, identification: int) -> Datagram:
    return seen.source, seen.destination, seen.protocol, identification


def _made(cut_behind: Side | None, ends: Ends, cut: list[tuple[Side, _Parts]]) -> Finding:
    side, first = cut[0]
    between = cut_behind is not None
    largest = max(parts.size for _, parts in cut)
    return Finding(
        code="fragmented-between" if between else "fragments",
        severity=Severity.CHANGE if between else Severity.NOTE,
        title=f"Packets of {ends[0]} to {ends[1]} are cut into fragments "
        + (f"between {side.other.value} and {side.value}" if between else f"before they come to {side.value}"),
        details=(
            f"{times(len(cut), 'packet')} in {sum(len(p.seen) for _, p in cut)} fragments, the largest {largest} "
            f"bytes: whoever cut them takes the next link to carry {largest} to {largest + 7} bytes.",
            "A firewall that passes by ports sees none in the later parts, and every lost part loses the whole packet.",
        ),
        evidence=tuple(Evidence(side, s.number, _spelled(s)) for s in first.seen[:MOST_EVIDENCE]),
        count=len(cut),
        values={"largest": largest},
    )


def _short(first: Side, ends: Ends, missing: list[tuple[_Parts, set[int]]]) -> Finding:
    parts, offsets = missing[0]
    later_only = all(0 not in gone for _, gone in missing)
    return Finding(
        code="fragments-lost",
        severity=Severity.FAULT,
        title=f"Fragments of {ends[0]} to {ends[1]} vanish between {first.value} and {first.other.value}",
        details=(
            f"{times(len(missing), 'packet')} with parts missing"
            + (": the first parts arrive, the later ones do not." if later_only else "."),
            "The usual cause is a firewall that drops what has no ports; the cure is not to make fragments: a smaller "
            "MTU or MSS at the sender.",
        ),
        evidence=tuple(
            Evidence(first, s.number, f"{_spelled(s)}: lost")
            for s in parts.seen
            if s.fragment is not None and s.fragment.offset in offsets
        )[:MOST_EVIDENCE],
        count=len(missing),
    )


def _spelled(seen: Seen) -> str:
    assert seen.fragment is not None
    more = "more follow" if seen.fragment.more else "the last"
    return f"{seen.source} > {seen.destination} id {seen.identification} offset {seen.fragment.offset}, {more}"
