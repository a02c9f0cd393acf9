"""The lab kernel itself, booted from this machine: what goes in, what comes out, how it ends.

Skipped where it is not needed (the running kernel has ESP), not built yet, or where we are not root.
"""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xfrmctl.lab import guest
from xfrmctl.lab.boot import pump
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import Job
from xfrmctl.lab.kernel import cache, native, source
from xfrmctl.lab.kernel.fragment import FRAGMENT


@pytest.fixture(scope="module")
def kernel() -> Path:
    if not native.is_root():
        pytest.skip("needs root")
    if native.kernel_has_esp():
        pytest.skip("the running kernel has ESP, no guest is ever booted")
    try:
        path = cache.kernel_path(source.newest(), FRAGMENT.read_text())
    except LabError as error:
        pytest.skip(str(error))
    if not path.exists():
        pytest.skip("the lab kernel is not built yet: make lab")
    return path


def run(kernel: Path, job: Job) -> tuple[int, bytes, bytes]:
    out, err = io.BytesIO(), io.BytesIO()
    told: list[str] = []
    status = guest.run(kernel, job, lambda fd: pump(fd, out), lambda fd: pump(fd, err), told.append)
    return status, out.getvalue(), err.getvalue() + "".join(told).encode()


def test_who_needs_more_mappings_than_the_host_gives_is_told_what_to_do(kernel: Path) -> None:
    limit = Path("/proc/sys/vm/max_map_count").read_text().strip()
    if int(limit) > 70_000:
        pytest.skip("this machine gives more than a small guest can need")
    touch = "import mmap, random; m = mmap.mmap(-1, 700 << 20); p = list(range(0, len(m), 8192)); random.shuffle(p)"
    status, _, err = run(kernel, Job(argv=[sys.executable, "-c", f"{touch}\nfor i in p: m[i] = 1"]))
    assert status == 139 and limit in err.decode() and "sysctl -w vm.max_map_count=1048576" in err.decode()


def test_job_output_and_status(kernel: Path, tmp_path: Path) -> None:
    script = 'echo "$WORD $(pwd)"; echo err >&2; echo x >result; test -t 1 || exit 3'
    status, out, err = run(kernel, Job(argv=["sh", "-c", script], cwd=tmp_path, env={"WORD": "a  b"}))
    assert (status, out.decode(), err) == (3, f"a  b {tmp_path}\n", b"err\n")
    assert (tmp_path / "result").read_text() == "x\n"


def test_every_byte_of_much_output(kernel: Path) -> None:
    status, out, _ = run(kernel, Job(argv=["sh", "-c", "seq 200000; printf '\\0\\377\\r\\n'"]))
    assert status == 0
    assert out == b"".join(b"%d\n" % n for n in range(1, 200001)) + b"\0\xff\r\n"


def test_a_background_process_does_not_hold_the_guest(kernel: Path) -> None:
    began = time.monotonic()
    assert run(kernel, Job(argv=["sh", "-c", "sleep 1000 & echo done"]))[:2] == (0, b"done\n")
    assert time.monotonic() - began < 20


def test_timeout(kernel: Path) -> None:
    status, out, _ = run(kernel, Job(argv=["sh", "-c", "echo begun; sleep 1000"], timeout_s=5))
    assert (status, out) == (124, b"begun\n")


def test_virtual_time(kernel: Path) -> None:
    began = time.monotonic()
    job = Job(argv=["sh", "-c", "a=$(date +%s); sleep 120; b=$(date +%s); echo $((b - a))"], time_travel=True)
    status, out, _ = run(kernel, job)
    assert status == 0
    assert 120 <= int(out) <= 125
    assert time.monotonic() - began < 120


def test_computing_takes_no_virtual_time(kernel: Path) -> None:
    """However slow or busy this machine is: only reading the clock takes some."""
    count = "import time; a = time.monotonic(); sum(range(10**6)); assert time.monotonic() - a < 0.001"
    clock = "from xfrmctl.lab.job import virtual_time; assert virtual_time()"
    assert run(kernel, Job(argv=[sys.executable, "-c", f"{count}; {clock}"], time_travel=True))[0] == 0
    assert run(kernel, Job(argv=[sys.executable, "-c", clock]))[0] == 1


def test_a_guest_that_dies_shows_its_console(kernel: Path) -> None:
    with pytest.raises(LabError, match=r"ended .* before the job did"):
        run(kernel, Job(argv=["sh", "-c", "echo o >/proc/sysrq-trigger; sleep 60"], timeout_s=30))


def test_a_killed_caller_leaves_no_guest(kernel: Path) -> None:
    code = (
        "from pathlib import Path; from tests.unit.lab.test_guest import run; from xfrmctl.lab.job import Job;"
        f"run(Path({str(kernel)!r}), Job(argv=['sh', '-c', 'sleep 1000']))"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 20
    while not (guests := _guests_of(caller.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert guests
    caller.kill()
    caller.wait()
    while any(Path("/proc", str(pid)).exists() for pid in guests) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in guests if Path("/proc", str(pid)).exists()]


def _guests_of(caller: int) -> list[int]:
    """The kernel processes whose run directory carries the caller's pid in its name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(word.startswith(b"labdir=") and f"/{caller}-".encode() in word for word in words):
            found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]
