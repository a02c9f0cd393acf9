"""Single keys from a terminal, without return, while a live view waits."""

import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


class Keys:
    """What is typed; nothing where stdin is no terminal."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def wait(self, seconds: float) -> str:
        """One key, or "" after so many seconds without."""
        found, _, _ = select.select([] if self._descriptor is None else [self._descriptor], [], [], seconds)
        return sys.stdin.read(1) if found else ""


@contextmanager
def keys() -> Iterator[Keys]:
    """The terminal gives keys one by one, and is afterwards as it was."""
    if not sys.stdin.isatty():
        yield Keys(None)
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
