"""SAs that an earlier daemon has left in the kernel: they carry packets until their successors stand.

A restart (SIGUSR1, which is what the unit's ``RestartKillSignal=`` sends) and a crash leave policies and SAs alone. The
keys of IKE have died with the process, and nobody but the peer could rekey or delete these SAs, so what was up is
negotiated anew at once. The old SAs go when the new ones have been there for a moment, or when it is clear that none
will come. The kernel's own limits of time, bytes and packets hold for them as before.
"""

import asyncio
from collections.abc import Collection
from functools import partial

from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.ports import SadPort
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import ChildSaInstalled, ConfigReloaded, Event
from xfrmctl.model.sa import SaId

KEEP_S = 180.0
"""How long they wait for successors, seconds. Where we cannot reach the peer, it has noticed by then that we do not
answer (strongSwan gives up 165 s after its first unanswered request), and begins itself."""

LINGER_S = 5.0
"""How long they stay beside their successors, for packets under way."""


class Inheritance:
    """What is left of the daemon before us. All of it runs in the event loop's thread."""

    def __init__(self, engine: IkeEngine, sad: SadPort, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._sad, self._loop = engine, sad, loop
        self._kept: dict[int, list[SaId]] = {}

    def take(self) -> int:
        """Keep what is of use, delete the rest; gives how many SAs were kept. Raises KernelRefusal.

        Of use is an SA between the two addresses of a configured child: a peer of a connection that serves many, or one
        that has moved, is known by its own word only, and has to come again.
        """
        doomed = []
        for sa_id, carried in self._sad.dump().items():
            if sa_id.destination in self._ends(carried.reqid):
                self._kept.setdefault(carried.reqid, []).append(sa_id)
            else:
                doomed.append(sa_id)
        self._sad.delete(doomed)
        if self._kept:
            self._loop.call_later(KEEP_S, self.drop)
        return sum(map(len, self._kept.values()))

    def resume(self, now: float) -> None:
        """Ask for successors: no packet will, while the old SAs are there."""
        self._engine.resume(self._kept, now)

    def observe(self, event: Event) -> None:
        """A new CHILD SA ends the old one; what a reload has taken out of the configuration goes at once."""
        if isinstance(event, ChildSaInstalled) and event.reqid in self._kept:
            self._loop.call_later(LINGER_S, partial(self.drop, [event.reqid]))
        elif isinstance(event, ConfigReloaded) and event.ok:
            self.drop([r for r, ids in self._kept.items() if not self._ends(r).issuperset(i.destination for i in ids)])

    def drop(self, reqids: Collection[int] | None = None) -> None:
        """Delete those of some children, or all."""
        going = tuple(self._kept if reqids is None else reqids)
        doomed = [sa_id for reqid in going for sa_id in self._kept.pop(reqid, ())]
        try:
            self._sad.delete(doomed)
        except KernelRefusal:
            return  # an SA that the kernel does not give up ends by its lifetime

    def _ends(self, reqid: int) -> frozenset[object]:
        connection, _ = self._engine.configured(reqid)
        found = self._engine.config.connections.get(connection)
        return frozenset() if found is None else frozenset((found.local, found.remote)) - {None}
