"""Play the scenarios of ``scenarios/`` between network namespaces; the Vagrant lab plays them between machines.

A scenario is a directory of shell scripts (``scenarios/README.md`` has the contract). What differs from lab to lab are
three commands, ``on``, ``put`` and ``daemon``; ours are in ``scenarios/namespaces``. The first two need nothing but
the shell. ``daemon`` asks this process, by a named pipe, for the daemons are its children.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xfrmctl.lab.boot import say
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.job import inside
from xfrmctl.lab.topology import Topology

SCENARIOS = Path(__file__).with_name("scenarios")
MACHINES_ONLY = "machines-only"
"""A file of this name in a scenario says why network namespaces cannot play it."""

_END = "end"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One directory below ``scenarios/``."""

    name: str
    title: str
    #: Why it takes machines that can be booted; empty where namespaces will do.
    machines_only: str


def scenarios() -> list[Scenario]:
    """All of them, the first look first and then by name."""
    found = []
    for check in SCENARIOS.glob("*/check"):
        directory = check.parent
        title = (directory / "README.md").read_text().partition("\n")[0].removeprefix("# ")
        reason = directory / MACHINES_ONLY
        found.append(Scenario(directory.name, title, reason.read_text().strip() if reason.exists() else ""))
    return sorted(found, key=lambda one: (one.name != "tunnel", one.name))


def named(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names. Raises LabError for one that there is not, or that takes machines."""
    known = {one.name: one for one in scenarios()}
    for name in names:
        if name not in known:
            raise LabError(f"there is no scenario {name}; there are: {', '.join(known)}")
        if known[name].machines_only:
            raise LabError(f"{name} is for the Vagrant lab (vagrant/README.md): {known[name].machines_only}")
    return [known[name] for name in names]


class Stage:
    """host A - gateway A - router - gateway B - host B with both daemons running; a context manager."""

    def __init__(self) -> None:
        self._topology = Topology()
        self.place = Path(tempfile.mkdtemp(prefix="stage-", dir="/dev/shm"))
        self._requests = self.place / "requests"
        self._gateways: dict[str, Gateway] = {}
        self._butler = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Stage":
        try:
            commands = self.place / "bin"
            commands.mkdir()
            for command in (*(SCENARIOS / "bin").iterdir(), *(SCENARIOS / "namespaces").iterdir()):
                shutil.copy(command, commands)
                (commands / command.name).chmod(0o755)
            program = commands / "xfrmctl"
            program.write_text(f'#!/bin/sh\nexec {sys.executable} -m xfrmctl "$@"\n')
            program.chmod(0o755)
            self._topology.up()
            base = SCENARIOS / "base"
            for node, name in (("gw-b", "gb"), ("gw-a", "ga")):
                files = {"secrets/tunnel.psk": (base / "tunnel.psk").read_text()}
                gateway = Gateway(self._topology.ns(name), (base / f"{node}.yaml").read_text(), files=files)
                self._gateways[node] = gateway
                (self.place / node).symlink_to(gateway.directory)
                gateway.start(wait=False)
            os.mkfifo(self._requests)
            self._butler.start()
            for gateway in self._gateways.values():
                gateway.wait_ready()
                gateway.wait_up("tunnel")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._butler.is_alive():
            self._requests.write_text(f"{_END}\n")
            self._butler.join()
        for gateway in self._gateways.values():
            gateway.close()
        self._topology.down()
        shutil.rmtree(self.place, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """What the commands of a scenario need to know."""
        return {
            **os.environ,
            "PATH": f"{self.place}/bin:{os.environ['PATH']}",
            "LAB": str(self.place),
            "LAB_PREFIX": self._topology.prefix,
            "SCENARIOS": str(SCENARIOS),
            "SCENARIO_SCRATCH": str(self.place),
        }

    def play(self, words: Sequence[str]) -> int:
        """Run ``run WORDS…``; its exit status is 0 if every check of the scenario holds."""
        return subprocess.run(["run", *words], env=self.environment(), check=False).returncode

    def logs(self, lines: int = 30) -> str:
        """The end of what both daemons have logged."""
        return "\n".join(f"---- {node}\n{gateway.log_tail(lines)}" for node, gateway in self._gateways.items())

    def _serve(self) -> None:
        """Answer the command ``daemon``: nothing when it is done, else what is wrong."""
        while True:
            for line in self._requests.read_text().splitlines():  # a request is one line, written in one piece
                if line == _END:
                    return
                node, verb, answer = line.split()
                Path(answer).write_text(self._do(node, verb))

    def _do(self, node: str, verb: str) -> str:
        gateway = self._gateways.get(node)
        if gateway is None:
            return f"no daemon on {node}: gw-a, gw-b"
        try:
            match verb:
                case "start":
                    gateway.start()
                case "stop":
                    gateway.stop()
                case "kill":
                    gateway.kill()
                case _:
                    return f"not {verb}: start, stop or kill"
        except LabError as error:
            return str(error)
        return ""


@contextmanager
def _stage() -> Iterator[Stage]:
    say("lab: building the network and starting both gateways")
    with Stage() as stage:
        yield stage


def main(names: Sequence[str]) -> int:
    """Play scenarios one after another; 0 if every check of all of them holds."""
    chosen = named(names)
    with _stage() as stage:
        failed = [one.name for one in chosen if stage.play([one.name]) != 0]
        if failed:
            print(f"\n{stage.logs()}", file=sys.stderr)
    print(
        f"\n{len(chosen) - len(failed)} of {len(chosen)} scenarios hold{': not ' if failed else ''}{', '.join(failed)}"
    )
    return 1 if failed else 0


def explore(name: str) -> int:
    """Set a scenario up, open a shell in it, and take it down when that ends."""
    (one,) = named([name])
    with _stage() as stage, tempfile.TemporaryDirectory() as scratch:
        if (code := stage.play(["setup", one.name])) != 0:
            return code
        rc = Path(scratch) / "bashrc"
        rc.write_text(_SHELL.format(name=one.name, kernel=inside()))
        code = subprocess.run(["bash", "--rcfile", str(rc), "-i"], env=stage.environment(), check=False).returncode
        stage.play(["teardown", one.name])
        return code


_SHELL = """\
. "$SCENARIOS/addresses"
PS1='{name}# '
sed 1d "$SCENARIOS/{name}/README.md"
echo
echo 'host-a (10.1.1.10) - gw-a - router - gw-b - host-b (10.1.2.10), {kernel} kernel. Try:'
echo '  on gw-a xfrmctl diagnose         something on a node, as root'
echo '  on host-a ping 10.1.2.10         host-a, gw-a, router, gw-b, host-b'
echo '  daemon gw-a kill                 or stop, start'
echo '  run check {name}                 the checks of the scenario, now'
echo 'Ctrl-D ends it and removes everything.'
"""
