"""Both engines of both gateways in virtual time: a path changes in silence, and each end finds what it carries."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from itertools import count

import pytest

from tests.sim.world import Datagram, Node, World, pair, start
from tests.unit.metrics.scraping import Counted
from xfrmctl.daemon.carrier import NOBODY
from xfrmctl.daemon.echo import EchoPort
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.ike.config import RetransmitPolicy
from xfrmctl.ike.exchanges import probe
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.ports import Underlay
from xfrmctl.model.events import ChildSaRekeyed, IkeSaClosed, PathMtuChanged, PeerMoved, PeerSilent
from xfrmctl.model.iana import NotifyType
from xfrmctl.model.path import Path
from xfrmctl.model.sa import Direction, SaCounters
from xfrmctl.pmtu.inputs import IcmpReport
from xfrmctl.pmtu.settings import PathOptions
from xfrmctl.wire.payloads import Notify

WAY = Underlay("wan", None, None, 1500)
PATIENT = RetransmitPolicy(first_s=1, factor=1.5, tries=10)


class Paths(World):
    """A world whose nodes have a keeper of paths as well; ``changes`` are what the reconciler is told."""

    def __init__(self, **options: float) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.keepers: dict[str, PathKeeper] = {}
        self.changes: dict[str, list[set[int]]] = {}

    def keep(self, node: Node, **options: object) -> PathKeeper:
        kernel = FakeKernel()
        kernel.ways = dict.fromkeys(self.nodes, WAY)
        keeper = PathKeeper(node.engine, kernel, PathOptions(**options), lambda: self.now, echo=self.echo(node))  # type: ignore[arg-type]
        self.changes[node.name] = []
        keeper.changed = self.changes[node.name].append
        self.keepers[node.name] = keeper
        return keeper

    def echo(self, node: Node) -> tuple[EchoPort, Callable[[int], bytes]]:
        """Who sends a node's echoes through the tunnel: nobody."""
        return NOBODY

    def do(self, node: Node, action: Callable[[float], None]) -> None:
        keeper = self.keepers[node.name]
        action(self.now)
        while items := node.engine.drain() or keeper.drain():
            for item in items:
                execute = keeper.executors.get(type(item))  # type: ignore[arg-type]
                if execute is not None:
                    execute(item)  # type: ignore[arg-type]
                else:
                    self._perform(node, item)
                    keeper.observe(item)  # type: ignore[arg-type]
        for deadline, timer in ((node.engine.deadline, self._ike), (keeper.deadline, self._paths)):
            if (at := deadline()) is not None:
                self.at(max(at, self.now), lambda at=at, deadline=deadline, timer=timer: timer(node, at, deadline))  # type: ignore[misc]

    def _ike(self, node: Node, at: float, deadline: Callable[[], float | None]) -> None:
        if deadline() == at:
            self.do(node, node.engine.handle_timer)

    def _paths(self, node: Node, at: float, deadline: Callable[[], float | None]) -> None:
        if deadline() == at:
            self.do(node, self.keepers[node.name].handle_timer)

    def traffic(self, node: Node, *, went: int, came: int, octets: int = 0) -> None:
        """What the node's kernel has counted so far: packets either way, bytes out."""
        counters = {
            sa_id: SaCounters(
                id=sa_id,
                reqid=sa.reqid,
                bytes=octets if sa.direction == Direction.OUT else 0,
                packets=went if sa.direction == Direction.OUT else came,
            )
            for sa_id, (sa, _) in node.sad.items()
        }
        keeper = self.keepers[node.name]
        self.do(node, lambda now: keeper.count(counters, keeper.begin_look(), now))


def established(mtu: int = 1500, **options: object) -> tuple[Paths, Node, Node]:
    world = Paths()
    settings: dict[str, object] = {"dpd_s": None, "retransmit": PATIENT}
    alice, bob = pair(world, alice=settings, bob=settings)
    for node in (alice, bob):
        world.keep(node, **options)
    world.mtu = mtu
    start(world, alice)
    world.run(20)
    return world, alice, bob


def path(world: Paths, node: Node) -> Path:
    (found,) = [state.path for state in world.keepers[node.name].engine.states()]
    return found


def in_force(world: Paths, node: Node) -> tuple[int, str] | None:
    return world.keepers[node.name].in_force(path(world, node))


def stalls(world: Paths, node: Node, seconds: int) -> None:
    """The node's hosts send and hear nothing."""
    for packets in range(seconds):
        world.traffic(node, went=packets, came=0)
        world.run(1)


@pytest.mark.parametrize("mtu", [1500, 1499, 1400, 1280, 1000, 576])
def test_both_ends_find_what_the_path_carries(mtu: int) -> None:
    world, alice, bob = established(mtu)
    assert in_force(world, alice) == in_force(world, bob) == (mtu, "probe")
    assert not alice.of(IkeSaClosed)
    for node in (alice, bob):
        way = world.keepers[node.name].way(path(world, node))
        assert way is not None
    world.run(700)
    assert in_force(world, alice) == in_force(world, bob) == (mtu, "probe")


