"""Scrapes of snapshots that somebody has thought up, read by the official parser."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from xfrmctl.metrics import happenings
from xfrmctl.metrics.counters import EventCounters
from xfrmctl.metrics.ledger import Ledger
from xfrmctl.metrics.pacer import Pacer
from xfrmctl.metrics.page import Page
from xfrmctl.metrics.scrape import Metrics
from xfrmctl.model.events import Event
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot

WALL = 1_800_000_000.0


class Snapshots:
    """A source: one snapshot a scrape; the last one for ever."""

    def __init__(self, *snapshots: Snapshot) -> None:
        self._waiting = list(snapshots)
        self._now = snapshots[0]

    async def gateway(self, pacer: Pacer, ledger: Ledger) -> Snapshot:
        self._now = self._waiting.pop(0) if len(self._waiting) > 1 else self._waiting[0]
        return replace(self._now, connections=[])

    async def connections(self, pacer: Pacer) -> AsyncIterator[ConnectionInfo]:
        for connection in self._now.connections:
            yield deepcopy(connection)  # a scrape takes apart what it is given


def metrics_of(*snapshots: Snapshot) -> Metrics:
    return Metrics(Snapshots(*snapshots), lambda: WALL)


async def text(metrics: Metrics, accept: str = "") -> str:
    pieces, _ = await metrics.render(accept)
    return b"".join(pieces).decode()


async def scrape(metrics: Metrics) -> list[Sample]:
    return [s for family in text_string_to_metric_families(await text(metrics)) for s in family.samples]


def value(samples: Sequence[Sample], family: str, /, **labels: str) -> float | None:
    found = [s.value for s in samples if s.name == family and s.labels == labels]
    assert len(found) <= 1, found
    return found[0] if found else None


def scraped(*snapshots: Snapshot) -> list[list[Sample]]:
    """The samples of as many scrapes as there are snapshots."""

    async def run() -> list[list[Sample]]:
        metrics = metrics_of(*snapshots)
        return [await scrape(metrics) for _ in snapshots]

    return asyncio.run(run())


class Counted:
    """The counters after these events, as a scrape would show them."""

    def __init__(self, events: Iterable[Event]) -> None:
        counters, page = EventCounters(lambda: WALL), Page(happenings.FAMILIES)
        for event in events:
            counters.observe(event)
        for _ in counters.show(page):
            pass
        families = text_string_to_metric_families(b"".join(page.pieces()).decode())
        self.samples = [s for family in families for s in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of all series of a family that have these labels, and maybe others."""
        return sum(s.value for s in self.samples if s.name == f"xfrmctl_{name}" and labels.items() <= s.labels.items())
