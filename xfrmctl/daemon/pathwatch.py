"""Looking at all paths from time to time, a few in one step: their routes take some system calls each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.runtime import Runtime
from xfrmctl.daemon.status import Walked, carried
from xfrmctl.metrics.pacer import Pacer
from xfrmctl.model.path import Path

AT_ONCE = 8
"""Paths that are looked at in one step."""


@dataclass(frozen=True, slots=True)
class PathWatch:
    """Looks, step by step, and lets the loop have its turn in between."""

    paths: PathKeeper
    kernel: Walked
    runtime: Runtime

    async def look(self) -> None:
        """What SAs carry, and where routes lead. Raises KernelRefusal."""
        pacer = Pacer()
        sad = await carried(self.kernel, pacer)
        await self._each(self.paths.begin_look(), partial(self.paths.count, sad), pacer)
        await pacer.forget(sad)
        await self._each(self.paths.next_look(), self.paths.look_at_routes, pacer)

    async def look_at_routes(self) -> None:
        """Where routes lead, after a change of some of them."""
        await self._each(self.paths.next_look(), self.paths.look_at_routes, Pacer())

    async def _each(self, paths: list[Path], action: Callable[[list[Path], float], None], pacer: Pacer) -> None:
        for at in range(0, len(paths), AT_ONCE):
            self.runtime.step(partial(action, paths[at : at + AT_ONCE]))
            await pacer.rest()
