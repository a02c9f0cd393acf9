"""The state of a few connections, for ``diagnose``: their SAs are read one by one, not out of the whole SAD."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xfrmctl.daemon import lost, status
from xfrmctl.metrics.scrape import Pacer
from xfrmctl.model.selection import Selection
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot

if TYPE_CHECKING:
    from xfrmctl.daemon.main import Daemon

FEW = 64
"""Connections up to which this is less work than a walk through all SAs."""


async def glance(daemon: "Daemon", names: Sequence[str]) -> Snapshot:
    """The gateway around these connections. What is lost of them is mended, as in a whole snapshot."""
    await daemon.reconciler.changed()
    began, pacer = daemon.now(), Pacer()
    sas = [sa for name in names for sa in daemon.engine.ike_sas(name)]
    seen = await daemon.look(began, await status.carried_by(sas, daemon.kernel, pacer))
    shown: list[ConnectionInfo] = []
    for name in names:
        config = daemon.engine.config.connections.get(name)  # a reload may take it out meanwhile
        found = await status.connection(config, daemon.builder, seen, pacer) if config is not None else None
        shown += [found] if found is not None else []
    await lost.look(sas, daemon.kernel, daemon.runtime, seen.sad)
    return daemon.builder.around(daemon.state(), seen, shown)


async def state_of(daemon: "Daemon", names: Sequence[str]) -> Snapshot:
    """The state with these connections."""
    if len(names) <= FEW:
        return await glance(daemon, names)
    return await daemon.snapshot(Selection(connections=tuple(names)))
