"""Conversations under bad conditions: loss, cookies, NAT, refusals, silence, deletes, restarts."""

import pytest

from tests.sim.world import ALICE, BOB, Datagram, World, child, connection, matching, pair, start
from xfrmctl.ike.config import EngineConfig, Start
from xfrmctl.ike.states import IkeState
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import (
    ChildSaInstalled,
    ChildSaRemoved,
    CookieDemanded,
    DatagramDropped,
    IkeSaClosed,
    IkeSaEstablished,
    MessageSent,
    PeerSilent,
)
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.iana import ExchangeType
from xfrmctl.model.sa import Direction, Encap, Lifetime


@pytest.mark.rfc("7296", "2.6")
def test_cookies_are_demanded_when_half_open_sas_are_many_and_returned() -> None:
    world = World()
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child()))
    bob = world.add(
        "bob",
        BOB,
        connection(BOB, ALICE, child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)),
        cookie_threshold=0,
    )
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert len(bob.of(CookieDemanded)) == 1
    requests = [e for e in alice.of(MessageSent) if isinstance(e, MessageSent) and not e.response]
    assert requests[1].payloads[0] == "N(COOKIE)"


@pytest.mark.rfc("7296", "1.2")
def test_invalid_ke_payload_makes_the_initiator_try_the_other_method() -> None:
    world = World()
    alice, bob = pair(
        world,
        alice={"ike": ("aes256gcm16-prfsha384-x25519-ecp256",)},
        bob={"ike": ("aes256gcm16-prfsha384-ecp256",)},
    )
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert str(bob.sa().suite).endswith("ecp256")


@pytest.mark.rfc("7296", "1.2")
def test_a_demand_for_a_method_that_was_not_offered_is_a_failure() -> None:
    world = World()
    alice, _ = pair(world, alice={"ike": ("aes256gcm16-prfsha384-x25519-ecp256",)})

    def demand(datagram: Datagram) -> Datagram:
        if str(datagram.source.address) != BOB:
            return datagram
        notify = bytes.fromhex("0000000a00000011") + (14).to_bytes(2, "big")
        header = datagram.data[:8] + bytes(8) + bytes([41, 0x20, 34, 0x20]) + bytes(4)
        return Datagram(datagram.source, datagram.target, header + (28 + len(notify)).to_bytes(4, "big") + notify)

    world.intercept.append(demand)
    start(world, alice)
    world.run(0.5)
    last = alice.engine.connections["net"].last_failure
    assert last is not None
    assert last.code == FailureCode.INVALID_KE
    assert "MODP_2048" in last.text


@pytest.mark.rfc("7296", "2.1")
@pytest.mark.parametrize("seed", range(12))
def test_a_tunnel_comes_up_in_spite_of_loss(seed: int) -> None:
    world = World(seed=seed)
    world.loss = 0.4
    alice, bob = pair(world, alice={"dpd_s": None}, bob={"dpd_s": None})
    start(world, alice)
    world.run(200)
    world.loss = 0
    world.run(200)
    assert alice.of(ChildSaInstalled)
    assert len(alice.sad) == 2
    assert alice.sad.keys() <= bob.sad.keys()


@pytest.mark.rfc("7296", "2.1")
def test_a_retransmitted_request_is_answered_with_the_same_bytes_and_done_once() -> None:
    world = World()
    alice, bob = pair(world, alice={"mobike": False})
    dropped: list[bytes] = []

    def lose_first_auth_answer(datagram: Datagram) -> Datagram | None:
        if str(datagram.source.address) == BOB and datagram.data[18] == ExchangeType.IKE_AUTH and not dropped:
            dropped.append(datagram.data)
            return None
        return datagram

    world.intercept.append(lose_first_auth_answer)
    start(world, alice)
    world.run(5)
    answers = [d.data for d in world.wire if str(d.source.address) == BOB and d.data[18] == ExchangeType.IKE_AUTH]
    assert answers[0] == answers[1] == dropped[0]
    assert len(bob.of(ChildSaInstalled)) == 1
    matching(alice, bob)


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.rfc("3948", "1")
@pytest.mark.rfc("3948", "2.1")
@pytest.mark.rfc("3948", "2.3")
def test_nat_before_the_initiator_moves_both_to_the_nat_traversal_port() -> None:
    world = World()
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child()))
    nat_address = "172.16.3.1"
    alice_identity = connection(ALICE, BOB).local_id
    bob = world.add(
        "bob",
        BOB,
        connection(
            BOB, None, child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE), remote_id=alice_identity
        ),
    )
    world.nat[alice.address] = type(alice.address)(nat_address)
    start(world, alice)
    world.run(60)
    assert alice.sa().nat_local
    assert not alice.sa().nat_remote
    assert bob.sa().nat_remote
    assert alice.sa().local.port == alice.sa().remote.port == 4500
    assert bob.sa().remote == Endpoint(type(alice.address)(nat_address), 14500)
    outbound = next(s for s, _ in bob.sad.values() if s.direction == Direction.OUT)
    assert outbound.encap == Encap(4500, 14500)
    assert str(outbound.destination) == nat_address
    inbound = next(s for s, _ in bob.sad.values() if s.direction == Direction.IN)
    assert inbound.encap == Encap(14500, 4500)
    keepalives = [d for d in world.wire if d.data == b"\xff"]
    assert len(keepalives) >= 2
    assert {str(d.source.address) for d in keepalives} == {ALICE}


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.parametrize("side", ["alice", "bob"])
def test_encapsulation_can_be_forced_from_either_side(side: str) -> None:
    world = World()
    forced: dict[str, object] = {"force_encap": True}
    alice, bob = pair(world, alice=forced if side == "alice" else None, bob=forced if side == "bob" else None)
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert all(sa.encap == Encap(4500, 4500) for node in (alice, bob) for sa, _ in node.sad.values())


