"""What is read of the kernel, beside the SAs themselves, for a snapshot or a scrape."""

import asyncio
from collections.abc import Callable

from xfrmctl.config.load import Configuration
from xfrmctl.daemon import clock
from xfrmctl.daemon.snapshot import ObservedGateway
from xfrmctl.kernel.queue import queue_state
from xfrmctl.kernel.system import LinuxKernel
from xfrmctl.model.sa import SaCounters, SaId


async def around(
    kernel: LinuxKernel,
    sad: dict[SaId, SaCounters],
    configuration: Configuration,
    now: Callable[[], float],
    began: float,
) -> ObservedGateway:
    """All of it, read in a thread; ``sad`` is what SAs have carried, read from ``began`` on."""

    def read() -> ObservedGateway:
        _ = configuration.hash  # worked out here, once, from all that is configured
        return ObservedGateway(
            clamps=kernel.clamp_counters(),
            df=kernel.df_counters(),
            xfrm_stat=kernel.xfrm_stat(),
            reassembly=kernel.reassembly(),
            icmp_queue=queue_state(),
            now=now(),
            wall=clock.wall(),
            began=began,
            sad=sad,
        )

    return await asyncio.to_thread(read)
