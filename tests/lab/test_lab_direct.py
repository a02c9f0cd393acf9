"""Jobs on the running kernel. Inside the lab that kernel has ESP, so this is what a machine with ESP does."""

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xfrmctl.lab import boot
from xfrmctl.lab.job import Job

pytestmark = pytest.mark.lab


def run(*argv: str, timeout_s: float | None = 30) -> tuple[int, str, str]:
    out, err = io.BytesIO(), io.BytesIO()
    status = boot.run(Job(argv=argv, timeout_s=timeout_s), out, err)
    return status, out.getvalue().decode(), err.getvalue().decode()


def test_output_and_status_come_out() -> None:
    assert run("sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_namespaces_are_fresh() -> None:
    subprocess.run(["ip", "netns", "add", "outside"], check=True)
    try:
        status, out, _ = run("sh", "-c", "ip netns list; ip netns add inside; ip netns list; ip -br link")
        assert status == 0
        assert "outside" not in out
        assert out.startswith("inside\nlo ")
        assert not Path("/run/netns/inside").exists()
    finally:
        subprocess.run(["ip", "netns", "delete", "outside"], check=True)


def test_timeout_ends_everything() -> None:
    status, _, _ = run("sh", "-c", "sleep 4321 & sleep 4321", timeout_s=1)
    assert status == boot.TIMED_OUT
    assert b"4321" not in _command_lines()


def test_a_killed_caller_leaves_nothing() -> None:
    code = "from xfrmctl.lab import boot; from xfrmctl.lab.job import Job; boot.run(Job(argv=['sleep', '5432']))"
    caller = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while b"sleep\x005432" not in _command_lines() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert b"sleep\x005432" in _command_lines()
    caller.kill()
    caller.wait()
    while b"sleep\x005432" in _command_lines() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert b"sleep\x005432" not in _command_lines()


def _command_lines() -> bytes:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return b"\n".join(lines)
