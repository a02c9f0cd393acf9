"""What goes on until Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HEED_S = 0.25
"""How long a Ctrl-C may be overlooked at most."""


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Ctrl-C ends what is done within, in peace.

    A signal that comes just before a system call begins to wait is noticed by Python when the call has ended, and one
    that waits for events may never end. So every wait is broken up from time to time; it goes on by itself (PEP 475).
    """
    if threading.current_thread() is not threading.main_thread():  # which alone handles signals
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, HEED_S, HEED_S)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
