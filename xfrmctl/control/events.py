"""Model events -> one JSON object each, for ``/v1/events`` and for JSON logs.

``{"event": "ike_sa_established", "at": 1760000000.5, "connection": "branch-7", …}``: the class name in snake
case, the time in seconds since the epoch, then the event's fields, spelled as everywhere else (endpoints,
suites, selectors, identities as text; enums by value; a Failure as an object). The stream adds ``severity`` (debug,
info, warning, error) and ``text``, the sentence of the log.
"""

import re
from dataclasses import fields, is_dataclass
from enum import Enum, IntEnum
from typing import Any

from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import (
    CarriersDiffer,
    ChildSaInstalled,
    ChildSaRekeyed,
    ChildSaRemoved,
    CookieDemanded,
    DatagramDropped,
    DatagramNotSent,
    Event,
    IcmpErrorJudged,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
    Ipv6Squeezed,
    KernelDisturbed,
    KernelTrouble,
    LocalAddressChanged,
    MessageReceived,
    MessageSent,
    NegotiationFailed,
    PathChanged,
    PathMtuChanged,
    PathMtuHinted,
    PathProbed,
    PathRefused,
    PeerMoved,
    PeerSilent,
    RecursiveRoute,
    RetryScheduled,
    TunnelAlive,
)
from xfrmctl.model.failure import Failure
from xfrmctl.model.sa import Encap
from xfrmctl.model.told import DecisionTold, PayloadsTold

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


def event_name(kind: type[Event]) -> str:
    """``IkeSaEstablished`` -> ``ike_sa_established``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


GROUPS: dict[str, tuple[type[Event], ...]] = {
    "ike": (IkeSaEstablished, IkeSaRekeyed, IkeSaClosed),
    "child": (ChildSaInstalled, ChildSaRekeyed, ChildSaRemoved),
    "failure": (NegotiationFailed, PeerSilent, RetryScheduled),
    "message": (MessageSent, MessageReceived),
    "dropped": (DatagramDropped, DatagramNotSent, CookieDemanded),
    "moving": (PeerMoved, PathChanged, PathRefused, LocalAddressChanged),
    "path": (PathMtuChanged, PathMtuHinted, PathProbed, CarriersDiffer, Ipv6Squeezed, IcmpErrorJudged),
    "debug": (PayloadsTold, DecisionTold),
    "kernel": (KernelTrouble, KernelDisturbed, TunnelAlive, RecursiveRoute),
}
"""Words for several kinds at once."""


def kinds() -> dict[str, frozenset[str]]:
    """Words that may stand for kinds of events: each kind itself, and the groups."""
    found = {event_name(kind): frozenset({event_name(kind)}) for kind in Event.__subclasses__()}
    return {name: frozenset(map(event_name, group)) for name, group in GROUPS.items()} | found


def event_json(event: Event, at: float) -> dict[str, Any]:
    """One event; ``at`` is seconds since the epoch."""
    found: dict[str, Any] = {"event": event_name(type(event)), "at": round(at, 3)}
    found.update(_members(event))
    return found


def _members(value: Any) -> dict[str, Json]:
    return {f.name: _json(getattr(value, f.name)) for f in fields(value)}


def _json(value: Any) -> Json:
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, Enum):
        return str(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_json(v) for v in value]
    if isinstance(value, Endpoint):
        return str(value)
    if isinstance(value, (Failure, Encap)):
        return _members(value)
    if is_dataclass(value) and type(value).__str__ is object.__str__:
        return _members(value)
    return str(value)
