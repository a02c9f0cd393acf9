"""One step at a time: order of effects, answers as inputs, timers, and what the edge does when the kernel says no."""

import asyncio
from collections.abc import Callable

from tests.sim.world import ALICE, BOB, child, connection
from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.daemon.runtime import Runtime
from xfrmctl.ike.config import EngineConfig, Start
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.desired import Action
from xfrmctl.kernel.events import Acquire
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import ChildSaInstalled, DatagramNotSent, Event, NegotiationFailed
from xfrmctl.model.sa import Direction
from xfrmctl.pmtu.settings import PathOptions


class Wire:
    """Two runtimes whose datagrams cross in the event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ends: dict[str, Runtime] = {}
        self.kernels: dict[str, FakeKernel] = {}
        self.events: list[Event] = []
        self.down: str | None = None

    def add(self, address: str, engine: IkeEngine) -> Runtime:
        bus = Bus()
        bus.subscribe(self.events.append)
        kernel = self.kernels[address] = FakeKernel()
        runtime = self.ends[address] = Runtime(engine, kernel, self._send, bus, self.loop)
        return runtime

    def _send(self, local: Endpoint, remote: Endpoint, data: bytes, *, whole: bool = False) -> str | None:
        if self.down is not None:
            return self.down
        self.loop.call_soon(self.ends[str(remote.address)].datagram, remote, local, data)
        return None


def engine(local: str, remote: str, start: Start, nets: tuple[str, str]) -> IkeEngine:
    config = connection(local, remote, child(local=nets[0], remote=nets[1], start=start))
    return IkeEngine(EngineConfig(connections={"net": config}), DeterministicEntropy(local.encode()))


def run(story: Callable[[Wire, Runtime, Runtime], None], *, start: Start = Start.START) -> Wire:
    """A gateway each at Alice's and Bob's; ``story`` acts, then the loop turns until all is quiet."""

    async def play() -> Wire:
        wire = Wire()
        alice = wire.add(ALICE, engine(ALICE, BOB, start, ("10.1.1.0/24", "10.1.2.0/24")))
        bob = wire.add(BOB, engine(BOB, ALICE, Start.NONE, ("10.1.2.0/24", "10.1.1.0/24")))
        story(wire, alice, bob)
        await asyncio.sleep(0.2)
        for end in (alice, bob):
            end.stop()
        return wire

    return asyncio.run(play())


def test_a_tunnel_comes_up_and_both_kernels_hold_it() -> None:
    wire = run(lambda _wire, alice, _bob: alice.step(alice.engine.start_all))
    assert len([e for e in wire.events if isinstance(e, ChildSaInstalled)]) == 2
    assert wire.kernels[ALICE].dump().keys() == wire.kernels[BOB].dump().keys()
    assert len(wire.kernels[ALICE].dump()) == 2


def test_an_acquire_of_the_kernel_is_an_input() -> None:
    def story(_wire: Wire, alice: Runtime, _bob: Runtime) -> None:
        (config,) = alice.engine.config.connections["net"].children
        source, target = config.local_ts[0].start, config.remote_ts[0].start
        alice.kernel_event(Acquire(config.reqid, 0, 7, source, target, 1, 0, 0))

    wire = run(story, start=Start.TRAP)
    assert len(wire.kernels[ALICE].dump()) == 2


def test_a_refusal_of_the_kernel_comes_back_as_a_failure() -> None:
    def story(wire: Wire, alice: Runtime, _bob: Runtime) -> None:
        wire.kernels[ALICE].refuse_next(38, "install")
        alice.step(alice.engine.start_all)

    wire = run(story)
    failures = [e.failure.code.value for e in wire.events if isinstance(e, NegotiationFailed)]
    assert failures == ["kernel_refused"]
    assert not wire.kernels[ALICE].dump()
    assert not wire.kernels[BOB].dump()


def test_a_datagram_that_cannot_be_sent_is_told() -> None:
    def story(wire: Wire, alice: Runtime, _bob: Runtime) -> None:
        wire.down = "Network is unreachable"
        alice.step(alice.engine.start_all)

    wire = run(story)
    assert any(isinstance(e, DatagramNotSent) and "unreachable" in e.detail for e in wire.events)


def test_the_reconciler_blocks_before_it_traps_and_blocks_again_at_the_stop() -> None:
    async def play() -> None:
        kernel, bus = FakeKernel(), Bus()
        ike = engine(ALICE, BOB, Start.TRAP, ("10.1.1.0/24", "10.1.2.0/24"))
        paths = PathKeeper(ike, kernel, PathOptions(), asyncio.get_running_loop().time)
        reconciler = Reconciler(ike, kernel, bus, paths)
        await reconciler.everything()
        policies = kernel.actual().state.policies
        assert {k.direction for k in policies} == {Direction.IN, Direction.OUT, Direction.FWD}
        assert all(p.template is not None for p in policies.values())
        await reconciler.everything(stopping=True)
        after = kernel.actual().state.policies
        assert after.keys() == policies.keys()
        assert all(p.action is Action.BLOCK for p in after.values())
        assert not kernel.actual().state.clamps

    asyncio.run(play())
