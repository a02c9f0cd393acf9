"""Run the tests that are marked ``lab`` in the lab, one boot for each test file, as many at a time as there are cores.

A boot costs half a second and keeps the files apart: what one leaves behind, or a kernel that it crashes, does not
touch the next. Each file's output is kept in build/test-results; shown is its closing line, and all of it where
something failed. A file that carries no test marked ``lab`` is passed over; a run without any test is a failure.

    tools/lab_tests.py [FILE...]
"""

import io
import os
import re
import subprocess
import sys
import time  # noqa: TID251 - a tool, not the core
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

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
#: Guests at a time: each has one processor.
SLOTS = max(1, min(4, os.cpu_count() or 1))
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
    name = "-".join(path.relative_to(ROOT).with_suffix("").parts)
    junit = RESULTS / f"{name}.junit.xml"
    argv = [sys.executable, "-m", "pytest", "-q", "-m", "lab", "-p", "no:cacheprovider"]
    argv += ["-o", "faulthandler_timeout=180", "--junitxml", str(junit), str(path)]
    sink = io.BytesIO()
    began = time.monotonic()
    try:
        status = boot.run(Job(argv=argv, cwd=ROOT, timeout_s=TIMEOUT_S), sink, sink)
        text = sink.getvalue().decode(errors="replace")
    except LabError as error:
        status, text = 1, f"{sink.getvalue().decode(errors='replace')}\n{error}\n"
    if status == boot.TIMED_OUT:
        text += f"\nended after {TIMEOUT_S} s\n"
    (RESULTS / f"{name}.log").write_text(text)
    lines = [line for line in text.splitlines() if re.search(r"\d+ (passed|failed|error|skipped|deselected)", line)]
    return Outcome(status, lines[-1].strip("= ") if lines else "no closing line", text, time.monotonic() - began)


def candidates(arguments: list[str]) -> list[Path]:
    """The files named, or all that mention the marker; the largest first, for they tend to take longest."""
    if arguments:
        return [Path(name).resolve() for name in arguments]
    files = (ROOT / "tests" / "lab").rglob("test_*.py")
    return sorted((path for path in files if "mark.lab" in path.read_text()), key=lambda path: -path.stat().st_size)


def main() -> int:
    """Run everything; 1 if any test failed or none ran."""
    exit_on_sigterm()
    boot.need_root()
    RESULTS.mkdir(parents=True, exist_ok=True)
    paths = candidates(sys.argv[1:])
    if not native.kernel_has_esp():
        ensure_kernel(boot.say)
    ran, failed = 0, []
    with ThreadPoolExecutor(SLOTS) as pool:
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
