"""Segments that pass the first point and never the second one.

Bytes are compared, not packets: a host that glues segments (offload) shows others than the wire. A segment counts as
lost only where its sender has sent it again, or where later bytes have arrived: otherwise the second capture may just
have ended earlier.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.packets import Seen
from xfrmctl.trace.pairs import Pair
from xfrmctl.trace.rules.case import Case, relative, times

Range = tuple[int, int]


def lost(case: Case) -> Iterator[Finding]:
    """One finding a direction of a connection."""
    for pair, from_client in case.directions():
        missing, arrived = _split(pair, from_client)
        if missing:
            yield _finding(pair, from_client, missing, arrived)


def _split(pair: Pair, from_client: bool) -> tuple[list[Seen], list[Seen]]:
    before, after = pair.sent(from_client)
    first, second = pair.isns(from_client)
    if first is None or second is None:
        first = second = None
    there = _merged(_range(s, second) for s in after if s.tcp and s.tcp.payload)
    end = max((high for _, high in there), default=0)
    missing: dict[Range, list[Seen]] = {}
    arrived = []
    for seen in before:
        if seen.tcp is None or not seen.tcp.payload:
            continue
        low, high = _range(seen, first)
        if _covered(low, high, there):
            arrived.append(seen)
        else:
            missing.setdefault((low, high), []).append(seen)
    certain = [s for (_, high), sent in missing.items() if len(sent) > 1 or high < end for s in sent]
    return certain, arrived


def _range(seen: Seen, isn: int | None) -> Range:
    assert seen.tcp is not None
    low = relative(seen, isn)
    return low, low + seen.tcp.payload


def _merged(ranges: Iterator[Range]) -> list[Range]:
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def _covered(low: int, high: int, ranges: Sequence[Range]) -> bool:
    at = bisect_right(ranges, (low, 1 << 40)) - 1
    return at >= 0 and ranges[at][1] >= high


def _finding(pair: Pair, from_client: bool, missing: list[Seen], arrived: list[Seen]) -> Finding:
    first = pair.upstream(from_client)
    where = f"between {first.value} and {first.other.value}"
    smallest = min(s.length for s in missing)
    largest = max((s.length for s in arrived), default=0)
    opening = pair.at[first.other].opening(from_client)
    if not largest and opening is not None:
        largest = opening.length
    evidence = tuple(
        Evidence(first, s.number, f"{pair.at[first].name(from_client)} {s.length} bytes{', DF' if s.df else ''}: lost")
        for s in missing[:MOST_EVIDENCE]
    )
    by_size = smallest > max(largest, 576)
    details = [
        f"{times(len(missing), 'packet')} lost, the smallest {smallest} bytes; {len(arrived)} with data arrived."
    ]
    if by_size:
        details.append(
            f"Nothing larger than {largest} bytes passes: the path MTU is from {largest} to {smallest - 1} bytes "
            "there, and no frag-needed has made the sender smaller."
        )
        details.append(
            "The cure: clamp the MSS on a gateway, or let frag-needed pass (ICMP type 3 code 4, ICMPv6 type 2)."
        )
    else:
        details.append(
            "A capture that could not keep up looks the same: tcpdump says at its end how many it has dropped."
        )
    return Finding(
        code="large-packets-lost" if by_size else "packets-lost",
        severity=Severity.FAULT,
        title=f"Large packets vanish {where}: a path MTU black hole" if by_size else f"Packets vanish {where}",
        details=tuple(details),
        evidence=evidence,
        count=len(missing),
        values={"smallest_lost": smallest, "largest_arrived": largest},
    )
