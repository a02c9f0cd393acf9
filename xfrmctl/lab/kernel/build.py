"""Build the lab kernel: User-Mode Linux, a kernel that is an ordinary program.

Three to six minutes on two cores, once; the result is 9 MB. Only the parts of the source that the build
reads are unpacked. Two builds at once (two test runs started together) are kept apart by a lock: the second
waits and then finds the first one's kernel.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.kernel import cache, source
from xfrmctl.lab.kernel.fragment import FRAGMENT, unmet

Say = Callable[[str], None]

#: Drivers' code that no User-Mode build compiles; their Kconfig files are read and stay.
_UNUSED = (
    "*/drivers/gpu/*.[chS]",
    "*/drivers/media/*.[ch]",
    "*/drivers/staging/*.[ch]",
    "*/drivers/net/ethernet/*.[ch]",
    "*/drivers/net/wireless/*.[ch]",
    "*/drivers/infiniband/*.[ch]",
    "*/drivers/scsi/*.[ch]",
    "*/sound/*.[ch]",
    "*/tools/testing/*",
    "*/arch/arm/*.dts*",
    "*/arch/arm64/*.dts*",
)
_PROGRESS_S = 10.0
#: Objects that a build of this fragment compiles, give or take: only for the progress lines.
_OBJECTS = 1130
_TOOLS = ("make", "gcc", "flex", "bison", "bc", "xz", "tar", "strip")


def ensure_kernel(say: Say) -> Path:
    """The lab kernel's file; builds it when no kernel of this source and fragment is cached."""
    fragment = FRAGMENT.read_text()
    chosen = source.newest()
    target = cache.kernel_path(chosen, fragment)
    if target.exists():
        return target
    with _only_one_build(say):
        if not target.exists():
            _build(chosen, fragment, target, say)
    return target


@contextmanager
def _only_one_build(say: Say) -> Iterator[None]:
    """Hold the cache's lock; it goes with the process, so a killed build leaves nothing locked."""
    root = cache.cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("lab kernel: another build is running, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(chosen: source.KernelSource, fragment: str, target: Path, say: Say) -> None:
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if absent:
        raise LabError(f"building the lab kernel needs {', '.join(absent)}; install with: tools/setup.sh lab")
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="build-", dir=cache.cache_root()))
    tree, log = scratch / "tree", cache.cache_root() / "build.log"
    try:
        say(f"lab kernel: unpacking {chosen.path.name}")
        log.write_text("")
        tree.mkdir()
        excludes = [f"--exclude={pattern}" for pattern in _UNUSED]
        _step(["tar", "-xf", str(chosen.path), "--strip-components=1", *excludes], tree, log)
        say("lab kernel: configuring")
        _step(_make("defconfig"), tree, log)
        with (tree / ".config").open("a") as config:
            config.write("\n" + fragment)
        _step(_make("olddefconfig"), tree, log)
        for wish in unmet(fragment, (tree / ".config").read_text()):
            say(f"lab kernel: option not taken: {wish}")
        say("lab kernel: compiling (three to six minutes on two cores, once)")
        _compile(tree, log, say)
        _step(["strip", "linux"], tree, log)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / ".config", target.with_name("config"))
        (tree / "linux").replace(target)  # same file system: there is never half a kernel
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    say(f"lab kernel: built in {time.monotonic() - started:.0f} s: {target}")


def _make(*goals: str) -> list[str]:
    return ["make", "ARCH=um", *goals]


def _step(argv: list[str], tree: Path, log: Path) -> None:
    with log.open("a") as out:
        done = subprocess.run(
            argv, cwd=tree, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_environment(), check=False
        )
    if done.returncode != 0:
        raise _failure(argv, log)


def _compile(tree: Path, log: Path, say: Say) -> None:
    argv = _make(f"-j{os.cpu_count() or 1}", "linux")
    started = said = time.monotonic()
    with log.open("a") as out:
        make = subprocess.Popen(
            argv,
            cwd=tree,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=_environment(),
            start_new_session=True,
        )
    try:
        while make.poll() is None:
            time.sleep(0.2)
            if time.monotonic() - said >= _PROGRESS_S:
                said = time.monotonic()
                objects = log.read_text(errors="replace").count("\n  CC ")
                say(f"lab kernel: {objects} of about {_OBJECTS} objects compiled, {said - started:.0f} s")
    finally:
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGTERM)
            make.wait()
    if make.returncode != 0:
        raise _failure(argv, log)


def _environment() -> dict[str, str]:
    """Without the caller's make variables: we may have been started by a ``make`` ourselves."""
    ours = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARCH", "CROSS_COMPILE", "KBUILD_OUTPUT")
    return {name: value for name, value in os.environ.items() if name not in ours} | {"LC_ALL": "C"}


def _failure(argv: list[str], log: Path) -> LabError:
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    return LabError(f"building the lab kernel failed at `{' '.join(argv[:4])}`; the log is {log}, its end:\n{tail}")
