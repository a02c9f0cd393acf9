"""The state of thousands of tunnels for ``show``, a scrape, ``top``: in pieces, the engine has its turn in between."""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from xfrmctl.daemon.select import Chooser
from xfrmctl.daemon.snapshot import ALL, Observed, SnapshotBuilder
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.metrics.scrape import Pacer
from xfrmctl.model.sa import SaCounters, SaId
from xfrmctl.model.snapshot import ConnectionInfo


class Walked(Protocol):
    """The part of the kernel that tells of SAs some at a time."""

    def walk(self) -> Iterator[dict[SaId, SaCounters]]:
        """Every SA of ours with what the kernel has counted on it."""


async def carried(kernel: Walked, pacer: Pacer) -> dict[SaId, SaCounters]:
    """What every SA has carried."""
    sad: dict[SaId, SaCounters] = {}
    for found in kernel.walk():
        sad |= found
        await pacer.rest()
    return sad


async def connections(
    engine: IkeEngine, builder: SnapshotBuilder, seen: Observed, pacer: Pacer, chooser: Chooser = ALL
) -> AsyncIterator[ConnectionInfo]:
    """What is wanted, one after the other, each as it is just now. Raises RequestError for an unknown name."""
    for config in chooser.connections(engine.config.connections):
        if config.name not in engine.connections:
            continue  # a reload has taken it out meanwhile
        steps = builder.in_steps(config, seen, chooser)
        found: ConnectionInfo | None = None
        while True:
            try:
                next(steps)
            except StopIteration as done:
                found = done.value
                break
            await pacer.step()
        await pacer.step()
        if found is not None:
            yield found
