"""What a process has used, from /proc."""

import os
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of all threads (utime + stime), resident megabytes."""

    cpu_s: float
    rss_mb: float


def usage(pid: int) -> Usage:
    """Now."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = int(status.partition("VmRSS:")[2].split()[0])
    return Usage((int(after_name[11]) + int(after_name[12])) / _TICKS, kilobytes / 1024)


def settled(pid: int, *, quiet_s: float = 1.0, most_s: float = 20.0) -> Usage:
    """When the process has used (nearly) no CPU for a while: what a handshake leaves behind to be done counts, too."""
    deadline = time.monotonic() + most_s
    before = usage(pid)
    while time.monotonic() < deadline:
        time.sleep(quiet_s)
        now = usage(pid)
        if now.cpu_s - before.cpu_s <= 2 / _TICKS:
            return now
        before = now
    return before


def yardstick() -> float:
    """Milliseconds that a fixed piece of work takes now, computing and system calls: is the machine quiet?"""
    began = time.monotonic()
    block = b""
    for _ in range(2000):
        os.getppid()
        block = sha256(block + bytes(1024)).digest()
    sum(i * i for i in range(100_000))
    return 1000 * (time.monotonic() - began)