def test_a_black_hole_that_nobody_reports_is_found_within_seconds_and_its_end_by_ageing() -> None:
    world, alice, bob = established()
    world.mtu = 1371
    before = world.now
    stalls(world, alice, 10)
    assert in_force(world, alice) == (1371, "probe")
    changes = [e for e in alice.of(PathMtuChanged) if isinstance(e, PathMtuChanged)]
    fell, *rose = [e for e in changes if e.old is not None and e.old != e.new]
    assert fell.reason == "black hole" and fell.old == 1500
    assert {e.reason for e in rose} == {"probe"}, "one black hole is counted once, however long the search goes on"
    assert Counted(alice.events)("path_mtu_changes_total", reason="black_hole") == 1
    assert in_force(world, bob) == (1371, "probe"), "Alice has asked Bob to look as well"
    assert world.now - before <= 10
    assert not alice.of(PeerSilent)
    world.mtu = 1500
    world.run(620)
    assert in_force(world, alice) == in_force(world, bob) == (1500, "probe")


def test_the_same_size_by_a_probes_word_is_shown_at_once() -> None:
    world, alice, _ = established()
    (child,) = alice.sa().children
    assert world.changes["alice"] == 2 * [{child.reqid}], "1500 by the link's word, then by a probe's"


def test_only_one_direction_is_narrow_and_the_other_end_is_told() -> None:
    world, alice, bob = established()

    def narrow(datagram: Datagram) -> Datagram | None:
        return None if datagram.source.address == alice.address and len(datagram.data) + 28 > 1400 else datagram

    world.intercept.append(narrow)
    stalls(world, alice, 10)
    assert in_force(world, alice) == (1400, "probe")
    assert in_force(world, bob) == (1500, "probe")
    world.do(alice, lambda now: world.keepers["alice"].engine.handle_link(path(world, alice), 1400, now))
    world.run(5)
    way = world.keepers["bob"].way(path(world, bob))
    assert way is not None
    assert way.reverse == 1400


def test_traffic_both_ways_has_the_path_confirmed_and_a_loss_found() -> None:
    world, alice, _ = established()
    world.mtu = 1444
    for packets in range(40):
        world.traffic(alice, went=packets, came=packets)
        world.run(1)
    assert in_force(world, alice) == (1444, "probe")


def test_a_bulk_transfer_that_stalls_beside_a_ping_is_noticed_at_once() -> None:
    """Small packets go both ways as ever: only the bytes tell. Otherwise it takes until the next confirmation."""
    world, alice, _ = established(confirm_s=None)
    octets = 0
    for packets in range(10):
        octets += 1_000_000
        world.traffic(alice, went=1000 * packets, came=500 * packets, octets=octets)
        world.run(1)
    world.mtu = 1444
    for packets in range(4):
        octets += 1500
        world.traffic(alice, went=10_000 + packets, came=5_000 + packets, octets=octets)
        world.run(1)
    assert in_force(world, alice) == (1444, "probe")


def test_a_large_request_of_ike_that_goes_out_again_has_the_path_looked_at() -> None:
    """The CHILD SAs are idle, and one gets new keys: its request is larger than what the path carries by now."""
    world = Paths()
    settings: dict[str, object] = {"dpd_s": None, "retransmit": PATIENT}
    large: dict[str, object] = {"esp": ("aes256gcm16-modp3072", "aes256-aes128-sha512-sha256-modp3072-modp2048")}
    alice, bob = pair(world, alice=settings, bob=settings, alice_child=large, bob_child=large)
    for node in (alice, bob):
        world.keep(node)
    start(world, alice)
    world.run(20)
    assert in_force(world, alice) == (1500, "probe")
    world.mtu = 600
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(30)
    assert in_force(world, alice) == (600, "probe")
    assert alice.of(ChildSaRekeyed)


def test_settings_are_the_connections_own_and_a_reload_changes_them_while_the_tunnel_stands() -> None:
    world, alice, bob = established(1400)
    keeper, sa = world.keepers["alice"], alice.sa()
    before = len(world.wire)
    world.do(alice, lambda now: keeper.configure(PathOptions(), {"another": PathOptions(probe=False)}, now))
    world.run(5)
    assert len(world.wire) == before, "nothing has changed for this connection"
    world.do(alice, lambda now: keeper.configure(PathOptions(), {"net": PathOptions(aging_s=None)}, now))
    world.run(5)
    world.mtu = 1500
    world.run(1300)
    assert (in_force(world, alice), in_force(world, bob)) == ((1400, "probe"), (1500, "probe"))
    world.do(alice, lambda now: keeper.configure(PathOptions(aging_s=30), {}, now))
    world.run(60)
    assert in_force(world, alice) == (1500, "probe")
    assert alice.sa() is sa


def test_an_idle_tunnel_costs_nothing() -> None:
    world, alice, _ = established()
    before = len(world.wire)
    for _ in range(300):
        world.traffic(alice, went=7, came=7)
        world.run(1)
    assert len(world.wire) == before


