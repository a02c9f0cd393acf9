"""The only formatter: events -> a story a person can follow, with fields for the journal, or JSON for machines.

net#1 > 172.16.2.1:500  IKE_SA_INIT request 0: SA, KE, No, N(NAT_DETECTION_SOURCE_IP), …  (432 bytes)
net#1 < 172.16.2.1:500  IKE_SA_INIT response 0: SA, KE, No, …  (440 bytes)
net#1 established with fqdn:sun.example.org: aes256gcm16-prfsha384-x25519, no NAT, 42 ms
net#1 lan: ESP in 0xc0ffee01, out 0xdeadbeef, aes256gcm16, 10.1.1.0/24 === 10.1.2.0/24
"""

import asyncio
import atexit
import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from xfrmctl.control.events import event_json
from xfrmctl.daemon import journal
from xfrmctl.daemon.clock import wall
from xfrmctl.model.events import (
    CarriersDiffer,
    ChildSaInstalled,
    ChildSaRekeyed,
    ChildSaRemoved,
    ConfigReloaded,
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
    RekeyCollided,
    RetryScheduled,
    TunnelAlive,
)
from xfrmctl.model.failure import Failure
from xfrmctl.model.told import DecisionTold, PayloadsTold
from xfrmctl.model.tunnel import recursion

QUIET_BURST = 10
QUIET_S = 60.0
"""Of one kind of dropped datagram or ICMP error QUIET_BURST lines at most are written in QUIET_S seconds."""


def plain(_logger: object, _method: str, members: MutableMapping[str, Any]) -> str:
    """One line for a file or the journal: structlog's ConsoleRenderer without colors, at a fifth of the cost."""
    line = f"{members.pop('timestamp')} [{members.pop('level'):9}] {members.pop('event')}"
    exception = members.pop("exception", "")
    for name, value in members.items():
        bare = isinstance(value, str) and value.isprintable() and not set(" =\"'") & set(value)
        line += f" {name}={value}" if bare else f" {name}={value!r}"
    return f"{line}\n{exception}" if exception else line


