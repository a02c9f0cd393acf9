"""Whatever happens while a kernel is still taking the SAs of a child: none is left in it that nobody knows of."""

import random
from functools import partial

import pytest

from tests.sim.test_lost_sas import Looking
from tests.sim.world import Node, World, matching, pair, start
from xfrmctl.ike.states import ChildState
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import ChildSaInstalled, ChildSaRemoved

KERNEL_S = 0.1
STEPS = range(0, 700, 10)
"""Milliseconds after the start: the handshake, its installations at both ends, and a while after."""


def known(node: Node) -> set[object]:
    """What the engine believes to be in its kernel."""
    children = [c for sa in node.engine.ike_sas() for c in sa.children]
    retired = {sa_id for sa in node.engine.ike_sas() for _, sa_id in sa.retired}
    return {sa_id for c in children for sa_id in (c.inbound, c.outbound)} | retired


def slow_pair() -> tuple[World, Node, Node]:
    world = World()
    world.kernel_s = KERNEL_S
    alice, bob = pair(world)
    start(world, alice)
    return world, alice, bob


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("child", ["lan", None])
def test_taken_down_at_any_moment(who: str, child: str | None) -> None:
    for step in STEPS:
        world, alice, bob = slow_pair()
        world.run(step / 1000)
        node = alice if who == "alice" else bob
        world.do(node, partial(node.engine.terminate, "net", child))
        world.do(alice, partial(alice.engine.terminate, "net", child))
        world.run(60)
        assert not alice.sad and not bob.sad, f"after {step} ms: {alice.sad.keys()} {bob.sad.keys()}"
        assert not any(c.config.name for node in (alice, bob) for sa in node.engine.ike_sas() for c in sa.children), (
            step
        )
        installed, removed = (
            [(e.inbound, e.outbound) for e in (*alice.of(kind), *bob.of(kind))]  # type: ignore[attr-defined]
            for kind in (ChildSaInstalled, ChildSaRemoved)
        )
        assert sorted(map(str, installed)) == sorted(map(str, removed)), f"after {step} ms"


def test_the_peer_lets_go_of_a_child_at_any_moment() -> None:
    for step in STEPS:
        world, alice, bob = slow_pair()
        world.run(step / 1000)
        for child in [c for sa in bob.engine.ike_sas() for c in sa.children if c.installed]:
            world.do(bob, partial(bob.engine.handle_lost, child.inbound))
        world.run(60)
        matching(alice, bob)
        assert len(alice.sad) == 2, f"after {step} ms: it comes back, once"
        assert set(alice.sad) == known(alice) and set(bob.sad) == known(bob), f"after {step} ms"


def test_the_child_is_rekeyed_while_kernels_are_slow() -> None:
    for step in STEPS:
        world, alice, bob = slow_pair()
        world.run(5)
        for node in (alice, bob):
            (child,) = node.sa().children
            moment = world.now + (0 if node is alice else step / 1000)
            world.at(moment, partial(world.do, node, partial(node.engine.handle_expire, child.inbound, False)))
        world.run(60)
        matching(alice, bob)
        assert set(alice.sad) == known(alice) and set(bob.sad) == known(bob), f"after {step} ms"
        assert [c.state for c in alice.sa().children] == [ChildState.INSTALLED]
        assert Looking(alice)() == Looking(bob)() == []


def test_a_doomed_child_that_the_kernel_refuses_is_only_refused() -> None:
    world, alice, bob = slow_pair()
    while not any(c for sa in alice.engine.ike_sas() for c in sa.children):
        world.run(0.01)
    alice.refuse.append(KernelRefusal("install SA", 12, "no room"))
    world.do(alice, lambda now: alice.engine.terminate("net", "lan", now))
    world.run(60)
    assert not alice.sad and not bob.sad
    assert not alice.of(ChildSaInstalled) and not alice.of(ChildSaRemoved)


@pytest.mark.parametrize("seed", range(60))
def test_all_at_once(seed: int) -> None:
    """Soft limits at both ends, new IKE SAs, children down and up, with losses, while kernels take their time."""
    chance = random.Random(seed)
    world = World(seed=seed)
    world.kernel_s = chance.choice([0.005, 0.05, 0.5])
    alice, bob = pair(world)
    start(world, alice)
    world.run(5)
    world.loss = chance.choice([0.0, 0.05, 0.2])
    for _ in range(30):
        node = chance.choice([alice, bob])
        children = [c for sa in node.engine.ike_sas() for c in sa.children]
        match chance.randrange(7):
            case 0 | 1 | 2 if children:
                world.do(node, partial(node.engine.handle_expire, chance.choice(children).inbound, False))
            case 3:
                world.do(alice, partial(alice.engine.terminate, "net", "lan"))
            case 4:
                world.do(alice, partial(alice.engine.initiate, "net", None))
            case 6 if children:
                world.do(node, partial(node.engine.handle_lost, chance.choice(children).inbound))
            case 5:
                world.do(node, partial(node.engine.rekey, "net", None))
        world.run(chance.choice([0.001, 0.02, 0.3, 2.0]))
    world.loss = 0
    world.run(400)
    world.do(alice, partial(alice.engine.initiate, "net", None))
    world.run(400)
    matching(alice, bob)
    assert set(alice.sad) == known(alice) and set(bob.sad) == known(bob)
    assert len(alice.sad) == 2
