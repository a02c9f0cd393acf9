"""Segments that are larger than the MSS allows. They are on no wire: the capturing host cuts or glues them.

A host that sends with segmentation offload shows them before the device cuts them; one that receives shows them after
it has glued them (GRO, LRO). Sizes of such a capture say nothing about the path.
"""

from collections.abc import Iterator

from xfrmctl.trace.connections import Connection
from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.packets import Seen
from xfrmctl.trace.pairs import Side
from xfrmctl.trace.rules.case import Case, times

ETHERNET = 1500


def oversize(case: Case) -> Iterator[Finding]:
    """At most one finding of each kind at each point."""
    for side in Side:
        glued: list[tuple[Connection, bool, Seen, int]] = []
        heedless: list[tuple[Connection, bool, Seen, int]] = []
        for connection in _connections(case, side):
            for from_client in (True, False):
                told = connection.opening(not from_client)
                limit = told.tcp.mss if told is not None and told.tcp is not None else None
                if limit is None:
                    continue
                for seen in connection.sent[from_client]:
                    if seen.tcp is not None and seen.tcp.payload > limit:
                        large = seen.tcp.payload > 1.5 * limit or seen.length > ETHERNET
                        (glued if large else heedless).append((connection, from_client, seen, limit))
        if glued:
            yield _glued(side, glued)
        elif heedless:
            yield _heedless(side, heedless)


def _connections(case: Case, side: Side) -> Iterator[Connection]:
    for pair in case.paired.pairs:
        yield pair.at[side]
    yield from case.paired.alone[side]


def _glued(side: Side, found: list[tuple[Connection, bool, Seen, int]]) -> Finding:
    largest = max(seen.length for _, _, seen, _ in found)
    return Finding(
        code="offload",
        severity=Severity.NOTE,
        title=f"{side.value} shows segments larger than the MSS: offload on the host that captured",
        details=(
            f"{times(len(found), 'segment')}, the largest packet {largest} bytes. No wire carries them: the device "
            "cuts them when it sends (TSO, GSO), or the host has glued them when it received (GRO, LRO).",
            "Sizes at this point say nothing about the path. Capture on a router, or switch it off meanwhile: "
            "ethtool -K DEVICE tso off gso off gro off lro off",
        ),
        evidence=_evidence(side, found),
        count=len(found),
        values={"largest": largest},
    )


def _heedless(side: Side, found: list[tuple[Connection, bool, Seen, int]]) -> Finding:
    return Finding(
        code="mss-exceeded",
        severity=Severity.NOTE,
        title=f"{side.value} shows segments that are larger than the MSS which their receiver has told",
        details=(
            f"{times(len(found), 'segment')}. Either the capturing host has glued small ones (GRO), or their sender "
            "has seen another MSS than this point shows: somebody between the two has rewritten it.",
        ),
        evidence=_evidence(side, found),
        count=len(found),
    )


def _evidence(side: Side, found: list[tuple[Connection, bool, Seen, int]]) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(side, seen.number, f"{c.name(from_client)} {seen.tcp.payload if seen.tcp else 0} bytes, MSS {limit}")
        for c, from_client, seen, limit in found[:MOST_EVIDENCE]
    )
