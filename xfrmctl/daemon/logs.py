"""The only formatter: events -> a story a person can follow, or JSON lines for machines.

net#1 > 172.16.2.1:500  IKE_SA_INIT request 0: SA, KE, No, N(NAT_DETECTION_SOURCE_IP), …  (432 bytes)
net#1 < 172.16.2.1:500  IKE_SA_INIT response 0: SA, KE, No, …  (440 bytes)
net#1 established with fqdn:sun.example.org: aes256gcm16-prfsha384-x25519, no NAT, 42 ms
net#1 lan: ESP in 0xc0ffee01, out 0xdeadbeef, aes256gcm16, 10.1.1.0/24 === 10.1.2.0/24
"""

import logging
import sys
from typing import Any

import structlog

from xfrmctl.control.events import event_json
from xfrmctl.daemon.clock import wall
from xfrmctl.model.events import (
    ChildSaInstalled,
    ChildSaRemoved,
    CookieDemanded,
    DatagramDropped,
    DatagramNotSent,
    Event,
    IkeSaClosed,
    IkeSaEstablished,
    KernelTrouble,
    MessageReceived,
    MessageSent,
    NegotiationFailed,
    PeerSilent,
    RetryScheduled,
)
from xfrmctl.model.failure import Failure

QUIET_BURST = 10
QUIET_S = 60.0
"""Of one kind of dropped datagram QUIET_BURST lines at most are written in QUIET_S seconds."""


def configure(log_format: str, level: str) -> None:
    """Set structlog up. ``log_format``: story or json; ``level``: debug, info, warning, error."""
    shared: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    last: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class Storyteller:
    """Writes each event as one line."""

    def __init__(self, log_format: str) -> None:
        self._log = structlog.get_logger("ike")
        self._json = log_format == "json"
        self._windows: dict[str, tuple[float, int]] = {}

    def observe(self, event: Event) -> None:
        """Write the event, unless it is one of too many of its kind."""
        if isinstance(event, DatagramDropped) and self._too_many(event.reason):
            return
        level, text = tell(event)
        if self._json:
            members = event_json(event, wall())
            name = members.pop("event")
            members.pop("at")
            members["kind"] = name
            self._log.log(level, text, **members)
        else:
            self._log.log(level, text)

    def _too_many(self, reason: str) -> bool:
        now = wall()
        since, count = self._windows.get(reason, (now, 0))
        if now - since > QUIET_S:
            since, count = now, 0
        self._windows[reason] = (since, count + 1)
        return count >= QUIET_BURST


def _failure(failure: Failure) -> str:
    text = failure.text
    if failure.cause:
        text += f"; cause: {failure.cause}"
    if failure.cure:
        text += f"; cure: {failure.cure}"
    if failure.ours:
        text += f"; ours: {', '.join(failure.ours)}"
    if failure.theirs:
        text += f"; theirs: {', '.join(failure.theirs)}"
    return text


def _message(event: MessageSent | MessageReceived) -> str:
    arrow = ">" if isinstance(event, MessageSent) else "<"
    kind = "response" if event.response else "request"
    again = f" (attempt {event.attempt})" if isinstance(event, MessageSent) and event.attempt > 1 else ""
    what = ", ".join(event.payloads) or "nothing"
    return (
        f"{event.ike} {arrow} {event.remote} {event.exchange.name} {kind} {event.message_id}{again}: "
        f"{what} ({event.size} bytes)"
    )


def tell(event: Event) -> tuple[int, str]:
    """Level and sentence of an event."""
    match event:
        case MessageSent() | MessageReceived():
            return logging.INFO if event.payloads else logging.DEBUG, _message(event)
        case IkeSaEstablished():
            nat = {
                (0, 0): "no NAT",
                (1, 0): "NAT before us",
                (0, 1): "NAT before the peer",
                (1, 1): "NAT on both sides",
            }
            where = nat[int(event.nat_local), int(event.nat_remote)]
            return logging.INFO, (
                f"{event.ike} established with {event.remote_id} at {event.remote}: {event.suite}, {where}, "
                f"{event.handshake_s * 1000:.0f} ms"
            )
        case ChildSaInstalled():
            local, remote = (", ".join(str(t) for t in ts) for ts in (event.local_ts, event.remote_ts))
            encap = f", in UDP {event.encap.source_port} -> {event.encap.destination_port}" if event.encap else ""
            return logging.INFO, (
                f"{event.ike} {event.child}: ESP in {event.inbound.spi:#010x}, out {event.outbound.spi:#010x}, "
                f"{event.suite}{encap}, {local} === {remote}"
            )
        case ChildSaRemoved():
            return logging.INFO, f"{event.ike} {event.child} removed: {_failure(event.reason)}"
        case IkeSaClosed():
            return logging.INFO, f"{event.ike} closed: {_failure(event.reason)}"
        case NegotiationFailed():
            who = " ".join(filter(None, [event.ike or event.connection or str(event.remote), event.child]))
            side = "our attempt" if event.initiator else f"attempt of {event.remote}"
            return logging.WARNING, f"{who}: {side} failed: {_failure(event.failure)}"
        case RetryScheduled():
            return logging.INFO, f"{event.connection}: attempt {event.attempt} failed, next in {event.delay_s:.0f} s"
        case PeerSilent():
            return logging.WARNING, (
                f"{event.ike}: {event.remote} silent: {event.attempts} attempts at {event.exchange.name}"
            )
        case CookieDemanded():
            return logging.DEBUG, f"{event.remote} must return a cookie: too many half-open IKE SAs"
        case DatagramDropped():
            return logging.DEBUG, f"{event.remote} dropped: {event.reason}" + (
                f" ({event.detail})" * bool(event.detail)
            )
        case DatagramNotSent():
            return logging.WARNING, f"not sent: {event.detail}"
        case KernelTrouble():
            return logging.ERROR, f"kernel: {event.problem}"
    return logging.INFO, repr(event)
