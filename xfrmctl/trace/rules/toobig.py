"""Frag-needed (RFC 1191 4) and Packet Too Big (RFC 4443 3.2): who says it, what it implies, and whether it is heard."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from xfrmctl.model.address import IPAddress
from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.packets import ESP, Seen, TooBig
from xfrmctl.trace.pairs import Side
from xfrmctl.trace.rules.case import Case, routers, times
from xfrmctl.trace.sizes import inner_mtu_fits

SETTLED_S = 1.0
"""What a host still sends when it has been told is under way; after a second it is not."""


@dataclass(frozen=True, slots=True)
class _Message:
    reporter: IPAddress
    host: IPAddress
    destination: IPAddress
    mtu: int


def messages(case: Case) -> Iterator[Finding]:
    """One finding for each reporter, host, destination and MTU."""
    found: dict[_Message, dict[Side, list[Seen]]] = defaultdict(lambda: {Side.A: [], Side.B: []})
    for side, point in case.points.items():
        for seen in point.packets:
            if seen.too_big is not None:
                quoted = seen.too_big
                key = _Message(seen.source, seen.destination, quoted.destination, quoted.mtu)
                found[key][side].append(seen)
    for message, seen_at in found.items():
        yield _finding(case, message, seen_at)


def _finding(case: Case, message: _Message, seen_at: dict[Side, list[Seen]]) -> Finding:
    sides = [side for side in Side if seen_at[side]]
    near = case.nearer_to(message.host)
    lost = near is not None and not seen_at[near]
    side = near if near in sides else sides[0]
    seen = seen_at[side]
    quoted = seen[0].too_big
    assert quoted is not None
    details = [
        f"{message.reporter} tells {message.host}: a packet of {quoted.length} bytes to {message.destination} did not "
        f"fit {message.mtu}.",
        *(_whence(case, s, seen_at[s][0], message.destination) for s in sides),
        *_implied(quoted),
        *_doubts(case, side, message, quoted),
    ]
    heedless = [] if lost else _heedless(case, side, message, seen[0])
    severity, what = Severity.NOTE, f"is seen at {' and '.join(s.value for s in sides)}"
    if lost and near is not None:
        severity, what = (
            Severity.FAULT,
            f"is seen at {near.other.value} and never at {near.value}: lost on its way back",
        )
        details.append(f"{message.host} is behind {near.value} and never hears of it: somebody in between drops ICMP.")
    elif heedless:
        severity, what = Severity.FAULT, f"reaches {side.value}, and its host goes on as before"
        details.append(
            f"{times(len(heedless), 'packet')} larger than {message.mtu} with DF follow more than {SETTLED_S:g} s "
            "later: the host's firewall drops the message, or the host does not believe it."
        )
    return Finding(
        code="frag-needed-lost" if lost else "frag-needed-ignored" if heedless else "frag-needed",
        severity=severity,
        title=f"Frag-needed with MTU {message.mtu} from {message.reporter} {what}",
        details=tuple(details),
        evidence=tuple(
            Evidence(s, one.number, f"{one.source} > {one.destination}, TTL {one.ttl}")
            for s in sides
            for one in seen_at[s][:MOST_EVIDENCE]
        ),
        fits=() if quoted.spi is not None or quoted.protocol == ESP else inner_mtu_fits(message.mtu),
        count=max(len(seen_at[s]) for s in Side),
        values={"mtu": message.mtu, "reporter": str(message.reporter), "host": str(message.host)},
    )


def _whence(case: Case, side: Side, seen: Seen, destination: IPAddress) -> str:
    """Which router of the path it is: its message has passed those that are nearer."""
    where = "on the link of" if not seen.hops else f"{routers(seen.hops)} away from"
    told = f"TTL {seen.ttl} at {side.value} (from {seen.initial_ttl}): its sender is {where} that point"
    far = case.hops(side, destination, seen.destination)
    if far is not None and seen.hops < far:
        return f"{told}, router {seen.hops + 1} of the {far} from there to {destination}."
    return f"{told}."


def _implied(quoted: TooBig) -> Iterator[str]:
    if quoted.protocol == ESP:
        spi = f", SPI {quoted.spi:#010x}" if quoted.spi is not None else ""
        yield f"It quotes ESP{spi}: {quoted.mtu} is the path MTU outside the tunnel, and inside less fits."


def _doubts(case: Case, side: Side, message: _Message, quoted: TooBig) -> Iterator[str]:
    if quoted.mtu == 0:
        yield "An MTU of 0 is what routers before RFC 1191 say; Linux takes 552 then, a forger likes that."
    if quoted.length <= quoted.mtu:
        yield f"It quotes {quoted.length} bytes, which fit {quoted.mtu}: forged, or its sender is confused."
    if quoted.source != message.host:
        yield f"It quotes a packet of {quoted.source} and is sent to {message.host}: forged, or translated badly."
    elif not _is_there(case, side, quoted):
        yield f"The packet that it quotes is not at {side.value}: sent before the capture began, or never."


def _is_there(case: Case, side: Side, quoted: TooBig) -> bool:
    """A host with segmentation offload shows the router's packet as a part of a larger one."""
    ports = (quoted.source_port, quoted.destination_port)
    return case.largest(side, (quoted.source, quoted.destination), quoted.protocol, ports) >= quoted.length


def _heedless(case: Case, side: Side, message: _Message, told: Seen) -> list[Seen]:
    return [
        seen
        for seen in case.points[side].packets
        if (seen.source, seen.destination) == (message.host, message.destination)
        and seen.at > told.at + SETTLED_S
        and seen.df
        and seen.length > message.mtu > 0
        and seen.too_big is None
    ]
