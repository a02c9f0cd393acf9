"""The keeper of paths and the reconciler: what the kernel says of a route, and what it is told."""

import asyncio
from ipaddress import ip_address

import pytest

from tests.sim.test_path_mtu import Paths, established, in_force, path
from tests.sim.world import BOB, Node
from xfrmctl.daemon import routes
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.kernel.desired import Route
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.kernel.plan import PutRoute
from xfrmctl.kernel.ports import ConvergeReport, Underlay
from xfrmctl.model.events import Event, KernelDisturbed, PathMtuHinted

PEER = ip_address(BOB)
WAN = Underlay("wan", ip_address("172.16.1.254"), None, 1500)
LTE = Underlay("lte", ip_address("10.64.0.1"), None, 1430)


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the kernel believes of every path: nothing less than 65535, unless a test says so."""
    believed = {"mtu": 65535}
    monkeypatch.setattr(routes, "outer_mtu", lambda local, remote: believed["mtu"])
    return believed


def kernel_of(world: Paths, node: Node) -> FakeKernel:
    kernel = world.keepers[node.name].underlays.kernel
    assert isinstance(kernel, FakeKernel)
    return kernel


def look(world: Paths, node: Node) -> None:
    keeper = world.keepers[node.name]
    world.do(node, lambda now: keeper.look_at_routes(keeper.next_look(), now))


def to_peer(kernel: FakeKernel) -> Route:
    (route,) = [route for route in kernel.routes.values() if route.table == PEER_TABLE]
    return route


def test_the_kernel_is_held_to_the_path_and_follows_it(learned: dict[str, int]) -> None:
    world, alice, _ = established(1400)
    kernel = kernel_of(world, alice)
    kernel.ways[PEER] = WAN
    reconciler = Reconciler(alice.engine, kernel, Bus(), world.keepers["alice"])
    world.keepers["alice"].changed = reconciler.path_changed

    async def story() -> None:
        look(world, alice)
        await reconciler.everything()
        assert (to_peer(kernel).mtu, to_peer(kernel).via) == (1400, WAN.via)
        world.mtu = 1300
        world.do(alice, lambda now: world.keepers["alice"].engine.handle_loss(path(world, alice), now))
        world.run(20)
        await reconciler.changed()
        assert to_peer(kernel).mtu == 1300
        assert {member.rule.mss for member in kernel.members} == {1300 - 54 - 40}
        world.do(alice, lambda now: alice.engine.terminate("net", None, now))
        world.run(1)
        await reconciler.everything()
        assert not [route for route in kernel.routes.values() if route.table == PEER_TABLE]

    asyncio.run(story())


def test_another_uplink_is_another_path_and_looked_at_at_once(learned: dict[str, int]) -> None:
    world, alice, _ = established()
    world.mtu = 1380
    kernel_of(world, alice).ways[PEER] = LTE
    look(world, alice)
    assert in_force(world, alice) == (1430, "link")
    world.run(10)
    assert in_force(world, alice) == (1380, "probe")
    way = world.keepers["alice"].way(path(world, alice))
    assert way is not None
    assert way.underlay == LTE


def test_a_route_that_is_gone_for_a_moment_changes_nothing(learned: dict[str, int]) -> None:
    world, alice, _ = established()
    del kernel_of(world, alice).ways[PEER]
    look(world, alice)
    assert in_force(world, alice) == (1500, "probe")


def test_what_icmp_has_taught_the_kernel_is_a_hint_that_lowers_at_once(learned: dict[str, int]) -> None:
    world, alice, _ = established()
    world.mtu = learned["mtu"] = 1333
    look(world, alice)
    assert in_force(world, alice) == (1333, "icmp")
    world.run(10)
    assert in_force(world, alice) == (1333, "probe")


def test_a_kernel_that_was_lied_to_gets_its_route_anew(learned: dict[str, int]) -> None:
    """The first lie lowers for a moment; while the next ones are held back the kernel still believes them."""
    world, alice, _ = established()
    kernel, keeper = kernel_of(world, alice), world.keepers["alice"]
    kernel.ways[PEER] = WAN
    look(world, alice)
    world.run(5)
    poisoned: list[object] = []
    keeper.poisoned = poisoned.append
    for lie in (600, 700):
        learned["mtu"] = lie
        for _ in range(5):
            look(world, alice)
            world.run(1)
            learned["mtu"] = lie if in_force(world, alice) == (1500, "probe") and lie == 700 else 65535
    assert set(poisoned) == {path(world, alice)}
    assert in_force(world, alice) == (1500, "probe")
    verdicts = [e.verdict for e in alice.of(PathMtuHinted) if isinstance(e, PathMtuHinted)]
    assert verdicts[0] == "lowered"
    assert set(verdicts[1:]) == {"held"}


def test_what_others_disturbed_is_told_and_shown_until_the_next_full_look() -> None:
    world, alice, _ = established()
    kernel, bus, told = kernel_of(world, alice), Bus(), list[Event]()
    bus.subscribe(told.append)
    reconciler = Reconciler(alice.engine, kernel, bus, world.keepers["alice"])
    reports = iter([ConvergeReport(1, (), ("they did",)), ConvergeReport(0)])
    kernel.converge = lambda desired: next(reports)  # type: ignore[method-assign]
    asyncio.run(reconciler.everything())
    assert told == [KernelDisturbed(disturbance="they did")]
    assert (list(reconciler.disturbances), reconciler.problems) == (["they did"], ())
    asyncio.run(reconciler.everything())
    assert len(told) == 1 and not reconciler.disturbances


def test_the_route_is_made_anew_by_raising_it(learned: dict[str, int]) -> None:
    """That is what deletes the kernel's exceptions below a route (KERNEL-FACTS 8): see ``Devices.apply_routes``."""
    world, alice, _ = established()
    kernel, keeper = kernel_of(world, alice), world.keepers["alice"]
    kernel.ways[PEER] = WAN
    look(world, alice)
    seen: list[PutRoute] = []
    reconciler = Reconciler(alice.engine, kernel, Bus(), keeper)

    async def story() -> None:
        await reconciler.everything()
        original = kernel.apply_routes

        def watch(operations: list[PutRoute]) -> object:
            seen.extend(operations)
            return original(operations)

        kernel.apply_routes = watch  # type: ignore[assignment,method-assign]
        reconciler.path_poisoned(path(world, alice))
        await reconciler._heal()

    asyncio.run(story())
    (put,) = seen
    assert put.raises
    assert (put.new.mtu, put.new.device) == (1500, "wan")
