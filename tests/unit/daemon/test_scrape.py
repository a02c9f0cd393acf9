"""A scrape of 10,000 CHILD SAs lets the loop go on: counted in turns of the loop, not in seconds."""

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.sim.world import ALICE, BOB, child, connection
from tests.unit.daemon.test_runtime import Wire, engine, run
from xfrmctl.config.load import Configuration
from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.daemon.runtime import Runtime
from xfrmctl.daemon.scrape import FAREWELL, GatewaySource, SaAccounts
from xfrmctl.daemon.snapshot import DaemonState, ObservedGateway, SnapshotBuilder
from xfrmctl.daemon.tally import Tally
from xfrmctl.daemon.tunnelwatch import TunnelWatch
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, EngineConfig, Start
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import ChildState, IkeState
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.ownership import reqid_for
from xfrmctl.metrics import children
from xfrmctl.metrics.ledger import Ledger
from xfrmctl.metrics.pacer import CHEAP, STEPS, Pacer
from xfrmctl.metrics.page import LINES, Page
from xfrmctl.metrics.scrape import Metrics
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import ChildSaInstalled, Event, IkeSaEstablished
from xfrmctl.model.sa import SaCounters, SaId
from xfrmctl.pmtu.settings import PathOptions

MANY = 10_000
PER_BUFFER = 45
"""SAs in one buffer of a dump: 32 KiB (``netlink_dump``) of some 700 bytes each."""

A_CHILD = 100
"""Blocks of memory that a CHILD SA takes in a snapshot, at most."""

OURS = ip_address("192.0.2.1")
TEMPLATE = child()


def peer(number: int) -> IPv4Address:
    return IPv4Address(0x0A000000 + number)


def several(count: int = MANY) -> list[ConnectionConfig]:
    """A connection for each child."""
    template = connection(str(OURS), str(peer(1)), TEMPLATE)
    return [
        replace(template, name=f"net{n}", remote=peer(n), children=(replace(TEMPLATE, reqid=reqid_for(n)),))
        for n in range(1, count + 1)
    ]


def one() -> list[ConnectionConfig]:
    """One connection with all children; they are called alike but for a number."""
    found = [replace(TEMPLATE, name=f"lan{n}", reqid=reqid_for(n)) for n in range(1, MANY + 1)]
    return [connection(str(OURS), str(peer(1)), *found)]


@dataclass
class Gateway:
    """A daemon's parts, with an IKE SA for each connection and a CHILD SA for each child that nobody has negotiated."""

    configured: list[ConnectionConfig]
    sad: list[SaCounters] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        config = EngineConfig(connections={c.name: c for c in self.configured})
        self.engine = IkeEngine(config, DeterministicEntropy(b"many"))
        kernel = cast(Any, FakeKernel())
        paths = PathKeeper(self.engine, kernel, PathOptions(probe=False), loop.time)
        self.reconciler = Reconciler(self.engine, kernel, Bus(), paths)
        self.kernel = SimpleNamespace(walk=self._walk)
        tunnels = cast(TunnelWatch, SimpleNamespace(info=lambda _: None, problems=list))
        self.builder = SnapshotBuilder(self.engine, self.reconciler, paths, tunnels, Tally())
        number = 0
        for serial, connected in enumerate(self.configured, 1):
            sa = self._ike(serial, connected)
            for wanted in connected.children:
                number += 1
                self._child(number, sa, wanted)

    def _ike(self, serial: int, config: ConnectionConfig) -> IkeSa:
        assert config.remote is not None
        sa = IkeSa(
            serial=serial,
            initiator=True,
            spi_i=serial.to_bytes(8, "big"),
            spi_r=serial.to_bytes(8, "little"),
            local=Endpoint(OURS, 500),
            remote=Endpoint(config.remote, 500),
            created_at=0.0,
            state=IkeState.ESTABLISHED,
            config=config,
            established_at=0.0,
        )
        core = self.engine._core
        core.add(sa)
        core.attach(sa)
        return sa

    def _child(self, number: int, sa: IkeSa, config: ChildConfig) -> None:
        (suite,) = TEMPLATE.esp[0].suites()
        found = ChildSa(
            config=config,
            reqid=config.reqid,
            suite=suite,
            inbound=SaId(OURS, config.protocol, 0x10000000 + number),
            outbound=SaId(sa.remote.address, config.protocol, 0x20000000 + number),
            local_ts=config.local_ts,
            remote_ts=config.remote_ts,
            encap=None,
            initiator=True,
            created_at=0.0,
        )
        self.engine._core.add_child(sa, found)
        found.state = ChildState.INSTALLED
        for sa_id in (found.inbound, found.outbound):
            self.sad.append(
                SaCounters(id=sa_id, reqid=found.reqid, bytes=100 * number, packets=number, added_at=1, used_at=1)
            )
        self.events.append(
            ChildSaInstalled(
                connection=sa.connection,
                child=config.name,
                reqid=found.reqid,
                ike=sa.name,
                inbound=found.inbound,
                outbound=found.outbound,
                suite=suite,
                mode=found.mode,
                local_ts=found.local_ts,
                remote_ts=found.remote_ts,
                encap=None,
            )
        )

    def _walk(self) -> Iterator[dict[SaId, SaCounters]]:
        for at in range(0, len(self.sad), PER_BUFFER):
            yield {found.id: replace(found) for found in self.sad[at : at + PER_BUFFER]}

    def now(self) -> float:
        return 9.0

    async def look(self, began: float, sad: dict[SaId, SaCounters]) -> ObservedGateway:
        return ObservedGateway(
            now=10.0, wall=11.0, began=began, sad=sad, clamps=[], xfrm_stat={}, reassembly=[], df={}, icmp_queue=None
        )

    def state(self) -> DaemonState:
        configuration = cast(Configuration, SimpleNamespace(file="f", hash="h"))
        return DaemonState(configuration, 1.0, 1.0, "")


