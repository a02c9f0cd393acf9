"""The black-hole matrix: every cell, and the document from what came of them.

    tools/black_holes.py all [ENDS...]   try every cell that has not been tried: of ours, strongswan, libreswan, none
    tools/black_holes.py again           try those again that have failed
    tools/black_holes.py doc             write docs/black-holes.md from build/black-holes

The guests run in virtual time: waiting costs nothing, and how busy this machine is does not show in the results, so it
can go on in the background (`nice make matrix`). With --real-time they run by the clock on the wall: that wants a quiet
machine, and hours more; what has a result in virtual time only is then tried too.

It takes hours all the same. It may be ended and begun again at any time: each cell's result is appended to a file in
build/black-holes as soon as there is one, and what is there is not tried again. Cells that fail with a gateway of ours
are added to tests/lab/blackhole/ever_failed.txt: from then on every `make test` tries them.
"""

import argparse
import itertools
import os
import resource
import sys
import time  # noqa: TID251 - a tool, not the core
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab.blackhole import results  # noqa: E402
from tests.lab.blackhole.cells import COMPARISON, ENDS, EVER_FAILED, Cell, ever_failed, every, ordered  # noqa: E402
from tests.lab.blackhole.document import render  # noqa: E402
from xfrmctl.lab import boot  # noqa: E402
from xfrmctl.lab.errors import LabError  # noqa: E402
from xfrmctl.lab.job import Job  # noqa: E402
from xfrmctl.lab.kernel import native  # noqa: E402
from xfrmctl.lab.kernel.build import ensure_kernel  # noqa: E402
from xfrmctl.lab.process import exit_on_sigterm  # noqa: E402

DOCUMENT = ROOT / "docs" / "black-holes.md"
KEPT = ROOT / "build" / "black-holes"
#: Seconds on the wall that a cell may take on average. In virtual time it takes one; a guest that hangs is given up.
TIMEOUT_S = {"real": 90, "virtual": 15}
#: Tunnels of one boot: its start costs as much as ten cells. One that dies takes no more than these with it.
TUNNELS = 4
AT_ONCE = "guests side by side (default: one for each processor)"
REAL_TIME = "measure by the clock on the wall, on a quiet machine, not in virtual time"


def kept(clock: str | None = None) -> dict[str, results.Outcome]:
    """What came of all cells so far, perhaps by this clock only."""
    return results.read(sorted(KEPT.glob("*.jsonl")), clock)


def doc() -> int:
    """Write the document; 1 where a cell with a gateway of ours has failed."""
    real = kept("real")
    outcomes = real | kept("virtual")
    DOCUMENT.write_text(render(outcomes, real))
    failed = [name for name, outcome in outcomes.items() if not outcome.ok and not name.startswith(f"{COMPARISON}-")]
    print(f"{DOCUMENT.relative_to(ROOT)}: {len(outcomes)} cells, {len(failed)} failed with a gateway of ours")
    return 1 if failed else 0


def run(cells: Iterable[Cell], at_once: int, clock: str) -> int:
    """Try these cells, some tunnels in one boot, so many boots at once; 1 where one with a gateway of ours fails."""
    boot.need_root()
    KEPT.mkdir(parents=True, exist_ok=True)
    if clock == "virtual" or not native.kernel_has_esp():
        ensure_kernel(boot.say)
    groups = list(_groups(cells))
    total, done, failed, began = sum(map(len, groups)), 0, 0, time.monotonic()
    print(f"{total} cells, {at_once} guests at a time, {clock} time", flush=True)
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for future in as_completed(pool.submit(_boot, group, clock) for group in groups):
                outcomes = future.result()
                done, failed = done + len(outcomes), failed + _note(outcomes)
                left_s = (time.monotonic() - began) / max(1, done) * (total - done)
                until = f"{left_s / 3600:.1f} h left" if left_s > 5400 else f"{left_s / 60:.0f} min left"
                used = resource.getrusage(resource.RUSAGE_CHILDREN)
                cost_s = (used.ru_utime + used.ru_stime) / max(1, done)
                print(
                    f"{done} of {total}, {failed} failed with a gateway of ours; {cost_s:.2f} CPU s each, {until}",
                    flush=True,
                )
        except (KeyboardInterrupt, SystemExit):
            os._exit(1)  # the guests die with us; an orderly end would wait for them
    return 1 if failed or done < total else 0


def _groups(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Those that one boot tries: of a few tunnels between the same ends."""
    tunnels = [list(group) for _, group in itertools.groupby(ordered(cells), key=lambda cell: cell.tunnel)]
    for _, group in itertools.groupby(tunnels, key=lambda tunnel: tunnel[0].ends):
        same = list(group)
        for at in range(0, len(same), TUNNELS):
            yield list(itertools.chain.from_iterable(same[at : at + TUNNELS]))


def _boot(cells: list[Cell], clock: str) -> dict[str, results.Outcome]:
    """What came of these cells in a boot of their own."""
    argv = [sys.executable, "-m", "tests.lab.blackhole.run", str(KEPT), *(cell.id for cell in cells)]
    log = results.file_of(KEPT, cells[0]).with_suffix(".log")
    job = Job(argv=argv, cwd=ROOT, timeout_s=TIMEOUT_S[clock] * len(cells), time_travel=clock == "virtual")
    with log.open("ab") as sink:
        try:
            boot.run(job, sink, sink)
        except LabError as error:
            sink.write(f"{error}\n".encode())
    outcomes = kept(clock)
    found = {cell.id: outcomes[cell.id] for cell in cells if cell.id in outcomes}
    if len(found) < len(cells):
        print(f"{len(cells) - len(found)} cells have no result; why is in {log}", flush=True)
    return found


def _note(outcomes: dict[str, results.Outcome]) -> int:
    """Remember for ever what has failed with a gateway of ours; how many."""
    failed = [name for name, o in outcomes.items() if not o.ok and not name.startswith(f"{COMPARISON}-")]
    known = {cell.id for cell in ever_failed()}
    with EVER_FAILED.open("a") as file:
        file.writelines(f"{name}\n" for name in failed if name not in known)
    return len(failed)


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    known = [*ENDS, COMPARISON]
    verbs.add_parser("all").add_argument("ends", nargs="*", metavar="ENDS", help=f"of {', '.join(known)}")
    verbs.add_parser("again")
    verbs.add_parser("doc")
    parser.add_argument("--at-once", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help=AT_ONCE)
    parser.add_argument("--real-time", action="store_true", help=REAL_TIME)
    arguments = parser.parse_args()
    clock = "real" if arguments.real_time else "virtual"
    if arguments.verb == "doc":
        return doc()
    exit_on_sigterm()
    outcomes = kept(clock)
    if arguments.verb == "again":
        cells = [cell for ends in ENDS for cell in every(ends)]
        failed = (cell for cell in cells if cell.id in outcomes and not outcomes[cell.id].ok)
        return run(failed, arguments.at_once, clock)
    unknown = [name for name in arguments.ends if name not in known]
    if unknown:
        parser.error(f"no ends {unknown[0]}; there are {', '.join(known)}")
    ends = arguments.ends or known
    cells = [cell for each in ends for cell in every(each) if cell.id not in outcomes]
    return run(cells, arguments.at_once, clock)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"black-hole matrix: {error}")
