"""One network namespace: run things in it, change it, remove it with all its processes."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from xfrmctl.lab import netns
from xfrmctl.lab.errors import LabError


class Namespace:
    """A network namespace by its name, as ``ip netns`` knows it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def add(self) -> None:
        """Make it."""
        _checked(["ip", "netns", "add", self.name])

    def remove(self) -> None:
        """End its processes and remove it; harmless when it does not exist."""
        if self.path.exists():
            self.kill_processes()
            subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)

    @property
    def path(self) -> Path:
        """Where ``ip netns`` keeps it."""
        return Path("/run/netns") / self.name

    def pids(self) -> list[int]:
        """The processes that live in it."""
        done = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def kill_processes(self) -> None:
        """SIGKILL to all its processes, until there are none; the caller's own process is never one of them."""
        deadline = time.monotonic() + 5
        while (pids := [pid for pid in self.pids() if pid != os.getpid()]) and time.monotonic() < deadline:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)

    # ---- commands --------------------------------------------------------------------------------------------

    def argv(self, argv: Sequence[str]) -> list[str]:
        """``argv`` as a command line that runs inside, started from anywhere."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout_s: float = 60, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; ``check`` makes a failing one a LabError that shows what it said."""
        return _checked(self.argv(argv), check=check, timeout_s=timeout_s, stdin=stdin)

    def popen(
        self,
        argv: Sequence[str],
        *,
        stdout: int | IO[bytes] | None = subprocess.DEVNULL,
        stderr: int | IO[bytes] | None = subprocess.DEVNULL,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command; ``ip netns exec`` becomes the command, so the child's pid is the command's."""
        return subprocess.Popen(
            self.argv(argv), stdin=stdin, stdout=stdout, stderr=stderr, env=None if env is None else dict(env)
        )

    def batch(self, lines: Sequence[str]) -> None:
        """Many ``ip`` commands in one process: in the guest a process costs more than what it does."""
        batch(lines, namespace=self.name)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives inside, for use from this process."""
        return netns.open_socket(self.path, family, kind, protocol)

    def sysctl(self, values: Mapping[str, object]) -> None:
        """Set network sysctls, all in one process; what this kernel does not have is passed over."""
        script = "".join(
            f"f=/proc/sys/{name.replace('.', '/')}; [ ! -e $f ] || echo {value} >$f\n" for name, value in values.items()
        )
        self.run(["sh", "-c", script])


def batch(lines: Sequence[str], *, namespace: str | None = None) -> None:
    """Many ``ip`` commands in one process; the first that fails stops it."""
    where = ["-n", namespace] if namespace else []
    _checked(["ip", *where, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


def _checked(
    argv: Sequence[str], *, check: bool = True, timeout_s: float = 60, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    stdin_from = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            argv, **stdin_from, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed; install with: tools/setup.sh lab") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"`{' '.join(argv)}` failed ({done.returncode}): {said}")
    return done
