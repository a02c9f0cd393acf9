"""Wait for a child or end it, and never leave it behind."""

import contextlib
import os
import signal
import subprocess
from types import FrameType


def reap(process: subprocess.Popen[bytes], timeout_s: float | None) -> int:
    """The exit status as a shell counts it; 124 after ``timeout_s`` seconds. However we leave, it is dead."""
    try:
        code = process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        kill_session(process)
    return code if code >= 0 else 128 - code


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and everything in its process group, and wait for the child."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end(process: subprocess.Popen[bytes] | None, how: signal.Signals = signal.SIGTERM, timeout_s: float = 10) -> None:
    """Send a child this signal, if it lives, and SIGKILL when it has not ended after ``timeout_s`` seconds."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def exit_on_sigterm() -> None:
    """Let SIGTERM unwind the stack, so that every ``finally`` cleans up, as Ctrl-C does already."""

    def leave(signum: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
