"""The unit on two gateways with real ESP: packets, reloads, restarts, crashes, as the installed package does them.

What is tested is in :mod:`tests.deploy.guest.unit`; it runs where there is a kernel with ESP, in one boot.
"""

import io
import sys
from pathlib import Path

import pytest

from xfrmctl.lab import boot
from xfrmctl.lab.boot import repository
from xfrmctl.lab.job import Job

pytestmark = pytest.mark.deploy


def test_two_gateways_under_systemd(installed: Path) -> None:
    tests = repository() / "tests/deploy/guest/unit.py"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--durations=5", str(tests)]
    said = io.BytesIO()
    job = Job(argv=argv, cwd=repository(), env={"XFRMCTL_INSTALLED": str(installed)}, timeout_s=900)
    status = boot.run(job, said, said)
    text = said.getvalue().decode(errors="replace")
    print(text)
    assert status == 0, text
