"""The state of a few connections, for ``diagnose``: their SAs are read one by one, not out of the whole SAD."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xfrmctl.daemon.runtime import missing
from xfrmctl.model.selection import Selection
from xfrmctl.model.snapshot import Snapshot

if TYPE_CHECKING:
    from xfrmctl.daemon.main import Daemon

FEW = 64
"""Connections up to which this is less work than a walk through all SAs."""


async def glance(daemon: "Daemon", names: Sequence[str]) -> Snapshot:
    """The gateway around these connections. What is lost of them is mended, as in a whole snapshot."""
    await daemon.reconciler.changed()
    began = daemon.now()
    sas = [sa for name in names for sa in daemon.engine.ike_sas(name)]
    ids = [sa_id for sa in sas for child in sa.children for sa_id in (child.inbound, child.outbound)]
    seen = await daemon.look(began, {found.id: found for found in daemon.kernel.counted(ids)})
    configured = daemon.engine.config.connections
    shown = [daemon.builder.connection(configured[name], seen) for name in names if name in daemon.engine.connections]
    if missing(sas, seen.sad):
        daemon.runtime.audit()
    return daemon.builder.around(daemon.state(), seen, shown)


async def state_of(daemon: "Daemon", names: Sequence[str]) -> Snapshot:
    """The state with these connections."""
    if len(names) <= FEW:
        return await glance(daemon, names)
    return await daemon.snapshot(Selection(connections=tuple(names)))
