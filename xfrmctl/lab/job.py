"""A command for the lab: what to run, where, with which environment, for how long at most."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Set to "guest" or "native" for everything that runs inside the lab.
INSIDE = "XFRMCTL_LAB"

#: The name of the kernel's clock; virtual time has one of its own (arch/um/kernel/time.c).
_CLOCK = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")

#: What a job may take over from the caller: choices of the user, nothing that names the caller's session.
_INHERITED = ("TERM", "LANG", "LC_ALL", "CI", "COLUMNS", "NO_COLOR", "PYTHONPATH", "HYPOTHESIS_PROFILE")

# The tmpfs on /run keeps namespaces, lock files and sockets of the lab away from those of the host.
_PREPARE = """\
mount -t tmpfs -o mode=755 lab /run || exit 125
mkdir -p /run/netns /run/lock /run/tmp
ip link set lo up
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One command and its circumstances."""

    argv: Sequence[str]
    cwd: Path = field(default_factory=Path.cwd)
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    #: The guest's memory; it is taken from the host only as far as the guest touches it.
    memory_mb: int = 1536
    #: Every sleep is instant, by the guest's clock as long as ever: hours of protocol time in seconds. Computing takes
    #: no time by that clock, so how fast or busy this machine is does not show.
    time_travel: bool = False
    #: More words for the lab kernel's command line: a kernel that lacks something (``initcall_blacklist=esp6_init``).
    kernel_arguments: Sequence[str] = ()

    def script(self, where: str) -> str:
        """The job as a shell script; ``where`` says what it runs in ("guest" or "native")."""
        given = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        env = {"TMPDIR": "/run/tmp", "PYTHONDONTWRITEBYTECODE": "1", **given, **self.env, INSIDE: where}
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
        return f"{_PREPARE}{exports}cd {shlex.quote(str(self.cwd))} || exit 125\nexec {shlex.join(self.argv)}\n"


def inside() -> str | None:
    """Whether this process runs inside the lab already: "guest", "native", or None outside."""
    return os.environ.get(INSIDE)


def virtual_time() -> bool:
    """Whether this process runs in virtual time."""
    return _CLOCK.exists() and _CLOCK.read_text().startswith("time-travel")
