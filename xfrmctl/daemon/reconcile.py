"""Brings the kernel to what :mod:`intent` says, in a worker thread, and keeps watching over it.

A change of one child costs what that child is large: its old part is compared with its new one. Now and then, at the
start and when events were lost, everything is read and compared. The event loop never waits for either.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from xfrmctl.daemon import intent, routes
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.fragmentation import Squeeze
from xfrmctl.daemon.intent import Sizes
from xfrmctl.daemon.parts import Part, PartMaker
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.union import Union
from xfrmctl.ike.config import EngineConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.mild import Fate
from xfrmctl.kernel.desired import Desired, IcmpGuard
from xfrmctl.kernel.ports import ConvergeReport, Kernel
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.events import (
    ChildSaInstalled,
    ChildSaRemoved,
    Event,
    IkeSaEstablished,
    Ipv6Squeezed,
    KernelDisturbed,
    KernelTrouble,
    LocalAddressChanged,
    PathChanged,
    PeerMoved,
)
from xfrmctl.model.overlap import Pairs
from xfrmctl.model.path import Path
from xfrmctl.model.spd import SpdAction, SpdEntry

GATEWAY = 0
"""The number of the part that belongs to no child."""

AT_ONCE = 16
"""Parts that are made before the event loop has its turn."""

SETTLE_S = 0.02
"""The first change is applied at once, what follows it within this time together: many children come up at once."""

FULL_INTERVAL_S, FULL_SHARE = 60.0, 0.05
"""How often everything is compared; less often where that would take more than this share of the time, during which
changes wait: with ten thousand tunnels it takes some seconds."""

MTU_INTERVAL_S = 5.0


@dataclass(slots=True)
class Reconciler:
    """Owner of the desired state. All methods run in the event loop's thread; the kernel is called from a worker.

    Parts go by reqid: one for each configured child, and one for each child of each peer of a connection that serves
    many (PEER_REQIDS), as long as it has a CHILD SA. ``narrowed`` is told whose SAs are to clear DF.
    """

    engine: IkeEngine
    kernel: Kernel
    bus: Bus
    paths: PathKeeper
    entries: tuple[SpdEntry, ...] = ()
    problems: tuple[str, ...] = ()
    disturbances: tuple[str, ...] = ()
    """What others had done by the last full look, and was put back then."""
    faults: list[str] = field(default_factory=list)
    _parts: dict[int, Part] = field(default_factory=dict)
    _union: Union = field(default_factory=Union)
    _poisoned: set[Path] = field(default_factory=set)
    _dirty: set[int] = field(default_factory=set)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _suspicious: bool = False
    narrowed: Callable[[frozenset[int]], None] = lambda _: None
    _cleared: frozenset[int] = frozenset()
    _icmp: IcmpGuard = field(default_factory=IcmpGuard)
    _icmp_wanted: IcmpGuard = field(default_factory=IcmpGuard)
    maker: PartMaker = field(init=False)

    def __post_init__(self) -> None:
        self.maker = PartMaker(self.engine, self.paths)

    # -- what is wanted

    def sizes(self, reqid: int) -> Sizes | None:
        """MTU and MSS in force for a child."""
        part = self._parts.get(reqid)
        return part.sizes if part else None

    def squeeze(self, reqid: int) -> Squeeze | None:
        """Whether a child has too little room for IPv6."""
        part = self._parts.get(reqid)
        return part.squeeze if part else None

    @property
    def policies(self) -> int:
        """How many policies should stand."""
        return self._union.policies

    def observe(self, event: Event) -> None:
        """Listen to the engine: whatever changes a child's SA changes its part."""
        match event:
            case ChildSaInstalled() | ChildSaRemoved():
                self._dirty.add(event.reqid)
                self._wake.set()
            case PeerMoved() | PathChanged():
                self._dirty.update(event.reqids)
                self._wake.set()
            case LocalAddressChanged() if event.connection in self.engine.config.connections:
                self._dirty.update(c.reqid for c in self.engine.config.connections[event.connection].children)
                self._wake.set()
            case IkeSaEstablished(local=local, remote=remote):
                self.maker.outer.pop((local.address, remote.address), None)

    def guard(self, wanted: IcmpGuard) -> None:
        """Have ICMP errors that name these peers judged or ignored, soon."""
        self._icmp_wanted = wanted
        self._wake.set()

    def path_changed(self, reqids: set[int]) -> None:
        """What the path of these children carries has changed."""
        self._dirty |= reqids
        self._wake.set()

    def path_poisoned(self, path: Path) -> None:
        """The kernel believes less of a path than is true: make the route to the peer anew at the next turn."""
        self._poisoned.add(path)
        self._wake.set()

    async def _heal(self) -> None:
        """Replace routes below which the kernel has noted down less: to peers, and to what is behind their tunnels."""
        paths = {(path.local, path.remote) for path in self._poisoned}
        self._poisoned.clear()
        _, true = self._union.replace({r: part.desired for r, part in self._parts.items() if part.path in paths})
        sized = frozenset(route for route in true.routes if route.mtu is not None)
        noted = Desired(routes=frozenset(replace(route, mtu=(route.mtu or 0) - 1) for route in sized))
        self._report(await asyncio.to_thread(self.kernel.change, noted, Desired(routes=sized)))

    def look_again(self) -> None:
        """Events were lost, or somebody else was at it: compare the whole with the kernel as soon as may be."""
        self._suspicious = True
        self._wake.set()

    def network_changed(self, *, address_gone: bool) -> None:
        """Addresses of ours may have come or gone; the kernel takes along routes of which one was the source."""
        with suppress(XfrmctlError):  # the next full look asks again
            self._look_at_ways()
            before, self.maker.own = self.maker.own, self.kernel.addresses()
            if self.maker.own != before:
                self._dirty.update(reqid for reqid, part in self._parts.items() if part.desired.interfaces)
                self._wake.set()
            if address_gone and any(route.source in before for p in self._parts.values() for route in p.desired.routes):
                self.look_again()

    def _look_at_ways(self) -> None:
        """Routes or rules of the host have changed: mend ours; who has a tunnel and no SA may be reached otherwise."""
        versions = self._union.peer_versions
        if versions and not self.kernel.rules_stand(versions):
            self.look_again()
        for reqid in self._waiting_tunnels():
            part, new = self._parts.get(reqid), self.maker.make(reqid)
            if part is None or new is None or part.desired != new.desired:
                self._dirty.add(reqid)
                self._wake.set()

    def _waiting_tunnels(self) -> Iterable[int]:
        for connection in self.engine.config.connections.values():
            for child in connection.children:
                if child.tunnel is not None and self.engine.newest_child(child.reqid) is None:
                    yield child.reqid

    def _note(self, reqid: int, part: Part | None) -> None:
        """What the other children on a part's path have to know, and the operator."""
        squeeze = part.squeeze if part is not None else None
        need = squeeze.need if squeeze is not None and not squeeze.lost and not squeeze.here else None
        self.maker.narrow.note(reqid, part.way if part is not None else None, need)
        news, newest = self.maker.narrow.news(reqid, squeeze), self.engine.newest_child(reqid)
        if news is not None and newest is not None:
            name, lost = newest[1].config.name, squeeze is not None and squeeze.lost
            self.bus.publish(Ipv6Squeezed(connection=newest[0].connection, child=name, lost=lost, detail=news))

    def _reqids(self) -> Iterable[int]:
        for connection in self.engine.config.connections.values():
            for child in connection.children:
                yield child.reqid
        yield from self.engine.peers.reqids

    def desired(self) -> Desired:
        """All that should stand by the configuration in force."""
        return replace(self._union.whole(), icmp=self._icmp_wanted)

    def planned(self, config: EngineConfig, entries: tuple[SpdEntry, ...]) -> Desired:
        """All that would stand after a reload, before anything is negotiated anew."""
        fates = self.engine.fates(config)
        maker = replace(self.maker, outer={}, own=self.kernel.addresses(), discards=_discards(entries))
        parts = {GATEWAY: intent.of_gateway(entries)}
        for connection in config.connections.values():
            standing = fates[connection.name] in (Fate.UNTOUCHED, Fate.ADOPTED)
            for child in connection.children:
                parts[child.reqid] = maker.configured(connection, child, standing=standing).desired
        for reqid in self.engine.peers.reqids:
            newest = self.engine.newest_child(reqid)
            new = config.connections.get(newest[0].connection) if newest is not None else None
            if newest is None or new is None or fates[new.name] not in (Fate.UNTOUCHED, Fate.ADOPTED):
                continue
            parts[reqid] = maker.peers(new, new.child(newest[1].config.name) or newest[1].config, newest[1]).desired
        return replace(Union(parts).whole(), icmp=self._icmp_wanted)

    # -- making it so

    async def everything(self, *, stopping: bool = False) -> None:
        """Compute every part anew, read the kernel, mend what differs."""
        async with self._lock:
            self._dirty.clear()
            self.maker.outer.clear()
            self.maker.own = self.kernel.addresses()
            self.maker.discards = _discards(self.entries)
            reqids = set(self._reqids())
            gone = self._parts.keys() - reqids
            await asyncio.sleep(0)
            changes = await self._recompute(reqids | gone, stopping=stopping)
            changes[GATEWAY] = intent.of_gateway(self.entries)
            while changes:
                some = {reqid: changes.pop(reqid) for reqid in tuple(islice(changes, AT_ONCE))}
                self._union.replace(some)
                await asyncio.sleep(0)
            self._icmp = IcmpGuard() if stopping else self._icmp_wanted
            icmp = self._icmp
            report = await asyncio.to_thread(lambda: self.kernel.converge(replace(self.desired(), icmp=icmp)))
            self.disturbances = report.disturbances
            self._report(report, whole=True)
        if not stopping:
            self._tell_narrowed()

    async def changed(self) -> None:
        """Apply what has become dirty since the last time."""
        async with self._lock:
            reqids, self._dirty = self._dirty, set()
            if reqids or self._icmp != self._icmp_wanted:
                await self._apply(reqids)
        self._tell_narrowed()

    async def _recompute(self, reqids: Collection[int], *, stopping: bool = False) -> dict[int, Desired | None]:
        """Parts anew, and those of others on paths that have turned narrow, or wide again. Gives what has changed.

        In small pieces: whatever changes meanwhile is dirty, and is made once more at the next turn.
        """
        changes: dict[int, Desired | None] = {}
        while reqids:
            for number, reqid in enumerate(tuple(reqids), 1):
                part, before = self.maker.make(reqid, stopping=stopping), self._union.parts.get(reqid)
                if part is not None:
                    self._parts[reqid] = part
                else:
                    self._parts.pop(reqid, None)
                if not stopping:
                    self._note(reqid, part)
                if part is not None and part.desired == before:
                    part.desired = before  # one copy will do
                elif part is not None or before is not None:
                    changes[reqid] = part.desired if part is not None else None
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
            reqids = self.maker.narrow.changed()
        return changes

    def _tell_narrowed(self) -> None:
        clear = self.maker.narrow.clear
        if clear != self._cleared:
            self._cleared = clear
            self.narrowed(clear)

    async def _apply(self, reqids: set[int]) -> None:
        changes = await self._recompute(reqids)
        before, after = self._union.replace(changes)
        before, after = replace(before, icmp=self._icmp), replace(after, icmp=self._icmp_wanted)
        self._icmp = self._icmp_wanted
        if before != after:
            if self.problems:  # what was refused before may be possible now
                self.look_again()
            self._report(await asyncio.to_thread(self.kernel.change, before, after))

    def _report(self, report: ConvergeReport, *, whole: bool = False) -> None:
        """Tell what is new; only a look at the ``whole`` says what is no problem any more."""
        new = [problem for problem in report.problems if problem not in self.problems]
        for problem in new:
            self.bus.publish(KernelTrouble(problem=problem))
        self.problems = report.problems if whole else (*self.problems, *new)
        for disturbance in report.disturbances:
            self.bus.publish(KernelDisturbed(disturbance=disturbance))

    async def run(self) -> None:
        """Apply changes as they come; look at link MTUs and at the whole from time to time. Ends by cancellation."""
        loop = asyncio.get_running_loop()
        full_at, mtu_at = loop.time() + FULL_INTERVAL_S, loop.time() + MTU_INTERVAL_S
        while True:
            await self._wait(min(full_at, mtu_at) - loop.time())
            try:
                if self._poisoned:
                    await self._heal()
                if self._dirty or self._icmp != self._icmp_wanted:
                    await self.changed()
                    await asyncio.sleep(SETTLE_S)
                if loop.time() >= mtu_at:
                    mtu_at = loop.time() + MTU_INTERVAL_S
                    await self._look_at_links()
                if self._suspicious or loop.time() >= full_at:
                    self._suspicious = False
                    began = loop.time()
                    await self.everything()
                    full_at = loop.time() + max(FULL_INTERVAL_S, (loop.time() - began) / FULL_SHARE)
            except XfrmctlError as error:  # the kernel refused to be read: the next full look mends what was missed
                self._report(ConvergeReport(0, (str(error),)))

    async def _wait(self, seconds: float) -> None:
        self._wake.clear()
        if self._dirty or self._suspicious or self._poisoned or self._icmp != self._icmp_wanted:
            return
        with_timeout: Callable[[], object] = self._wake.set
        handle = asyncio.get_running_loop().call_later(max(0.0, seconds), with_timeout)
        try:
            await self._wake.wait()
        finally:
            handle.cancel()

    async def _look_at_links(self) -> None:
        """Ask the kernel again what the routes to the peers take; a child whose figure has changed is dirty."""
        asked = list(self.maker.outer)
        answers = await asyncio.to_thread(lambda: {pair: routes.outer_mtu(*pair) for pair in asked})
        moved = {pair for pair, mtu in answers.items() if self.maker.outer.get(pair) != mtu}
        if not moved:
            return
        self.maker.outer.update(answers)
        self._dirty.update(reqid for reqid, part in self._parts.items() if part.path in moved)
        await self.changed()


def _discards(entries: Iterable[SpdEntry]) -> Pairs[SpdEntry]:
    found: Pairs[SpdEntry] = Pairs()
    for entry in entries:
        if entry.action is SpdAction.DISCARD:
            found.add(entry.remote_ts, entry.local_ts, entry)
    return found
