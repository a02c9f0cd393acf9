"""Garbage is collected without a look at everything: the engine leaves none, and what it holds is put aside."""

import gc
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.sim.world import World, pair, start
from xfrmctl.daemon.garbage import GROWN, MANY, SKIPS, YOUNG, Garbage
from xfrmctl.model.events import ChildSaInstalled, Event


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The interpreter's own collector is everybody's: it is put back."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)
    gc.enable()


def test_the_engine_makes_no_cycles() -> None:
    """Rekeys of both kinds, deletes, a reload's end and a new beginning leave nothing for the collector."""
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(1)
    gc.collect()
    gc.disable()
    for _ in range(3):
        for child in ("lan", None):
            world.do(alice, lambda now, child=child: alice.engine.rekey("net", child, now))  # type: ignore[misc]
            world.run(1)
        world.do(bob, lambda now: bob.engine.terminate("net", None, now))
        world.run(5)
        world.do(alice, lambda now: alice.engine.terminate("net", None, now))
        world.run(5)
        world.do(alice, lambda now: alice.engine.initiate("net", None, now))
        world.run(5)
        assert alice.engine.newest_child(alice.engine.config.connections["net"].children[0].reqid)
    assert gc.collect() == 0


def installed(events: list[Event]) -> ChildSaInstalled:
    return next(event for event in events if isinstance(event, ChildSaInstalled))


def test_what_the_engine_has_come_to_hold_is_put_aside() -> None:
    world = World()
    alice, _ = pair(world)
    start(world, alice)
    world.run(1)
    garbage, event = Garbage(), installed(alice.events)
    garbage.start()
    assert gc.get_threshold() == YOUNG and gc.isenabled()
    before, held = gc.get_freeze_count(), [[n] for n in range(1000)]
    for _ in range(GROWN - 1):
        garbage.observe(event)
    assert gc.get_freeze_count() == before
    garbage.observe(event)
    assert gc.get_freeze_count() >= before + len(held)


def test_a_look_at_everything_is_not_interrupted_but_not_for_ever() -> None:
    garbage = Garbage()
    garbage.start()
    circle: list[object] = [ip_address("10.0.0.1")]
    circle.append(circle)
    large = [[n] for n in range(MANY + 1)]
    gc.collect(1)
    gc.collect(1)
    known = id(circle)
    del circle
    for _ in range(SKIPS):
        garbage.tidy()
    assert known in {id(found) for found in gc.get_objects(generation=2)}
    garbage.tidy()
    assert known not in {id(found) for found in gc.get_objects()}
    large.clear()
    garbage.tidy()
    assert len(gc.get_objects(generation=2)) < MANY
