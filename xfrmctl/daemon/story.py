"""What has happened lately, and what happens now, for who follows it; filtered while an event still is a value."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from xfrmctl.control.events import event_json, event_name
from xfrmctl.control.schema import unknown_name
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.logs import level_of, tell
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.events import Event, MessageReceived, MessageSent
from xfrmctl.model.path import Path
from xfrmctl.model.selection import MAX_LAST, EventSelection, is_pattern

STREAM_LIMIT = 10_000
"""Events that wait for a slow follower before the oldest are dropped."""

_SEVERITY = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
}
_LEVEL = {word: level for level, word in _SEVERITY.items()}


class Story:
    """The events of this daemon: MAX_LAST of the past are kept, messages and what is less than INFO apart."""

    def __init__(self, engine: IkeEngine, bus: Bus, wall: Callable[[], float]) -> None:
        self._engine = engine
        self._bus = bus
        self._wall = wall
        self._past: deque[tuple[float, Event]] = deque(maxlen=MAX_LAST)

    def observe(self, event: Event) -> None:
        """Remember an event."""
        if not isinstance(event, MessageSent | MessageReceived) and level_of(event) >= logging.INFO:
            self._past.append((self._wall(), event))

    async def follow(self, wanted: EventSelection) -> AsyncIterator[dict[str, Any]]:
        """Those of the past that are wanted, the oldest first, and then what happens, without a gap between."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(STREAM_LIMIT)

        def observe(event: Event) -> None:
            if self._wants(wanted, event):
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(self.told(event, self._wall()))

        past = [(at, event) for at, event in self._past if self._wants(wanted, event)] if wanted.last else []
        unsubscribe = self._bus.subscribe(observe)
        try:
            for at, event in past[-wanted.last :]:
                yield self.told(event, at)
            while wanted.follow:
                yield await queue.get()
        finally:
            unsubscribe()

    def check(self, wanted: EventSelection) -> None:
        """Raises RequestError for the name of a connection that is not configured."""
        configured = self._engine.config.connections
        for name in wanted.connections:
            if not is_pattern(name) and name not in configured:
                raise unknown_name("connection", name, configured)

    def told(self, event: Event, at: float) -> dict[str, Any]:
        """An event as the stream has it; ``at`` is seconds since the epoch."""
        found = event_json(event, at)
        head = {"event": found.pop("event"), "at": found.pop("at")}
        return {**head, "severity": _SEVERITY[level_of(event)], "text": tell(event), **found}

    def _wants(self, wanted: EventSelection, event: Event) -> bool:
        if level_of(event) < _LEVEL[wanted.severity]:
            return False
        if wanted.kinds and event_name(type(event)) not in wanted.kinds:
            return False
        return not wanted.connections or any(self._concerns(event, name) for name in wanted.connections)

    def _concerns(self, event: Event, name: str) -> bool:
        """Whether an event is about a connection: it says so, or it is about its path or its peer's address."""
        said = getattr(event, "connection", "")
        if said:
            return fnmatchcase(said, name)
        peers = set(_peers(event))
        if not peers:
            return False
        configured = self._engine.config.connections
        names = [n for n in configured if fnmatchcase(n, name)] if is_pattern(name) else [name] * (name in configured)
        return any(not peers.isdisjoint(self._ends(n)) for n in names)

    def _ends(self, name: str) -> Iterable[IPAddress]:
        """Addresses of a connection's peer."""
        remote = self._engine.config.connections[name].remote
        if remote is not None:
            yield remote
        yield from (sa.remote.address for sa in self._engine.ike_sas(name))


def _peers(event: Event) -> Iterable[IPAddress]:
    """Addresses of peers that an event is about which names no connection."""
    remote, peer, path = (getattr(event, name, None) for name in ("remote", "peer", "path"))
    if isinstance(remote, Endpoint):
        yield remote.address
    if peer is not None and not isinstance(peer, str):
        yield peer
    if isinstance(path, Path):
        yield path.remote
