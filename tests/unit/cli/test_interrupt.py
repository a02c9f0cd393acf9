"""Ctrl-C at the worst moment: just before a system call begins to wait."""

import _thread
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from xfrmctl.cli.interrupt import until_interrupted

GIVES_UP_S = 20.0


@pytest.fixture
def obeyed() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("obeyed")
def test_a_wait_that_has_just_begun_ends() -> None:
    """``interrupt_main`` is such a signal: Python has noted it down, and no system call has been broken off."""
    ours, theirs = socket.socketpair()
    ended, overlooked = threading.Event(), list[bool]()

    def interrupt() -> None:
        time.sleep(0.2)
        _thread.interrupt_main()
        if not ended.wait(GIVES_UP_S):
            overlooked.append(True)
            theirs.send(b"x")  # let the test fail, not hang

    helper = threading.Thread(target=interrupt)
    helper.start()
    with until_interrupted():
        ours.recv(1)
    ended.set()
    helper.join()
    for end in (ours, theirs):
        end.close()
    assert not overlooked and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_threads_handle_no_signals() -> None:
    done: list[bool] = []

    def work() -> None:
        with until_interrupted():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