def test_a_rekey_keeps_the_path_and_its_belief() -> None:
    world, alice, bob = established(1400)
    before = path(world, alice)
    for _ in range(3):
        world.do(alice, lambda now: alice.engine.rekey("net", None, now))
        world.run(5)
        world.do(bob, lambda now: bob.engine.rekey("net", "lan", now))
        world.run(5)
    assert path(world, alice) == before
    assert in_force(world, alice) == (1400, "probe")
    opened = [e for e in alice.of(PathMtuChanged) if isinstance(e, PathMtuChanged) and e.reason == "opened"]
    assert len(opened) == 1
    (state,) = world.keepers["alice"].engine.states()
    sent = state.counts.sent
    world.do(alice, lambda now: world.keepers["alice"].engine.handle_loss(before, now))
    world.run(5)
    assert state.counts.sent == sent + 1, "the new IKE SA carries the probes"
    assert in_force(world, alice) == (1400, "probe")


def test_when_the_tunnel_goes_its_path_goes_and_when_it_comes_back_it_remembers() -> None:
    world, alice, bob = established(1400)
    was = path(world, alice)
    world.do(alice, lambda now: alice.engine.terminate("net", None, now))
    world.run(5)
    assert not list(world.keepers["alice"].engine.states())
    assert not list(world.keepers["bob"].engine.states())
    assert world.keepers["alice"].in_force(was) is None
    world.do(alice, lambda now: alice.engine.initiate("net", None, now))
    world.run(1)
    assert in_force(world, alice) == (1400, "probe")
    assert not [e for e in alice.of(PathMtuChanged) if isinstance(e, PathMtuChanged) and e.new > 1400][2:]
    assert bob.engine.ike_sas()


def test_a_figure_of_the_operator_stands_and_nothing_is_probed() -> None:
    world = Paths()
    settings: dict[str, object] = {"dpd_s": None}
    alice, bob = pair(world, alice=settings, bob=settings, alice_child={"mtu": 1444}, bob_child={"mtu": 1444})
    for node in (alice, bob):
        world.keep(node)
    start(world, alice)
    world.run(20)
    assert in_force(world, alice) == (1444, "configured")
    assert max(len(d.data) for d in world.wire) < 600


def test_without_probes_the_link_is_believed_until_a_router_complains() -> None:
    world, alice, _ = established(1400, probe=False)
    assert in_force(world, alice) == (1500, "link")
    assert max(len(d.data) for d in world.wire) < 600


def test_a_peer_that_refuses_padding_leaves_errors_of_routers_and_the_operators_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers a probe with an error, against RFC 7296 3.10.1. The tunnel stays, and nothing is probed any more."""
    error = Notify(NotifyType.INVALID_SYNTAX)
    monkeypatch.setattr(probe, "answer", lambda *_: [error])
    world, alice, _ = established(1400)
    state, before = next(world.keepers["alice"].engine.states()), len(world.wire)
    assert state.blind and in_force(world, alice) == (1500, "link")
    world.do(alice, lambda now: world.keepers["alice"].engine.handle_icmp(IcmpReport(state.path, 1400, 1500), now))
    assert in_force(world, alice) == (1400, "icmp")
    stalls(world, alice, 60)
    assert in_force(world, alice) == (1400, "icmp")
    assert len(world.wire) == before
    assert not alice.of(IkeSaClosed)
    sa = alice.sa()
    assert sa.config is not None
    sa.config = replace(sa.config, children=tuple(replace(c, mtu=1333) for c in sa.config.children))
    world.do(alice, lambda now: world.keepers["alice"].configure(PathOptions(), {}, now))
    assert in_force(world, alice) == (1333, "configured")


@pytest.mark.parametrize("seed", range(2))
def test_an_hour_of_loss_and_change_never_harms_the_tunnel(seed: int) -> None:
    """Two per cent of packets are lost, the path changes every five minutes: the IKE SA of the start still lives."""
    world, alice, bob = established()
    world.random = random.Random(seed)
    world.loss = 0.02
    name, chance, packets = alice.sa().name, random.Random(seed), count()
    for _ in range(12):
        world.mtu = chance.randrange(600, 1501)
        for _ in range(60):
            here = next(packets)
            for node in (alice, bob):
                world.traffic(node, went=here, came=here)
            world.run(5)
        for node in (alice, bob):
            assert (in_force(world, node) or (9999,))[0] <= world.mtu
    assert alice.sa().name == name
    assert not alice.of(IkeSaClosed)


def test_a_peer_behind_a_nat_that_moves_has_another_path() -> None:
    world, alice, bob = established(1400)
    old = path(world, alice)
    keeper, sa = world.keepers["alice"], alice.sa()
    (child,) = sa.children
    child.outbound = replace(child.outbound, destination=ip_address("172.16.9.9"))
    keeper.observe(PeerMoved(connection="net", ike=sa.name, old=sa.remote, new=sa.remote, reqids=()))
    assert path(world, alice) == replace(old, remote=ip_address("172.16.9.9"))
    assert keeper.way(old) is None
    assert bob.engine.ike_sas()
