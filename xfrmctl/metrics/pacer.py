"""Work in small pieces: after every STEPS small steps (a CHILD SA read, a child written down) the loop gets its turn.

It handles whatever has come, so a message waits for one piece at most.
"""

import asyncio
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Any

STEPS = 16
"""Small steps in one piece."""

CHEAP = 16
"""Lines of a counter, or values freed, that are as much work as a CHILD SA."""


class Pacer:
    """Counts small steps, and gives the loop its turn between pieces of them."""

    def __init__(self, steps: int = STEPS) -> None:
        self._limit = steps
        self._steps = 0
        self._began = perf_counter()
        self.pieces = 0
        self.longest_s = 0.0

    async def step(self) -> None:
        """One small step is done."""
        self._steps += 1
        if self._steps >= self._limit:
            await self.rest()

    async def walk(self, steps: Iterable[object], *, cheap: int = 1) -> None:
        """Do everything, one small step after the other; ``cheap`` of them are as much work as one."""
        for number, _ in enumerate(steps, 1):
            if number % cheap == 0:
                await self.step()

    async def forget(self, read: dict[Any, Any]) -> None:
        """Empty it, some items at a time: to free what thousands of SAs were read into takes time like any work."""
        await self.walk(_emptied(read), cheap=CHEAP)

    async def rest(self) -> None:
        """End the piece: whatever has come is handled now."""
        self.end()
        await asyncio.sleep(0)
        self._began = perf_counter()

    def end(self) -> None:
        """Take note of the piece."""
        self._steps = 0
        self.pieces += 1
        self.longest_s = max(self.longest_s, perf_counter() - self._began)


def _emptied(read: dict[Any, Any]) -> Iterator[None]:
    while read:
        read.popitem()
        yield
