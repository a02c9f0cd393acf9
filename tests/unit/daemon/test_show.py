"""What ``show`` and ``top`` are told: real engines in virtual time, and the daemon's own builder."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

import pytest

from tests.sim.test_path_mtu import Paths
from tests.sim.world import ALICE, BOB, WALL, Node, child, connection
from xfrmctl.control.query import IKE_STATES
from xfrmctl.control.schema import RequestError
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.daemon.select import Chooser
from xfrmctl.daemon.snapshot import Observed, SnapshotBuilder
from xfrmctl.daemon.status import connections
from xfrmctl.daemon.tally import Tally
from xfrmctl.daemon.traffic import TrafficTable
from xfrmctl.daemon.tunnelwatch import watching
from xfrmctl.ike.config import Start
from xfrmctl.ike.sa import ChildSa
from xfrmctl.ike.states import IkeState
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.metrics.pacer import Pacer
from xfrmctl.model.sa import Lifetime, SaCounters, SaId
from xfrmctl.model.selection import EVERYTHING, Selection
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, IkeInfo
from xfrmctl.model.traffic import Traffic

T = TypeVar("T")
LIMITS = Lifetime(
    soft_seconds=3000, hard_seconds=3600, soft_bytes=9_000_000, hard_bytes=10_000_000, hard_packets=70_000
)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Do something that lets others have their turn, though there is nobody else."""
    while True:
        try:
            work.send(None)
        except StopIteration as done:
            found: T = done.value
            return found


@dataclass
class Seat:
    """One end, and what its daemon would show."""

    world: Paths
    node: Node
    tally: Tally
    builder: SnapshotBuilder
    table: TrafficTable
    sad: dict[SaId, SaCounters]
    heard: int = 0

    def run(self, seconds: float) -> None:
        """Let time pass; the tally hears of what happens."""
        self.world.run(seconds)
        for event in self.node.events[self.heard :]:
            self.tally.observe(event)
        self.heard = len(self.node.events)

    def seen(self) -> Observed:
        return Observed(now=self.world.now, wall=WALL + self.world.now, began=self.world.now, sad=self.sad)

    def count(self, sa: SaId, **counted: int) -> None:
        """What the kernel has counted on an SA since it was installed, just now."""
        zero = SaCounters(id=sa, reqid=0, added_at=int(WALL))
        self.sad[sa] = replace(self.sad.get(sa, zero), **counted)  # type: ignore[arg-type]

    def show(self, **wanted: tuple[object, ...]) -> list[ConnectionInfo]:
        selection = Selection(**wanted)  # type: ignore[arg-type]

        async def play() -> list[ConnectionInfo]:
            shown = connections(self.node.engine, self.builder, self.seen(), Pacer(), Chooser(selection))
            return [found async for found in shown]

        return at_once(play())

    def names(self, **wanted: tuple[object, ...]) -> list[str]:
        return [c.name for c in self.show(**wanted)]

    def ike(self, **wanted: tuple[object, ...]) -> IkeInfo:
        ((found,),) = [c.ike_sas for c in self.show(**wanted)]
        return found

    def child(self) -> ChildInfo:
        return self.ike(connections=("net",)).children[0]

    def look(self, wanted: Selection = EVERYTHING) -> Traffic:
        return at_once(self.table.look(wanted, self.seen(), {"XfrmInNoStates": 3}, 60.0, Pacer()))


