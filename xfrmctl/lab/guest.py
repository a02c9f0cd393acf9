"""Run a job in the lab kernel: User-Mode Linux on this machine's own root file system.

The kernel's consoles 1 and 2 are pipes that carry the job's standard output and error; console 0 is the
kernel's own and goes to a file that is shown only when the guest dies. The exit status comes out in a file,
not in the text, so no output of the job can be mistaken for it.

A guest has one processor, but its kernel and each of its programs is a process of ours, and they take turns with
every system call. So a guest keeps to one of our processors, another one than the other guests: a turn that wakes
a second processor costs more than most of what it is for.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import Job
from xfrmctl.lab.kernel.cache import cache_root
from xfrmctl.lab.process import reap

Pump = Callable[[int], Thread]

_INIT = Path(__file__).with_name("init.sh")
_FEW_MAPPINGS = "UML ran out of memory on the host side"
_MAX_MAPPINGS = Path("/proc/sys/vm/max_map_count")

# Virtual time: waiting is skipped, computing takes no time at all, so what is measured does not depend on the host
# (arch/um/kernel/time.c, TT_MODE_INFCPU). The jitter random number generator measures the noise of the clock before
# it lets the boot go on; this clock has none, so it would measure for ever. Without it the others go on as before.
_VIRTUAL_TIME = ("time-travel=inf-cpu", "initcall_blacklist=jent_mod_init")

# The kernel's helper processes live in a PID namespace whose first process is a shell: they cannot outlive the
# kernel, nor it us. (The kernel itself must not be the first process: after a panic its abort() would do nothing.)
_CONTAIN = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--pid",
    "--fork",
    "--kill-child=KILL",
    "sh",
    "-c",
    '"$@"; exit $?',
    "sh",
)


def run(kernel: Path, job: Job, pump_out: Pump, pump_err: Pump, tell: Callable[[str], None]) -> int:
    """Boot ``kernel``, run ``job``, power off; its output is read by the pumps."""
    with _labdir(job) as labdir, _processor() as processor, (labdir / "console").open("wb") as console:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        consoles = ("con0=null,fd:1", f"con1=null,fd:{out_write}", f"con2=null,fd:{err_write}")
        process = subprocess.Popen(
            _command(kernel, job, labdir, processor, "pipes", *consoles),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            pass_fds=(out_write, err_write),
            start_new_session=True,
        )
        os.close(out_write)
        os.close(err_write)
        pumps = [pump_out(out_read), pump_err(err_read)]
        code = reap(process, job.timeout_s)
        for pump in pumps:
            pump.join(timeout=5)
        if _FEW_MAPPINGS in _console(labdir):
            tell(
                "a program in the lab was killed (SIGSEGV): this machine gives the lab kernel no more mappings for it"
                f" than {_MAX_MAPPINGS.read_text().strip()}; sysctl -w vm.max_map_count=1048576, and run it again"
            )
        return code if code == 124 else _status(labdir, code)


def terminal(kernel: Path, job: Job) -> int:
    """Boot ``kernel`` with our terminal as its console 0; every key, Ctrl-C too, belongs to the guest."""
    if not sys.stdin.isatty():
        raise LabError("a shell in the lab needs a terminal; use `xfrmctl lab run -- COMMAND` in scripts")
    with _labdir(job) as labdir, _processor() as processor, _terminal_restored():
        columns, rows = shutil.get_terminal_size()
        script = labdir / "job.sh"
        script.write_text(f"stty sane cols {columns} rows {rows}\n{script.read_text()}")
        command = _command(kernel, job, labdir, processor, "terminal", "con0=fd:0,fd:1")
        done = subprocess.run(command, check=False)
        return _status(labdir, done.returncode)


def _command(kernel: Path, job: Job, labdir: Path, processor: int, mode: str, *consoles: str) -> list[str]:
    arguments = [
        f"mem={job.memory_mb}M",
        "rootfstype=hostfs",
        "rootflags=/",
        "rw",
        "init=/bin/bash",
        f"uml_dir={labdir}",
        f"labdir={labdir}",
        f"labmode={mode}",
        "quiet",
        "con=null",
        "ssl=null",
        *consoles,
        *job.kernel_arguments,
        *(_VIRTUAL_TIME if job.time_travel else ()),
    ]
    return ["taskset", "--cpu-list", str(processor), *_CONTAIN, str(kernel), *arguments, "--", str(_INIT)]


@contextmanager
def _processor() -> Iterator[int]:
    """One of the processors that we may use; no other guest has it as long as there are enough of them."""
    ours = sorted(os.sched_getaffinity(0))
    for processor in ours:
        with (_run_root() / f"processor{processor}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield processor
            return
    yield ours[os.getpid() % len(ours)]


def _run_root() -> Path:
    root = cache_root().parent / "lab-run"
    root.mkdir(parents=True, exist_ok=True)
    return root


@contextmanager
def _labdir(job: Job) -> Iterator[Path]:
    """A directory for the job's script, status and console; on a real file system, for both sides see it."""
    root = _run_root()
    for stale in root.glob("*-*"):  # of callers that were killed outright
        if not Path("/proc", stale.name.partition("-")[0]).exists():
            shutil.rmtree(stale, ignore_errors=True)
    labdir = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))
    try:
        (labdir / "job.sh").write_text(job.script("guest"))
        yield labdir
    finally:
        shutil.rmtree(labdir, ignore_errors=True)


def _console(labdir: Path) -> str:
    console = labdir / "console"
    return console.read_text(errors="replace") if console.exists() else ""


def _status(labdir: Path, code: int) -> int:
    try:
        return int((labdir / "status").read_text())
    except (FileNotFoundError, ValueError):
        tail = "\n".join(_console(labdir).splitlines()[-25:])
        raise LabError(f"the lab kernel ended (status {code}) before the job did; its console:\n{tail}") from None


@contextmanager
def _terminal_restored() -> Iterator[None]:
    """The guest makes the terminal raw and non-blocking; both are undone, even if it dies."""
    fd = sys.stdin.fileno()
    settings, flags = termios.tcgetattr(fd), fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        yield
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
        termios.tcsetattr(fd, termios.TCSADRAIN, settings)
