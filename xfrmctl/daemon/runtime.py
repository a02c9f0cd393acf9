"""One input a step: call the engine, drain its outbox, dispatch in order, re-arm the one timer.

Nothing awaits inside a step. An effect that can fail is answered by an input of its own, which is drained before the
next one from outside is looked at.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import perf_counter
from typing import Protocol

from xfrmctl.daemon import routes
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.fetch import Fetcher
from xfrmctl.daemon.lost import believed
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.events import Acquire, Expire, KernelEvent, Mapping
from xfrmctl.kernel.ports import SadPort
from xfrmctl.model.address import Endpoint
from xfrmctl.model.effects import (
    DeleteSas,
    Effect,
    FetchUrl,
    FindPaths,
    InstallSas,
    MoveSas,
    PeerAsks,
    SendDatagram,
    Token,
)
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import DatagramNotSent, Event, KernelTrouble
from xfrmctl.model.sa import KernelSa, SaId, SaKeys, SaMove

Input = Callable[[float], None]
"""A bound method of the engine that takes ``now``."""


class Sender(Protocol):
    """Sends a UDP payload; returns the kernel's complaint, if any."""

    def __call__(self, local: Endpoint, remote: Endpoint, data: bytes, *, whole: bool = False) -> str | None:
        """Send, now or never; with ``whole`` in one packet that nobody may fragment."""


class Accounts(Protocol):
    """Who keeps the books of what SAs carry, and of the time that steps take."""

    def moved(self, moves: Sequence[SaMove]) -> None:
        """SAs have other names."""

    def ending(self, ids: Sequence[SaId]) -> None:
        """SAs are about to be deleted: the last chance to see what they have carried."""

    def stepped(self, seconds: float) -> None:
        """A step is over."""