def seated(story: Callable[[Seat], None], *, start: bool = True) -> None:
    """Alice with a connection to Bob, one to nobody who answers, and one for whoever comes."""

    async def play() -> None:
        world = Paths()
        lan = child(lifetime=LIMITS, start=Start.NONE)
        printers = child("printers", "10.1.8.0/24", "10.2.8.0/24", start=Start.TRAP, reqid=0x58000002)
        far = child("far", "10.1.1.0/24", "10.3.0.0/16", start=Start.NONE, reqid=0x58000003)
        anyone = child("road", "10.1.1.0/24", "10.4.0.0/16", start=Start.NONE, reqid=0x58000004)
        alice = world.add(
            "alice",
            ALICE,
            connection(ALICE, BOB, lan, printers),
            connection(ALICE, "172.16.9.9", far, name="away"),
            connection(ALICE, None, anyone, name="road"),
        )
        bob = world.add(
            "bob", BOB, connection(BOB, ALICE, child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE))
        )
        world.keep(alice)
        world.keep(bob)
        keeper, kernel, bus = world.keepers["alice"], FakeKernel(), Bus()
        reconciler = Reconciler(alice.engine, kernel, bus, keeper)
        tunnels = watching(alice.engine, kernel, keeper, reconciler, bus.publish, asyncio.get_running_loop())
        tally = Tally()
        builder = SnapshotBuilder(alice.engine, reconciler, keeper, tunnels, tally)
        seat = Seat(world, alice, tally, builder, TrafficTable(alice.engine, reconciler, tally), {})
        if start:
            world.do(alice, lambda now: alice.engine.initiate("net", "lan", now))
            seat.run(1)
            await reconciler.everything()
        story(seat)

    asyncio.run(play())


def installed(seat: Seat) -> ChildSa:
    (found,) = seat.node.sa().children
    return found


# ---- what is told ------------------------------------------------------------------------------------------------


def test_a_child_sa_is_told_with_what_is_left_of_it() -> None:
    def story(seat: Seat) -> None:
        sa = installed(seat)
        seat.count(sa.inbound, bytes=2_000_000, packets=1500, replay_drops=2, late_drops=3, integrity_failures=1)
        seat.count(sa.outbound, bytes=1_000_000, packets=900, used_at=int(WALL))
        seat.run(99)
        found = seat.child()
        assert (found.state, found.meaning, found.initiator) == ("installed", "both SAs are in the kernel", True)
        inbound, outbound = found.inbound, found.outbound
        assert (inbound.replay_drops, inbound.late_drops, inbound.integrity_failures) == (2, 3, 1)
        assert inbound.hard_left_bytes == 8_000_000 and outbound.hard_left_bytes == 9_000_000
        assert inbound.hard_left_packets == 68_500 and inbound.soft_left_packets is None
        assert inbound.hard_expires_in_s == 3500 and outbound.idle_s == 100 and inbound.idle_s is None
        assert found.mtu is not None and found.fragments is not None and found.fragments.df == "copy"

    seated(story)


def test_soft_limits_are_those_that_the_kernel_was_given() -> None:
    """They are spread at random, so that thousands of tunnels do not rekey at once."""

    def story(seat: Seat) -> None:
        sa = installed(seat)
        (given,) = {s.lifetime for s, _ in seat.node.sad.values()}
        assert given.soft_seconds < LIMITS.soft_seconds and given.soft_bytes < LIMITS.soft_bytes
        seat.count(sa.inbound, bytes=1000)
        seat.count(sa.outbound)
        shown = seat.child().inbound
        assert shown.soft_left_bytes == given.soft_bytes - 1000
        assert shown.soft_expires_in_s == given.soft_seconds - 1

    seated(story)


def test_an_sa_that_the_kernel_has_lost_has_nothing_left() -> None:
    def story(seat: Seat) -> None:
        shown = seat.child().inbound
        assert shown.missing and shown.hard_left_bytes is None and shown.hard_expires_in_s is None

    seated(story)


def test_an_outbound_sa_that_waits_for_the_peer_is_not_missing() -> None:
    def story(seat: Seat) -> None:
        sa = installed(seat)
        seat.count(sa.inbound)
        kept, keys = next((s, k) for s, k in seat.node.sad.values() if s.id == sa.outbound)
        sa.pending_outbound = (kept, keys)
        found = seat.child()
        assert not found.outbound.missing and found.meaning.startswith("new keys: we receive on it")

    seated(story)


