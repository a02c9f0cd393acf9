"""The query of a GET request -> checked values. Whatever is wrong is answered with 400, cause and cure.

``GET /v1/status?connection=branch-*&state=not-up``: a filter may be repeated; several values of one are alternatives.
"""

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from typing import TypeVar

from multidict import MultiMapping

from xfrmctl.control.events import GROUPS, kinds
from xfrmctl.control.schema import RequestError
from xfrmctl.model.nearest import nearest
from xfrmctl.model.selection import CONNECTION_STATES, MAX_LAST, NOT_UP, SEVERITIES, EventSelection, Selection

MAX_VALUES = 64
"""Values of one filter: more are nobody's question."""

IKE_STATES = (
    "init-sent",
    "auth-sent",
    "init-answered",
    "auth-received",
    "established",
    "rekeyed",
    "deleting",
)
"""What an IKE SA that exists can be; a test holds them against ``ike.states``."""

STATES = (*CONNECTION_STATES, NOT_UP, *IKE_STATES)
FILTERS = {
    "connection": "name of a connection, or a pattern: branch-*",
    "child": "name of a child, or a pattern",
    "state": f"{', '.join(STATES)}",
    "peer": "identity of the peer, or a pattern, with or without its kind: *.example.org",
    "address": "address or prefix of the outer packets, ours or the peer's",
    "carries": "an address inside of the tunnel, on either side",
    "spi": "SPI of ESP, AH or IKE in hex",
}
"""Filters of ``/v1/status`` and ``/v1/traffic``."""

EVENT_FILTERS = {
    "connection": "name of a connection, or a pattern; what concerns its peer's address or its path, too",
    "kind": "kind of events, as ike_sa_closed, or a group: " + ", ".join(GROUPS),
    "severity": f"the least one: {', '.join(SEVERITIES)}",
    "last": f"so many of the past first, {MAX_LAST} at most",
    "follow": "no: end after those of the past",
}
"""Filters of ``/v1/events``."""

T = TypeVar("T")


def selection(query: MultiMapping[str]) -> Selection:
    """The filters of ``/v1/status`` and ``/v1/traffic``. Raises RequestError."""
    known(query, FILTERS)
    return Selection(
        connections=values(query, "connection"),
        children=values(query, "child"),
        states=tuple(one_of("state", word, STATES) for word in values(query, "state")),
        peers=values(query, "peer"),
        addresses=_read(query, "address", ip_network, "write an address or a prefix: 192.0.2.1, 2001:db8::/32"),
        carries=_read(query, "carries", ip_address, "write an address: 10.1.2.10"),
        spis=_read(query, "spi", _spi, "write it in hex as `xfrmctl show` and tcpdump do: 0xc0ffee01"),
    )


def event_selection(query: MultiMapping[str]) -> EventSelection:
    """The filters of ``/v1/events``. Raises RequestError."""
    known(query, EVENT_FILTERS)
    words = kinds()
    wanted = [words[one_of("kind", word, words)] for word in values(query, "kind")]
    severity = values(query, "severity")[-1:] or ("debug",)
    return EventSelection(
        connections=values(query, "connection"),
        kinds=frozenset().union(*wanted),
        severity=one_of("severity", severity[0], SEVERITIES),
        last=max(_read(query, "last", _count, f"write a number from 0 to {MAX_LAST}"), default=0),
        follow=one_of("follow", (values(query, "follow") or ("yes",))[-1], ("yes", "no")) == "yes",
    )


def known(query: MultiMapping[str], filters: Iterable[str]) -> None:
    """Raises RequestError where the query has a filter that is not one of these."""
    for name in query:
        one_of("filter", name, filters)


def values(query: MultiMapping[str], name: str) -> tuple[str, ...]:
    """All values of a filter. Raises RequestError for too many or an empty one."""
    found = tuple(query.getall(name, []))
    if len(found) > MAX_VALUES:
        raise RequestError(f"{len(found)} values of {name}", f"ask for {MAX_VALUES} at most, or use a pattern")
    if not all(found):
        raise RequestError(f"{name} is empty", f"name a {name}, or leave the filter out")
    return found


def one_of(kind: str, word: str, words: Iterable[str]) -> str:
    """The word, if it is one of these; else RequestError with the nearest one."""
    choice = tuple(words)
    if word in choice:
        return word
    near = nearest(word, choice)
    hint = f"did you mean {near!r}? " if near else ""
    raise RequestError(f"no {kind} {word!r}", f"{hint}known: {', '.join(choice)}")


def _read(query: MultiMapping[str], name: str, reader: Callable[[str], T], cure: str) -> tuple[T, ...]:
    found = []
    for word in values(query, name):
        try:
            found.append(reader(word))
        except ValueError:
            raise RequestError(f"{word!r} is no {name}", cure) from None
    return tuple(found)


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) > MAX_LAST:
        raise ValueError(word)
    return int(word)


def _spi(word: str) -> int:
    digits = word.lower().removeprefix("0x")
    if len(digits) > 16 or not digits.isalnum():
        raise ValueError(word)
    return int(digits, 16)
