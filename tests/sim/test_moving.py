"""A NAT that forgets its mapping, without MOBIKE (RFC 7296 2.23): whoever is not behind it follows, SAs and all."""

from ipaddress import ip_address
from typing import Any

import pytest

from tests.sim.world import ALICE, BOB, Datagram, Node, World, child, connection, start
from xfrmctl.ike.config import Start
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import IkeSaEstablished, PeerMoved
from xfrmctl.model.identity import Identity
from xfrmctl.model.sa import Direction, Encap

INSIDE = "192.168.9.1"
MOVED = "172.16.1.77"


def behind_a_nat(*, dpd_s: float | None = None) -> tuple[World, Node, Node]:
    """Alice is behind a NAT and begins; Bob takes anybody who knows the key."""
    world = World()
    world.nat[ip_address(INSIDE)] = ip_address(ALICE)
    alice = world.add("alice", INSIDE, connection(INSIDE, BOB, child(), dpd_s=dpd_s, mobike=False))
    theirs = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    who: dict[str, Any] = {"remote_id": Identity.of_address(ip_address(INSIDE)), "dpd_s": None}
    bob = world.add("bob", BOB, connection(BOB, None, theirs, **who))
    start(world, alice)
    world.run(1)
    assert bob.sa().remote == Endpoint(ip_address(ALICE), 14500)
    return world, alice, bob


def follows(world: World, alice: Node, bob: Node, remote: Endpoint) -> None:
    """Bob and his kernel know where Alice is now."""
    assert bob.sa().remote == remote
    sas = {sa.direction: sa for sa, _ in bob.sad.values()}
    out, back = sas[Direction.OUT], sas[Direction.IN]
    assert (out.source, out.destination) == (ip_address(BOB), remote.address)
    assert (back.source, back.destination) == (remote.address, ip_address(BOB))
    assert (out.encap, back.encap) == (Encap(4500, remote.port), Encap(remote.port, 4500))
    (mine,) = bob.sa().children
    assert {mine.inbound, mine.outbound} == set(bob.sad)
    assert mine.outbound in bob.engine._core.children
    assert len(bob.of(IkeSaEstablished)) == 1
    for soft in (mine.outbound, bob.sa().children[0].inbound):
        world.do(bob, lambda now, soft=soft: bob.engine.handle_expire(soft, False, now))  # type: ignore[misc]
        world.run(10)
    assert len(bob.sad) == len(alice.sad) == 2
    keys = sorted((k.encryption for _, k in bob.sad.values()))
    assert keys == sorted(k.encryption for _, k in alice.sad.values())


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.rfc("3948", "2.1")
@pytest.mark.parametrize("outside", [ALICE, MOVED])
def test_an_authentic_request_moves_the_peer_and_its_children(outside: str) -> None:
    world, alice, bob = behind_a_nat(dpd_s=5.0)
    world.nat[ip_address(INSIDE)] = ip_address(outside)
    world.nat_shift = 20000
    world.run(20)
    remote = Endpoint(ip_address(outside), 24500)
    (moved,) = bob.of(PeerMoved)
    assert isinstance(moved, PeerMoved)
    assert (moved.old, moved.new) == (Endpoint(ip_address(ALICE), 14500), remote)
    follows(world, alice, bob, remote)
    assert not alice.of(PeerMoved)


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.parametrize("outside", [ALICE, MOVED])
def test_authentic_esp_moves_the_peer_too(outside: str) -> None:
    world, alice, bob = behind_a_nat()
    world.nat[ip_address(INSIDE)] = ip_address(outside)
    world.nat_shift = 20000
    remote = Endpoint(ip_address(outside), 24500)
    inbound = next(sa.id for sa, _ in bob.sad.values() if sa.direction == Direction.IN)
    world.do(bob, lambda now: bob.engine.handle_mapping(inbound, remote, now))
    world.do(bob, lambda now: bob.engine.handle_mapping(inbound, remote, now))
    assert len(bob.of(PeerMoved)) == 1
    follows(world, alice, bob, remote)


@pytest.mark.rfc("7296", "2.23")
def test_whoever_is_behind_the_nat_stays() -> None:
    """Bob's requests come from elsewhere: Alice, who has the NAT before her, answers there and believes nothing."""
    world, alice, bob = behind_a_nat()
    before = alice.sa().remote

    def elsewhere(datagram: Datagram) -> Datagram:
        if datagram.source.address != bob.address:
            return datagram
        return Datagram(Endpoint(bob.address, 7777), datagram.target, datagram.data)

    world.intercept.append(elsewhere)
    world.do(bob, lambda now: bob.engine.rekey("net", "lan", now))
    world.run(0.03)
    assert alice.sa().remote == before
    assert not alice.of(PeerMoved)
    inbound = next(sa.id for sa, _ in alice.sad.values() if sa.direction == Direction.IN)
    world.do(alice, lambda now: alice.engine.handle_mapping(inbound, Endpoint(bob.address, 7777), now))
    assert alice.sa().remote == before


@pytest.mark.rfc("7296", "2.23")
def test_a_captured_request_from_elsewhere_moves_nothing() -> None:
    world, _, bob = behind_a_nat(dpd_s=5.0)
    before = bob.sa().remote
    world.run(20)
    old = [d for d in world.wire if d.target.address == bob.address and len(d.data) > 1][-1]
    world.deliver(bob, Datagram(Endpoint(ip_address(MOVED), 4500), old.target, old.data))
    world.run(1)
    assert bob.sa().remote == before
    assert not bob.of(PeerMoved)


@pytest.mark.rfc("7296", "2.23")
def test_a_move_while_the_peer_rekeys_takes_the_waiting_sa_along() -> None:
    """Bob has answered a rekey and does not send on the new SA yet when Alice's mapping changes."""
    world, alice, bob = behind_a_nat()
    outbound = next(sa.id for sa, _ in alice.sad.values() if sa.direction == Direction.OUT)
    world.do(alice, lambda now: alice.engine.handle_expire(outbound, False, now))
    world.run(0.015)
    assert any(c.pending_outbound is not None for c in bob.sa().children)
    world.nat_shift = 20000
    world.run(10)
    follows(world, alice, bob, Endpoint(ip_address(ALICE), 24500))
