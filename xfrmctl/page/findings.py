"""What `xfrmctl diagnose` has found, with evidence, cause and cure for both ends."""

from xfrmctl.model.finding import HERE, PEER, Finding, Line
from xfrmctl.model.words import duration, plural
from xfrmctl.page.frame import terms
from xfrmctl.page.markup import Content, Html, join, tag
from xfrmctl.page.view import View

MOST = 50
"""Findings on a page; more of them have few causes."""


def section(view: View, connection: str | None = None) -> Html:
    """The findings of all, or those that concern one connection."""
    look = view.look
    title = tag("h2", "Findings", id="findings")
    if look.found is None:
        words = f"Could not look for faults: {look.fault}" if look.fault else "Looking for faults: a few seconds …"
        return tag("section", title, tag("p", words, class_="dim"), aria_labelledby="findings")
    found = [f for f in look.found.findings if connection is None or f.connection in ("", connection)]
    number = plural(len(found), "finding") if found else "Nothing found"
    again = "; looking again now" if look.busy else f"; could not look again: {look.fault}" if look.fault else ""
    said = tag("p", f"{number}, {duration(look.age_s)} ago{again}.", class_="dim")
    blind = [tag("p", f"Not looked at: {reason}", class_="dim") for reason in look.found.blind]
    more = tag("p", f"{len(found) - MOST} more: xfrmctl diagnose") if len(found) > MOST else None
    return tag("section", title, said, *map(_card, found[:MOST]), more, *blind, aria_labelledby="findings")


def _line(line: Line) -> Html:
    """Several lines begin below their place."""
    return tag("pre", f"{line.where}:{chr(10) if chr(10) in line.text else ' '}{line.text}")


def _card(finding: Finding) -> Html:
    where = "/".join(part for part in (finding.connection, finding.child) if part) or "gateway"
    colour = "bad" if finding.severity == "error" else "warn"
    pairs: list[tuple[str, Content]] = [
        ("Evidence", join(*(tag("pre", seen) for seen in finding.evidence))),
        ("Cause", finding.cause),
    ]
    for end, name, cure in ((HERE, "Cure here", finding.cure_here), (PEER, "Cure at the peer", finding.cure_peer)):
        lines = [_line(line) for line in finding.lines if line.end == end]
        pairs.append((name, join(cure, *lines)))
    severity = tag("span", f"{finding.severity.capitalize()}: ", class_=colour)
    return tag(
        "article",
        tag("h3", severity, finding.symptom),
        tag("p", where, " · ", tag("code", finding.id), class_="dim"),
        terms(*pairs),
        class_=f"card {'error' if finding.severity == 'error' else 'warning'}",
    )