def test_an_ike_sa_is_told_with_who_is_who_and_what_comes_when() -> None:
    def story(seat: Seat) -> None:
        seat.run(5)
        found = seat.ike(connections=("net",))
        assert (found.state, found.local_proof, found.remote_proof) == ("established", "psk", "psk")
        assert found.meaning == "both ends have proved their identity" and found.under_way is None
        assert found.dpd_in_s is not None and 0 < found.dpd_in_s <= 30
        assert found.rekey_in_s is None and found.mobike
        assert found.rtt_s == pytest.approx(0.02, abs=0.001)

    seated(story)


def test_the_negotiation_state_is_exact() -> None:
    def story(seat: Seat) -> None:
        seat.world.do(seat.node, lambda now: seat.node.engine.initiate("away", None, now))
        found = seat.ike(connections=("away",))
        assert (found.state, found.meaning) == (
            "init-sent",
            "IKE_SA_INIT sent, no answer yet: is UDP 500 open to the peer and back?",
        )
        seat.run(4)
        found = seat.ike(connections=("away",))
        assert found.meaning.startswith("IKE_SA_INIT sent 3 times, no answer")
        doing = found.under_way
        assert doing is not None and (doing.exchange, doing.attempt, doing.attempts) == ("IKE_SA_INIT", 3, 4)
        assert doing.sent_s == pytest.approx(1) and doing.next_in_s == pytest.approx(3)
        assert "SA" in doing.payloads and found.suite is None
        seat.run(12)
        (away,) = seat.show(connections=("away",))
        assert away.state == "waiting" and away.last_failure is not None and not away.ike_sas
        assert (away.history.failures, away.history.silences, away.history.retransmissions) == (1, 1, 3)

    seated(story)


def test_a_silent_peer_is_told_as_it_is_asked_again() -> None:
    def story(seat: Seat) -> None:
        seat.run(1)
        del seat.world.nodes[ip_address(BOB)]
        seat.run(33)
        found = seat.ike(connections=("net",))
        assert found.meaning.endswith("asking whether the peer lives for the 3rd time, no answer yet")

    seated(story)


def test_rekeys_are_counted_and_the_successor_is_told() -> None:
    def story(seat: Seat) -> None:
        seat.world.do(seat.node, lambda now: seat.node.engine.rekey("net", "lan", now))
        assert seat.child().state == "rekeying"
        assert seat.ike(connections=("net",)).meaning.endswith("asking for new keys of CHILD SA lan")
        seat.run(1)
        (net,) = seat.show(connections=("net",))
        assert (net.history.child_rekeys, net.history.ike_rekeys, net.history.established) == (1, 0, 1)
        assert [(c.name, c.rekeys) for c in net.children] == [("lan", 1), ("printers", 0)]
        assert net.ike_sas[0].children[0].state == "installed"

    seated(story)


# ---- filters -----------------------------------------------------------------------------------------------------


def test_filters_by_name() -> None:
    def story(seat: Seat) -> None:
        assert seat.names() == ["net", "away", "road"]
        assert seat.names(connections=("road", "net")) == ["road", "net"]
        assert seat.names(connections=("*a*",)) == ["away", "road"]
        assert seat.names(connections=("x*",)) == []
        with pytest.raises(RequestError, match="did you mean 'away'"):
            seat.names(connections=("awaay",))
        (net,) = seat.show(children=("print*",))
        assert [c.name for c in net.children] == ["printers"] and net.ike_sas[0].children == []
        (net,) = seat.show(children=("lan",))
        assert [c.name for c in net.ike_sas[0].children] == ["lan"]

    seated(story)


def test_filters_by_state() -> None:
    def story(seat: Seat) -> None:
        assert seat.names(states=("up",)) == []
        assert seat.names(states=("partial",)) == ["net"]
        assert seat.names(states=("down",)) == ["away", "road"]
        assert seat.names(states=("not-up",)) == ["net", "away", "road"]
        assert seat.names(states=("established",)) == ["net"]
        seat.world.do(seat.node, lambda now: seat.node.engine.initiate("away", None, now))
        assert seat.names(states=("init-sent",)) == ["away"]
        assert seat.names(states=("init-sent", "partial")) == ["net", "away"]

    seated(story)


