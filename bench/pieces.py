"""The longest turns of the daemon's event loop at thousands of CHILD SAs. ``make bench-pieces``; in the lab.

One responder with thousands of peers, handshaken for real, is scraped, shown, diagnosed and left to itself. Whatever
takes a turn of the loop delays a handshake by as much; an engine step may take 10 ms.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

from bench import responders
from bench.handshakes import TARGET, drive, link
from bench.initiator import ESP_SUITE, IKE_SUITE
from bench.responders import Setup
from xfrmctl.lab.gateway import Gateway, Process
from xfrmctl.lab.namespace import Namespace

MORE = "metrics: 127.0.0.1:9877\n  status_page: 127.0.0.1:9878"
_FRAME = "RequestHandler._handle_request:577 > Application._handle:563 > "
_ISOLATE = 'mount -t tmpfs run /run && mkdir -p /run/lock && exec "$@"'


class Watched(Gateway):
    """A gateway whose event loop has a stopwatch."""

    @property
    def turns(self) -> Path:
        """Where the stopwatch writes."""
        return self.directory / "turns"

    def longest(self) -> list[dict[str, object]]:
        """The longest turns since the last question."""
        self.turns.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR2)
        deadline = time.monotonic() + 60
        while not self.turns.exists():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGQUIT)  # tells where it is
                time.sleep(1)
                raise SystemExit(f"the daemon does not answer:\n{self.log_tail(200)}")
            time.sleep(0.05)
        found: list[dict[str, object]] = json.loads(self.turns.read_text())
        return found


def _spawn(namespace: Namespace, arguments: list[str], output: IO[bytes]) -> Process:
    turns = Path(arguments[arguments.index("--control") + 1]).with_name("turns")
    argv = [sys.executable, "-m", "bench.loopwatch", str(turns), *arguments]
    return namespace.popen(
        ["unshare", "--mount", "sh", "-c", _ISOLATE, "sh", *argv],
        stdout=output,
        stderr=output,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


Watched.spawn = staticmethod(_spawn)  # type: ignore[assignment]


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="The longest turns of the event loop at many CHILD SAs.")
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="the names of those exercises")
    options = parser.parse_args()
    setup = Setup(TARGET, IKE_SUITE, ESP_SUITE, quiet=True)
    shakes = argparse.Namespace(sources=64, window=32, ike=IKE_SUITE, esp=ESP_SUITE)
    with link(f"p{os.getpid()}") as (here, there), responders.gateway(there, setup, Watched, MORE) as gateway:
        assert isinstance(gateway, Watched)
        began = time.monotonic()
        (_, outcome) = drive(here, shakes, first=0, count=options.peers)
        assert not outcome["failed"], outcome
        print(f"{options.peers:,} peers in {time.monotonic() - began:.0f} s", flush=True)
        _tell("while they came", gateway)
        os.nice(19)  # whoever asks is to take no time of the daemon's: what is told is its own
        time.sleep(5)
        for _ in range(options.rounds):
            for name, action in exercises(gateway).items():
                if options.only and name not in options.only:
                    continue
                gateway.longest()
                began = time.monotonic()
                action()
                _tell(f"{name}, {time.monotonic() - began:.1f} s", gateway)
    return 0


def exercises(gateway: Gateway) -> dict[str, Callable[[], object]]:
    """What is asked of it."""
    run = gateway.ctl_text
    return {
        "idle": partial(time.sleep, 5),
        "scrape": gateway.metrics,
        "show": partial(run, "show"),
        "show --json": partial(run, "show", "--json"),
        "show any": partial(run, "show", "any"),
        "one connection by the API": partial(gateway.client.connection, "any"),
        "one traffic table": partial(run, "top", "--once"),
        "diagnose": partial(run, "diagnose", "--seconds", "1", check=False),
        "the page": partial(gateway.fetch, "127.0.0.1:9878", "/"),
        "one connection's page": partial(gateway.fetch, "127.0.0.1:9878", "/connection/any"),
        "idle for a minute": partial(time.sleep, 65),
    }


def _tell(what: str, gateway: Watched) -> None:
    print(f"{what}:", flush=True)
    for turn in gateway.longest()[:6]:
        where = str(turn["where"]).removeprefix(_FRAME)
        print(f"    {turn['wall_ms']:8} ms ({turn['cpu_ms']:.0f} of CPU)  {where}", flush=True)
        for place, times in turn["within"]:  # type: ignore[attr-defined]
            print(f"        {times:3} x {place}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
