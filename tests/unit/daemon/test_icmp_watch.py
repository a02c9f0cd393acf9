"""The guard's table and rules follow the CHILD SAs; verdicts become events."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from tests.sim.world import ALICE, BOB, Node, World, pair, start
from tests.unit.guard.icmp_errors import Error, esp
from xfrmctl.config.build import IcmpPolicy
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.icmp import SETTLE_S, IcmpWatch
from xfrmctl.guard.table import key
from xfrmctl.kernel.desired import IcmpGuard
from xfrmctl.model.events import ChildSaRemoved, Event, IcmpErrorJudged, PathMtuChanged
from xfrmctl.model.path import Confidence, MtuSource, Path
from xfrmctl.model.sa import Direction

IGNORE, TRUST = IcmpPolicy.IGNORE, IcmpPolicy.TRUST
SENT = 500
OVERLAP_S = 0.5


class Bench:
    """Alice's engine, and a watch over it that binds no queue: the judge is asked by hand."""

    def __init__(self, policy: IcmpPolicy = IGNORE) -> None:
        self.world = World()
        self.alice, self.bob = pair(self.world)
        self.events: list[Event] = []
        self.guards: list[IcmpGuard] = []
        self.faults: list[str] = []
        self.bus = Bus()
        self.bus.subscribe(self.events.append)
        self.watch = IcmpWatch(
            self.alice.engine, self.bus, self.guards.append, self.believed, {4: policy, 6: policy}, self.faults
        )
        self.watch._judge._oracle = lambda sa: SENT
        self._told = 0
        self.mtu = 1500

    def believed(self, path: Path) -> int | None:
        """What anybody who is there is taken to reach."""
        return self.mtu if self.alice.engine.ike_sas() else None

    async def settled(self) -> None:
        """Tell the watch what has happened, and let it make its table."""
        for event in self.alice.events[self._told :]:
            self.watch.observe(event)
        self._told = len(self.alice.events)
        await asyncio.sleep(SETTLE_S * 2)

    def spi(self, node: Node | None = None) -> int:
        return next(sa.spi for sa, _ in (node or self.alice).sad.values() if sa.direction == Direction.OUT)

    def verdict(self, spi: int) -> bool:
        return self.watch._verdict(Error(ALICE, BOB, esp(spi, SENT), reporter="198.51.100.7").packet)


def run(story: Callable[[Bench], object], policy: IcmpPolicy = IGNORE) -> Bench:
    async def go() -> Bench:
        bench = Bench(policy)
        bench.watch.start()
        result = story(bench)
        if asyncio.iscoroutine(result):
            await result
        await asyncio.sleep(0)
        bench.watch.stop()
        return bench

    return asyncio.run(go())


def test_configured_peers_are_guarded_before_there_is_an_sa() -> None:
    bench = run(lambda b: None)
    assert bench.guards[0] == IcmpGuard(ignored=frozenset([ip_address(BOB)])) and not bench.faults
    assert run(lambda b: None, TRUST).guards[0] == IcmpGuard()


def test_an_sa_comes_is_rekeyed_and_goes() -> None:
    async def story(b: Bench) -> None:
        start(b.world, b.alice)
        b.world.run(1)
        old = b.spi()
        assert not b.verdict(old), "nobody has told the watch yet"
        await b.settled()
        assert b.verdict(old) and not b.verdict(old + 1)
        b.world.do(b.alice, lambda now: b.alice.engine.rekey("net", "lan", now))
        b.world.run(1)
        await b.settled()
        (new,) = {sa.spi for sa, _ in b.alice.sad.values() if sa.direction == Direction.OUT}
        assert new != old and b.verdict(new)
        assert b.verdict(old), "errors about its last packets are under way"
        assert any(isinstance(e, ChildSaRemoved) for e in b.alice.events)

    bench = run(story)
    judged = [e for e in bench.events if isinstance(e, IcmpErrorJudged)]
    assert [e.accepted for e in judged] == [False, True, False, True, True]
    assert judged[1].path is not None and (judged[1].mtu, judged[1].quoted) == (1400, 1500)
    assert judged[2].reason == "unknown_spi" and judged[2].path is None


def test_the_table_follows_whatever_happens_without_being_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each step it is what a look at all SAs would give; the rules know peers and SPIs, and hear of no MTU."""

    def check(b: Bench) -> None:
        table, children = b.watch._judge.table, [c for sa in b.alice.engine.ike_sas() for c in sa.children]
        standing = {sa for sa, o in table.outbound.items() if o.until is None}
        assert standing == {key(c.outbound) for c in children if c.installed}
        assert table.peers == {ip_address(BOB)}
        (guard, *_) = reversed(b.guards)
        assert guard.judged == table.peers and guard.known == {(peer, spi) for peer, _, spi in table.outbound}
        assert table.mtus == ({Path(ip_address(ALICE), ip_address(BOB), 0): b.mtu} if standing else {})

    async def story(b: Bench) -> None:
        await b.settled()
        check(b)
        start(b.world, b.alice)
        for step in (
            lambda now: None,
            lambda now: b.alice.engine.rekey("net", "lan", now),
            lambda now: b.alice.engine.rekey("net", None, now),
            lambda now: b.alice.engine.rekey("net", "lan", now),
        ):
            b.world.do(b.alice, step)
            b.world.run(1)
            await b.settled()
            check(b)
        told, b.mtu = len(b.guards), 1400
        path = Path(ip_address(ALICE), ip_address(BOB), 0)
        change = PathMtuChanged(
            path=path, old=1500, new=1400, source=MtuSource.PROBE, confidence=Confidence.CONFIRMED, reason="probe"
        )
        b.watch.observe(change)
        await b.settled()
        assert b.watch._judge.table.mtus == {path: 1400} and len(b.guards) == told
        b.world.do(b.alice, b.alice.engine.shutdown)
        b.world.run(1)
        await b.settled()
        assert {o.until is None for o in b.watch._judge.table.outbound.values()} == {False}
        await asyncio.sleep(2 * OVERLAP_S)
        assert not b.watch._judge.table.outbound and b.guards[-1].known == frozenset()

    monkeypatch.setattr("xfrmctl.daemon.icmp.OVERLAP_S", OVERLAP_S)
    run(story, IcmpPolicy.VALIDATE)


def test_a_fault_is_told_once_and_shown() -> None:
    def story(b: Bench) -> None:
        for _ in range(3):
            b.watch._fault(ValueError("boom"))

    bench = run(story)
    assert len(bench.faults) == 1 and "boom" in bench.faults[0] and "dropped unjudged" in bench.faults[0]
    assert len(bench.events) == 1


def test_what_comes_after_the_stop_is_dropped_in_silence() -> None:
    bench = run(lambda b: None)
    assert not bench.verdict(1) and not bench.events
