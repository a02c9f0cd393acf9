"""Addresses and ports, options of the SYN, the DF bit: what a box on the way writes into packets that go on."""

from collections import defaultdict
from collections.abc import Iterator

from xfrmctl.trace.connections import Endpoint, spelled
from xfrmctl.trace.findings import MOST_EVIDENCE, Evidence, Finding, Severity
from xfrmctl.trace.packets import Seen
from xfrmctl.trace.pairs import Pair, Side
from xfrmctl.trace.rules.case import Case, relative, times

_OPTIONS = {2: "MSS", 3: "window scale", 4: "SACK permitted", 5: "SACK", 8: "timestamps", 30: "MPTCP", 34: "fast open"}
"""Kinds of TCP options (IANA)."""


def translated(case: Case) -> Iterator[Finding]:
    """NAT: one finding for each pair of addresses."""
    found: dict[tuple[str, str, str], list[tuple[Pair, Endpoint, Endpoint]]] = defaultdict(list)
    for pair in case.paired.pairs:
        one, two = pair.at[pair.near], pair.at[pair.near.other]
        for role, before, after in (("source", one.client, two.client), ("destination", one.server, two.server)):
            if before != after:
                found[role, str(before[0]), str(after[0])].append((pair, before, after))
    for (role, _, _), seen in found.items():
        pair, before, after = seen[0]
        first = pair.near
        yield Finding(
            code="address-translated",
            severity=Severity.CHANGE,
            title=f"The {role} is translated between {first.value} and {first.other.value}: "
            f"{spelled(before)} becomes {spelled(after)}",
            details=(
                f"{times(len(seen), 'connection')}; found by the sequence number of the SYN, which NAT leaves alone.",
                "Policies of IPsec are asked after the translation: a source that is translated no longer fits them.",
            ),
            evidence=tuple(
                Evidence(side, opening.number, pair.at[side].name())
                for side in (first, first.other)
                if (opening := pair.at[side].opening(True)) is not None
            ),
            count=len(seen),
            values={"role": role, "from": spelled(before), "to": spelled(after)},
        )


def options(case: Case) -> Iterator[Finding]:
    """Options of a SYN that are gone, or new, though the connection is the same."""
    found: dict[tuple[tuple[int, ...], tuple[int, ...], Side], list[tuple[Pair, bool, Seen, Seen]]] = defaultdict(list)
    for pair, from_client in case.directions():
        before, after = pair.opening(from_client)
        if before is None or after is None or before.tcp is None or after.tcp is None:
            continue
        if pair.isns(from_client)[0] != pair.isns(from_client)[1]:
            continue  # another connection has options of its own
        gone = tuple(k for k in before.tcp.options if k not in after.tcp.options and k != 2)
        new = tuple(k for k in after.tcp.options if k not in before.tcp.options and k != 2)
        if gone or new:
            found[gone, new, pair.upstream(from_client)].append((pair, from_client, before, after))
    for (gone, new, first), seen in found.items():
        words = [f"{_names(gone)} removed"] if gone else []
        words += [f"{_names(new)} added"] if new else []
        yield Finding(
            code="options-changed",
            severity=Severity.CHANGE,
            title=f"TCP options changed between {first.value} and {first.other.value}: {', '.join(words)}",
            details=(
                f"{times(len(seen), 'opening segment')}. Without window scale no window is larger than 64 KiB; without "
                "SACK every loss costs a round trip.",
            ),
            evidence=tuple(
                Evidence(side, opening.number, pair.at[side].name(from_client))
                for pair, from_client, before, after in seen[:MOST_EVIDENCE]
                for side, opening in ((first, before), (first.other, after))
            ),
            count=len(seen),
        )


def dont_fragment(case: Case) -> Iterator[Finding]:
    """The same segment with DF at one point and without at the other."""
    found: dict[tuple[bool, Side], list[tuple[Pair, bool, Seen, Seen]]] = defaultdict(list)
    for pair, from_client in case.directions():
        before, after = pair.sent(from_client)
        isn_before, isn_after = pair.isns(from_client)
        known = {_segment(s, isn_before): s for s in before if s.version == 4}
        for seen in after:
            same = known.get(_segment(seen, isn_after)) if seen.version == 4 else None
            if same is not None and same.df != seen.df and seen.fragment is None:
                found[seen.df, pair.upstream(from_client)].append((pair, from_client, same, seen))
    for (now, first), changes in found.items():
        verb, meaning = (
            ("set", "Routers behind may no longer fragment these packets, and have to say frag-needed.")
            if now
            else ("cleared", "Routers behind may fragment these packets, and nobody says frag-needed any more.")
        )
        yield Finding(
            code=f"df-{verb}",
            severity=Severity.CHANGE,
            title=f"DF is {verb} between {first.value} and {first.other.value}",
            details=(f"{times(len(changes), 'packet')}.", meaning),
            evidence=tuple(
                Evidence(side, seen.number, f"{pair.at[side].name(from_client)} {'with' if seen.df else 'without'} DF")
                for pair, from_client, same, other in changes[:MOST_EVIDENCE]
                for side, seen in ((first, same), (first.other, other))
            ),
            count=len(changes),
        )


def _segment(seen: Seen, isn: int | None) -> tuple[int, int, bool, int]:
    assert seen.tcp is not None
    return relative(seen, isn), seen.tcp.payload, seen.tcp.syn, seen.tcp.acknowledgement


def _names(kinds: tuple[int, ...]) -> str:
    return ", ".join(_OPTIONS.get(kind, f"option {kind}") for kind in kinds)
