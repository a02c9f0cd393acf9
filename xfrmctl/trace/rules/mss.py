"""The MSS option of SYN and SYN-ACK (RFC 9293 3.7.1): what one point shows and the other not."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.packets import Seen
from xfrmctl.trace.pairs import Pair, Side
from xfrmctl.trace.rules.case import Case, routers, times
from xfrmctl.trace.sizes import explanations


@dataclass(frozen=True, slots=True)
class _Change:
    version: int
    before: int | None
    after: int | None
    first: Side
    from_client: bool


def rewritten(case: Case) -> Iterator[Finding]:
    """One finding for each pair of values in each direction."""
    found: dict[_Change, list[tuple[Pair, Seen, Seen]]] = defaultdict(list)
    for pair, from_client in case.directions():
        before, after = pair.opening(from_client)
        if before is None or after is None or before.tcp is None or after.tcp is None:
            continue
        if before.tcp.mss != after.tcp.mss:
            change = _Change(before.version, before.tcp.mss, after.tcp.mss, pair.upstream(from_client), from_client)
            found[change].append((pair, before, after))
    for change, seen in found.items():
        yield _finding(case, change, seen)


def _finding(case: Case, change: _Change, seen: list[tuple[Pair, Seen, Seen]]) -> Finding:
    kind = "SYN" if change.from_client else "SYN-ACK"
    first, second = change.first, change.first.other
    what = {(True, False): "removed", (False, True): "added"}.get(
        (change.before is not None, change.after is not None), _verb(change)
    )
    return Finding(
        code="mss-rewritten",
        severity=Severity.CHANGE,
        title=f"MSS of the {kind} {what} between {first.value} and {second.value}: "
        f"{_spelled(change.before)} becomes {_spelled(change.after)}",
        details=tuple(_details(change, seen)),
        evidence=tuple(
            evidence
            for pair, before, after in seen[:MOST_EVIDENCE]
            for evidence in (
                Evidence(
                    first, before.number, f"{pair.at[first].name(change.from_client)} MSS {_spelled(change.before)}"
                ),
                Evidence(
                    second, after.number, f"{pair.at[second].name(change.from_client)} MSS {_spelled(change.after)}"
                ),
            )
        ),
        fits=explanations(change.after, change.version, case.suite) if change.after is not None else (),
        count=len(seen),
        values={"version": change.version, "from": change.before or 0, "to": change.after or 0, "opening": kind},
    )


def _verb(change: _Change) -> str:
    return "lowered" if (change.before or 0) > (change.after or 0) else "raised"


def _details(change: _Change, seen: list[tuple[Pair, Seen, Seen]]) -> Iterator[str]:
    pair = seen[0][0]
    kind = "SYN" if change.from_client else "SYN-ACK"
    yield f"{times(len(seen), kind)} with this change; it limits what the other end sends, not this one."
    between = pair.routers_between(change.from_client)
    if between == 0:
        yield "The TTL is the same at both points: no router is between them, so a bridge or the host itself wrote it."
    elif between is not None and between > 0:
        yield f"The TTL falls by {between}: {routers(between)} between the points" + (
            ", and that one wrote it." if between == 1 else ", and one of them wrote it."
        )
    if change.after is None:
        yield "Without the option the other end takes 536 (IPv4) or 1220 (IPv6) for granted."
        return
    if change.before is not None and change.after > change.before:
        yield "No clamp raises an MSS: a proxy that opens a connection of its own does."
    other = [p.opening(not change.from_client) for p, _, _ in seen]
    kept = {
        a.tcp.mss for b, a in other if a and b and a.tcp and b.tcp and a.tcp.mss == b.tcp.mss and a.tcp.mss is not None
    }
    if kept and max(kept) > change.after:
        opposite = "SYN-ACK" if change.from_client else "SYN"
        yield (
            f"The {opposite} keeps {max(kept)}: only one direction is clamped, the other end's packets are limited and "
            "this end's are not."
        )


def _spelled(mss: int | None) -> str:
    return "none" if mss is None else str(mss)
