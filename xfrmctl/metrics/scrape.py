"""One scrape, in pieces: a gateway with 10,000 CHILD SAs is not looked at in one go, or a handshake would wait for it.

Everything runs in the daemon's own thread, and a message waits for one piece at most, which is about as long as a step
of the engine. A thread instead would compete for the interpreter with every system call of the loop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import Protocol

from xfrmctl.metrics import children, compat, connections, gateway, happenings, process
from xfrmctl.metrics.accumulate import Accumulator
from xfrmctl.metrics.counters import EventCounters
from xfrmctl.metrics.family import Family, gauge
from xfrmctl.metrics.ledger import Ledger
from xfrmctl.metrics.pacer import CHEAP, Pacer
from xfrmctl.metrics.page import OPENMETRICS, TEXT, Page
from xfrmctl.model.events import Event
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, Snapshot

PIECES = gauge(
    "xfrmctl_scrape_pieces",
    "Pieces that the scrape before this one was cut into, so that messages need not wait for it.",
    "Grows with the number of CHILD SAs.",
)
LONGEST = gauge(
    "xfrmctl_scrape_longest_piece_seconds",
    "The longest piece of the scrape before this one: how long a message may have waited for it.",
    "More than some milliseconds: the host has no time for us.",
)
TOOK = gauge(
    "xfrmctl_scrape_duration_seconds",
    "Time that the scrape before this one took, with everything that happened meanwhile.",
    "Near Prometheus' scrape_timeout: scrape less often, or with a longer timeout.",
)

FAMILIES: tuple[Family, ...] = (
    *gateway.FAMILIES,
    *connections.FAMILIES,
    *children.FAMILIES,
    *happenings.FAMILIES,
    PIECES,
    LONGEST,
    TOOK,
    *process.FAMILIES,
)
"""Everything that a scrape can have, in its order."""


class Source(Protocol):
    """Where a scrape comes from: the daemon."""

    async def gateway(self, pacer: Pacer, ledger: Ledger) -> Snapshot:
        """All but the connections; ``ledger`` has seen what every SA carries when this returns."""

    def connections(self, pacer: Pacer) -> AsyncIterator[ConnectionInfo]:
        """One after the other, as they are just now; a scrape takes them apart."""


def dismantle(connection: ConnectionInfo) -> Iterator[None]:
    """Take a state apart that nobody needs any more, in steps: freed at once it would take as long as it was made."""
    while connection.ike_sas:
        ike = connection.ike_sas.pop()
        yield
        while ike.children:
            ike.children.pop()
            yield
    while connection.children:
        connection.children.pop()
        yield


class Metrics:
    """Everything one daemon exports. ``counters.observe`` takes events, ``ledger`` follows the SAs."""

    def __init__(
        self, source: Source, wall: Callable[[], float], *, compatible: bool = False, exemplars: bool = False
    ) -> None:
        """``wall`` gives the seconds since the epoch. ``compatible``: see ``compat``."""
        self.counters = EventCounters(wall, exemplars=exemplars)
        self._compatible = compatible
        self.ledger = Ledger()
        self._source = source
        self._totals = Accumulator()
        self._before: Pacer | None = None
        self._took_s = 0.0
        self._one_at_a_time = asyncio.Lock()

    def observe(self, event: Event) -> None:
        """Take every event once."""
        self.counters.observe(event)
        self.ledger.observe(event)

    async def render(self, accept: str = "") -> tuple[list[bytes], str]:
        """The exposition in pieces, in the format that ``accept`` asks for, and its content type."""
        openmetrics = "application/openmetrics-text" in accept
        page = Page((*FAMILIES, *(compat.FAMILIES * self._compatible)), openmetrics=openmetrics)
        async with self._one_at_a_time:
            began, pacer = perf_counter(), Pacer()
            await self._fill(page, pacer)
            text = []
            for piece in page.pieces():
                text.append(piece)
                await pacer.rest()
            self._before, self._took_s = pacer, perf_counter() - began
        return text, OPENMETRICS if openmetrics else TEXT

    async def _fill(self, page: Page, pacer: Pacer) -> None:
        snapshot = await self._source.gateway(pacer, self.ledger)
        self._totals.update(gateway.readings(snapshot))
        gateway.show(snapshot, self._totals, page)
        process.show(page)
        await pacer.rest()
        known: set[tuple[str, str]] = set()
        reqids: set[int] = set()
        ike_sas = 0
        async for connection in self._source.connections(pacer):
            await self._connection(connection, reqids, page, pacer)
            ike_sas += len(connection.ike_sas)
            known |= {(connection.name, child.name) for child in connection.children}
            await pacer.walk(dismantle(connection), cheap=CHEAP)
        if self._compatible:
            compat.gateway(snapshot, ike_sas, page)
        names = {connection for connection, _ in known}
        standing = set(gateway.series(snapshot))
        await pacer.walk(self.ledger.keep(known, reqids), cheap=CHEAP)
        await pacer.walk(self.counters.keep(names), cheap=CHEAP)
        stays = lambda series: series in standing or (series[0] == connections.PROBES and series[1] in names)  # noqa: E731
        await pacer.walk(self._totals.keep(stays), cheap=CHEAP)
        await pacer.walk(self.counters.show(page), cheap=CHEAP)
        if self._before is not None:
            page.put(PIECES, (), self._before.pieces)
            page.put(LONGEST, (), self._before.longest_s)
            page.put(TOOK, (), self._took_s)

    async def _connection(self, connection: ConnectionInfo, reqids: set[int], page: Page, pacer: Pacer) -> None:
        newest: dict[str, ChildInfo] = {}
        await pacer.walk(children.find_newest(connection, newest, reqids), cheap=CHEAP)
        self.counters.begin(connection.name)
        connections.show(connection, newest, self._totals, page)
        await pacer.walk(children.show(connection, newest, self.ledger, page))
        if self._compatible:
            await pacer.walk(compat.show(connection, page))
