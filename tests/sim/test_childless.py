"""IKE SAs without a first CHILD SA (RFC 6023): children come by CREATE_CHILD_SA, with a key exchange of their own."""

import pytest

from tests.sim.world import Node, World, matching, pair, start
from xfrmctl.ike.config import Childless, Start
from xfrmctl.ike.states import IkeState
from xfrmctl.model.events import ChildSaInstalled, MessageSent, NegotiationFailed
from xfrmctl.model.iana import ExchangeType

SUPPORTED = "N(CHILDLESS_IKEV2_SUPPORTED)"
PFS: dict[str, object] = {"esp": ("aes256gcm16-x25519",)}

pytestmark = pytest.mark.rfc("6023", "3")


def sent(node: Node, exchange: ExchangeType) -> list[tuple[str, ...]]:
    return [e.payloads for e in node.of(MessageSent) if isinstance(e, MessageSent) and e.exchange == exchange]


def world_of(ours: Childless, theirs: Childless, **child: object) -> tuple[World, Node, Node]:
    world = World()
    alice, bob = pair(
        world, alice={"childless": ours}, bob={"childless": theirs}, alice_child=PFS | child, bob_child=PFS
    )
    return world, alice, bob


@pytest.mark.parametrize("theirs", [Childless.ALLOW, Childless.FORCE])
def test_the_first_child_has_an_exchange_of_its_own(theirs: Childless) -> None:
    world, alice, bob = world_of(Childless.FORCE, theirs)
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert len(alice.sad) == 2
    assert SUPPORTED in sent(bob, ExchangeType.IKE_SA_INIT)[0]
    assert SUPPORTED not in sent(alice, ExchangeType.IKE_SA_INIT)[0]
    for node in (alice, bob):
        (auth,) = sent(node, ExchangeType.IKE_AUTH)
        assert "AUTH" in auth
        assert not {"SA", "TSi", "TSr"} & set(auth)
        assert "KE" in sent(node, ExchangeType.CREATE_CHILD_SA)[0]
        (installed,) = node.of(ChildSaInstalled)
        assert isinstance(installed, ChildSaInstalled)
        assert installed.suite.ke is not None
        assert not node.of(NegotiationFailed)


def test_a_peer_that_does_not_know_how_is_told_apart() -> None:
    world, alice, bob = world_of(Childless.FORCE, Childless.NEVER)
    start(world, alice)
    world.run(1)
    assert SUPPORTED not in sent(bob, ExchangeType.IKE_SA_INIT)[0]
    failed = alice.of(NegotiationFailed)[0]
    assert isinstance(failed, NegotiationFailed)
    assert "childless" in failed.failure.text
    assert not sent(alice, ExchangeType.IKE_AUTH)
    assert not alice.sad


def test_a_responder_that_wants_it_lets_the_first_child_wait() -> None:
    world, alice, bob = world_of(Childless.ALLOW, Childless.FORCE)
    start(world, alice)
    world.run(1)
    assert "N(NO_ADDITIONAL_SAS)" in sent(bob, ExchangeType.IKE_AUTH)[0]
    assert alice.sa().state == IkeState.ESTABLISHED
    assert not alice.sad
    world.run(10)
    matching(alice, bob)
    assert len(alice.sad) == 2
    assert sent(alice, ExchangeType.CREATE_CHILD_SA)


def test_a_packet_that_waits_for_its_sa_gets_it() -> None:
    """The sequence number of the acquire goes to the SA of CREATE_CHILD_SA."""
    world, alice, bob = world_of(Childless.FORCE, Childless.ALLOW, start=Start.TRAP)
    world.do(alice, lambda now: alice.engine.handle_acquire(0x58000001, 42, now))
    world.run(1)
    matching(alice, bob)
    assert {sa.acquire_seq for sa, _ in alice.sad.values()} == {0, 42}


def test_the_usual_way_stays_the_default() -> None:
    world, alice, bob = world_of(Childless.ALLOW, Childless.ALLOW)
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert "SA" in sent(alice, ExchangeType.IKE_AUTH)[0]
    assert not sent(alice, ExchangeType.CREATE_CHILD_SA)
