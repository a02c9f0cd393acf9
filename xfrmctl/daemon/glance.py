"""The state of all connections, of some, or of one, for the control API and for ``diagnose``.

Of a few the SAs are read one by one, not out of the whole SAD.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xfrmctl.daemon import clock, lost, status
from xfrmctl.daemon.select import Chooser
from xfrmctl.daemon.snapshot import Observed
from xfrmctl.metrics.pacer import Pacer
from xfrmctl.model.selection import EVERYTHING, Selection
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot

if TYPE_CHECKING:
    from xfrmctl.daemon.main import Daemon

FEW = 64
"""Connections up to which this is less work than a walk through all SAs."""


async def gateway(daemon: "Daemon", wanted: Selection = EVERYTHING) -> Snapshot:
    """The state now, with counters fresh from the kernel. What is said to be up has its policies already."""
    await daemon.reconciler.changed()
    began, pacer = daemon.now(), Pacer()
    sad = await status.carried(daemon.kernel, pacer)
    seen = await daemon.look(began, sad)
    shown = [c async for c in status.connections(daemon.engine, daemon.builder, seen, pacer, Chooser(wanted))]
    await lost.look(daemon.engine.ike_sas(), daemon.kernel, daemon.runtime, sad)  # shown this once, and mended
    whole = daemon.builder.around(daemon.state(), seen, shown)
    await pacer.forget(sad)
    return whole


async def connection(daemon: "Daemon", name: str) -> ConnectionInfo | None:
    """The same of one connection; None if there is none of this name."""
    await daemon.reconciler.changed()
    config = daemon.engine.config.connections.get(name)
    if config is None:
        return None
    began, pacer, sas = daemon.now(), Pacer(), daemon.engine.ike_sas(name)
    sad = await status.carried_by(sas, daemon.kernel, pacer)
    seen = Observed(now=daemon.now(), wall=clock.wall(), began=began, sad=sad)
    standing = name in daemon.engine.connections
    found = await status.connection(config, daemon.builder, seen, pacer) if standing else None
    await lost.look(sas, daemon.kernel, daemon.runtime, sad)
    await pacer.forget(sad)
    return found


async def glance(daemon: "Daemon", names: Sequence[str]) -> Snapshot:
    """The gateway around these connections. What is lost of them is mended, as in a whole snapshot."""
    await daemon.reconciler.changed()
    began, pacer = daemon.now(), Pacer()
    sas = [sa for name in names for sa in daemon.engine.ike_sas(name)]
    sad = await status.carried_by(sas, daemon.kernel, pacer)
    seen = await daemon.look(began, sad)
    shown: list[ConnectionInfo] = []
    for name in names:
        config = daemon.engine.config.connections.get(name)  # a reload may take it out meanwhile
        found = await status.connection(config, daemon.builder, seen, pacer) if config is not None else None
        shown += [found] if found is not None else []
    await lost.look(sas, daemon.kernel, daemon.runtime, sad)
    whole = daemon.builder.around(daemon.state(), seen, shown)
    await pacer.forget(sad)
    return whole


async def state_of(daemon: "Daemon", names: Sequence[str]) -> Snapshot:
    """The state with these connections."""
    if len(names) <= FEW:
        return await glance(daemon, names)
    return await gateway(daemon, Selection(connections=tuple(names)))
