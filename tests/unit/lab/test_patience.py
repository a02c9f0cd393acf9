"""What keeps a foreign daemon from hanging where time is virtual."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.peers import patience as module
from xfrmctl.lab.peers.patience import patience

ASKS = """
import ctypes, os
here, there = os.pipe()
os.write(there, b"x")
libc = ctypes.CDLL(None)
class Poll(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short)]
one = Poll(here, %d, 0)
answers = [libc.poll(ctypes.byref(one), 1, -1) for _ in range(1000)]
print(set(answers), libc.poll(ctypes.byref(Poll(-1, 1, 0)), 1, 0))
"""


@pytest.fixture
def travelling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "virtual_time", lambda: True)
    monkeypatch.setattr(module, "cache_root", lambda: tmp_path / "cache")


def test_nothing_where_time_is_real() -> None:
    assert patience() == {}


@pytest.mark.usefixtures("travelling")
def test_who_is_answered_again_and_again_gives_way() -> None:
    added = patience()
    usage = "import resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw)"
    argv = [sys.executable, "-c", ASKS % select.POLLIN + usage]
    switches = []
    for environment in (dict(os.environ), os.environ | added):
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
        answers, count = done.stdout.splitlines()
        assert answers == "{1} 0", "the answers are the kernel's"
        switches.append(int(count))
    assert switches[1] >= switches[0] + 10, "of 1,000 questions every 65th sleeps"
    assert patience() == added, "and it is made once"


@pytest.mark.usefixtures("travelling")
def test_without_a_compiler_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match="install with: tools/setup"):
        patience()
