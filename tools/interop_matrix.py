"""The interop matrix: the document from test results, its check, and the whole cross product.

    tools/interop_matrix.py doc            write docs/interop.md from build/test-results
    tools/interop_matrix.py check          fail where the results there are not what docs/interop.md says
    tools/interop_matrix.py all [PEER...]  try every tunnel that each peer can do, not only those of every run

``all`` takes hours. It may be ended and begun again at any time: what has worked is remembered in build/interop and
not tried again. It says how far it has come after every boot of the lab.
"""

import argparse
import io
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab.matrix import results  # noqa: E402
from tests.lab.matrix.cells import PEERS, SELECTED, PeerName, every  # noqa: E402
from xfrmctl.lab import boot  # noqa: E402
from xfrmctl.lab.errors import LabError  # noqa: E402
from xfrmctl.lab.job import Job  # noqa: E402
from xfrmctl.lab.process import exit_on_sigterm  # noqa: E402

DOCUMENT = ROOT / "docs" / "interop.md"
RESULTS = ROOT / "build" / "test-results"
KEPT = ROOT / "build" / "interop"
#: Where each peer's tests are.
TESTS: dict[PeerName, str] = {
    "strongswan": "tests/lab/test_interop_matrix.py",
    "libreswan": "tests/lab/test_interop_libreswan.py",
    "openiked": "tests/lab/test_interop_openiked.py",
}
#: Tunnels of one boot of the lab, and how long it may take in seconds.
BATCH, TIMEOUT_S = 150, 1800


def doc() -> int:
    """Write the document from what the last run of the tests left; 1 if not everything in it works."""
    outcomes, versions = results.read(sorted(RESULTS.glob("*.junit.xml")))
    known = results.versions_of(DOCUMENT.read_text()) if DOCUMENT.exists() else {}
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(results.render(outcomes, known | versions))
    return _complain(results.missing(outcomes))


def check() -> int:
    """1 if the last run does not show what the document says; the peers' versions may differ."""
    outcomes, _ = results.read(sorted(RESULTS.glob("*.junit.xml")))
    text = DOCUMENT.read_text()
    problems = results.missing(outcomes)
    if text != results.render(outcomes, results.versions_of(text)):
        problems.append(f"{DOCUMENT.relative_to(ROOT)} says something else: write it anew with `make docs-interop`")
    return _complain(problems)


def _complain(problems: list[str]) -> int:
    for problem in problems:
        print(f"interop matrix: {problem}", file=sys.stderr)
    return 1 if problems else 0


def everything(peers: list[PeerName]) -> int:
    """Try every tunnel of these peers that has not worked yet; 1 if one does not."""
    boot.need_root()
    KEPT.mkdir(parents=True, exist_ok=True)
    failed = []
    for peer in peers:
        kept = KEPT / f"{peer}.passed"
        passed = set(kept.read_text().split()) if kept.exists() else set()
        cells = every(peer)
        left = [cell.id for cell in cells if cell.id not in passed]
        for at in range(0, len(left), BATCH):
            outcomes = _try(peer, left[at : at + BATCH])
            worked = [name for name, ok in outcomes.items() if ok]
            with kept.open("a") as file:
                file.writelines(f"{name}\n" for name in worked)
            passed |= set(worked)
            failed += [f"{peer} {name}" for name, ok in outcomes.items() if not ok]
            print(f"{peer}: {len(passed)} of {len(cells)} work, {len(failed)} failed so far", flush=True)
    return _complain([f"{name} failed" for name in failed])


def _try(peer: PeerName, names: list[str]) -> dict[str, bool]:
    """Whether each of these tunnels works, by one run of the peer's test file in one boot."""
    selection, junit = KEPT / f"{peer}.selected", KEPT / f"{peer}.junit.xml"
    selection.write_text("\n".join(names))
    junit.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pytest", "-q", "-m", "lab", "-p", "no:cacheprovider", "-k", "test_cell"]
    argv += ["--junitxml", str(junit), TESTS[peer]]
    sink = io.BytesIO()
    boot.run(Job(argv=argv, cwd=ROOT, env={SELECTED: str(selection)}, timeout_s=TIMEOUT_S), sink, sink)
    (KEPT / f"{peer}.log").write_bytes(sink.getvalue())
    if not junit.exists():
        raise LabError(f"no results; what pytest said is in {KEPT / f'{peer}.log'}")
    outcomes, _ = results.read([junit])
    return {name: outcomes.get((peer, "cell", name), False) for name in names}


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("doc")
    verbs.add_parser("check")
    verbs.add_parser("all").add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)}")
    arguments = parser.parse_args()
    if arguments.verb != "all":
        return doc() if arguments.verb == "doc" else check()
    unknown = [name for name in arguments.peers if name not in PEERS]
    if unknown:
        parser.error(f"no peer {unknown[0]}; there are {', '.join(PEERS)}")
    exit_on_sigterm()
    return everything([peer for peer in PEERS if not arguments.peers or peer in arguments.peers])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"interop matrix: {error}")