class Lines:
    """The last link of structlog's chain: lines of one turn of the event loop go out in one write.

    A handshake tells six lines, and a system call for each would be a tenth of its cost. Outside the event loop every
    line goes out at once.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._waiting: list[str] = []
        atexit.register(self.deliver)

    def msg(self, line: str) -> None:
        """Take one line."""
        self._waiting.append(line)
        if len(self._waiting) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self.deliver)
        except RuntimeError:
            self.deliver()

    debug = info = warning = error = critical = exception = msg

    def deliver(self) -> None:
        """Write what is there."""
        lines, self._waiting = self._waiting, []
        if lines:
            self._file.write("\n".join(lines) + "\n")
            self._file.flush()


def configure(log_format: str, level: str) -> None:
    """Set structlog up. ``log_format``: story, json or journal; ``level``: debug, info, warning, error."""
    lines: Lines | journal.Journal = journal.Journal() if log_format == "journal" else Lines(sys.stderr)
    shared: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    last: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else journal.render
        if log_format == "journal"
        else structlog.dev.ConsoleRenderer(pad_event_to=0)
        if sys.stderr.isatty()
        else plain
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )


def chosen(log_format: str) -> str:
    """What ``auto`` means here: the journal with its fields where stderr leads to it, else a story."""
    if log_format != "auto":
        return log_format
    stream = os.environ.get("JOURNAL_STREAM", "")
    return "journal" if journal.connected(sys.stderr.fileno(), stream) and journal.SOCKET.exists() else "story"


class Storyteller:
    """Writes each event as one line."""

    def __init__(self, log_format: str, level: str = "info") -> None:
        """After :func:`configure`, with the same arguments."""
        self._log = structlog.get_logger("ike").bind()  # bound once, not for every line
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._members = log_format in ("json", "journal")
        self._windows: dict[str, tuple[float, int]] = {}

    def observe(self, event: Event) -> None:
        """Write the event, unless it is one of too many of its kind."""
        level = level_of(event)
        if level < self._level or (isinstance(event, DatagramDropped | IcmpErrorJudged) and self._too_many(event)):
            return
        text = tell(event)
        if self._members:
            members = event_json(event, wall())
            name = members.pop("event")
            members.pop("at")
            members["kind"] = name
            self._log.log(level, text, **members)
        else:
            self._log.log(level, text)

    def _too_many(self, event: DatagramDropped | IcmpErrorJudged) -> bool:
        now, reason = wall(), f"{type(event).__name__} {event.reason}"
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


def _message(event: MessageSent | MessageReceived | PayloadsTold | DecisionTold) -> str:
    if isinstance(event, DecisionTold):
        return f"{event.ike or event.connection}: {event.decision}"
    if isinstance(event, PayloadsTold):
        return f"{event.ike} {'>' if event.sent else '<'} says: {'; '.join(event.lines)}"
    arrow = ">" if isinstance(event, MessageSent) else "<"
    kind = "response" if event.response else "request"
    again = f" (attempt {event.attempt})" if isinstance(event, MessageSent) and event.attempt > 1 else ""
    what = ", ".join(event.payloads) or "nothing"
    parts = f" in {event.fragments} fragments" if event.fragments > 1 else ""
    return (
        f"{event.ike} {arrow} {event.remote} {event.exchange.name} {kind} {event.message_id}{again}: "
        f"{what} ({event.size} bytes{parts})"
    )


def _move(event: PeerMoved | PathChanged | PathRefused | LocalAddressChanged) -> str:
    match event:
        case PeerMoved():
            return f"{event.ike}: the peer's NAT has moved it from {event.old} to {event.new}"
        case PathChanged():
            how = "in UDP" if event.encap else "plain"
            return f"{event.ike} runs from {event.local} to {event.remote} now, ESP {how}"
        case PathRefused():
            return f"{event.ike}: the peer answered {event.notify} to our move to {event.local} -> {event.remote}"
        case LocalAddressChanged():
            return f"{event.connection}: the routes lead to the peer from {event.local} now"


def _rekey(event: IkeSaRekeyed | ChildSaRekeyed | RekeyCollided) -> str:
    match event:
        case IkeSaRekeyed():
            return f"{event.old} rekeyed: {event.new}, {event.suite}"
        case ChildSaRekeyed():
            by = "by us" if event.initiator else "by the peer"
            return f"{event.ike} {event.child} rekeyed {by}: {event.old.spi:#010x} -> {event.new.spi:#010x}"
        case RekeyCollided():
            what, whose = event.child or "IKE SA", "ours" if event.ours else "the peer's"
            return f"{event.ike} {what}: both ends rekeyed at once, {whose} goes on"


def _alive(event: TunnelAlive) -> str:
    if event.alive:
        return f"{event.device}: the far end answers keepalives, the device goes up"
    if not event.lost:
        return f"{event.device}: the SA is gone, the device goes down"
    return (
        f"{event.device}: {event.lost} keepalives in a row without an answer, the device goes down: ESP is lost on the"
        " path though IKE passes, or the far end has no GRE device or does not return keepalives"
    )


def _recursion(event: RecursiveRoute) -> str:
    if event.over:
        return f"{event.device}: the route to {event.peer} leads into it no more"
    now = f"its packets go {event.instead}" if event.instead else "and there is no other way: the tunnel is dead"
    return f"{event.device}: {recursion(event.device, event.peer)}; {now}"


_LEVELS: dict[type[Event], int] = {
    NegotiationFailed: logging.WARNING,
    PeerSilent: logging.WARNING,
    DatagramNotSent: logging.WARNING,
    PathRefused: logging.WARNING,
    KernelTrouble: logging.ERROR,
    KernelDisturbed: logging.WARNING,
    CarriersDiffer: logging.WARNING,
    RecursiveRoute: logging.WARNING,
    CookieDemanded: logging.DEBUG,
    DatagramDropped: logging.DEBUG,
    PathProbed: logging.DEBUG,
}
"""What is not here is INFO."""

PROBE = ("N(XFRMCTL_PATH_MTU)",)
"""The only payload of a probe of the path's MTU: as little news as an empty message."""

_NAT = {
    (False, False): "no NAT",
    (True, False): "NAT before us",
    (False, True): "NAT before the peer",
    (True, True): "NAT on both sides",
}


