"""Each way a negotiation can fail: the right Notify on the wire, the right words on both sides, nothing left behind."""

import pytest

from tests.sim.world import BOB, Datagram, Node, World, child, connection, pair, selectors, start
from xfrmctl.ike.config import RetryPolicy, Start
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import ChildSaInstalled, IkeSaEstablished, NegotiationFailed, RetryScheduled
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.identity import parse_identity


def failure(node: Node) -> Failure:
    (event,) = node.of(NegotiationFailed)[:1]
    assert isinstance(event, NegotiationFailed)
    return event.failure


@pytest.mark.rfc("7296", "2.15")
def test_wrong_psk_is_named_on_both_sides() -> None:
    world = World()
    alice, bob = pair(world, bob={"psk": b"another secret"})
    start(world, alice)
    world.run(1)
    assert failure(bob).code == failure(alice).code == FailureCode.AUTHENTICATION_FAILED
    assert failure(alice).notify == "AUTHENTICATION_FAILED"
    assert "pre-shared key" in failure(bob).cause
    assert not alice.sad
    assert not bob.sad
    assert not bob.engine.ike_sas()
    assert bob.engine.half_open == 0


@pytest.mark.rfc("7296", "2.7")
@pytest.mark.rfc("7296", "3.3.4")
def test_no_common_ike_proposal_shows_what_each_side_has() -> None:
    world = World()
    alice, bob = pair(world, bob={"ike": ("aes128-sha256-modp2048",)})
    start(world, alice)
    world.run(1)
    assert failure(bob).code == failure(alice).code == FailureCode.NO_PROPOSAL_CHOSEN
    assert failure(bob).theirs == ("aes256gcm16-prfsha384-x25519",)
    assert failure(bob).ours == ("aes128-prfsha256-sha256-modp2048",)
    assert failure(alice).ours == ("aes256gcm16-prfsha384-x25519",)
    assert alice.engine.connections["net"].last_failure == failure(alice)
    assert bob.engine.connections["net"].last_failure == failure(bob)


@pytest.mark.rfc("7296", "1.2")
@pytest.mark.rfc("7296", "4")
def test_no_common_esp_proposal_leaves_the_ike_sa_up() -> None:
    world = World()
    alice, bob = pair(world, bob_child={"esp": ("aes128-sha256",)})
    start(world, alice)
    world.run(1)
    assert failure(bob).code == failure(alice).code == FailureCode.NO_PROPOSAL_CHOSEN
    assert "ESP" in failure(alice).text
    assert alice.of(IkeSaEstablished)
    assert not alice.sad


@pytest.mark.rfc("7296", "2.9")
def test_disjoint_selectors_are_refused() -> None:
    world = World()
    alice, bob = pair(world, bob_child={"local": "10.9.0.0/24"})
    start(world, alice)
    world.run(1)
    assert failure(bob).code == failure(alice).code == FailureCode.TS_UNACCEPTABLE
    assert "10.9.0.0/24" in failure(bob).ours
    assert "10.1.2.0/24" in failure(bob).theirs


@pytest.mark.rfc("7296", "2.9")
def test_the_responder_narrows_to_what_it_has() -> None:
    world = World()
    alice, bob = pair(world, alice_child={"remote": "10.1.0.0/16"}, bob_child={"local": "10.1.2.0/24,10.1.3.0/24"})
    start(world, alice)
    world.run(1)
    (event,) = alice.of(ChildSaInstalled)
    assert isinstance(event, ChildSaInstalled)
    assert event.remote_ts == selectors("10.1.2.0/24", "10.1.3.0/24")
    (theirs,) = bob.of(ChildSaInstalled)
    assert isinstance(theirs, ChildSaInstalled)
    assert theirs.local_ts == event.remote_ts


def test_the_wrong_identity_is_named_with_the_configured_one() -> None:
    world = World()
    alice, bob = pair(world, alice={"local_id": parse_identity("moon@example.org")})
    start(world, alice)
    world.run(1)
    assert failure(bob).code == FailureCode.IDENTITY_MISMATCH
    assert failure(bob).theirs == ("email:moon@example.org",)
    assert failure(alice).code == FailureCode.AUTHENTICATION_FAILED


