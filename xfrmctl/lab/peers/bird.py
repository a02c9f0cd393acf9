"""BIRD in a namespace: a routing daemon that finds its neighbours by multicast over whatever device it is given.

It comes from a package that is unpacked, not installed, for it would be started at boot.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.peers.peer import await_, unpacked
from xfrmctl.lab.process import end


class Bird:
    """One bird; a context manager."""

    def __init__(self, namespace: Namespace, config: str) -> None:
        """``config`` is what stands in bird.conf."""
        self.namespace = namespace
        self._place = unpacked("bird2") / "usr" / "sbin"
        self._directory = Path(tempfile.mkdtemp(prefix=f"{namespace.name}-bird-", dir="/dev/shm"))
        self._config = self._directory / "bird.conf"
        self._config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Bird":
        control = self._directory / "control"
        argv = [str(self._place / "bird"), "-f", "-c", str(self._config), "-s", str(control)]
        with self.log.open("ab") as log:
            self._process = self.namespace.popen(argv, stdout=log, stderr=log)
        await_(control.exists, lambda: f"bird in {self.namespace.name} did not start: {self.log.read_text()}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        end(self._process)
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def log(self) -> Path:
        """What it says."""
        return self._directory / "log"

    def ask(self, *command: str) -> str:
        """What it answers to a command of its control socket."""
        argv = [str(self._place / "birdcl"), "-s", str(self._directory / "control"), *command]
        return self.namespace.run(argv, check=False).stdout