def level_of(event: Event) -> int:
    """How important an event is; asked first, so that nothing is formatted that nobody will read."""
    if isinstance(event, Ipv6Squeezed):
        return logging.WARNING if event.lost else logging.INFO
    if isinstance(event, ConfigReloaded):
        return logging.INFO if event.ok else logging.ERROR
    if isinstance(event, MessageSent | MessageReceived):
        return logging.INFO if event.payloads and event.payloads != PROBE else logging.DEBUG
    return _LEVELS.get(type(event), logging.INFO)


def tell(event: Event) -> str:
    """An event as a sentence."""
    match event:
        case MessageSent() | MessageReceived() | PayloadsTold() | DecisionTold():
            return _message(event)
        case IkeSaEstablished():
            where = _NAT[event.nat_local, event.nat_remote]
            return (
                f"{event.ike} established with {event.remote_id} at {event.remote}: {event.suite}, {where}, "
                f"{event.handshake_s * 1000:.0f} ms"
            )
        case ChildSaInstalled():
            local, remote = (", ".join(str(t) for t in ts) for ts in (event.local_ts, event.remote_ts))
            encap = f", in UDP {event.encap.source_port} -> {event.encap.destination_port}" if event.encap else ""
            return (
                f"{event.ike} {event.child}: {event.suite.protocol.name} in {event.inbound.spi:#010x}, "
                f"out {event.outbound.spi:#010x}, "
                f"{event.suite}, {event.mode.value} mode{encap}, {local} === {remote}"
            )
        case IkeSaRekeyed() | ChildSaRekeyed() | RekeyCollided():
            return _rekey(event)
        case ConfigReloaded():
            return (
                f"reloaded: {event.detail}"
                if event.ok
                else f"reload refused, the old configuration stays in force: {event.detail}"
            )
        case PeerMoved() | PathChanged() | PathRefused() | LocalAddressChanged():
            return _move(event)
        case ChildSaRemoved():
            return f"{event.ike} {event.child} removed: {_failure(event.reason)}"
        case IkeSaClosed():
            return f"{event.ike} closed: {_failure(event.reason)}"
        case NegotiationFailed():
            who = " ".join(filter(None, [event.ike or event.connection or str(event.remote), event.child]))
            side = "our attempt" if event.initiator else f"attempt of {event.remote}"
            return f"{who}: {side} failed: {_failure(event.failure)}"
        case RetryScheduled():
            return f"{event.connection}: attempt {event.attempt} failed, next in {event.delay_s:.0f} s"
        case PeerSilent():
            return f"{event.ike}: {event.remote} silent: {event.attempts} attempts at {event.exchange.name}"
        case CookieDemanded():
            return f"{event.remote} must return a cookie: too many half-open IKE SAs"
        case DatagramDropped():
            return f"{event.remote} dropped: {event.reason}" + (f" ({event.detail})" * bool(event.detail))
        case DatagramNotSent():
            return f"not sent: {event.detail}"
        case IcmpErrorJudged():
            verdict = "believed" if event.accepted else "dropped"
            return f"ICMP error of {event.reporter} about {event.peer}, MTU {event.mtu}: {verdict} ({event.reason})"
        case KernelTrouble():
            return f"kernel: {event.problem}"
        case Ipv6Squeezed():
            return f"{event.connection} {event.child}: {event.detail}"
        case KernelDisturbed():
            return f"kernel: put back what others had disturbed: {event.disturbance}"
        case TunnelAlive() | RecursiveRoute():
            return _alive(event) if isinstance(event, TunnelAlive) else _recursion(event)
        case PathMtuChanged() | CarriersDiffer() | PathMtuHinted() | PathProbed():
            return f"path {event.path}: {_path(event)}"
    return repr(event)


def _path(event: PathMtuChanged | CarriersDiffer | PathMtuHinted | PathProbed) -> str:
    match event:
        case PathMtuChanged():
            was = f" (was {event.old})" if event.old is not None and event.old != event.new else ""
            by = f"{event.source.value} ({event.carrier})" if event.carrier else event.source.value
            return f"MTU {event.new}{was} by {by}, {event.reason}"
        case CarriersDiffer():
            until = f"ESP alone is asked for {event.seconds / 60:.0f} min"
            return f"{event.size} bytes pass as UDP, and are lost as ESP; {until}"
        case PathMtuHinted():
            return f"a router reports {event.mtu}: {event.verdict}"
        case PathProbed():
            by = f" ({event.carrier})" if event.carrier else ""
            return f"probe of {event.size} bytes {event.outcome.value}{by}"
