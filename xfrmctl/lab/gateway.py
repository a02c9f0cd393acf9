"""Our own daemon in a namespace, from a configuration text.

The daemon gets a mount namespace with a tmpfs on /run, so that its fixed paths collide with nobody's, and a
directory of its own for configuration, log and control socket.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Protocol

from xfrmctl.control.client import ControlClient, ControlError
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot

_START_S = 30.0
_STOP_S = 20.0

# The first program of the mount namespace; it becomes the daemon.
_ISOLATE = 'mount -t tmpfs run /run && mkdir -p /run/lock && exec "$@"'


class Process(Protocol):
    """What a gateway needs of Popen."""

    @property
    def pid(self) -> int:
        """Its number."""

    def poll(self) -> int | None:
        """The exit status, if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, when it has ended. Raises subprocess.TimeoutExpired."""

    def send_signal(self, how: int, /) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """Send it SIGKILL."""


Spawn = Callable[[Namespace, Sequence[str], IO[bytes]], Process]
"""Start ``xfrmctl ARGUMENTS`` in a namespace with a /run of its own, both its outputs in a file."""


def spawn(namespace: Namespace, arguments: Sequence[str], output: IO[bytes]) -> Process:
    """The usual :data:`Spawn`: as a service manager does it."""
    return namespace.popen(
        ["unshare", "--mount", "sh", "-c", _ISOLATE, "sh", *_xfrmctl(*arguments)],
        stdout=output,
        stderr=output,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def _xfrmctl(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "xfrmctl", *arguments]


class Gateway:
    """One xfrmctl daemon; a context manager, or ``start`` and ``stop``."""

    spawn: ClassVar[Spawn] = spawn

    def __init__(
        self,
        namespace: Namespace,
        config: str,
        *,
        files: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """``config`` is YAML; ``files`` are further files beside it (secrets), readable by root only.

        ``options`` are further options of ``xfrmctl daemon``.
        """
        self.namespace = namespace
        self._options = options
        self.directory = Path(tempfile.mkdtemp(prefix=f"{namespace.name}-xfrmctl-", dir="/dev/shm"))
        self.config_file = self.directory / "xfrmctl.yaml"
        self.control = self.directory / "control.sock"
        self.log = self.directory / "daemon.log"
        self._process: Process | None = None
        for name, text in (files or {}).items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(text)
        self.configure(config)

    def __enter__(self) -> "Gateway":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ---- life ------------------------------------------------------------------------------------------------

    def configure(self, config: str) -> None:
        """Write the configuration; a running daemon takes it with ``ctl("reload")``."""
        self.config_file.touch(mode=0o600)
        self.config_file.write_text(config)

    def start(self, *, wait: bool = True) -> None:
        """Start the daemon; with ``wait`` return when it answers on its control socket."""
        daemon = ["daemon", "--config", str(self.config_file), "--control", str(self.control)]
        daemon += ["--state", str(self.directory / "state")]
        with self.log.open("ab") as log:
            self._process = type(self).spawn(self.namespace, [*daemon, *self._options], log)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s: float = _START_S) -> Snapshot:
        """The first status that the daemon gives."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self._process is None or self._process.poll() is not None:
                raise LabError(f"the daemon in {self.namespace.name} ended; its log:\n{self.log_tail()}")
            try:
                return self.status()
            except ControlError as error:
                if time.monotonic() > deadline:
                    raise LabError(f"no daemon in {self.namespace.name}: {error}; log:\n{self.log_tail()}") from error
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM, as a service manager does; the daemon's exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: a crash. Files and kernel state stay; ``start`` brings the daemon back."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop the daemon if it runs and forget its files."""
        if self._process is not None:
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise LabError(f"the daemon did not stop within {_STOP_S:.0f} s; log:\n{self.log_tail()}") from None

    @property
    def pid(self) -> int:
        """The daemon's process."""
        if self._process is None:
            raise LabError("the daemon does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the daemon's process is alive."""
        return self._process is not None and self._process.poll() is None

    # ---- what it says ----------------------------------------------------------------------------------------

    @property
    def client(self) -> ControlClient:
        """The control API."""
        return ControlClient(self.control)

    def status(self) -> Snapshot:
        """The gateway's state, from the control API."""
        return self.client.status()

    def ctl(self, *arguments: str, check: bool = True) -> Any:
        """Run ``xfrmctl --control … ARGUMENTS --json`` inside and return the JSON it prints."""
        done = self.ctl_text(*arguments, "--json", check=check)
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError as error:
            raise LabError(f"xfrmctl {' '.join(arguments)} printed no JSON: {done.stdout}{done.stderr}") from error

    def ctl_text(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The same command line as a person types it: its output and exit status."""
        return self.namespace.run(_xfrmctl("--control", str(self.control), *arguments), check=check, timeout_s=120)

    def popen_ctl(self, *arguments: str, stdout: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the same command line and leave it running."""
        return self.namespace.popen(_xfrmctl("--control", str(self.control), *arguments), stdout=stdout)

    def wait_up(self, connection: str, *, timeout_s: float = 30) -> ConnectionInfo:
        """The connection's state, once all its children are up."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.client.connection(connection)
            if found.state == "up":
                return found
            if time.monotonic() > deadline:
                raise LabError(f"{connection} is not up after {timeout_s} s; log:\n{self.log_tail()}")
            time.sleep(0.05)

    def metrics(self, address: str = "127.0.0.1:9877") -> str:
        """The text of the metrics endpoint."""
        return self.fetch(address, "/metrics")

    def fetch(self, address: str, path: str) -> str:
        """What an HTTP server of the daemon answers, asked from inside the namespace."""
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        with self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as sock, contextlib.closing(connection):
            sock.settimeout(10)
            sock.connect((host, int(port)))
            connection.sock = sock
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
        if response.status != http.HTTPStatus.OK:
            raise LabError(f"http://{address}{path} answers {response.status}: {text}")
        return text

    def log_lines(self) -> Sequence[str]:
        """All lines that the daemon logged, over all its starts."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else ()

    def log_tail(self, lines: int = 30) -> str:
        """The end of the log."""
        return "\n".join(self.log_lines()[-lines:])
