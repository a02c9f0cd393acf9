"""What is read of the kernel, beside the SAs themselves, for a snapshot or a scrape."""

import asyncio
from collections.abc import Callable, Mapping

from xfrmctl.config.load import Configuration
from xfrmctl.daemon import clock
from xfrmctl.daemon.snapshot import ObservedGateway
from xfrmctl.kernel.queue import queue_state
from xfrmctl.kernel.system import LinuxKernel
from xfrmctl.model.sa import SaCounters, SaId


async def around(
    kernel: LinuxKernel,
    sad: Mapping[SaId, SaCounters],
    configuration: Configuration,
    now: Callable[[], float],
    began: float,
) -> ObservedGateway:
    """All of it; ``sad`` is what SAs have carried, read from ``began`` on. The firewall's programs run in a thread."""
    slow = lambda: (kernel.clamp_counters(), kernel.df_counters(), configuration.hash)  # noqa: E731
    clamps, df, _ = await asyncio.to_thread(slow)
    return ObservedGateway(
        now=now(),
        wall=clock.wall(),
        began=began,
        sad=sad,
        clamps=clamps,
        xfrm_stat=kernel.xfrm_stat(),
        reassembly=kernel.reassembly(),
        df=df,
        icmp_queue=queue_state(),
    )