def test_the_peer_wants_another_identity_of_ours() -> None:
    world = World()
    alice, bob = pair(world, alice={"remote_id": parse_identity("fqdn:sun.example.org")})
    start(world, alice)
    world.run(1)
    assert failure(bob).code == FailureCode.IDENTITY_MISMATCH
    assert "wants to talk to" in failure(bob).text


def test_an_unknown_peer_gets_no_proposal_chosen() -> None:
    world = World()
    alice, bob = pair(world, bob={})
    bob.engine.reload(type(bob.engine.config)(connections={}), 0.0)
    bob.engine.drain()
    start(world, alice)
    world.run(1)
    assert failure(bob).code == FailureCode.UNKNOWN_PEER
    assert failure(alice).code == FailureCode.NO_PROPOSAL_CHOSEN


@pytest.mark.rfc("7296", "2.8")
@pytest.mark.parametrize("side", ["alice", "bob"])
def test_a_kernel_that_refuses_ends_the_child_on_both_sides(side: str) -> None:
    world = World()
    alice, bob = pair(world)
    refusing = alice if side == "alice" else bob
    refusing.refuse.append(KernelRefusal("install SA", 38, "the kernel has no ESP"))
    start(world, alice)
    world.run(1)
    assert failure(refusing).code == FailureCode.KERNEL_REFUSED
    assert "no ESP" in failure(refusing).text
    assert not alice.sad
    assert not bob.sad
    world.run(10)
    assert len(alice.sad) == len(bob.sad) == 2, "it is tried again"


def test_an_unreachable_peer_is_tried_for_ever_with_back_off() -> None:
    world = World()
    alice = world.add("alice", "172.16.1.1", connection("172.16.1.1", BOB, child()))
    start(world, alice)
    world.run(3600)
    delays = [e.delay_s for e in alice.of(RetryScheduled) if isinstance(e, RetryScheduled)]
    assert delays[:5] == [2, 4, 8, 16, 32]
    assert max(delays) == 60
    assert len(delays) > 30
    assert failure(alice).code == FailureCode.NO_RESPONSE
    assert len(alice.engine.ike_sas()) <= 1
    assert alice.engine.connections["net"].attempts == len(delays)


def test_tries_can_be_limited() -> None:
    world = World()
    alice = world.add(
        "alice", "172.16.1.1", connection("172.16.1.1", BOB, child(), retry=RetryPolicy(tries=2, first_s=1, max_s=1))
    )
    start(world, alice)
    world.run(3600)
    assert len(alice.of(NegotiationFailed)) == 3
    assert not alice.engine.connections["net"].wanted


def test_a_peer_that_widens_selectors_is_refused() -> None:
    """Bob's answer is made by a Bob who was offered more than Alice believes to have offered."""
    world = World()
    alice, bob = pair(world, alice_child={"remote": "10.1.0.0/16"}, bob_child={"local": "10.1.0.0/16"})
    start(world, alice)
    sent: list[Datagram] = []

    def shrink(datagram: Datagram) -> Datagram:
        """Between request and answer Alice's idea of her selectors shrinks."""
        sent.append(datagram)
        for sa in alice.engine.ike_sas():
            request = sa.outstanding.request if sa.outstanding else None
            if request is not None and hasattr(request, "child") and len(sent) > 2:
                request.child = child(remote="10.1.2.0/24")
        return datagram

    world.intercept.append(shrink)
    world.run(0.5)
    assert failure(alice).code == FailureCode.TS_UNACCEPTABLE
    assert not alice.sad
    assert not bob.sad, "the peer is told to delete it"


def test_an_acquire_of_a_child_that_only_answers_is_ignored() -> None:
    world = World()
    alice, _ = pair(world, alice_child={"start": Start.NONE})
    world.do(alice, lambda now: alice.engine.handle_acquire(0x58000001, 77, now))
    world.run(5)
    assert not alice.events


def test_a_trap_child_is_tried_once_per_acquire() -> None:
    world = World()
    alice, _ = pair(world, alice_child={"start": Start.TRAP}, bob={"psk": b"no"})
    start(world, alice)
    world.run(5)
    assert not alice.events
    world.do(alice, lambda now: alice.engine.handle_acquire(0x58000001, 77, now))
    world.run(60)
    assert len(alice.of(NegotiationFailed)) == 1
    assert not alice.of(RetryScheduled)
