"""GRE keepalives: a tunnel device is up only while its far end sends back what goes through the tunnel.

IKE's own liveness says that the peer's daemon lives; a keepalive says that ESP and GRE pass, both ways, on a path that
may treat them otherwise than UDP. Three in a row without an answer, or the end of the SA, take the device down, so that
routes through it go and routing daemons notice; the first answer brings it up. Keepalives begin with the SA, and go on
while the device is down.

What we send is what routers send (:mod:`xfrmctl.wire.gre`), and we answer theirs: in the kernel nobody would, for the
answer comes out of the tunnel with our own source address (a martian). Answers are given at most RATE times a second
for each tunnel.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from xfrmctl.daemon.intent import Established
from xfrmctl.ike.config import ChildConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.grekeepalive import KeepaliveSocket
from xfrmctl.model.address import IPAddress
from xfrmctl.model.events import ChildSaInstalled, ChildSaRemoved, Event, KernelTrouble, TunnelAlive
from xfrmctl.model.tunnel import Tunnel
from xfrmctl.wire import gre

LOST = 3
"""Keepalives in a row without an answer that take a device down."""

RATE = 10
"""Answers a second to a peer."""

Ends = tuple[IPAddress, IPAddress]


@dataclass(slots=True)
class Pulse:
    """One tunnel. Of its keepalives ``first`` to ``token`` are unanswered; ``lost`` of them in a row are given up."""

    reqid: int
    tunnel: Tunnel
    interval_s: float
    ends: Ends | None = None
    token: int = 0
    first: int = 1
    lost: int = 0
    alive: bool = False
    sent: int = 0
    answered: int = 0
    answers: tuple[float, int] = (0.0, 0)
    timer: TimerHandle | None = None

    def stop(self) -> None:
        """No more of them."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer, self.ends = None, None


@dataclass(slots=True)
class Keepalives:
    """All tunnels with ``keepalive``. ``changed`` is told the reqid of one whose device must go up or down."""

    engine: IkeEngine
    loop: AbstractEventLoop
    established: Callable[[int], Established | None]
    changed: Callable[[set[int]], None]
    tell: Callable[[Event], None]
    open: Callable[[int], KeepaliveSocket] = KeepaliveSocket
    _pulses: dict[int, Pulse] = field(default_factory=dict)
    _sockets: dict[int, KeepaliveSocket] = field(default_factory=dict)

    # -- which tunnels there are

    def configure(self) -> None:
        """Take up what is configured now; call it at the start and after each reload."""
        wanted = {
            child.reqid: Pulse(child.reqid, child.tunnel, child.tunnel.keepalive_s)
            for connection in self.engine.config.connections.values()
            for child in connection.children
            if child.tunnel is not None and child.tunnel.keepalive_s is not None
        }
        for reqid, old in list(self._pulses.items()):
            new = wanted.get(reqid)
            if new is None or new.tunnel != old.tunnel:
                old.stop()
                del self._pulses[reqid]
        for reqid, pulse in wanted.items():
            if reqid not in self._pulses:
                self._pulses[reqid] = pulse
                self.refresh(reqid)

    def up(self, child: ChildConfig) -> bool:
        """Whether the child's device should be up."""
        pulse = self._pulses.get(child.reqid)
        return child.tunnel is None or child.tunnel.keepalive_s is None or (pulse is not None and pulse.alive)

    def state(self, child: ChildConfig) -> tuple[str, int, int]:
        """For people: a word, how many were sent, how many answered."""
        pulse = self._pulses.get(child.reqid)
        if pulse is None:
            return "off", 0, 0
        word = "no SA" if pulse.ends is None else "answered" if pulse.alive else "unanswered"
        return word, pulse.sent, pulse.answered

    def observe(self, event: Event) -> None:
        """Listen to the engine: SAs come, are replaced, and go."""
        if isinstance(event, ChildSaInstalled | ChildSaRemoved) and event.reqid in self._pulses:
            self.loop.call_soon(self.refresh, event.reqid)  # the engine is in the middle of it

    def close(self) -> None:
        """Stop all."""
        for pulse in self._pulses.values():
            pulse.stop()
        self._pulses.clear()
        for sock in self._sockets.values():
            self.loop.remove_reader(sock.sock)
            sock.close()
        self._sockets.clear()

    # -- sending

    def refresh(self, reqid: int) -> None:
        """The SA of a child may have come or gone: begin, go on, or stop."""
        pulse, found = self._pulses.get(reqid), self.established(reqid)
        ends = (found.local, found.remote) if found is not None else None
        if pulse is None or ends == pulse.ends:
            return
        pulse.stop()
        pulse.ends, pulse.lost, pulse.first = ends, 0, pulse.token + 1
        if ends is None:
            self._set(pulse, alive=False)
        elif self._listens(ends[0].version):
            self._beat(pulse)

    def _listens(self, version: int) -> bool:
        """Have the socket of a family."""
        if version not in self._sockets:
            try:
                sock = self._sockets[version] = self.open(version)
            except OSError as error:
                why = f"GRE keepalives (IPv{version}): {error.strerror}, their devices stay down; give us CAP_NET_RAW"
                self.tell(KernelTrouble(problem=why))
                return False
            self.loop.add_reader(sock.sock, self.readable, sock)
        return True

    def _beat(self, pulse: Pulse) -> None:
        """Send one; the one before it is lost unless its answer has come."""
        if pulse.ends is None:
            return
        if pulse.token >= pulse.first:
            pulse.lost += 1
            if pulse.lost >= LOST:
                self._set(pulse, alive=False)
        pulse.token = pulse.token + 1 & 0xFFFFFFFF
        pulse.sent += 1
        local, remote = pulse.ends
        self._send(pulse.ends, gre.request(local, remote, pulse.tunnel.key, pulse.token))
        pulse.timer = self.loop.call_later(pulse.interval_s, partial(self._beat, pulse))

    def _send(self, ends: Ends, data: bytes) -> None:
        try:
            self._sockets[ends[0].version].send(*ends, data)
        except OSError:
            return  # no SA just now, or no route: it counts as lost

    def _set(self, pulse: Pulse, *, alive: bool) -> None:
        if pulse.alive == alive:
            return
        pulse.alive = alive
        self.tell(TunnelAlive(device=pulse.tunnel.interface, alive=alive, lost=pulse.lost))
        self.changed({pulse.reqid})

    # -- receiving

    def readable(self, sock: KeepaliveSocket) -> None:
        """Take what has come."""
        for local, remote, data in sock.receive():
            for pulse in [p for p in self._pulses.values() if p.ends == (local, remote)]:
                self._take(pulse, data)

    def _take(self, pulse: Pulse, data: bytes) -> None:
        assert pulse.ends is not None
        match gre.parse(data, *pulse.ends, pulse.tunnel.key):
            case gre.Answer(token=int(token)) if pulse.first <= token <= pulse.token:
                pulse.first, pulse.lost = token + 1, 0
                pulse.answered += 1
                self._set(pulse, alive=True)
            case gre.Request(answer=answer) if self._may_answer(pulse):
                self._send(pulse.ends, answer)

    def _may_answer(self, pulse: Pulse) -> bool:
        now = self.loop.time()
        since, count = pulse.answers
        if now - since >= 1:
            since, count = now, 0
        pulse.answers = (since, count + 1)
        return count < RATE
