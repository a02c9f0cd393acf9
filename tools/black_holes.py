"""The black-hole matrix: every cell, and the document from what came of them.

    tools/black_holes.py all [ENDS...]   try every cell that has not been tried: of ours, strongswan, libreswan, none
    tools/black_holes.py again           try those again that have failed
    tools/black_holes.py doc             write docs/black-holes.md from build/black-holes

It takes hours. It may be ended and begun again at any time: each cell's result is appended to a file in
build/black-holes as soon as there is one, and what is there is not tried again. Cells that fail with a gateway of ours
are added to tests/lab/blackhole/ever_failed.txt: from then on every `make test` tries them.
"""

import argparse
import itertools
import os
import sys
import time  # noqa: TID251 - a tool, not the core
from collections.abc import Iterable
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
#: Seconds that one tunnel's cells may take in all.
TIMEOUT_S = 49 * 90
AT_ONCE = "guests side by side; a cell waits more than it computes, but too many make TCP late (default: %(default)s)"


def kept() -> dict[str, results.Outcome]:
    """What came of all cells so far."""
    return results.read(sorted(KEPT.glob("*.jsonl")))


def doc() -> int:
    """Write the document; 1 where a cell with a gateway of ours has failed."""
    outcomes = kept()
    DOCUMENT.write_text(render(outcomes))
    failed = [name for name, outcome in outcomes.items() if not outcome.ok and not name.startswith(f"{COMPARISON}-")]
    print(f"{DOCUMENT.relative_to(ROOT)}: {len(outcomes)} cells, {len(failed)} failed with a gateway of ours")
    return 1 if failed else 0


def run(cells: Iterable[Cell], at_once: int) -> int:
    """Try these cells, those of a tunnel in one boot, so many at once; 1 where one with a gateway of ours fails."""
    boot.need_root()
    KEPT.mkdir(parents=True, exist_ok=True)
    if not native.kernel_has_esp():
        ensure_kernel(boot.say)
    tunnels = [list(group) for _, group in itertools.groupby(ordered(cells), key=lambda cell: cell.tunnel)]
    total, done, failed, began = sum(map(len, tunnels)), 0, 0, time.monotonic()
    print(f"{total} cells of {len(tunnels)} tunnels, {at_once} at a time", flush=True)
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for future in as_completed(pool.submit(_tunnel, group) for group in tunnels):
                outcomes = future.result()
                done, failed = done + len(outcomes), failed + _note(outcomes)
                left_s = (time.monotonic() - began) / max(1, done) * (total - done)
                until = f"{left_s / 3600:.1f} h left" if left_s > 5400 else f"{left_s / 60:.0f} min left"
                print(f"{done} of {total}, {failed} failed with a gateway of ours; {until}", flush=True)
        except (KeyboardInterrupt, SystemExit):
            os._exit(1)  # the guests die with us; an orderly end would wait for them
    return 1 if failed or done < total else 0


def _tunnel(cells: list[Cell]) -> dict[str, results.Outcome]:
    """What came of the cells of one tunnel: each guest has a file of its own to append to."""
    name = "-".join(cells[0].tunnel)
    file = KEPT / f"{name}.jsonl"
    with file.open("a") as out:
        out.write("\n")  # a line that was cut off ends here
    argv = [sys.executable, "-m", "tests.lab.blackhole.run", str(file), *(cell.id for cell in cells)]
    with (KEPT / f"{name}.log").open("ab") as sink:
        boot.run(Job(argv=argv, cwd=ROOT, timeout_s=TIMEOUT_S), sink, sink)
    outcomes = results.read([file])
    found = {cell.id: outcomes[cell.id] for cell in cells if cell.id in outcomes}
    if len(found) < len(cells):
        print(f"{name}: {len(cells) - len(found)} cells have no result; why is in {KEPT / name}.log", flush=True)
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
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, metavar="N", help=AT_ONCE)
    arguments = parser.parse_args()
    if arguments.verb == "doc":
        return doc()
    exit_on_sigterm()
    outcomes = kept() if KEPT.exists() else {}
    if arguments.verb == "again":
        cells = [cell for ends in ENDS for cell in every(ends)]
        failed = (cell for cell in cells if cell.id in outcomes and not outcomes[cell.id].ok)
        return run(failed, arguments.at_once)
    unknown = [name for name in arguments.ends if name not in known]
    if unknown:
        parser.error(f"no ends {unknown[0]}; there are {', '.join(known)}")
    ends = arguments.ends or known
    return run((cell for each in ends for cell in every(each) if cell.id not in outcomes), arguments.at_once)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"black-hole matrix: {error}")
