"""Initial sequence numbers that differ. Two kinds of boxes write them, and their other traces tell them apart.

A proxy ends the connection and opens another one: the TTL begins anew, options are its own, segments are cut in other
places. A firewall that randomises them (Cisco ASA does unless told otherwise) adds one number to every segment of a
direction and leaves the rest alone.
"""

from collections.abc import Iterator

from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.pairs import Pair
from xfrmctl.trace.rules.case import Case, relative, times


def initial_numbers(case: Case) -> Iterator[Finding]:
    """At most one finding of each kind."""
    proxied: list[tuple[Pair, bool, tuple[str, ...]]] = []
    shifted: list[tuple[Pair, bool, tuple[str, ...]]] = []
    for pair, from_client in case.directions():
        before, after = pair.isns(from_client)
        if before is None or after is None or before == after:
            continue
        signs = tuple(_signs_of_a_proxy(pair, from_client))
        (proxied if signs else shifted).append((pair, from_client, signs))
    if proxied:
        yield _finding(
            "tcp-proxy",
            "TCP is ended and opened anew between A and B: a transparent proxy",
            proxied,
            "Each end talks to the proxy: MSS, window and retransmissions of the one do not concern the other.",
        )
    if shifted:
        yield _finding(
            "sequence-numbers-rewritten",
            "Initial sequence numbers are rewritten between A and B",
            shifted,
            "Options, sizes and TTL stay: a firewall that randomises sequence numbers, as Cisco ASA does by default. "
            "It must rewrite SACK blocks, too; where it does not, losses take long to recover.",
        )


def _finding(code: str, title: str, seen: list[tuple[Pair, bool, tuple[str, ...]]], meaning: str) -> Finding:
    signs = tuple(dict.fromkeys(sign for _, _, all_signs in seen for sign in all_signs))
    connections = len({id(pair) for pair, _, _ in seen})
    return Finding(
        code=code,
        severity=Severity.CHANGE,
        title=title,
        details=(f"{times(connections, 'connection')} of those that both points show.", meaning, *signs),
        evidence=tuple(
            evidence for pair, from_client, _ in seen[:MOST_EVIDENCE] for evidence in _evidence(pair, from_client)
        ),
        count=connections,
    )


def _evidence(pair: Pair, from_client: bool) -> Iterator[Evidence]:
    first = pair.upstream(from_client)
    for side, seen, isn in zip((first, first.other), pair.opening(from_client), pair.isns(from_client), strict=True):
        if seen is not None:
            yield Evidence(side, seen.number, f"{pair.at[side].name(from_client)} begins with {isn}")


def _signs_of_a_proxy(pair: Pair, from_client: bool) -> Iterator[str]:
    before, after = pair.sent(from_client)
    opened, reopened = pair.opening(from_client)
    if before and after and after[0].hops < before[0].hops:
        yield f"The TTL begins anew: {before[0].ttl} before, {after[0].ttl} after."
    if opened and reopened and opened.tcp and reopened.tcp:
        if opened.tcp.options != reopened.tcp.options:
            yield "The options of the SYN are others."
        elif opened.tcp.window != reopened.tcp.window:
            yield f"The window of the SYN is another: {opened.tcp.window} before, {reopened.tcp.window} after."
    isns = pair.isns(from_client)
    cuts = [
        {(relative(s, isn), s.tcp.payload) for s in sent if s.tcp and s.tcp.payload}
        for sent, isn in zip((before, after), isns, strict=True)
    ]
    if all(cuts) and not cuts[0] & cuts[1]:
        yield "The data is cut into other segments."