class Runtime:
    """Feeds the engine and carries out what it wants. All of it runs in the event loop's thread."""

    def __init__(
        self,
        engine: IkeEngine,
        sad: SadPort,
        send: Sender,
        bus: Bus,
        loop: asyncio.AbstractEventLoop,
        paths: PathKeeper | None = None,
    ) -> None:
        """Without ``paths`` nobody probes them, and what peers say of them is not heeded."""
        self.engine = engine
        self.accounts: Accounts | None = None
        self.installed: Callable[[Sequence[tuple[KernelSa, SaKeys]]], None] = lambda _: None
        self._paths = paths
        self._sad = sad
        self._send = send
        self._bus = bus
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._executors: dict[type[Effect], Callable[[Effect], None]] = {
            SendDatagram: self._send_datagram,
            InstallSas: self._install,
            MoveSas: self._move,
            FindPaths: self._find_paths,
            FetchUrl: self._fetch,
        }
        self._fetcher = Fetcher(self.fetched)
        self._executors |= paths.executors if paths is not None else {PeerAsks: lambda _: None}

    def step(self, action: Input) -> None:
        """Give the engine one input and do everything that follows from it."""
        began = perf_counter()
        action(self._loop.time())
        while items := self._drain():
            doomed: list[SaId] = []
            for item in items:
                if isinstance(item, Event):
                    self._bus.publish(item)
                    continue
                if isinstance(item, DeleteSas):
                    doomed += item.ids  # a stop deletes thousands: in one message, before the next effect
                    continue
                self._delete(doomed)
                self._executors[type(item)](item)
            self._delete(doomed)
        self._arm()
        if self.accounts is not None:
            self.accounts.stepped(perf_counter() - began)

    def _drain(self) -> list[Effect | Event]:
        """What the engines want, the IKE engine first: what the other one hears follows from it."""
        return self.engine.drain() or (self._paths.drain() if self._paths is not None else [])

    def datagram(self, local: Endpoint, remote: Endpoint, data: bytes) -> None:
        """A UDP payload has come."""
        self.step(lambda now: self.engine.handle_datagram(local, remote, data, now))

    def fetched(self, token: Token, data: bytes | None, problem: str) -> None:
        """A web server has answered, or has not."""
        self.step(lambda now: self.engine.handle_fetched(token, data, problem, now))

    def kernel_event(self, event: KernelEvent) -> None:
        """The kernel has reported something about SAs of ours."""
        match event:
            case Acquire(reqid=reqid, seq=seq):
                packet = event.selectors
                newest = self.engine.newest_child(reqid)
                if newest is not None:
                    self.check(believed(newest[1]))  # a packet found no SA where we believe in one
                self.step(lambda now: self.engine.handle_acquire(reqid, seq, now, packet))
            case Expire(id=sa_id, hard=hard):
                self.step(lambda now: self.engine.handle_expire(sa_id, hard, now))
            case Mapping(id=sa_id, new=new):
                self.step(lambda now: self.engine.handle_mapping(sa_id, new, now))

    def check(self, ids: Iterable[SaId]) -> None:
        """Children of those that the kernel does not have end, and are negotiated anew if wanted."""
        try:
            gone = self._sad.gone(tuple(ids))
        except KernelRefusal as error:
            self.trouble(error)
            return
        for sa_id in gone:
            self.step(partial(self.engine.handle_lost, sa_id))

    def trouble(self, problem: KernelRefusal) -> None:
        """The kernel would not do or say something, and nobody else tells of it."""
        self._bus.publish(KernelTrouble(problem=str(problem)))

    def stop(self) -> None:
        """No more timer, nothing more is fetched."""
        self._fetcher.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        """See to it that we wake at the engine's deadline or earlier, which is harmless.

        In a busy gateway the earliest deadline moves away with nearly every message; to move the timer along would
        cost more than to wake once in vain.
        """
        deadlines = [self.engine.deadline(), self._paths.deadline() if self._paths is not None else None]
        deadline = min((at for at in deadlines if at is not None), default=None)
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self.step(self._timers)

    def _timers(self, now: float) -> None:
        self.engine.handle_timer(now)
        if self._paths is not None:
            self._paths.handle_timer(now)

    # -- executors

    def _send_datagram(self, effect: Effect) -> None:
        assert isinstance(effect, SendDatagram)
        complaint = self._send(effect.local, effect.remote, effect.data, whole=effect.probe is not None)
        if complaint is not None and effect.probe is not None:
            self.engine.probes.not_sent(effect.probe, self._loop.time())
        elif complaint is not None:
            self._bus.publish(DatagramNotSent(remote=effect.remote, detail=complaint))

    def _install(self, effect: Effect) -> None:
        assert isinstance(effect, InstallSas)
        refusal: KernelRefusal | None = None
        try:
            self._sad.install(effect.sas)
            self.installed(effect.sas)
        except KernelRefusal as error:
            refusal = error
        self.engine.handle_done(effect.token, refusal, self._loop.time())

    def _move(self, effect: Effect) -> None:
        assert isinstance(effect, MoveSas)
        try:
            self._sad.move(effect.moves)
        except KernelRefusal as error:
            self.trouble(error)
        if self.accounts is not None:
            self.accounts.moved(effect.moves)

    def _find_paths(self, effect: Effect) -> None:
        assert isinstance(effect, FindPaths)
        found = {(ours, theirs): routes.local_address(theirs, ours) for ours, theirs in effect.pairs}
        self.engine.handle_paths(effect.serial, found, self._loop.time())

    def _fetch(self, effect: Effect) -> None:
        assert isinstance(effect, FetchUrl)
        self._fetcher.start(effect)

    def _delete(self, doomed: list[SaId]) -> None:
        """Take SAs out of the kernel and off the list."""
        if not doomed:
            return
        if self.accounts is not None:
            self.accounts.ending(doomed)
        try:
            self._sad.delete(doomed)
        except KernelRefusal as error:
            self.trouble(error)
        doomed.clear()
