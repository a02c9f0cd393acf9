"""The way to a peer outside of its own tunnel, and IKE's and the routes' part in it."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.sim.world import ALICE, BOB, connection
from tests.unit.daemon.test_tunnels import GRE, config
from xfrmctl.daemon import routes
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.keepalive import Keepalives
from xfrmctl.daemon.paths import PathKeeper
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.daemon.tunnelwatch import TunnelWatch
from xfrmctl.daemon.underlay import DETOUR_S, Underlays
from xfrmctl.ike.config import EngineConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.kernel.ports import Underlay
from xfrmctl.model.events import Event, KernelTrouble, RecursiveRoute
from xfrmctl.pmtu.settings import PathOptions

LOCAL, PEER = ip_address(ALICE), ip_address(BOB)
THIRD = ip_address("203.0.113.3")
WAN = Underlay("wan", ip_address("172.16.1.254"), None, 1500)
LTE = Underlay("lte", None, None, 1400)
INTO = Underlay("gre1", None, None, 1442)


class Stage:
    """A kernel, one tunnel to PEER, and a clock by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.kernel = FakeKernel()
        self.kernel.ways[PEER] = WAN
        self.told: list[Event] = []
        self.config = EngineConfig(connections={"c": connection(ALICE, BOB, config())})
        self.underlays = Underlays(self.kernel, lambda: self.config, lambda: self.now, self.told.append)

    def find(self) -> Underlay | None:
        return self.underlays.find(LOCAL, PEER)


def test_a_good_way_is_taken_and_followed() -> None:
    stage = Stage()
    assert stage.find() == WAN
    stage.kernel.ways[PEER] = LTE
    assert stage.find() == LTE
    del stage.kernel.ways[PEER]
    assert stage.find() is None and not stage.told


def test_a_way_into_the_tunnel_itself_is_told_once_and_never_taken() -> None:
    stage = Stage()
    stage.find()
    stage.kernel.ways[PEER] = INTO
    assert stage.find() == stage.find() == WAN, "what was known before"
    assert stage.told == [RecursiveRoute(device="gre1", peer=PEER, instead="via 172.16.1.254 dev wan", over=False)]
    assert stage.underlays.misled(LOCAL, PEER) and stage.underlays.through("gre1") == PEER
    stage.kernel.detours[PEER] = LTE
    stage.now += DETOUR_S
    assert stage.find() == LTE, "the underlay itself has changed meanwhile"
    stage.kernel.ways[PEER] = WAN
    assert stage.find() == WAN
    assert stage.told[1:] == [RecursiveRoute(device="gre1", peer=PEER, instead="", over=True)]
    assert not stage.underlays.misled(LOCAL, PEER) and stage.underlays.through("gre1") is None


def test_without_another_way_there_is_none() -> None:
    stage = Stage()
    stage.kernel.ways[PEER] = INTO
    assert stage.find() is None
    (told,) = stage.told
    assert isinstance(told, RecursiveRoute) and told.instead == ""


def test_a_circle_through_two_tunnels_is_found_and_a_tunnel_in_a_tunnel_is_none() -> None:
    stage = Stage()
    other = replace(config(replace(GRE, interface="gre2")), reqid=0x58000002)
    there = replace(connection(ALICE, str(THIRD), other), name="d")
    stage.config = EngineConfig(connections={**stage.config.connections, "d": there})
    stage.kernel.ways |= {PEER: Underlay("gre2", None, None, 1442), THIRD: WAN}
    found = stage.find()
    assert found is not None and found.device == "gre2" and not stage.told
    stage.kernel.ways[THIRD] = INTO
    assert stage.find() is not None and stage.underlays.misled(LOCAL, PEER), "gre1 in gre2 in gre1"


def test_a_new_configuration_forgets_what_is_no_tunnel_any_more() -> None:
    stage = Stage()
    stage.kernel.ways[PEER] = INTO
    stage.find()
    stage.config = EngineConfig(connections={})
    assert stage.find() == INTO and not stage.underlays.misled(LOCAL, PEER)


@pytest.fixture
def engine() -> IkeEngine:
    conf = EngineConfig(connections={"c": connection(ALICE, BOB, config())})
    return IkeEngine(conf, bytes, lambda: 0.0)


def test_the_far_end_has_its_route_before_any_sa_and_follows_the_network(
    engine: IkeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "outer_mtu", lambda *_: 1500)
    kernel = FakeKernel()
    kernel.ways[PEER] = WAN
    paths = PathKeeper(engine, kernel, PathOptions(), lambda: 0.0)
    reconciler = Reconciler(engine, kernel, Bus(), paths)

    def pinned() -> str | None:
        (found,) = [route for route in kernel.routes.values() if route.table == PEER_TABLE]
        return found.device

    async def story() -> None:
        await reconciler.everything()
        assert pinned() == "wan"
        kernel.ways[PEER] = LTE
        reconciler.network_changed(address_gone=False)
        await reconciler.changed()
        assert pinned() == "lte"
        kernel.ways[PEER] = INTO
        reconciler.network_changed(address_gone=False)
        await reconciler.changed()
        assert pinned() == "lte"
        assert "gre1" in kernel.interfaces
        reconciler.maker.device_up = lambda _: False
        reconciler.path_changed({config().reqid})
        await reconciler.changed()
        assert "down" in str(kernel.interfaces["gre1"])

    asyncio.run(story())


def test_dropped_packets_are_named_once_an_episode(engine: IkeEngine) -> None:
    kernel, told, looks = FakeKernel(), list[Event](), list[float]()
    now = [0.0]
    underlays = Underlays(kernel, lambda: engine.config, lambda: now[0])
    loop = asyncio.new_event_loop()
    pulses = Keepalives(engine, loop, lambda _: None, lambda _: None, told.append)
    watch = TunnelWatch(engine, kernel, underlays, told.append, lambda: looks.append(now[0]), lambda: now[0], pulses)
    child = engine.config.connections["c"].children[0]
    info = watch.info(child)
    assert info is not None and info.state == "missing"
    kernel.ways[PEER] = WAN
    paths = PathKeeper(engine, kernel, PathOptions(), lambda: 0.0)
    asyncio.run(Reconciler(engine, kernel, Bus(), paths).everything())
    watch.look()
    for count in (3, 7):
        kernel.looped["gre1"] = count
        now[0] += 1
        watch.look()
    (trouble,) = told
    assert isinstance(trouble, KernelTrouble) and "3 packets were dropped" in trouble.problem
    assert "recursive routing" in trouble.problem and looks == [1.0, 2.0], "what should stand is looked at each time"
    (problem,) = watch.problems()
    assert "7 packets" in problem
    now[0] += 100
    assert not watch.problems()
    info = watch.info(child)
    assert info is not None and (info.looped, info.state, info.keepalive) == (7, "up", "off")
    loop.close()
