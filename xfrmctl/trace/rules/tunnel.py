"""What one point shows in clear and the other as ESP only; and connections that one point never shows.

Sizes go through encryption: each inner packet of n bytes becomes an ESP packet of a size that follows from the suite.
Where every size at the one point has its ESP size at the other, the suite is known without a key.
"""

from collections.abc import Iterator

from xfrmctl.model.suite import Suite
from xfrmctl.pmtu.explain import shown
from xfrmctl.pmtu.overhead import packet_size
from xfrmctl.pmtu.spelling import parse_suite
from xfrmctl.trace.connections import Connection
from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.packets import Point, Seen
from xfrmctl.trace.pairs import Side
from xfrmctl.trace.rules.case import Case, times

SUITES = ("aes256gcm16", "aes256-sha256", "aes256-sha384", "aes256-sha512", "aes128-sha1", "3des-md5", "null-sha1")
FEWEST_SIZES = 3
"""Distinct sizes below which a match means nothing."""


def one_sided(case: Case) -> Iterator[Finding]:
    """Connections of one point alone, and ESP at the other."""
    for side in Side:
        alone = case.paired.alone[side]
        esp = [s for s in case.points[side.other].packets if s.spi is not None]
        if alone and esp:
            yield _encrypted(side, alone, esp, case)
        elif alone:
            yield _missing(side, alone, case.points[side.other])


def _encrypted(side: Side, alone: tuple[Connection, ...], esp: list[Seen], case: Case) -> Finding:
    there = side.other
    fitting = [shown(s) for s in map(parse_suite, SUITES) if _fits(s, alone, esp)]
    largest = max(s.length for s in esp)
    spis = {s.spi for s in esp}
    how = ", in UDP" if esp[0].encapsulated else ""
    details = [
        f"{times(len(alone), 'connection')} in clear at {side.value}.",
        f"At {there.value} {times(len(esp), 'packet')} with {times(len(spis), 'SPI')}, at most {largest} bytes{how}.",
    ]
    if fitting:
        details.append(f"Every size at {side.value} has its ESP size at {there.value} with {' or '.join(fitting)}.")
    return Finding(
        code="encrypted",
        severity=Severity.NOTE,
        title=f"{there.value} shows as ESP what {side.value} shows in clear",
        details=tuple(details),
        evidence=tuple(
            Evidence(there, s.number, f"{s.source} > {s.destination} SPI {s.spi:#010x}, {s.length} bytes")
            for s in esp[:MOST_EVIDENCE]
            if s.spi is not None
        ),
        count=len(alone),
        values={"largest": largest, "suites": " ".join(fitting)},
    )


def _fits(suite: Suite, alone: tuple[Connection, ...], esp: list[Seen]) -> bool:
    plain = {s.length for c in alone for direction in (True, False) for s in c.sent[direction]}
    if len(plain) < FEWEST_SIZES:
        return False
    sizes = {s.length for s in esp}
    version, encap = esp[0].version, esp[0].encapsulated
    return all(packet_size(length, suite, version, encap) in sizes for length in plain)


def _missing(side: Side, alone: tuple[Connection, ...], other: Point) -> Finding:
    openings = [c.syn for c in alone if c.syn is not None]
    unanswered = [c for c in alone if c.syn is not None and c.syn_ack is None]
    verb = "has" if len(unanswered) == 1 else "have"
    return Finding(
        code="connection-missing",
        severity=Severity.FAULT if unanswered else Severity.NOTE,
        title=f"{side.other.value} does not show {times(len(alone), 'connection')} that {side.value} shows",
        details=(
            (f"{len(unanswered)} of them {verb} no answer: they are lost on the way, or refused in silence.",)
            if unanswered
            else ("They have answers: they take another way, or addresses and sequence numbers are both rewritten.",)
        )
        + (("The other capture was limited to its first packets.",) if other.limited else ()),
        evidence=tuple(
            Evidence(side, s.number, c.name()) for c in alone[:MOST_EVIDENCE] if (s := c.syn or _first(c)) is not None
        ),
        count=len(alone),
        values={"openings": len(openings)},
    )


def _first(connection: Connection) -> Seen | None:
    return min((s for sent in connection.sent.values() for s in sent), key=lambda s: s.number, default=None)