def test_filters_by_peer_and_addresses() -> None:
    def story(seat: Seat) -> None:
        assert seat.names(peers=(BOB,)) == ["net"]
        assert seat.names(peers=("172.16.*",)) == ["net", "away"]
        assert seat.names(addresses=(ip_network(BOB),)) == ["net"]
        assert seat.names(addresses=(ip_network("172.16.0.0/16"),)) == ["net", "away", "road"]
        assert seat.names(addresses=(ip_network("2001:db8::/32"),)) == []
        assert seat.names(addresses=(ip_network(BOB),), states=("down",)) == []
        assert seat.names(carries=(ip_address("10.1.8.7"),)) == ["net"]
        assert seat.names(carries=(ip_address("10.4.1.1"), ip_address("10.3.1.1"))) == ["away", "road"]

    seated(story)


def test_filters_by_spi() -> None:
    def story(seat: Seat) -> None:
        sa = seat.node.sa()
        for spi in (sa.children[0].inbound.spi, sa.children[0].outbound.spi, int.from_bytes(sa.spi_i, "big")):
            (net,) = seat.show(spis=(spi,))
            assert [c.name for c in net.ike_sas[0].children] == ["lan"]
        assert seat.names(spis=(0x12345678,)) == []

    seated(story)


def test_the_states_of_the_api_are_those_of_the_engine() -> None:
    assert {*IKE_STATES} == {state.value for state in IkeState} - {"closed"}


# ---- top ---------------------------------------------------------------------------------------------------------


def test_traffic_has_a_row_for_every_child_up_or_not() -> None:
    def story(seat: Seat) -> None:
        sa = installed(seat)
        seat.count(sa.inbound, bytes=700, packets=7, replay_drops=2, late_drops=1, integrity_failures=4)
        seat.count(sa.outbound, bytes=300, packets=3)
        found = seat.look()
        rows = {(r.connection, r.child): r for r in found.rows}
        assert [(k, r.state) for k, r in rows.items()] == [
            (("net", "lan"), "up"),
            (("net", "printers"), "trap"),
            (("away", "far"), "down"),
            (("road", "road"), "down"),
        ]
        lan = rows["net", "lan"]
        assert (lan.bytes_in, lan.packets_in, lan.bytes_out, lan.packets_out) == (700, 7, 300, 3)
        assert (lan.replay, lan.integrity, lan.peer) == (3, 4, BOB)
        shown = seat.child()
        assert shown.mtu is not None and (lan.inner_mtu, lan.mss) == (shown.mtu.inner_mtu, shown.mtu.mss_ipv4)
        assert (lan.spi_in, lan.spi_out) == (shown.inbound.spi, shown.outbound.spi)
        assert (found.configured, found.up, found.ike_sas, found.kernel_errors) == (3, 0, 1, 3)
        one = seat.look(Selection(connections=("away",)))
        assert [r.child for r in one.rows] == ["far"] and one.configured == 3

    seated(story)


# ---- many --------------------------------------------------------------------------------------------------------


def test_thousands_of_children_are_no_quadratic_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a child stands is asked a few times a child, not once a pair of children."""
    many, asked = 2000, 0

    def installed_(self: ChildSa) -> bool:
        nonlocal asked
        asked += 1
        return self.state.value != "installing"

    def story(seat: Seat) -> None:
        sa, (lan,) = seat.node.sa(), seat.node.sa().children
        configs = [replace(lan.config, name=f"c{n}") for n in range(many)]
        sa.children[:] = [replace(lan, config=config) for config in configs]
        assert sa.config is not None
        sa.config = replace(sa.config, children=tuple(configs))
        seat.node.engine.config.connections["net"] = sa.config
        monkeypatch.setattr(ChildSa, "installed", property(installed_))
        (net,) = seat.show(connections=("net",))
        assert net.state == "up" and len(net.children) == len(net.ike_sas[0].children) == many
        assert len([r for r in seat.look().rows if r.connection == "net"]) == many
        assert asked <= 6 * many

    seated(story)
