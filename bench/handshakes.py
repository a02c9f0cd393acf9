"""N handshakes from one initiator against xfrmctl and against strongSwan, in one run of the lab (``make bench``).

    xfrmctl lab run -- python -m bench                     1,000 handshakes each, best of three
    xfrmctl lab run -- python -m bench -n 5000 --quiet      more of them, only warnings are logged
    xfrmctl lab run -- python -m bench --markdown          the README's table

Two namespaces and a veth link. Each handshake is IKE_SA_INIT and IKE_AUTH with one CHILD SA, from an identity and an
inner network of its own; the responder has one entry that takes them all and puts real SAs into the kernel. The
initiator keeps no SAs, and one key pair for all, so that most of the work is the responder's.

CPU seconds are what to compare: handshakes per second depend on the initiator, too, and in the lab kernel both share
one processor.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from bench import report, responders
from bench.initiator import ESP_SUITE, IKE_SUITE, MOST
from bench.measure import settled, usage, yardstick
from bench.responders import Setup
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import inside
from xfrmctl.lab.namespace import Namespace, batch

TARGET = "172.16.2.1"
NEAR = "172.16.2.2"
SOURCES_NET = "172.18.0.0/16"
FIRST_SOURCE = "172.18.0.1"
DRIVE_TIMEOUT_S = 600.0
WARM_UP = 20
"""Handshakes before the clock starts: imports, first allocations, caches."""

Start = Callable[[Namespace, Setup], AbstractContextManager[int]]

RESPONDERS: dict[str, Start] = {
    "xfrmctl": responders.xfrmctl,
    "strongswan": responders.strongswan,
    "strongswan-sas-only": partial(responders.strongswan, policies=False),
}


@contextmanager
def link(prefix: str) -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces, a veth link, and a network of source addresses at the initiator."""
    here, there = Namespace(f"{prefix}i"), Namespace(f"{prefix}r")
    try:
        for namespace in (here, there):
            namespace.add()
        batch([f"link add eth0 netns {here.name} type veth peer name eth0 netns {there.name}"])
        here.batch(
            [
                "link set lo up",
                "link set eth0 up",
                f"address add {NEAR}/24 dev eth0",
                f"route add local {SOURCES_NET} dev lo",
            ]
        )
        there.batch(
            [
                "link set lo up",
                "link set eth0 up",
                f"address add {TARGET}/24 dev eth0",
                f"route add {SOURCES_NET} via {NEAR}",
                f"route add 10.0.0.0/8 via {NEAR}",
            ]
        )
        yield here, there
    finally:
        here.remove()
        there.remove()


def drive(namespace: Namespace, options: argparse.Namespace, *, first: int, count: int) -> Iterator[dict[str, float]]:
    """Start the initiator; it is ready when the first value is asked for, and done when it is given."""
    argv = [sys.executable, "-m", "bench.drive", "--target", TARGET, "--source", FIRST_SOURCE]
    argv += ["--sources", str(options.sources), "--window", str(options.window), "--first", str(first)]
    argv += ["--count", str(count), "--ike", options.ike, "--esp", options.esp]
    process = namespace.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise LabError("the initiator did not start")
        yield {}
        said, _ = process.communicate(b"go\n", timeout=DRIVE_TIMEOUT_S)
        if process.returncode:
            raise LabError(f"the initiator ended with {process.returncode}")
        yield json.loads(said)
    finally:
        process.kill()
        process.wait()


def measured(name: str, options: argparse.Namespace) -> report.Run:
    """One responder, one run, everything new."""
    setup = Setup(TARGET, options.ike, options.esp, options.quiet)
    with link(f"x{os.getpid()}") as (here, there), RESPONDERS[name](there, setup) as pid:
        warm = min(WARM_UP, options.count)
        started_mb = usage(pid).rss_mb
        for _ in drive(here, options, first=0, count=warm):
            pass
        run = drive(here, options, first=warm, count=options.count)
        next(run)
        before = settled(pid)
        yardsticks = [yardstick()]
        outcome = next(run)
        during = usage(pid)
        yardsticks.append(yardstick())
        after = settled(pid)
        found = re.search(r"SAD\s+count\s+(\d+)", there.run(["ip", "xfrm", "state", "count"]).stdout)
        states = int(found.group(1)) if found else 0
    if outcome["failed"]:
        raise LabError(f"{name}: {outcome['failed']} handshakes failed, the first with: {outcome['first_error']}")
    if states != 2 * (options.count + warm):
        raise LabError(f"{name}: {states} SAs in the kernel, {2 * (options.count + warm)} expected")
    count = outcome["handshakes"]
    return report.Run(
        responder=name,
        handshakes=int(count),
        per_second=count / outcome["seconds"],
        cpu_s_per_1000=1000 * (after.cpu_s - before.cpu_s) / count,
        deferred_cpu_s_per_1000=1000 * (after.cpu_s - during.cpu_s) / count,
        initiator_cpu_s_per_1000=1000 * outcome["cpu_s"] / count,
        latency_ms=outcome["latency_ms"],
        retransmissions=int(outcome["retransmissions"]),
        rss_started_mb=started_mb,
        rss_before_mb=before.rss_mb,
        rss_after_mb=after.rss_mb,
        kernel_sas=states,
        yardstick_ms=max(yardsticks),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", "--count", type=int, default=1000, help="handshakes of one run (default 1000)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each responder, in turn; the best is shown (default 3)"
    )
    parser.add_argument("--window", type=int, default=32, help="handshakes under way at once (default 32)")
    parser.add_argument("--sources", type=int, default=64, help="source addresses of the initiator (default 64)")
    parser.add_argument("--ike", default=IKE_SUITE, help=f"IKE proposal (default {IKE_SUITE})")
    parser.add_argument("--esp", default=ESP_SUITE, help=f"ESP proposal (default {ESP_SUITE})")
    parser.add_argument("--quiet", action="store_true", help="both log warnings only, not what they log by default")
    parser.add_argument("--only", choices=RESPONDERS, action="append", help="only this responder; may be repeated")
    parser.add_argument("--json", type=Path, default=Path("bench/results/handshakes.json"), help="where figures go")
    parser.add_argument("--markdown", action="store_true", help="print the README's table")
    options = parser.parse_args(argv)
    if options.count + WARM_UP > MOST:
        parser.error(f"at most {MOST - WARM_UP} handshakes: each has a network of its own")
    if inside() is None:
        parser.error("this needs the lab: make bench, or xfrmctl lab run -- python -m bench")
    names = options.only or list(RESPONDERS)
    runs: list[report.Run] = []
    try:
        for number in range(options.rounds):
            for name in names:
                print(f"run {number + 1} of {options.rounds}: {name} ...", file=sys.stderr, flush=True)
                runs.append(measured(name, options))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    shown = [report.best([r for r in runs if r.responder == name]) for name in names]
    about = {
        "ike": options.ike,
        "esp": options.esp,
        "window": options.window,
        "sources": options.sources,
        "quiet": options.quiet,
        "rounds": options.rounds,
    }
    report.write_json(options.json, report.runs_json(shown, runs, about))
    if options.markdown:
        print(report.markdown(shown))
    else:
        report.runs(shown, title=f"{options.count:,} handshakes: PSK, {options.ike} / {options.esp}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
