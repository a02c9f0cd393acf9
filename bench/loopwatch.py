"""``python -m bench.loopwatch FILE ARGUMENTS``: xfrmctl, with a stopwatch on every turn of its event loop.

SIGUSR2 writes the longest turns since the last one to FILE as JSON, and begins anew. CPU time has the kernel's grain,
10 ms in the lab; wall time has what other programs took of the processor meanwhile. Of a long turn it is told, too,
where it was found every few milliseconds.
"""

import asyncio
import faulthandler
import gc
import heapq
import itertools
import json
import signal
import sys
import time
from asyncio.events import Handle
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from xfrmctl.cli.main import main

MOST = 12
"""Turns that are told."""

EVERY_S = 0.002
"""How often a turn is looked into."""

DEEP = 3
"""Functions that are told of where it was."""

_plain = Handle._run
_longest: list[tuple[float, int, float, str, Counter[str]]] = []
_count = itertools.count()
_within: Counter[str] = Counter()


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
    _within.clear()
    wall, cpu = time.perf_counter(), time.thread_time()
    _plain(self)
    _note(time.perf_counter() - wall, time.thread_time() - cpu, before)


def _look(_: int, frame: FrameType | None) -> None:
    chain: list[str] = []
    while frame is not None and len(chain) < DEEP:
        chain.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    _within[" < ".join(chain)] += 1


def _note(took: float, cpu: float, where: str) -> None:
    if len(_longest) < MOST or took > _longest[0][0]:
        entry = (took, next(_count), cpu, where, _within.copy())
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
        {"cpu_ms": cpu * 1e3, "wall_ms": round(wall * 1e3, 2), "where": where, "within": within.most_common(4)}
        for wall, _, cpu, where, within in sorted(_longest, key=lambda turn: turn[0], reverse=True)
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
    faulthandler.register(signal.SIGQUIT)
    signal.signal(signal.SIGALRM, _look)
    signal.setitimer(signal.ITIMER_REAL, EVERY_S, EVERY_S)
    main()
