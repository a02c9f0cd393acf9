"""What the TTL tells: how many routers are between the points, and which packets their sender has not written."""

from collections import Counter
from collections.abc import Iterator

from xfrmctl.trace.connections import Connection
from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.packets import Seen
from xfrmctl.trace.pairs import Side
from xfrmctl.trace.rules.case import Case, routers, times


def between(case: Case) -> Iterator[Finding]:
    """How many routers the connections pass between the points, each way."""
    counted = {True: Counter[int](), False: Counter[int]()}
    nearer: Counter[Side] = Counter()
    for pair, from_client in case.directions():
        number = pair.routers_between(from_client)
        if number is not None and number >= 0:
            counted[from_client][number] += 1
            nearer[pair.near] += 1
    there, back = (sorted(counted[d]) for d in (True, False))
    if not there and not back:
        return
    (near, _), *_ = nearer.most_common(1)
    text = f"{_spelled(there)} on the way of the clients' packets, {_spelled(back)} on the servers'"
    details = [
        f"By the TTL of {times(sum(counted[True].values()), 'connection')}; {near.value} is nearer to the clients."
    ]
    if there and back and there != back:
        details.append("The two ways differ: packets do not go back the way that they came.")
    yield Finding(
        code="routers-between",
        severity=Severity.NOTE,
        title=f"Between A and B: {text}",
        details=tuple(details),
        values={"there": there[0] if there else -1, "back": back[0] if back else -1},
    )


def _spelled(numbers: list[int]) -> str:
    if not numbers:
        return "an unknown number of routers"
    return routers(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]} routers"


def foreign_resets(case: Case) -> Iterator[Finding]:
    """Resets whose TTL is not that of their sender's other packets: somebody else has written them."""
    for side in Side:
        found: list[tuple[Connection, bool, Seen, int]] = []
        for connection in (*(p.at[side] for p in case.paired.pairs), *case.paired.alone[side]):
            for from_client in (True, False):
                own = [s for s in connection.sent[from_client] if s.tcp and not s.tcp.rst]
                usual = {s.hops for s in own}  # several, where one capture shows both sides of a router
                for seen in connection.sent[from_client]:
                    if own and seen.tcp is not None and seen.tcp.rst and seen.hops not in usual:
                        found.append((connection, from_client, seen, own[0].ttl))
        if found:
            yield _foreign(side, found)


def _foreign(side: Side, found: list[tuple[Connection, bool, Seen, int]]) -> Finding:
    connection, from_client, seen, own = found[0]
    sender = connection.sender(from_client)[0]
    return Finding(
        code="foreign-reset",
        severity=Severity.FAULT,
        title=f"{sender} did not send the resets that {side.value} shows in its name",
        details=(
            f"{times(len(found), 'reset')}: TTL {seen.ttl}, while its other packets come with {own}.",
            f"Whoever wrote them is {routers(seen.hops)} away from {side.value}: a firewall that refuses the "
            "connection, or has forgotten it.",
        ),
        evidence=tuple(
            Evidence(side, s.number, f"{c.name(d)} RST, TTL {s.ttl}; its own have {ttl}")
            for c, d, s, ttl in found[:MOST_EVIDENCE]
        ),
        count=len(found),
    )
