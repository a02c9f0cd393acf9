"""Run the tests that are marked ``lab`` in the lab: one boot a test file, one more at a time than there are cores.

A boot costs half a second and keeps the files apart: what one leaves behind, or a kernel that it crashes, does not
touch the next. Each file's output is kept in build/test-results; shown is its closing line, and all of it where
something failed. A file that carries no test marked ``lab`` is passed over; a run without any test is a failure.
A file that says ``VIRTUAL_TIME = True`` gets a guest in which waiting takes no time; the others prove what they prove
by the clock on the wall, or hardly wait.

    tools/lab_tests.py [--beside PID] [FILE...]

With ``--beside`` one place is kept for that process, the tests that need no ESP, until it has ended.
"""

import argparse
import ast
import io
import os
import re
import select
import subprocess
import sys
import time  # noqa: TID251 - a tool, not the core
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfrmctl.lab import boot
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import Job
from xfrmctl.lab.kernel import native
from xfrmctl.lab.kernel.build import ensure_kernel
from xfrmctl.lab.process import exit_on_sigterm

ROOT = boot.repository()
RESULTS = ROOT / "build" / "test-results"
#: Wall-clock seconds for one file.
TIMEOUT_S = 900
#: Guests at a time: each has one processor, and waits for a third of its time.
SLOTS = min(5, (os.cpu_count() or 1) + 1)
#: pytest's exit status when no test was selected.
NONE_SELECTED = 5


@dataclass(frozen=True)
class Outcome:
    """How one file ended."""

    status: int
    closing: str
    text: str
    seconds: float


def run(path: Path) -> Outcome:
    """Run one file in a boot of its own."""
    junit = junit_of(path)
    argv = [sys.executable, "-m", "pytest", "-q", "-m", "lab", "-p", "no:cacheprovider"]
    argv += ["-o", "faulthandler_timeout=180", "--junitxml", str(junit), str(path)]
    sink = io.BytesIO()
    began = time.monotonic()
    try:
        virtual = bool(said(path, "VIRTUAL_TIME", default=False))
        more = said(path, "KERNEL_ARGUMENTS", default=[])
        job = Job(argv=argv, cwd=ROOT, timeout_s=TIMEOUT_S, time_travel=virtual, kernel_arguments=more)
        status = boot.run(job, sink, sink)
        text = sink.getvalue().decode(errors="replace")
    except LabError as error:
        status, text = 1, f"{sink.getvalue().decode(errors='replace')}\n{error}\n"
    if status == boot.TIMED_OUT:
        text += f"\nended after {TIMEOUT_S} s\n"
    junit.with_suffix("").with_suffix(".log").write_text(text)
    lines = [line for line in text.splitlines() if re.search(r"\d+ (passed|failed|error|skipped|deselected)", line)]
    return Outcome(status, lines[-1].strip("= ") if lines else "no closing line", text, time.monotonic() - began)


def said(path: Path, name: str, *, default: Any) -> Any:
    """What a file says of itself: ``KERNEL_ARGUMENTS`` for the lab kernel's command line, ``VIRTUAL_TIME``."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    return default


def junit_of(path: Path) -> Path:
    """Where pytest's report on a file goes."""
    return RESULTS / f"{'-'.join(path.relative_to(ROOT).with_suffix('').parts)}.junit.xml"


def candidates(arguments: list[str]) -> list[Path]:
    """The files named, or all that mention the marker; those that take longest first, lest one is alone at the end."""
    every = (path for path in (ROOT / "tests" / "lab").rglob("test_*.py") if "mark.lab" in path.read_text())
    files = [Path(name).resolve() for name in arguments] or every
    return sorted(files, key=weight, reverse=True)


def weight(path: Path) -> tuple[float, int]:
    """The seconds that the tests of a file took here the last time; what is not known goes first, by its size."""
    try:
        seconds = sum(float(suite.get("time", 0)) for suite in ET.parse(junit_of(path)).iter("testsuite"))
    except (OSError, ET.ParseError):
        seconds = float("inf")
    return seconds, path.stat().st_size


def wait_for(pid: int) -> None:
    """Until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def main() -> int:
    """Run everything; 1 if any test failed or none ran."""
    exit_on_sigterm()
    boot.need_root()
    RESULTS.mkdir(parents=True, exist_ok=True)
    parser = argparse.ArgumentParser(description="Run the tests that are marked lab.")
    parser.add_argument("--beside", type=int, metavar="PID", help="keep one place for this process until it has ended")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    paths = candidates(options.files)
    if not native.kernel_has_esp():
        ensure_kernel(boot.say)
    ran, failed = 0, []
    with ThreadPoolExecutor(SLOTS) as pool:
        if options.beside is not None and SLOTS > 1:
            pool.submit(wait_for, options.beside)
        try:
            for path, outcome in zip(paths, pool.map(run, paths), strict=True):
                name = path.relative_to(ROOT)
                if outcome.status == NONE_SELECTED:
                    continue
                ran += 1
                if outcome.status != 0:
                    failed.append(str(name))
                    print(f"---- {name}\n{outcome.text}----", flush=True)
                print(f"{name}: {outcome.closing} [status {outcome.status}, {outcome.seconds:.0f} s]", flush=True)
        except (KeyboardInterrupt, SystemExit):
            os._exit(1)  # the guests die with us; an orderly end would wait for them
    print(f"{ran} files with tests in the lab, {len(failed)} failed{': ' if failed else ''}{' '.join(failed)}")
    return 0 if ran and not failed else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LabError, subprocess.SubprocessError) as error:
        sys.exit(f"lab tests: {error}")
