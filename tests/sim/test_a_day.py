"""A day in virtual time: fifty tunnels with lifetimes of an hour on a path that loses and reorders."""

import gc
import tracemalloc

import pytest

from tests.sim.world import ALICE, BOB, Node, World, child, connection, start
from xfrmctl.ike.config import RetransmitPolicy, Start
from xfrmctl.ike.states import IkeState
from xfrmctl.model.events import (
    ChildSaRekeyed,
    ChildSaRemoved,
    IkeSaClosed,
    IkeSaRekeyed,
    NegotiationFailed,
    PeerSilent,
)
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.sa import Direction, Lifetime

TUNNELS = 50
HOUR = 3600
LIFETIME = Lifetime(soft_seconds=HOUR - 600, hard_seconds=HOUR)


def gateway(world: World, name: str, own: str, other: str, *, initiator: bool) -> Node:
    ends = []
    for n in range(TUNNELS):
        us, them = (f"10.1.{n}.0/24", f"10.2.{n}.0/24")[:: 1 if initiator else -1]
        here, there = ("a", "b")[:: 1 if initiator else -1]
        lan = child(
            f"lan{n}",
            us,
            them,
            start=Start.START if initiator else Start.NONE,
            reqid=0x58000001 + n,
            lifetime=LIFETIME,
        )
        end = connection(
            own,
            other,
            lan,
            name=f"net{n}",
            local_id=parse_identity(f"fqdn:{here}{n}.example.org"),
            remote_id=parse_identity(f"fqdn:{there}{n}.example.org"),
            rekey_s=HOUR - 300,
            dpd_s=900,
            retransmit=RetransmitPolicy(),
        )
        ends.append(end)
    return world.add(name, own, *ends)


def working(sender: Node, receiver: Node) -> set[int]:
    """The reqids whose newest outbound SA the other end can decrypt."""
    newest = {sa.reqid: (sa.id, keys) for sa, keys in sender.sad.values() if sa.direction == Direction.OUT}
    held = {sa_id: keys for sa_id, (sa, keys) in receiver.sad.items() if sa.direction == Direction.IN}
    return {reqid for reqid, (sa_id, keys) in newest.items() if held.get(sa_id) == keys}


class Size:
    """What the engines keep, counted and in octets."""

    def __init__(self, *nodes: Node) -> None:
        gc.collect()
        cores = [node.engine._core for node in nodes]
        self.ike_sas = sum(len(core.sas) for core in cores)
        self.by_spi = sum(len(core.by_spi) for core in cores)
        self.children = sum(len(core.children) for core in cores)
        self.waiting = sum(len(core.waiting) for core in cores)
        self.held = sum(core.reassembly.held for core in cores)
        self.kernel = sum(len(node.sad) for node in nodes)
        self.octets = tracemalloc.get_traced_memory()[0]


@pytest.mark.slow
@pytest.mark.rfc("7296", "2.8")
def test_a_day_of_fifty_tunnels() -> None:
    tracemalloc.start()
    world = World(seed=24)
    world.lifetimes = True
    world.jitter_s, world.loss = 0.4, 0.01
    alice = gateway(world, "alice", ALICE, BOB, initiator=True)
    bob = gateway(world, "bob", BOB, ALICE, initiator=False)
    start(world, alice)
    world.run(120)
    tunnels = {0x58000001 + n for n in range(TUNNELS)}
    rekeyed_ike, rekeyed_children, lost = 0, 0, 0
    sizes = []
    for hour in range(24):
        for _ in range(60):
            world.run(60)
            assert working(alice, bob) == working(bob, alice) == tunnels, f"hour {hour}, {world.now} s"
        for node in (alice, bob):
            for event in node.events:
                assert not isinstance(event, PeerSilent | NegotiationFailed), event
                if isinstance(event, IkeSaClosed | ChildSaRemoved):
                    assert event.reason.code == FailureCode.REKEYED, event
            rekeyed_ike += len(node.of(IkeSaRekeyed))
            rekeyed_children += len(node.of(ChildSaRekeyed))
            node.events.clear()
        lost += len(world.wire) // 100
        world.wire.clear()
        sizes.append(Size(alice, bob))
    tracemalloc.stop()
    assert rekeyed_ike >= 2 * 24 * TUNNELS and rekeyed_children >= 2 * 24 * TUNNELS, (
        "both ends, every hour, every tunnel"
    )
    assert lost > 100
    # what is left at the end of the day is fifty tunnels, and nothing of those that they have replaced
    world.loss = 0
    world.run(HOUR / 12)
    for node in (alice, bob):
        assert sum(s.state == IkeState.ESTABLISHED for s in node.engine.ike_sas()) == TUNNELS
        own = {i for s in node.engine.ike_sas() for c in s.children for i in (c.inbound, c.outbound)}
        own |= {i for s in node.engine.ike_sas() for _, i in s.retired}
        assert node.sad.keys() == own
    assert alice.sad.keys() == bob.sad.keys()
    for size in sizes:
        assert size.kernel <= 2 * 2 * 2 * TUNNELS and size.ike_sas <= 2 * 2 * TUNNELS
    early, late = min(s.octets for s in sizes[2:8]), min(s.octets for s in sizes[-6:])
    assert late - early < 200_000, "octets in sixteen hours"
