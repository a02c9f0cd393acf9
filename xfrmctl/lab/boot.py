"""Run a command in a kernel with ESP: directly where the running kernel has it, else in a guest.

Either way the command runs as root on this machine's own files, in namespaces of its own, its output comes
out as it is written, its exit status is the result, and it leaves no process behind: everything runs in a
PID namespace whose first process dies with us.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from xfrmctl.lab import direct, guest
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import Job, inside
from xfrmctl.lab.kernel import native
from xfrmctl.lab.kernel.build import ensure_kernel

#: The exit status of a job that ran out of time, as coreutils' ``timeout`` has it.
TIMED_OUT = 124

Say = Callable[[str], None]


def say(line: str) -> None:
    """Progress goes to standard error, so that standard output stays the job's."""
    print(line, file=sys.stderr, flush=True)


def need_root() -> None:
    """Refuse, in one line, to go on as an ordinary user."""
    if not native.is_root():
        raise LabError("the lab needs root for namespaces, SAs and the guest's files; run it with sudo")


def needs_guest(job: Job) -> bool:
    """Virtual time and a command line exist only for a guest; else the running kernel is used where it can do ESP."""
    return ((job.time_travel or bool(job.kernel_arguments)) and inside() is None) or not native.kernel_has_esp()


def run(job: Job, out: BinaryIO | None = None, err: BinaryIO | None = None, tell: Say = say) -> int:
    """Run ``job`` to its end; its output goes to ``out`` and ``err`` (ours unless given)."""
    need_root()
    out, err = out or sys.stdout.buffer, err or sys.stderr.buffer
    if needs_guest(job):
        return guest.run(ensure_kernel(tell), job, lambda fd: pump(fd, out), lambda fd: pump(fd, err), tell)
    return direct.run(job, lambda fd: pump(fd, out), lambda fd: pump(fd, err))


def terminal(job: Job, tell: Say = say) -> int:
    """Run ``job`` with this terminal as its own: for shells."""
    need_root()
    if needs_guest(job):
        return guest.terminal(ensure_kernel(tell), job)
    return direct.terminal(job)


def pump(fd: int, sink: BinaryIO) -> threading.Thread:
    """Copy ``fd`` to ``sink`` until its end, in a thread of its own; closes ``fd``."""

    def copy() -> None:
        with os.fdopen(fd, "rb", buffering=0) as source:
            while chunk := source.read(65536):
                sink.write(chunk)
                sink.flush()

    thread = threading.Thread(target=copy, name=f"pump-{fd}", daemon=True)
    thread.start()
    return thread


def repository() -> Path:
    """The directory that holds the package, as seen from inside the lab too."""
    return Path(__file__).resolve().parents[2]
