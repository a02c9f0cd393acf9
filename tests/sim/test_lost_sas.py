"""SAs that somebody else has deleted from the kernel: the daemon looks, the engine negotiates anew."""

import pytest

from tests.sim.world import World, matching, pair, start
from xfrmctl.daemon.runtime import missing
from xfrmctl.ike.config import Start
from xfrmctl.model.events import ChildSaRemoved
from xfrmctl.model.sa import SaId


@pytest.mark.parametrize("which", [0, 1])
def test_a_lost_sa_is_found_and_its_child_comes_back(which: int) -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(5)
    matching(alice, bob)
    assert missing(alice.engine.ike_sas(), alice.sad) == []
    child = alice.sa().children[0]
    gone: SaId = (child.inbound, child.outbound)[which]
    del alice.sad[gone]
    assert missing(alice.engine.ike_sas(), alice.sad) == [gone]
    world.do(alice, lambda now: alice.engine.handle_lost(gone, now))
    assert missing(alice.engine.ike_sas(), alice.sad) == []
    (removed,) = alice.of(ChildSaRemoved)
    assert isinstance(removed, ChildSaRemoved) and "no longer in the kernel" in removed.reason.text
    world.run(10)
    matching(alice, bob)
    assert alice.sa().children[0].config.start is Start.START
    assert alice.sa().children[0].inbound != child.inbound


def test_nothing_follows_from_an_sa_that_nobody_knows() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(5)
    known = alice.sa().children[0].inbound
    world.do(alice, lambda now: alice.engine.handle_lost(SaId(known.destination, known.protocol, 0x777), now))
    matching(alice, bob)
    assert alice.sa().children[0].inbound == known
