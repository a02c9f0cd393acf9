"""A status page over HTTP, fed with values: a gateway with an hour behind it, and whatever a test makes of it."""

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.unit.control.gateway_values import CHILD, DOWN, FINDING, IKE, SNAPSHOT, UP
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.snapshot import Snapshot
from xfrmctl.page.history import STEP_S
from xfrmctl.page.server import StatusPage, Watch

DIAGNOSIS = Diagnosis(connections=["branch-7", "branch-8"], seconds=3.0, findings=[FINDING], blind=[])


def after(seconds: float, received: int, sent: int, mtu: int = 1400) -> Snapshot:
    """The gateway with these counters of ``branch-7/lan`` and this path MTU."""
    assert CHILD.mtu is not None
    child = replace(
        CHILD,
        inbound=replace(CHILD.inbound, bytes=received),
        outbound=replace(CHILD.outbound, bytes=sent),
        mtu=replace(CHILD.mtu, outer_mtu=mtu),
    )
    up = replace(UP, ike_sas=[replace(IKE, children=[child])])
    return replace(SNAPSHOT, connections=[up, DOWN], uptime_s=seconds)


def hour() -> Iterator[tuple[float, Snapshot]]:
    """Looks of an hour: traffic that comes and goes, and a path that becomes narrow after forty minutes."""
    received = sent = 0
    for number in range(360):
        wave = 1 + math.sin(number / 20) + (number % 7) / 7
        received += int(wave * 4e6)
        sent += int(wave * 1.2e6)
        yield number * STEP_S, after(number * STEP_S, received, sent, 1500 if number < 240 else 1400)


class Source:
    """What the daemon would say."""

    def __init__(self, snapshot: Snapshot = SNAPSHOT, diagnosis: Diagnosis = DIAGNOSIS) -> None:
        self.snapshot, self.diagnosis = snapshot, diagnosis
        self.looks = 0

    async def take(self) -> Snapshot:
        return self.snapshot

    async def diagnose(self) -> Diagnosis:
        self.looks += 1
        return self.diagnosis

    def page(self, past: bool = False) -> StatusPage:
        watch = Watch(self.take, self.diagnose)
        begin = time.monotonic() - 360 * STEP_S
        for at, snapshot in hour() if past else ():
            watch.history.observe(snapshot, begin + at)
            self.snapshot = snapshot
        return StatusPage(watch, "moon", "127.0.0.1", 0)


@contextmanager
def serving(page: StatusPage) -> Iterator[str]:
    """A page that is served by a thread of its own; gives its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(page.start(), loop).result(10)
        yield f"http://127.0.0.1:{page.port}"
    finally:
        asyncio.run_coroutine_threadsafe(page.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


EVIL = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)><b class=x>&amp; \u202egnp.exe\x1b[31m " + "long" * 60


def hostile() -> Source:
    """A gateway all of whose words are somebody else's."""
    failure = DOWN.last_failure
    assert failure is not None
    bad = replace(failure, text=EVIL, cause=EVIL, cure=EVIL, notify=EVIL, ours=[EVIL], theirs=[EVIL])
    child = replace(CHILD, suite=EVIL, peer=EVIL, encap=EVIL, inbound=replace(CHILD.inbound, spi=EVIL))
    ike = replace(IKE, local_id=EVIL, remote_id=EVIL, suite=EVIL, meaning=EVIL, children=[child])
    kernel = replace(SNAPSHOT.kernel, problems=[EVIL], disturbances=[EVIL])
    configured = replace(UP.children[0], local_ts=[EVIL], remote_ts=[EVIL])
    snapshot = replace(
        SNAPSHOT,
        connections=[
            replace(UP, ike_sas=[ike], children=[configured], meaning=EVIL),
            replace(DOWN, last_failure=bad, remote=EVIL, state=EVIL),
        ],
        kernel=kernel,
        config_file=EVIL,
        reload_ok=False,
        reload_error=EVIL,
        version=EVIL,
    )
    finding = replace(
        FINDING, id=EVIL, symptom=EVIL, evidence=[EVIL], cause=EVIL, cure_here=EVIL, cure_peer=EVIL, connection=""
    )
    return Source(snapshot, replace(DIAGNOSIS, findings=[finding], blind=[EVIL]))
