"""Our programs without their start: a process that has imported everything forks them.

In the guest the start of Python and the imports take seconds, which is most of what a short test takes. The nursery
pays them once. What it forks is the same program from its command line on: same arguments, a process of its own in
the same namespaces. The files that are about starting, crashing and memory start the true way all the same
(``TRUE_STARTS``, see conftest).

One request is one message: the command line and the namespace as JSON, with the program's output and error, and
the pipe that tells how it ended. The answer is its process number.
"""

import atexit
import contextlib
import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace

_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


class Forked:
    """A program that the nursery has forked, with as much of Popen as a gateway needs."""

    def __init__(self, pid: int, ended: int) -> None:
        """``ended`` is the pipe that brings the exit status."""
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """The exit status, a signal as a negative number; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit status once there is one. Raises TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("xfrmctl", timeout or 0)
        return code

    def send_signal(self, how: int) -> None:
        """Send it, if the process is there still."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, how)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._ended, selectors.EVENT_READ)
                if not selector.select(timeout):
                    return None
            said = os.read(self._ended, 64)
            os.close(self._ended)
            if not said:
                raise LabError("the nursery has gone")
            self.returncode = int(said)
        return self.returncode


class Nursery:
    """The process, started when it is needed first; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._socket is not None:
            self._socket.close()
            self._process.wait(timeout=30)

    def spawn(self, namespace: Namespace, arguments: Sequence[str], output: IO[bytes]) -> Forked:
        """Start ``xfrmctl ARGUMENTS`` in a namespace, with a /run of its own."""
        ask = self._socket or self._begin()
        ended, tell = os.pipe()
        request = json.dumps([str(namespace.path), list(arguments)]).encode()
        socket.send_fds(ask, [request], [output.fileno(), tell])
        os.close(tell)
        answer = ask.recv(64)
        if not answer:
            raise LabError("the nursery has gone")
        return Forked(int(answer), ended)

    def _begin(self) -> socket.socket:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.lab.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        return self._socket


def serve(requests: socket.socket) -> list[str] | None:
    """Fork what is asked for, until nobody can ask any more. In a forked process: the arguments that it has to run."""
    running: dict[int, tuple[int, int]] = {}
    """A process's descriptor -> its number, and the pipe that tells its end."""
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in running:
                    selector.unregister(key.fd)
                    _tell(key.fd, *running.pop(key.fd))
                    continue
                request, fds, _, _ = socket.recv_fds(requests, 65536, 2)
                if not request:
                    return None
                output, tell = fds
                pid = os.fork()
                if not pid:
                    for fd in (selector.fileno(), requests.fileno(), tell, *running, *(t for _, t in running.values())):
                        os.close(fd)
                    namespace, arguments = json.loads(request)
                    _become(namespace, output)
                    return list(arguments)
                os.close(output)
                descriptor = os.pidfd_open(pid)
                running[descriptor] = (pid, tell)
                selector.register(descriptor, selectors.EVENT_READ)
                requests.send(str(pid).encode())


def _tell(descriptor: int, pid: int, tell: int) -> None:
    """One has ended: reap it, and say how."""
    os.close(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # nobody wants to know
        os.write(tell, str(code).encode())
    os.close(tell)


def _become(namespace: str, output: int) -> None:
    """Enter a network namespace and a mount namespace with a /run of its own; nothing to read, ``output`` to write."""
    there = os.open(namespace, os.O_RDONLY)
    _call(_libc.setns(there, _CLONE_NEWNET))
    os.close(there)
    _call(_libc.unshare(_CLONE_NEWNS))
    _call(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    _call(_libc.mount(b"run", b"/run", b"tmpfs", 0, None))
    Path("/run/lock").mkdir()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(old, new)
    os.close(nothing)
    os.close(output)


def _call(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def main() -> None:
    """Be the nursery, or what has come out of it."""
    import xfrmctl.daemon.process  # noqa: PLC0415 - what a daemon needs, before the first one does
    import xfrmctl.kernel.netlink.tables  # noqa: F401, PLC0415
    from xfrmctl.cli.main import main as program  # noqa: PLC0415

    gc.collect()
    gc.freeze()  # a collection in what is forked would touch, so copy, every page
    arguments = serve(socket.socket(fileno=int(sys.argv[1])))
    if arguments is not None:
        sys.argv = ["xfrmctl", *arguments]
        try:
            program()
        except SystemExit as end:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 1)  # taking modules apart would copy every page, too


if __name__ == "__main__":
    main()
