"""What the host says when it is asked: routes, what others have put into SPD and SAD, sequence numbers."""

from dataclasses import dataclass

from xfrmctl.model.address import IPNetwork
from xfrmctl.model.sa import Direction, SaId

UNICAST, LOCAL, NONE = "unicast", "local", "none"
"""Kinds of routes; others are blackhole, unreachable and prohibit."""


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """Where packets to an address go. ``kind`` NONE: nowhere, for want of a route. ``text`` is for people."""

    kind: str
    device: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignPolicy:
    """A policy that is not ours. ``priority``: the lower one wins. ``text`` as ``ip xfrm policy`` would name it."""

    direction: Direction
    source: IPNetwork
    destination: IPNetwork
    protocol: int
    priority: int
    if_id: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SaSequence:
    """How far the sequence number of an SA has come (RFC 4303 2.2); ``ours`` by its reqid."""

    id: SaId
    ours: bool
    sent: int
    esn: bool