class Work:
    """Counts what the scrape does between two turns of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        self.worst: Counter[str] = Counter()
        self.turns = 0
        self._blocks = sys.getallocatedblocks()
        self._watch(monkeypatch, Page, "put")
        self._watch(monkeypatch, Page, "add")
        self._watch(monkeypatch, SnapshotBuilder, "_child")
        self._watch(monkeypatch, SnapshotBuilder, "_configured")
        self._watch(monkeypatch, Ledger, "look")

    def _watch(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        before = getattr(owner, name)

        def counting(*given: Any, **more: Any) -> Any:
            self.done[name] += 1
            return before(*given, **more)

        monkeypatch.setattr(owner, name, counting)

    def turn(self) -> None:
        """The loop has had its turn."""
        self.turns += 1
        before, self._blocks = self._blocks, sys.getallocatedblocks()
        self.done["freed"] = max(0, before - self._blocks)
        self.worst |= self.done
        self.done.clear()


def scraper(gateway: Gateway) -> Metrics:
    metrics = Metrics(GatewaySource(cast(Any, gateway)), lambda: 1.0)
    for event in gateway.events:
        metrics.observe(event)
    return metrics


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What other tests have left is not freed meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("configured", [several, one])
def test_between_two_turns_of_the_loop_little_is_done(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[Work, str]:
        gateway = Gateway(configured())
        metrics = scraper(gateway)
        work = Work(monkeypatch)
        scrape = asyncio.ensure_future(metrics.render())
        while not scrape.done():
            await asyncio.sleep(0)
            work.turn()
        pieces, _ = scrape.result()
        assert all(piece.count(b"\n") <= 2 * LINES + 2 for piece in pieces)
        return work, b"".join(pieces).decode()

    work, text = asyncio.run(run())
    assert work.turns > MANY / STEPS
    assert work.worst["look"] <= 1  # a buffer of the dump
    assert work.worst["_child"] <= STEPS and work.worst["_configured"] <= STEPS
    assert work.worst["put"] <= STEPS * (len(children.FAMILIES) + 20)
    assert work.worst["add"] <= STEPS * CHEAP
    assert work.worst["freed"] <= STEPS * CHEAP * A_CHILD
    assert text.count("\nxfrmctl_child_up{") == MANY
    name = "net9999" if configured is several else "net"
    label = "lan" if configured is several else "lan9999"
    assert f'xfrmctl_child_packets_total{{child="{label}",connection="{name}",direction="in"}} 9999.0\n' in text


def test_a_handshake_during_a_scrape_takes_as_many_turns_as_without() -> None:
    """Each of its messages is handled in the turn in which it comes: it waits for one piece, and for no more."""

    def up(wire: Wire) -> bool:
        return sum(isinstance(event, IkeSaEstablished) for event in wire.events) == 2

    async def turns(scraping: bool) -> int:
        wire = Wire()
        alice = wire.add(ALICE, engine(ALICE, BOB, Start.START, ("10.1.1.0/24", "10.1.2.0/24")))
        wire.add(BOB, engine(BOB, ALICE, Start.NONE, ("10.1.2.0/24", "10.1.1.0/24")))
        metrics = scraper(Gateway(several(1000)))
        scrape = asyncio.ensure_future(metrics.render()) if scraping else None
        for _ in range(20):
            await asyncio.sleep(0)
        alice.step(alice.engine.start_all)
        count = 0
        while not up(wire):
            await asyncio.sleep(0)
            count += 1
            assert scrape is None or not scrape.done()
        if scrape is not None:
            scrape.cancel()
        return count

    assert asyncio.run(turns(True)) == asyncio.run(turns(False)) <= 6


def test_a_reload_in_the_middle_of_a_scrape_does_it_no_harm() -> None:
    async def run() -> str:
        gateway = Gateway(several(200))
        metrics = scraper(gateway)
        scrape = asyncio.ensure_future(metrics.render())
        for _ in range(20):
            await asyncio.sleep(0)
        for gone in gateway.configured[100:]:
            del gateway.engine.connections[gone.name]
        return b"".join((await scrape)[0]).decode()

    text = asyncio.run(run())
    assert 'connection="net100"' in text
    assert 'connection="net200"' not in text


class Booked:
    """A kernel that has counted; remembers of which SAs it was asked."""

    def __init__(self) -> None:
        self.asked: list[SaId] = []

    def counted(self, ids: Sequence[SaId]) -> list[SaCounters]:
        self.asked += ids
        return [SaCounters(id=sa_id, reqid=1, bytes=100, packets=1) for sa_id in ids]


def test_what_an_sa_has_carried_is_read_before_it_is_deleted() -> None:
    """By the runtime, at each rekey; nobody scrapes here."""
    booked, ledgers = Booked(), Ledger()
    times: list[float] = []

    def story(wire: Wire, alice: Runtime, bob: Runtime) -> None:
        alice.accounts = SaAccounts(booked, ledgers, times.append)
        alice._bus.subscribe(ledgers.observe)
        alice.step(alice.engine.start_all)

        def rekey() -> None:
            for sa_id in list(wire.kernels[ALICE].sas):
                assert sa_id not in booked.asked
            alice.step(lambda now: alice.engine.rekey("net", "lan", now))

        wire.loop.call_later(0.1, rekey)

    wire = run(story)
    gone = set(booked.asked)
    assert gone and not gone & set(wire.kernels[ALICE].sas)
    assert ledgers.totals("net", "lan", "out").packets == len(gone)
    assert len(times) > 4 and all(seconds >= 0 for seconds in times)


def test_a_stop_with_thousands_of_sas_does_not_ask_for_each() -> None:
    booked = Booked()
    accounts = SaAccounts(booked, Ledger(), lambda _: None)
    accounts.ending([SaId(OURS, TEMPLATE.protocol, number) for number in range(0x1000, 0x1000 + FAREWELL + 1)])
    assert not booked.asked


def test_what_was_read_of_the_sad_is_forgotten_in_pieces() -> None:
    async def run() -> int:
        gateway = Gateway(several(1000))
        source, pacer, ledger = GatewaySource(cast(Any, gateway)), Pacer(), Ledger()
        await source.gateway(pacer, ledger)
        seen = source._seen
        assert seen is not None and len(seen.sad) == 2000
        _ = [found async for found in source.connections(pacer)]
        assert not seen.sad
        before = pacer.pieces
        await pacer.forget(dict.fromkeys(range(MANY)))
        return pacer.pieces - before

    assert asyncio.run(run()) >= MANY // (STEPS * CHEAP)
