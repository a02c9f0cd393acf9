"""Everything together: two points in, findings out, faults first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xfrmctl.model.suite import Suite
from xfrmctl.trace.findings import Finding, Severity
from xfrmctl.trace.packets import Point
from xfrmctl.trace.pairs import Side, pair_up
from xfrmctl.trace.rules import fragments, loss, mss, offload, rewritten, sequence, toobig, ttl, tunnel
from xfrmctl.trace.rules.case import Case

Rule = Callable[[Case], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    mss.rewritten,
    sequence.initial_numbers,
    rewritten.translated,
    rewritten.options,
    rewritten.dont_fragment,
    loss.lost,
    toobig.messages,
    fragments.fragments,
    ttl.foreign_resets,
    tunnel.one_sided,
    offload.oversize,
    ttl.between,
)
_ORDER = list(Severity)

MOST_FINDINGS = 50
"""Of one rule."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """``pairs`` is how many connections both points show."""

    points: dict[Side, Point]
    pairs: int
    findings: tuple[Finding, ...]

    @property
    def changed(self) -> bool:
        """Whether anybody has written into packets, or lost some."""
        return any(f.severity is not Severity.NOTE for f in self.findings)


def compare(a: Point, b: Point, suite: Suite | None = None) -> Comparison:
    """Compare two captures of one path. ``suite``: what IPsec there is known to use, if so."""
    points = {Side.A: a, Side.B: b}
    paired = pair_up(a, b)
    case = Case(points, paired, suite)
    found = [finding for rule in RULES for finding in _bounded(rule(case))]
    found.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Comparison(points, len(paired.pairs), tuple(found))


def _bounded(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The first of many, and a word about the others: a capture may hold a flood."""
    for number, finding in enumerate(findings, 1):
        if number > MOST_FINDINGS:
            title = f"More of the kind {finding.code} than {MOST_FINDINGS}: left out"
            yield Finding(code="more", severity=Severity.NOTE, title=title)
            return
        yield finding
