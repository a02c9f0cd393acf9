"""SAs that somebody else has taken out of the kernel: looked for in small pieces, each one asked for before its end.

What was read of the SAD is a moment old when it is compared: an SA that has come meanwhile is not in it, and stands.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from xfrmctl.daemon.status import Walked, carried
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.metrics.pacer import STEPS, Pacer
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.sa import SaCounters, SaId


def believed(child: ChildSa) -> tuple[SaId, ...]:
    """The SAs that the kernel should have of a CHILD SA; none while it is being installed."""
    if not child.installed:
        return ()
    return (child.inbound,) if child.pending_outbound is not None else (child.inbound, child.outbound)


class Mender(Protocol):
    """Who does something about it: the runtime."""

    def check(self, ids: Iterable[SaId]) -> None:
        """Children of those that the kernel does not have end, and are negotiated anew if wanted."""

    def trouble(self, problem: KernelRefusal) -> None:
        """The kernel would not say."""


async def look(
    sas: Iterable[IkeSa], kernel: Walked, mender: Mender, held: Mapping[SaId, SaCounters] | None = None
) -> None:
    """Compare what the engine believes with what the kernel has; ``held`` is what was read of it a moment ago."""
    pacer, read = Pacer(), dict[SaId, SaCounters]()
    try:
        if held is None:
            held = read = await carried(kernel, pacer)
    except KernelRefusal as error:
        mender.trouble(error)
        return
    suspects: list[SaId] = []
    for sa in sas:
        for child in tuple(sa.children):
            # Of each child the first one will do: the other goes with it.
            suspects += [sa_id for sa_id in believed(child) if sa_id not in held][:1]
            await pacer.step()
    while suspects:
        mender.check(suspects[:STEPS])
        del suspects[:STEPS]
        await pacer.rest()
    await pacer.forget(read)
