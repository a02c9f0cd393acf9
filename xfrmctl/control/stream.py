"""Events to readers of any speed: each has a queue of its own, and who lets it run full is let go.

The queue bounds the daemon's memory; a reader that is dropped gets a last line that says so, if it still
reads. Nobody can make the daemon wait.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

QUEUE_LENGTH = 1000
"""Events that may wait for one reader: some seconds of a busy gateway."""


class Subscription:
    """One reader's share of a source of events."""

    def __init__(self, source: AsyncIterator[dict[str, Any]], length: int = QUEUE_LENGTH) -> None:
        self._source = source
        self._length = length
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._end: dict[str, Any] | None = None
        self._ended = False
        self._pump = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async for event in self._source:
                if self._queue.qsize() >= self._length:
                    self._finish("dropped", f"this reader is too slow: {self._length} events were waiting")
                    return
                self._queue.put_nowait(event)
                self._wake.set()
        finally:
            self._ended = True
            self._wake.set()
            close = getattr(self._source, "aclose", None)
            if close is not None:
                with suppress(Exception):
                    await close()

    def _finish(self, event: str, reason: str) -> None:
        if self._end is None:
            self._end = {"event": event, "reason": reason}
        self._ended = True
        self._wake.set()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come than what waits already."""
        return self._ended

    def stop(self, reason: str) -> None:
        """End the stream with a last line; what waits is still delivered."""
        self._finish("closing", reason)
        self._pump.cancel()

    async def get(self, timeout_s: float) -> list[dict[str, Any]] | None:
        """What waits, at least one event; [] after ``timeout_s`` without one, None at the end."""
        if self._queue.empty() and not self._ended:
            self._wake.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout_s)
        found = []
        while not self._queue.empty():
            found.append(self._queue.get_nowait())
        if found or not self._ended:
            return found
        if self._end is not None:
            last, self._end = self._end, None
            return [last]
        return None

    async def close(self) -> None:
        """Stop reading the source; always call it."""
        self._pump.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._pump
