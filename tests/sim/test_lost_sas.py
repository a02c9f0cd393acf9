"""SAs that somebody else has deleted from the kernel: the daemon looks, the engine negotiates anew."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.sim.world import Node, World, matching, pair, start
from tests.unit.daemon.test_show import at_once
from xfrmctl.daemon import lost
from xfrmctl.ike.config import Start
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import ChildSaRemoved
from xfrmctl.model.sa import SaCounters, SaId


@dataclass
class Looking:
    """The daemon's look at a node; ``suspects`` are what it asks the kernel for once more."""

    node: Node
    suspects: list[SaId] = field(default_factory=list)
    troubles: list[KernelRefusal] = field(default_factory=list)

    def __call__(self, held: dict[SaId, SaCounters] | None = None) -> list[SaId]:
        self.suspects = []
        at_once(lost.look(self.node.engine.ike_sas(), self, self, held))
        return self.suspects

    def walk(self) -> Iterator[dict[SaId, SaCounters]]:
        yield from ({sa_id: found} for sa_id, found in counters(self.node).items())

    def counted(self, ids: Sequence[SaId]) -> list[SaCounters]:
        raise AssertionError("all of them are read")

    def check(self, ids: Iterable[SaId]) -> None:
        self.suspects += ids

    def trouble(self, problem: KernelRefusal) -> None:
        self.troubles.append(problem)


def counters(node: Node) -> dict[SaId, SaCounters]:
    return {sa_id: SaCounters(id=sa_id, reqid=0) for sa_id in node.sad}


@pytest.mark.parametrize("which", [0, 1])
def test_a_lost_sa_is_found_and_its_child_comes_back(which: int) -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(5)
    matching(alice, bob)
    look = Looking(alice)
    assert look() == []
    child = alice.sa().children[0]
    gone: SaId = (child.inbound, child.outbound)[which]
    del alice.sad[gone]
    assert look() == [gone]
    world.do(alice, lambda now: alice.engine.handle_lost(gone, now))
    assert look() == []
    (removed,) = alice.of(ChildSaRemoved)
    assert isinstance(removed, ChildSaRemoved) and "no longer in the kernel" in removed.reason.text
    world.run(10)
    matching(alice, bob)
    assert alice.sa().children[0].config.start is Start.START
    assert alice.sa().children[0].inbound != child.inbound


def test_of_each_child_one_sa_is_enough_and_the_kernel_is_not_read_twice() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(5)
    child = alice.sa().children[0]
    assert Looking(alice)({}) == [child.inbound]
    assert bob.sad


def test_a_kernel_that_does_not_say_is_told_of() -> None:
    class Deaf(Looking):
        def walk(self) -> Iterator[dict[SaId, SaCounters]]:
            raise KernelRefusal("dump SAs", 12, "Cannot allocate memory")

    world = World()
    alice, _ = pair(world)
    start(world, alice)
    world.run(5)
    deaf = Deaf(alice)
    assert deaf() == [] and len(deaf.troubles) == 1


def test_nothing_follows_from_an_sa_that_nobody_knows() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(5)
    known = alice.sa().children[0].inbound
    world.do(alice, lambda now: alice.engine.handle_lost(SaId(known.destination, known.protocol, 0x777), now))
    matching(alice, bob)
    assert alice.sa().children[0].inbound == known
