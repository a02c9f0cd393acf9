"""Events that are only told while somebody debugs a connection: see :mod:`xfrmctl.ike.story`."""

from dataclasses import dataclass

from xfrmctl.model.events import Event
from xfrmctl.model.iana import ExchangeType


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadsTold(Event):
    """What a message says, for who debugs its connection; it follows the message itself. No secrets in ``lines``."""

    connection: str
    ike: str
    sent: bool
    exchange: ExchangeType
    response: bool
    message_id: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionTold(Event):
    """What was decided in a negotiation and why, for who debugs the connection; ``ike`` is "" before there is one."""

    connection: str
    ike: str
    decision: str
