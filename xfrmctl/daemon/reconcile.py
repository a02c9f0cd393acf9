"""Brings the kernel to what :mod:`intent` says, in a worker thread, and keeps watching over it.

A change of one child costs what that child is large: its old part is compared with its new one. Now and then, at the
start and when events were lost, everything is read and compared. The event loop never waits for either.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from xfrmctl.daemon import intent, routes
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.intent import Established, Sizes
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.desired import Desired
from xfrmctl.kernel.ports import ConvergeReport, Kernel
from xfrmctl.model.address import IPAddress
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.events import (
    ChildSaInstalled,
    ChildSaRemoved,
    Event,
    IkeSaEstablished,
    KernelTrouble,
    LocalAddressChanged,
    PathChanged,
    PeerMoved,
)
from xfrmctl.model.selector import TrafficSelector

Name = tuple[str, str]
"""Connection and child."""

SETTLE_S = 0.02
"""The first change is applied at once, what follows it within this time together: many children come up at once."""

FULL_INTERVAL_S = 60.0
MTU_INTERVAL_S = 5.0

BypassPairs = tuple[tuple[TrafficSelector, TrafficSelector], ...]


@dataclass(slots=True)
class Part:
    """What one child wants to stand, and the sizes behind it."""

    desired: Desired
    sizes: Sizes


@dataclass(slots=True)
class Reconciler:
    """Owner of the desired state. All methods run in the event loop's thread; the kernel is called from a worker."""

    engine: IkeEngine
    kernel: Kernel
    bus: Bus
    bypass: BypassPairs = ()
    problems: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)
    _parts: dict[Name, Part] = field(default_factory=dict)
    _gateway: Desired = field(default_factory=Desired)
    _outer: dict[tuple[IPAddress | None, IPAddress], int | None] = field(default_factory=dict)
    _dirty: set[Name] = field(default_factory=set)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _suspicious: bool = False

    # -- what is wanted

    def sizes(self, connection: str, child: str) -> Sizes | None:
        """MTU and MSS in force for a child."""
        part = self._parts.get((connection, child))
        return part.sizes if part else None

    def observe(self, event: Event) -> None:
        """Listen to the engine: whatever changes a child's SA changes its part."""
        match event:
            case ChildSaInstalled() | ChildSaRemoved():
                self._dirty.add((event.connection, event.child))
                self._wake.set()
            case PeerMoved() | PathChanged() | LocalAddressChanged():
                self._dirty |= {name for name in self._configured() if name[0] == event.connection}
                self._wake.set()
            case IkeSaEstablished(local=local, remote=remote):
                self._outer.pop((local.address, remote.address), None)

    def look_again(self) -> None:
        """Events were lost, or somebody else was at it: compare the whole with the kernel as soon as may be."""
        self._suspicious = True
        self._wake.set()

    def established(self, name: Name) -> Established | None:
        """The newest installed CHILD SA of this name."""
        newest = self.engine.newest_child(*name)
        if newest is None:
            return None
        _, child = newest
        return Established(
            child.suite,
            child.inbound.destination,  # not those of the IKE SA, which may be ahead of its children (RFC 4555 3.5)
            child.outbound.destination,
            child.encap is not None,
            child.mode,
            child.local_ts,
            child.remote_ts,
        )

    def _one_configured(self, name: Name) -> tuple[ConnectionConfig, ChildConfig] | None:
        connection = self.engine.config.connections.get(name[0])
        child = connection.child(name[1]) if connection is not None else None
        return (connection, child) if connection is not None and child is not None else None

    def _configured(self) -> dict[Name, tuple[ConnectionConfig, ChildConfig]]:
        return {
            (connection.name, child.name): (connection, child)
            for connection in self.engine.config.connections.values()
            for child in connection.children
        }

    def _part(self, name: Name, connection: ConnectionConfig, child: ChildConfig, *, stopping: bool = False) -> Part:
        established = self.established(name)
        remote = established.remote if established else connection.remote
        local = established.local if established else connection.local
        outer: int | None = None
        if remote is not None:
            if (local, remote) not in self._outer:
                self._outer[local, remote] = routes.outer_mtu(local, remote)
            outer = self._outer[local, remote]
        sizes = intent.sizes(connection, child, established, outer)
        return Part(intent.of_child(connection, child, established, sizes, stopping=stopping), sizes)

    def desired(self) -> Desired:
        """All that should stand by the configuration in force."""
        return intent.merge([self._gateway, *(p.desired for p in self._parts.values())])

    def planned(self, connections: Iterable[ConnectionConfig]) -> Desired:
        """All that would stand with these connections, before anything is negotiated anew."""
        parts = [self._part((c.name, child.name), c, child).desired for c in connections for child in c.children]
        return intent.merge([self._gateway, *parts])

    # -- making it so

    async def everything(self, *, stopping: bool = False) -> None:
        """Compute every part anew, read the kernel, mend what differs."""
        async with self._lock:
            self._dirty.clear()
            self._outer.clear()
            self._gateway = Desired() if stopping else intent.of_gateway(self.bypass)
            self._parts = {
                name: self._part(name, *both, stopping=stopping) for name, both in self._configured().items()
            }
            desired = self.desired()
            self._report(await asyncio.to_thread(self.kernel.converge, desired))

    async def changed(self) -> None:
        """Apply what has become dirty since the last time."""
        async with self._lock:
            names, self._dirty = self._dirty, set()
            if names:
                await self._apply(names)

    async def _apply(self, names: set[Name]) -> None:
        shared = {i for n in names if n in self._parts for i in self._parts[n].desired.interfaces}
        if shared:
            names |= {n for n, p in self._parts.items() if shared & p.desired.interfaces.keys()}
        before = intent.merge(self._parts[n].desired for n in names if n in self._parts)
        for name in names:
            configured = self._one_configured(name)
            if configured is not None:
                self._parts[name] = self._part(name, *configured)
            else:
                self._parts.pop(name, None)
        after = intent.merge(self._parts[n].desired for n in names if n in self._parts)
        if before != after:
            self._report(await asyncio.to_thread(self.kernel.change, before, after))

    def _report(self, report: ConvergeReport) -> None:
        for problem in report.problems:
            if problem not in self.problems:
                self.bus.publish(KernelTrouble(problem=problem))
        self.problems = report.problems

    async def run(self) -> None:
        """Apply changes as they come; look at link MTUs and at the whole from time to time. Ends by cancellation."""
        loop = asyncio.get_running_loop()
        full_at, mtu_at = loop.time() + FULL_INTERVAL_S, loop.time() + MTU_INTERVAL_S
        while True:
            await self._wait(min(full_at, mtu_at) - loop.time())
            try:
                if self._dirty:
                    await self.changed()
                    await asyncio.sleep(SETTLE_S)
                if loop.time() >= mtu_at:
                    mtu_at = loop.time() + MTU_INTERVAL_S
                    await self._look_at_links()
                if self._suspicious or loop.time() >= full_at:
                    self._suspicious = False
                    full_at = loop.time() + FULL_INTERVAL_S
                    await self.everything()
            except XfrmctlError as error:  # the kernel refused to be read: the next full look mends what was missed
                self._report(ConvergeReport(0, (str(error),)))

    async def _wait(self, seconds: float) -> None:
        self._wake.clear()
        if self._dirty or self._suspicious:
            return
        with_timeout: Callable[[], object] = self._wake.set
        handle = asyncio.get_running_loop().call_later(max(0.0, seconds), with_timeout)
        try:
            await self._wake.wait()
        finally:
            handle.cancel()

    async def _look_at_links(self) -> None:
        """Ask the kernel again what the routes to the peers take; a child whose figure has changed is dirty."""
        asked = list(self._outer)
        answers = await asyncio.to_thread(lambda: {pair: routes.outer_mtu(*pair) for pair in asked})
        moved = {pair for pair, mtu in answers.items() if self._outer.get(pair) != mtu}
        if not moved:
            return
        self._outer.update(answers)
        for name, (connection, _) in self._configured().items():
            found = self.established(name)
            pair = (found.local, found.remote) if found else (connection.local, connection.remote)
            if pair in moved:
                self._dirty.add(name)
        await self.changed()
