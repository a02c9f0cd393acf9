"""Keeps the ICMP guard informed, and tells what it has decided.

The table of the judge follows the CHILD SAs; the rules follow the peers. Verdicts are made in the queue's thread and
come to the event loop as events, for logs, metrics and the path-MTU engine. Where nobody can listen to the queue, the
rules drop what names a peer (see :mod:`xfrmctl.kernel.firewall.guard`), and the operator is told.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from xfrmctl.config.build import IcmpPolicy
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.icmp_rules import IcmpRules
from xfrmctl.guard.judge import Judge, Judgement
from xfrmctl.guard.table import OVERLAP_S, Key, Outbound, Table, key
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.desired import IcmpGuard
from xfrmctl.kernel.queue import IcmpQueue, SentNumbers
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import (
    ChildSaInstalled,
    ChildSaRemoved,
    Event,
    IcmpErrorJudged,
    IkeSaClosed,
    IkeSaRekeyed,
    KernelTrouble,
    PathChanged,
    PathMtuChanged,
    PeerMoved,
)
from xfrmctl.model.path import Path
from xfrmctl.model.sa import SaId

SETTLE_S = 0.05
"""Many SAs come and go at once: the table is made anew this long after the first of them."""


class IcmpWatch:
    """The guard of one daemon.

    ``policies`` goes by IP version, ``believed`` is what a path is taken to carry, ``faults`` are what ``show`` tells.
    """

    def __init__(
        self,
        engine: IkeEngine,
        bus: Bus,
        guard: Callable[[IcmpGuard], None],
        believed: Callable[[Path], int | None],
        policies: Mapping[int, IcmpPolicy],
        faults: list[str],
    ) -> None:
        self.policies = policies
        self._faults = faults
        self._engine = engine
        self._bus = bus
        self._guard = guard
        self._believed = believed
        self._retired: dict[Key, Outbound] = {}
        self._by_ike: dict[str, tuple[Outbound, ...]] = {}
        self._rules = IcmpRules(policies, (), ())
        self._dirty: set[str] = set()
        self._paths: set[Path] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._numbers: SentNumbers | None = None
        self._judge = Judge(self._sent)
        self._queue: IcmpQueue | None = None

    # -- what there is to know

    def observe(self, event: Event) -> None:
        """Listen to the engines: whatever changes an SA or a belief changes the table."""
        match event:
            case ChildSaRemoved():
                self._retire(event.outbound)
                self._dirty.add(event.ike)
            case ChildSaInstalled() | PeerMoved() | PathChanged() | IkeSaClosed():
                self._dirty.add(event.ike)
            case IkeSaRekeyed():
                self._dirty |= {event.old, event.new}
            case PathMtuChanged():
                self._paths.add(event.path)
            case _:
                return
        self._schedule(SETTLE_S)

    def _schedule(self, delay_s: float) -> None:
        """Refresh after this time, or earlier if that is to be already."""
        if self._loop is None or (self._timer is not None and self._timer.when() <= self._loop.time() + delay_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self.refresh)

    def _retire(self, gone: SaId) -> None:
        """Errors about the last packets of an SA are under way when it goes."""
        known = self._judge.table.get(gone)
        if known is not None:
            self._retired[key(gone)] = replace(known, until=time.monotonic() + OVERLAP_S)

    def refresh(self) -> None:
        """Bring the table up to date, and see to the rules; costs what has changed, and some copies of dictionaries."""
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now, before = time.monotonic(), self._judge.table
        outbound, mtus = dict(before.outbound), dict(before.mtus)
        dirty, self._dirty = self._dirty, set()
        for name in dirty:
            for gone in self._by_ike.pop(name, ()):
                self._drop(outbound, key(gone.id))
                self._paths.add(gone.path)
        for name in dirty:
            standing = self._standing(name)
            if standing:
                self._by_ike[name] = standing
            for new in standing:
                self._put(outbound, new)
                self._paths.add(new.path)
        for at, old in list(self._retired.items()):
            if old.until is None or now >= old.until:
                del self._retired[at]
                if outbound.get(at) is old:
                    self._drop(outbound, at)
            elif at not in outbound:
                self._put(outbound, old)
        self._believe(mtus)
        named = self._rules.news()
        self._judge.table = Table(before.peers if named is None else self._rules.peers, outbound, mtus)
        if named is not None:
            self._guard(named)
        if self._retired:
            self._schedule(OVERLAP_S)

    def _put(self, outbound: dict[Key, Outbound], new: Outbound) -> None:
        if key(new.id) not in outbound:
            self._rules.enter(key(new.id))
        outbound[key(new.id)] = new

    def _drop(self, outbound: dict[Key, Outbound], gone: Key) -> None:
        if outbound.pop(gone, None) is not None:
            self._rules.leave(gone)

    def _believe(self, mtus: dict[Path, int]) -> None:
        """Note down what the paths that were touched are taken to carry."""
        paths, self._paths = self._paths, set()
        for path in paths:
            mtu = self._believed(path)
            if mtu is not None:
                mtus[path] = mtu
            else:
                mtus.pop(path, None)

    def _standing(self, name: str) -> tuple[Outbound, ...]:
        sa = self._engine.probes.find(name)
        return tuple(
            Outbound(child.outbound, child.inbound.destination, child.encap)
            for child in (sa.children if sa is not None else ())
            if child.installed and child.pending_outbound is None
        )

    # -- verdicts

    def start(self) -> None:
        """Listen to the queue, if anything is to be validated, and put the rules in force."""
        self._loop = asyncio.get_running_loop()
        if self._queue is None and IcmpPolicy.VALIDATE in self.policies.values():
            queue = IcmpQueue(self._verdict, self._fault)
            try:
                self._numbers = SentNumbers()
                queue.start()
                self._queue = queue
            except (KernelRefusal, OSError) as error:
                self._trouble(str(error))
        remotes = (connection.remote for connection in self._engine.config.connections.values())
        configured = (remote for remote in remotes if remote is not None)
        self._rules = IcmpRules(self.policies, configured, self._judge.table.outbound)
        self._dirty.update(sa.name for sa in self._engine.ike_sas())
        self.refresh()

    def stop(self) -> None:
        """Judge nothing more."""
        if self._queue is not None:
            self._queue.stop()
            self._queue = None
        if self._numbers is not None:
            self._numbers.close()
            self._numbers = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None

    def _sent(self, sa: SaId) -> int | None:
        return self._numbers(sa) if self._numbers is not None else None

    def _verdict(self, packet: bytes) -> bool:
        """In the queue's thread."""
        began = time.monotonic()
        found = self._judge.judge(packet, began)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._judged, found, time.monotonic() - began)
        return found.accepted

    def _judged(self, found: Judgement, took_s: float) -> None:
        self._bus.publish(
            IcmpErrorJudged(
                accepted=found.accepted,
                reason=found.reason.value,
                family=found.family,
                reporter=found.reporter,
                peer=found.peer,
                path=found.path,
                mtu=found.mtu,
                quoted=found.quoted,
                took_s=took_s,
            )
        )

    def _fault(self, error: Exception) -> None:
        """In the queue's thread: a verdict has failed, and the error was dropped."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._trouble, f"internal error {error!r}")

    def _trouble(self, words: str) -> None:
        consequence = "ICMP errors that name a peer are dropped unjudged; path MTUs are found without them"
        problem = f"{words}; meanwhile {consequence}"
        if problem not in self._faults:
            self._faults.append(problem)
            self._bus.publish(KernelTrouble(problem=problem))
