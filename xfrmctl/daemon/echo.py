"""An echo through a tunnel: asks ESP itself whether a packet of some size passes, where UDP only tells about UDP.

An ICMP echo request goes out from an address of ours inside of the tunnel to one of the peer's, of such a size that
the ESP packet around it has the size in question, and with DF. 16 random bytes in it, which only who decrypts it can
send back, tell its answer from everything else. As with probes over IKE small copies follow where its answer is late:

================================== ==========================================================
answered                           the size passes
not, and a small copy is           the large one was lost, or its answer, which is as large
not, and no small copy either      nobody answers, or nothing passes
================================== ==========================================================

Pure: packets go out by ``send``, and what came back is told by ``heard``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Protocol

from xfrmctl.ike.roundtrip import RoundTrip
from xfrmctl.kernel.desired import Template
from xfrmctl.model.address import IPAddress
from xfrmctl.model.path import Path, ProbeOutcome
from xfrmctl.model.sa import Mode
from xfrmctl.model.sizes import IP_HEADER
from xfrmctl.model.suite import Suite
from xfrmctl.pmtu.overhead import inner_mtu

SECRET = 16
"""Octets of the payload that make an echo ours."""

ICMP_HEADER = 8
SMALL = 84
"""Length of a small copy, as ping has it."""

SMALL_COPIES = 3
LEAST_PATIENCE_S, MOST_PATIENCE_S, FIRST_PATIENCE_S = 0.2, 3.0, 0.5
"""Bounds of the wait for an answer, and the wait before there has been one."""

SECOND_ANSWER_S = 0.1
"""How long after the answer to a small copy that to the large one may still come."""


@dataclass(frozen=True, slots=True)
class Leg:
    """Between whom an echo goes, and in which ESP: ``template`` names the SA, ``device`` is the xfrm interface.

    What is not encrypted must not leave, for the policies of a child may go before its SAs do.
    """

    suite: Suite
    mode: Mode
    version: int
    source: IPAddress
    target: IPAddress
    template: Template
    device: str | None = None

    @property
    def least(self) -> int:
        """The smallest inner packet that has room for the secret."""
        return IP_HEADER[self.target.version] + ICMP_HEADER + SECRET

    def fits(self, outer: int) -> int:
        """The largest inner packet whose ESP packet has at most ``outer`` bytes. Raises ValueError for none."""
        return inner_mtu(outer, self.suite, self.version, False, self.mode)


Done = Callable[[ProbeOutcome, float], None]
"""Takes the outcome, and the time."""


class EchoPort(Protocol):
    """Who can send echoes; the answers come to :meth:`Echoes.heard`."""

    def send(self, path: Path, leg: Leg, length: int, secret: bytes, /) -> bool:
        """An echo request, as an IP packet of ``length`` bytes with DF; False where the kernel does not take it."""

    def close(self, path: Path) -> None:
        """No more answers are waited for."""


@dataclass(slots=True)
class Echo:
    """One question. ``due`` is when something has to happen if no answer comes; ``late`` once a small copy is back."""

    leg: Leg
    length: int
    secret: bytes = field(repr=False)
    done: Done
    asked_at: float
    due: float
    smalls: int = 0
    late: bool = False


class Echoes:
    """The questions of all paths, one at a time each. ``counts`` are packets (out, in) of ours in a path's SAs."""

    def __init__(self, port: EchoPort, entropy: Callable[[int], bytes]) -> None:
        self._port = port
        self._entropy = entropy
        self._open: dict[Path, Echo] = {}
        self._trips: dict[Path, RoundTrip] = {}
        self.counts: dict[Path, tuple[int, int]] = {}

    def ask(self, path: Path, leg: Leg, length: int, done: Done, now: float) -> bool:
        """Ask with an inner packet of ``length`` bytes; False where that cannot be sent. ``done`` is called once."""
        if path in self._open:
            return False
        secret = self._entropy(SECRET)
        if not self._send(path, leg, length, secret):
            self._port.close(path)
            return False
        self._open[path] = Echo(leg, length, secret, done, now, now + self._patience(path))
        return True

    def heard(self, path: Path, secret: bytes, length: int, now: float) -> None:
        """An echo reply has come out of the tunnel, an IP packet of ``length`` bytes that begins with ``secret``."""
        echo = self._open.get(path)
        if echo is None or not compare_digest(secret, echo.secret):
            return
        self._count(path, 0, 1)
        if length == echo.length:
            if not echo.smalls:
                self._trips.setdefault(path, RoundTrip()).took(now - echo.asked_at)
            self._end(path, ProbeOutcome.ANSWERED, now)
        elif echo.smalls and not echo.late:
            echo.late, echo.due = True, now + SECOND_ANSWER_S + self._patience(path) / 2

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` wants to be called; few are open at a time."""
        return min((echo.due for echo in self._open.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Send small copies, give up."""
        for path, echo in [(path, echo) for path, echo in self._open.items() if echo.due <= now]:
            if echo.late:
                self._end(path, ProbeOutcome.LOST, now)
            elif echo.smalls < SMALL_COPIES and self._send(path, echo.leg, min(SMALL, echo.length), echo.secret):
                echo.smalls += 1
                echo.due = now + self._patience(path)
            else:
                self._end(path, ProbeOutcome.SILENT, now)

    def forget(self, path: Path) -> None:
        """The path is gone; a question that is open ends unanswered."""
        self.counts.pop(path, None)
        self._trips.pop(path, None)
        if path in self._open:
            self._end(path, ProbeOutcome.UNAVAILABLE, self._open[path].due)

    def _send(self, path: Path, leg: Leg, length: int, secret: bytes) -> bool:
        sent = self._port.send(path, leg, length, secret)
        self._count(path, sent, 0)
        return sent

    def _end(self, path: Path, outcome: ProbeOutcome, now: float) -> None:
        echo = self._open.pop(path)
        self._port.close(path)
        echo.done(outcome, now)

    def _count(self, path: Path, out: int, into: int) -> None:
        before = self.counts.get(path, (0, 0))
        self.counts[path] = (before[0] + out, before[1] + into)

    def _patience(self, path: Path) -> float:
        known = self._trips.get(path)
        wanted = known.patience(FIRST_PATIENCE_S) if known is not None else FIRST_PATIENCE_S
        return min(MOST_PATIENCE_S, max(LEAST_PATIENCE_S, wanted))