@pytest.mark.rfc("7296", "2.4")
@pytest.mark.rfc("3948", "4")
def test_a_dead_peer_is_noticed_and_tried_again() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(10)
    del world.nodes[bob.address]
    world.run(60)
    assert alice.of(PeerSilent)
    (closed,) = alice.of(IkeSaClosed)
    assert isinstance(closed, IkeSaClosed)
    assert closed.reason.code == FailureCode.PEER_DEAD
    assert not alice.sad
    world.nodes[bob.address] = bob
    world.run(120)
    assert len(alice.sad) == 2


@pytest.mark.rfc("3948", "2.3")
@pytest.mark.rfc("7296", "2.23")
def test_a_healthy_idle_peer_stays_up() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(86400)
    matching(alice, bob)
    assert len(alice.of(IkeSaEstablished)) == 1


@pytest.mark.rfc("7296", "1.4.1")
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_deleted_child_goes_on_both_sides(who: str) -> None:
    world = World()
    alice, bob = pair(world, alice_child={"start": Start.NONE})
    world.do(alice, lambda now: alice.engine.initiate("net", None, now))
    world.run(1)
    node = alice if who == "alice" else bob
    world.do(node, lambda now: node.engine.terminate("net", "lan", now))
    world.run(1)
    assert not alice.sad
    assert not bob.sad
    assert len(alice.of(ChildSaRemoved)) == len(bob.of(ChildSaRemoved)) == 1
    assert len(alice.engine.ike_sas()) == len(bob.engine.ike_sas()) == 1


@pytest.mark.rfc("7296", "1.4.1")
def test_down_takes_the_ike_sa_away_and_keeps_it_away() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(1)
    world.do(alice, lambda now: alice.engine.terminate("net", None, now))
    world.run(600)
    assert not alice.engine.ike_sas()
    assert not bob.engine.ike_sas()
    world.do(alice, lambda now: alice.engine.initiate("net", None, now))
    world.run(1)
    matching(alice, bob)


def test_a_child_that_starts_by_itself_comes_back_when_the_peer_deletes_it() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(1)
    world.do(bob, lambda now: bob.engine.terminate("net", None, now))
    world.run(10)
    matching(alice, bob)
    assert len(alice.of(ChildSaInstalled)) == 2


@pytest.mark.rfc("7296", "1.3.1")
@pytest.mark.parametrize("esp", ["aes256gcm16", "aes256gcm16-x25519", "aes256gcm16-ecp256-x25519"])
def test_further_children_share_the_ike_sa(esp: str) -> None:
    world = World()
    names = [f"c{n}" for n in range(5)]
    mine = [child(n, f"10.1.{i}.0/24", f"10.2.{i}.0/24", esp=(esp,), reqid=0x58000010 + i) for i, n in enumerate(names)]
    theirs = [
        child(n, f"10.2.{i}.0/24", f"10.1.{i}.0/24", esp=(esp,), reqid=0x58000010 + i, start=Start.NONE)
        for i, n in enumerate(names)
    ]
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *mine))
    bob = world.add("bob", BOB, connection(BOB, ALICE, *theirs))
    start(world, alice)
    world.run(5)
    matching(alice, bob)
    assert len(alice.sad) == 10
    assert len(alice.of(IkeSaEstablished)) == 1
    assert {e.child for e in alice.of(ChildSaInstalled) if isinstance(e, ChildSaInstalled)} == set(names)
    suites = {str(c.suite) for c in alice.sa().children[1:]}
    assert suites == {f"{esp.replace('-ecp256', '')}-noesn" if "ecp256" not in esp else "aes256gcm16-ecp256-noesn"}


@pytest.mark.rfc("7296", "1.3")
def test_pfs_with_the_peers_method_after_invalid_ke_payload() -> None:
    world = World()
    kids = [child("a", reqid=0x58000001), child("b", "10.3.1.0/24", "10.3.2.0/24", reqid=0x58000002)]
    mine = [kids[0], child("b", "10.3.1.0/24", "10.3.2.0/24", esp=("aes256gcm16-x25519-ecp384",), reqid=0x58000002)]
    theirs = [
        child("a", "10.1.2.0/24", "10.1.1.0/24", start=Start.NONE, reqid=0x58000001),
        child("b", "10.3.2.0/24", "10.3.1.0/24", esp=("aes256gcm16-ecp384",), start=Start.NONE, reqid=0x58000002),
    ]
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *mine))
    bob = world.add("bob", BOB, connection(BOB, ALICE, *theirs))
    start(world, alice)
    world.run(2)
    matching(alice, bob)
    assert len(alice.sad) == 4


