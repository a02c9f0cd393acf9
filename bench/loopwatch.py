"""``python -m bench.loopwatch FILE ARGUMENTS``: xfrmctl, with a stopwatch on every turn of its event loop.

SIGUSR2 writes the longest turns since the last one to FILE as JSON, and begins anew. CPU time has the kernel's grain,
10 ms in the lab; wall time has what other programs took of the processor meanwhile.
"""

import asyncio
import gc
import heapq
import itertools
import json
import signal
import sys
import time
from asyncio.events import Handle
from pathlib import Path
from typing import Any

from xfrmctl.cli.main import main

MOST = 12
"""Turns that are told."""

_plain = Handle._run
_longest: list[tuple[float, int, float, str]] = []
_count = itertools.count()


def _where(callback: Any) -> str:
    """What a turn belongs to: of a task the chain of its coroutines with the line each has come to."""
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return str(getattr(callback, "__qualname__", callback))
    chain: list[str] = []
    found: Any = task.get_coro()
    while found is not None and len(chain) < 12:
        frame = getattr(found, "cr_frame", None) or getattr(found, "ag_frame", None)
        name = getattr(found, "__qualname__", type(found).__name__)
        chain.append(f"{name}:{frame.f_lineno}" if frame is not None else name)
        found = getattr(found, "cr_await", None) or getattr(found, "ag_await", None)
    return " > ".join(chain)


def _run(self: Any) -> None:
    before = _where(self._callback)
    wall, cpu = time.perf_counter(), time.thread_time()
    _plain(self)
    _note(time.perf_counter() - wall, time.thread_time() - cpu, before)


def _note(took: float, cpu: float, where: str) -> None:
    if len(_longest) < MOST or took > _longest[0][0]:
        entry = (took, next(_count), cpu, where)
        (heapq.heappush if len(_longest) < MOST else heapq.heapreplace)(_longest, entry)


class _Collector:
    """The garbage collector, as a turn of its own within the one that it interrupts."""

    def __init__(self) -> None:
        self.began = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self.began = time.perf_counter()
            return
        _note(time.perf_counter() - self.began, 0.0, f"garbage collection, generation {info['generation']}")


def _tell(file: Path) -> None:
    found = [
        {"cpu_ms": round(cpu * 1e3, 2), "wall_ms": round(wall * 1e3, 2), "where": where}
        for wall, _, cpu, where in sorted(_longest, reverse=True)
    ]
    _longest.clear()
    made = file.with_suffix(".new")
    made.write_text(json.dumps(found))
    made.replace(file)


if __name__ == "__main__":
    target = Path(sys.argv.pop(1))
    Handle._run = _run  # type: ignore[method-assign]
    gc.callbacks.append(_Collector())
    signal.signal(signal.SIGUSR2, lambda *_: _tell(target))
    main()
