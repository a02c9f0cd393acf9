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
from xfrmctl.guard.judge import Judge, Judgement
from xfrmctl.guard.table import OVERLAP_S, Outbound, Table
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.desired import IcmpGuard
from xfrmctl.kernel.queue import IcmpQueue, SentNumbers
from xfrmctl.model.address import IPAddress
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import (
    ChildSaInstalled,
    ChildSaRemoved,
    Event,
    IcmpErrorJudged,
    IkeSaClosed,
    KernelTrouble,
    PathChanged,
    PathMtuChanged,
    PeerMoved,
)
from xfrmctl.model.path import Path
from xfrmctl.model.sa import SaId

SETTLE_S = 0.05
"""Many SAs come and go at once: the table is made anew this long after the first of them."""

_CHANGES = (ChildSaInstalled, ChildSaRemoved, IkeSaClosed, PathChanged, PathMtuChanged, PeerMoved)


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
        self._retired: dict[SaId, Outbound] = {}
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._numbers: SentNumbers | None = None
        self._judge = Judge(self._sent)
        self._queue: IcmpQueue | None = None

    # -- what there is to know

    def observe(self, event: Event) -> None:
        """Listen to the engines: whatever changes an SA or a belief changes the table."""
        if isinstance(event, ChildSaRemoved):
            self._retire(event.outbound)
        if isinstance(event, _CHANGES) and self._loop is not None and not self._scheduled:
            self._scheduled = True
            self._loop.call_later(SETTLE_S, self.refresh)

    def _retire(self, gone: SaId) -> None:
        """Errors about the last packets of an SA are under way when it goes."""
        known = self._judge.table.get(gone)
        if known is not None:
            self._retired[gone] = replace(known, until=time.monotonic() + OVERLAP_S)

    def refresh(self) -> None:
        """Make the table anew, and see to the rules."""
        self._scheduled = False
        now = time.monotonic()
        self._retired = {sa: o for sa, o in self._retired.items() if o.until is not None and now < o.until}
        standing = self._standing()
        peers = {c.remote for c in self._engine.config.connections.values() if c.remote is not None}
        peers |= {o.id.destination for o in standing}
        mtus = {o.path: mtu for o in standing if (mtu := self._believed(o.path)) is not None}
        self._judge.table = Table.of(peers, [*self._retired.values(), *standing], mtus)
        self._guard(IcmpGuard(self._under(IcmpPolicy.VALIDATE, peers), self._under(IcmpPolicy.IGNORE, peers)))

    def _standing(self) -> list[Outbound]:
        children = (child for sa in self._engine.ike_sas() for child in sa.children)
        return [
            Outbound(child.outbound, child.inbound.destination, child.encap)
            for child in children
            if child.installed and child.pending_outbound is None
        ]

    def _under(self, policy: IcmpPolicy, peers: set[IPAddress]) -> frozenset[IPAddress]:
        return frozenset(peer for peer in peers if self.policies[peer.version] == policy)

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
        self.refresh()

    def stop(self) -> None:
        """Judge nothing more."""
        if self._queue is not None:
            self._queue.stop()
            self._queue = None
        if self._numbers is not None:
            self._numbers.close()
            self._numbers = None
        self._loop = None

    def _sent(self, sa: SaId) -> int | None:
        return self._numbers(sa) if self._numbers is not None else None

    def _verdict(self, packet: bytes) -> bool:
        """In the queue's thread."""
        found = self._judge.judge(packet, time.monotonic())
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._judged, found)
        return found.accepted

    def _judged(self, found: Judgement) -> None:
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