@pytest.mark.rfc("7296", "2.4")
def test_initial_contact_replaces_what_the_peer_has_forgotten() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(1)
    reborn = World.add(world, "alice2", ALICE, *alice.engine.config.connections.values())
    start(world, reborn)
    world.run(1)
    matching(reborn, bob)
    assert len(bob.engine.ike_sas()) == 1, "the peer would not answer a delete of what it has forgotten"
    assert reborn.engine.ike_sas()[0].outstanding is None


@pytest.mark.rfc("7296", "2.4")
def test_children_that_start_by_themselves_come_back_after_initial_contact() -> None:
    """A peer that has restarted brings up one child; the other one is ours to bring up again."""
    world = World()
    kids = [child("a", reqid=0x58000001), child("b", "10.3.1.0/24", "10.3.2.0/24", reqid=0x58000002)]
    theirs = [
        child("a", "10.1.2.0/24", "10.1.1.0/24", reqid=0x58000001),
        child("b", "10.3.2.0/24", "10.3.1.0/24", start=Start.NONE, reqid=0x58000002),
    ]
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *kids))
    world.add("bob", BOB, connection(BOB, ALICE, *theirs))
    start(world, alice)
    world.run(2)
    assert len(alice.sad) == 4
    bob = world.add("reborn", BOB, connection(BOB, ALICE, *theirs))
    start(world, bob)
    world.run(10)
    assert len(alice.engine.ike_sas()) == 1
    assert len(alice.sad) == 4
    matching(alice, bob)


def test_both_sides_starting_at_once_end_with_a_tunnel() -> None:
    world = World()
    alice, bob = pair(world, bob_child={"start": Start.START})
    start(world, alice, bob)
    world.run(30)
    assert alice.sad.keys() == bob.sad.keys()
    assert len(alice.sad) >= 2


def test_an_acquire_brings_a_trap_child_up_and_hands_its_sequence_number_on() -> None:
    world = World()
    alice, bob = pair(world, alice_child={"start": Start.TRAP})
    start(world, alice)
    world.do(alice, lambda now: alice.engine.handle_acquire(0x58000001, 4711, now))
    world.run(1)
    matching(alice, bob)
    by_direction = {sa.direction: sa for sa, _ in alice.sad.values()}
    assert by_direction[Direction.OUT].acquire_seq == 4711
    assert by_direction[Direction.IN].acquire_seq == 0


@pytest.mark.rfc("7296", "2.8")
def test_a_hard_expiry_ends_the_child_and_begins_a_new_one() -> None:
    world = World()
    alice, bob = pair(world, alice_child={"lifetime": Lifetime(hard_seconds=60)})
    start(world, alice)
    world.run(1)
    (inbound,) = [sa.id for sa, _ in alice.sad.values() if sa.direction == Direction.IN]
    world.do(alice, lambda now: alice.engine.handle_expire(inbound, True, now))
    world.run(10)
    matching(alice, bob)
    assert inbound not in alice.sad
    assert len(alice.sad) == 2


def test_reload_touches_only_what_has_changed() -> None:
    world = World()
    keep = connection(ALICE, BOB, child(), name="keep")
    other = "172.16.4.1"
    change = connection(ALICE, other, child("x", "10.5.0.0/24", "10.6.0.0/24", reqid=0x58000009), name="change")
    alice = world.add("alice", ALICE, keep, change)
    bob = world.add(
        "bob", BOB, connection(BOB, ALICE, child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE))
    )
    carol = world.add(
        "carol", other, connection(other, ALICE, child("x", "10.6.0.0/24", "10.5.0.0/24", start=Start.NONE))
    )
    start(world, alice)
    world.run(1)
    before = set(bob.sad)
    assert len(carol.sad) == 2
    newer = EngineConfig(connections={"keep": keep})
    world.do(alice, lambda now: alice.engine.reload(newer, now))
    world.run(5)
    assert set(bob.sad) == before == set(alice.sad)
    assert not carol.sad


@pytest.mark.rfc("7296", "2.6")
def test_half_open_sas_are_limited_and_forgotten() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(0.005)
    init = world.wire[0]
    for n in range(300):
        forged = (n + 1).to_bytes(8, "big") + init.data[8:]
        world.deliver(bob, Datagram(Endpoint(init.source.address, 2000 + n), init.target, forged))
    assert bob.engine.half_open <= 20
    reasons = {e.reason for e in bob.of(DatagramDropped) if isinstance(e, DatagramDropped)}
    assert "half_open_limit" in reasons
    world.run(60)
    assert bob.engine.half_open == 0
    assert len([s for s in bob.engine.ike_sas() if s.state == IkeState.INIT_ANSWERED]) == 0


def test_shutdown_tells_the_peer() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(1)
    world.do(alice, alice.engine.shutdown)
    world.run(1)
    assert not alice.sad
    assert not bob.sad
    assert not alice.engine.ike_sas()
    assert not bob.engine.ike_sas()
