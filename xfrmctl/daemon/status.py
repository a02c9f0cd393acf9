"""The state of thousands of tunnels for ``show``, a scrape, ``top``: in pieces, the engine has its turn in between."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Protocol

from xfrmctl.daemon.select import Chooser
from xfrmctl.daemon.snapshot import ALL, Observed, SnapshotBuilder
from xfrmctl.ike.config import ConnectionConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.sa import IkeSa
from xfrmctl.metrics.pacer import STEPS, Pacer
from xfrmctl.model.sa import SaCounters, SaId
from xfrmctl.model.snapshot import ConnectionInfo

FEW = 256
"""SAs that are asked for one by one: of a gateway's twenty thousand that is the smaller part."""


class Walked(Protocol):
    """The part of the kernel that tells of SAs some at a time."""

    def walk(self) -> Iterator[dict[SaId, SaCounters]]:
        """Every SA of ours with what the kernel has counted on it."""

    def counted(self, ids: Sequence[SaId]) -> list[SaCounters]:
        """The same of these SAs; those that are gone are left out."""


async def carried(kernel: Walked, pacer: Pacer) -> dict[SaId, SaCounters]:
    """What every SA has carried."""
    sad: dict[SaId, SaCounters] = {}
    for found in kernel.walk():
        sad |= found
        await pacer.rest()
    return sad


async def carried_by(sas: Iterable[IkeSa], kernel: Walked, pacer: Pacer) -> dict[SaId, SaCounters]:
    """What the SAs of these IKE SAs have carried: asked for one by one where they are few, or all of the kernel's."""
    ids: list[SaId] = []
    for sa in sas:
        ids += [sa_id for child in sa.children for sa_id in (child.inbound, child.outbound)]
        if len(ids) > FEW:
            return await carried(kernel, pacer)
    sad: dict[SaId, SaCounters] = {}
    for at in range(0, len(ids), STEPS):
        sad |= {found.id: found for found in kernel.counted(ids[at : at + STEPS])}
        await pacer.rest()
    return sad


async def connections(
    engine: IkeEngine, builder: SnapshotBuilder, seen: Observed, pacer: Pacer, chooser: Chooser = ALL
) -> AsyncIterator[ConnectionInfo]:
    """What is wanted, one after the other, each as it is just now. Raises RequestError for an unknown name."""
    for config in chooser.connections(engine.config.connections):
        if config.name not in engine.connections:
            continue  # a reload has taken it out meanwhile
        found = await connection(config, builder, seen, pacer, chooser)
        if found is not None:
            yield found


async def connection(
    config: ConnectionConfig, builder: SnapshotBuilder, seen: Observed, pacer: Pacer, chooser: Chooser = ALL
) -> ConnectionInfo | None:
    """One of them; None where the filters leave it out."""
    steps = builder.in_steps(config, seen, chooser)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            await pacer.step()
            found: ConnectionInfo | None = done.value
            return found
        await pacer.step()
