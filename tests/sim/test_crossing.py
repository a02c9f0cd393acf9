"""Both ends begin at once, as after a power cut or a reload of both: one IKE SA stays, with all that both wanted."""

import pytest

from tests.sim.world import ALICE, BOB, Node, World, child, connection, matching, pair, start
from xfrmctl.ike.config import ChildConfig, Start
from xfrmctl.ike.states import IkeState
from xfrmctl.model.events import IkeSaEstablished


def settled(*nodes: Node) -> None:
    """One IKE SA at each end, with the same CHILD SAs, and nothing under way."""
    for node in nodes:
        (sa,) = node.engine.ike_sas()
        assert sa.state == IkeState.ESTABLISHED and sa.outstanding is None and not sa.queue
        assert len(node.sad) == 2 * len(sa.children)


@pytest.mark.rfc("7296", "2.8.1")
@pytest.mark.parametrize("latency_ms", [1, 5, 40])
@pytest.mark.parametrize("apart", [0.0, 0.3, 0.9, 1.5, 2.5, 3.5])
def test_one_of_two_crossing_ike_sas_stays(latency_ms: int, apart: float) -> None:
    """``apart`` is in latencies: from at once to when the other one's IKE SA stands."""
    for seed in range(4):
        world = World(latency_s=latency_ms / 1000, seed=seed)
        alice, bob = pair(
            world,
            alice={"dpd_s": None},
            bob={"dpd_s": None},
            alice_child={"start": Start.START},
            bob_child={"start": Start.START},
        )
        start(world, alice)
        world.run(apart * latency_ms / 1000)
        start(world, bob)
        world.run(0.5)
        lost: list[float] = []
        for one, other in ((alice, bob), (bob, alice)):
            world.flow(one, other, lost, until=world.now + 15)
        world.run(30)
        settled(alice, bob)
        matching(alice, bob)
        assert not lost


@pytest.mark.rfc("7296", "2.8.1")
def test_what_each_wanted_is_there_in_the_end() -> None:
    def children(own: str, other: str, mine: str) -> tuple[ChildConfig, ...]:
        return tuple(
            child(
                name,
                local=f"10.{own}.{number}.0/24",
                remote=f"10.{other}.{number}.0/24",
                reqid=0x58000001 + number,
                start=Start.START if name == mine else Start.NONE,
            )
            for number, name in enumerate("ab")
        )

    world = World(latency_s=0.01)
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *children("1", "2", "a")))
    bob = world.add("bob", BOB, connection(BOB, ALICE, *children("2", "1", "b")))
    start(world, alice, bob)
    world.run(60)
    settled(alice, bob)
    assert {c.config.name for c in alice.sa().children} == {"a", "b"}
    assert len(alice.of(IkeSaEstablished)) == 2
