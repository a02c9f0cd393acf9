"""Rekeying and deleting as RFC 7296 1.4.1, 2.8, 2.17, 2.25 and 4 want it, with peers that refuse or cross."""

import gc
from itertools import pairwise

import pytest

from tests.sim.forge import QUIET, Forger, established, header_of, notifies, opened, rewrite, sent
from tests.sim.world import ALICE, BOB, Datagram, Node, World, child, connection, matching, pair, start
from xfrmctl.crypto.keys import IkeKeys
from xfrmctl.crypto.protect import Protection
from xfrmctl.ike.config import Start
from xfrmctl.ike.states import ChildState, IkeState
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import ChildSaInstalled, ChildSaRekeyed, IkeSaClosed, IkeSaEstablished, IkeSaRekeyed
from xfrmctl.model.iana import ExchangeType, NotifyType, ProtocolId
from xfrmctl.model.sa import Direction, SaId
from xfrmctl.wire.payloads import Delete, Notify


def spi(sa_id: SaId) -> bytes:
    return sa_id.spi.to_bytes(4, "big")


def inbound(node: Node) -> SaId:
    (found,) = [sa.id for sa, _ in node.sad.values() if sa.direction == Direction.IN]
    return found


# -- deletes


@pytest.mark.rfc("7296", "1.4.1")
def test_a_delete_names_the_inbound_spi_and_its_answer_the_other_one() -> None:
    world, alice, bob = established(alice={}, bob={})
    mine, theirs = inbound(alice), inbound(bob)
    holder, asker = bob.sa(), alice.sa()
    world.do(alice, lambda now: alice.engine.terminate("net", "lan", now))
    world.run(0.1)
    (request,) = sent(world, alice, ExchangeType.INFORMATIONAL, response=False)
    (answer,) = sent(world, bob, ExchangeType.INFORMATIONAL, response=True)
    assert opened(holder, request.data) == [Delete(ProtocolId.ESP, (spi(mine),))]
    assert opened(asker, answer.data) == [Delete(ProtocolId.ESP, (spi(theirs),))]
    assert not alice.sad
    assert not bob.sad


@pytest.mark.rfc("7296", "1.4.1")
@pytest.mark.rfc("7296", "2.4")
def test_deletes_that_cross_are_answered_without_a_delete() -> None:
    world, alice, bob = established()
    holders = alice.sa(), bob.sa()
    for node in (alice, bob):
        world.do(node, lambda now, node=node: node.engine.terminate("net", "lan", now))  # type: ignore[misc]
    world.run(1)
    answers = [
        opened(holder, d.data)
        for holder, node in zip(holders, (bob, alice), strict=True)
        for d in sent(world, node, ExchangeType.INFORMATIONAL, response=True)
    ]
    assert answers == [[], []]
    assert not alice.sad
    assert not bob.sad
    assert len(alice.engine.ike_sas()) == len(bob.engine.ike_sas()) == 1


@pytest.mark.rfc("7296", "1.4.1")
@pytest.mark.rfc("7296", "3.11")
@pytest.mark.rfc("7296", "1.4")
def test_only_what_is_named_goes() -> None:
    """SPIs of nobody, of the wrong direction, and of AH delete nothing; several in one payload go together."""
    names = {"a": 1, "b": 2, "c": 3}
    world = World()
    mine = [child(n, f"10.1.{i}.0/24", f"10.2.{i}.0/24", reqid=0x58000010 + i) for n, i in names.items()]
    theirs = [
        child(n, f"10.2.{i}.0/24", f"10.1.{i}.0/24", reqid=0x58000010 + i, start=Start.NONE) for n, i in names.items()
    ]
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *mine, dpd_s=None))
    bob = world.add("bob", BOB, connection(BOB, ALICE, *theirs, dpd_s=None))
    start(world, alice)
    world.run(2)
    forger = Forger(world, alice, bob)
    a, b, c = alice.sa().children
    wrong = [
        Delete(ProtocolId.ESP, (b"\xff\xff\xff\xff", spi(a.outbound))),
        Delete(ProtocolId.AH, (spi(a.inbound),)),
    ]
    assert forger.ask(ExchangeType.INFORMATIONAL, wrong) == []
    assert len(bob.sad) == 6
    both = Delete(ProtocolId.ESP, (spi(a.inbound), spi(c.inbound)))
    answer = forger.ask(ExchangeType.INFORMATIONAL, [both])
    assert answer == [Delete(ProtocolId.ESP, (spi(a.outbound), spi(c.outbound)))]
    assert {sa.id for sa, _ in bob.sad.values()} == {b.inbound, b.outbound}


@pytest.mark.rfc("7296", "2.4")
@pytest.mark.rfc("7296", "1.4.1")
@pytest.mark.parametrize("end", ["expired", "lost", "terminated"])
def test_whatever_ends_a_child_here_the_peer_is_told(end: str) -> None:
    world, alice, bob = established(alice={}, bob={})
    gone = inbound(alice)
    if end == "expired":
        world.do(alice, lambda now: alice.engine.handle_expire(gone, True, now))
    elif end == "lost":
        world.do(alice, lambda now: alice.engine.handle_lost(gone, now))
    else:
        world.do(alice, lambda now: alice.engine.terminate("net", "lan", now))
    world.run(0.05)
    assert gone not in bob.sad
    assert gone not in alice.sad


@pytest.mark.rfc("7296", "1.4")
def test_what_concerns_a_child_is_said_on_the_ike_sa_that_has_it() -> None:
    world, alice, bob = established()
    old = alice.sa().spi_i
    world.do(bob, lambda now: bob.engine.rekey("net", None, now))
    world.run(1)
    new = alice.sa().spi_i
    world.wire.clear()
    world.do(alice, lambda now: alice.engine.terminate("net", "lan", now))
    world.run(1)
    headers = [h for d in world.wire if (h := header_of(d)) is not None]
    assert {h.spi_i for h in headers} == {new} != {old}
    assert not alice.sad


# -- rekeying


@pytest.mark.rfc("7296", "1.3.3")
@pytest.mark.rfc("7296", "2.17")
@pytest.mark.rfc("7296", "3.10")
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_rekey_names_the_old_sa_by_the_inbound_spi_of_the_asker(who: str) -> None:
    world, alice, bob = established()
    asker, other = (alice, bob) if who == "alice" else (bob, alice)
    old, holder = inbound(asker), other.sa()
    world.do(asker, lambda now: asker.engine.rekey("net", "lan", now))
    world.run(10)
    (request,) = sent(world, asker, ExchangeType.CREATE_CHILD_SA, response=False)
    (named,) = [p for p in opened(holder, request.data) if isinstance(p, Notify)]
    assert named == Notify(NotifyType.REKEY_SA, b"", ProtocolId.ESP, spi(old))
    matching(alice, bob)


@pytest.mark.rfc("7296", "1.3.3")
def test_a_new_child_names_no_old_one() -> None:
    world = World()
    kids = [child("a", reqid=0x58000001), child("b", "10.3.1.0/24", "10.3.2.0/24", reqid=0x58000002)]
    theirs = [
        child("a", "10.1.2.0/24", "10.1.1.0/24", start=Start.NONE, reqid=0x58000001),
        child("b", "10.3.2.0/24", "10.3.1.0/24", start=Start.NONE, reqid=0x58000002),
    ]
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *kids))
    bob = world.add("bob", BOB, connection(BOB, ALICE, *theirs))
    start(world, alice)
    world.run(1)
    (request,) = sent(world, alice, ExchangeType.CREATE_CHILD_SA, response=False)
    assert NotifyType.REKEY_SA not in notifies(opened(bob.sa(), request.data))
    matching(alice, bob)


@pytest.mark.rfc("7296", "2.8")
@pytest.mark.parametrize("exchange", [ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA])
def test_a_responder_can_receive_before_it_answers(exchange: ExchangeType) -> None:
    world = World()
    alice, bob = pair(world, alice=QUIET, bob=QUIET)
    ready: list[int] = []

    def look(datagram: Datagram) -> Datagram:
        header = header_of(datagram)
        if header is not None and header.exchange == exchange and header.is_response:
            ready.append(len([1 for sa, _ in bob.sad.values() if sa.direction == Direction.IN]))
        return datagram

    world.intercept.append(look)
    start(world, alice)
    world.run(1)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(10)
    assert ready == [1 if exchange == ExchangeType.IKE_AUTH else 2]


@pytest.mark.rfc("7296", "2.8.1")
def test_old_and_new_sa_receive_side_by_side() -> None:
    world, alice, bob = established()
    before = {n.name: inbound(n) for n in (alice, bob)}
    world.intercept.append(
        lambda d: (
            None
            if (h := header_of(d)) is not None and h.exchange == ExchangeType.INFORMATIONAL and not h.is_response
            else d
        )
    )
    for node in (alice, bob):
        world.do(node, lambda now, node=node: node.engine.rekey("net", "lan", now))  # type: ignore[misc]
    world.run(0.5)
    for node in (alice, bob):
        inwards = {sa.id for sa, _ in node.sad.values() if sa.direction == Direction.IN}
        assert before[node.name] in inwards
        assert len(inwards) >= 2


@pytest.mark.rfc("7296", "2.8.2")
@pytest.mark.parametrize("seed", range(6))
def test_the_surviving_ike_sa_has_all_the_children(seed: int) -> None:
    world = World(seed=seed)
    mine = [child(f"c{n}", f"10.1.{n}.0/24", f"10.2.{n}.0/24", reqid=0x58000010 + n) for n in range(3)]
    theirs = [
        child(f"c{n}", f"10.2.{n}.0/24", f"10.1.{n}.0/24", reqid=0x58000010 + n, start=Start.NONE) for n in range(3)
    ]
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *mine, dpd_s=None))
    bob = world.add("bob", BOB, connection(BOB, ALICE, *theirs, dpd_s=None))
    start(world, alice)
    world.run(1)
    world.run(0.01 * seed)
    for node in (alice, bob):
        world.do(node, lambda now, node=node: node.engine.rekey("net", None, now))  # type: ignore[misc]
    world.run(60)
    assert alice.of(IkeSaRekeyed)
    for node in (alice, bob):
        (sa,) = node.engine.ike_sas()
        assert {c.config.name for c in sa.children} == {"c0", "c1", "c2"}
    matching(alice, bob)


@pytest.mark.rfc("7296", "2.8")
def test_a_new_ike_sa_serves_what_waited_for_the_old_one() -> None:
    """A CHILD SA has just been rekeyed when both sides rekey the IKE SA: the old child's delete is still to come."""
    world, alice, bob = established()
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    world.run(0.021)
    world.do(bob, lambda now: bob.engine.rekey("net", None, now))
    world.run(30)
    matching(alice, bob)
    assert len(alice.sad) == 2
    for node in (alice, bob):
        assert all(not s.queue and s.outstanding is None and not s.closing for s in node.engine.ike_sas())


@pytest.mark.rfc("7296", "2.25")
@pytest.mark.parametrize("what", ["lan", None])
def test_after_temporary_failure_we_wait(what: str | None) -> None:
    world, alice, bob = established()
    busy = [Notify(NotifyType.TEMPORARY_FAILURE)]
    rewrite(world, bob, ExchangeType.CREATE_CHILD_SA, lambda p: list(busy), response=True, times=2)
    asked: list[float] = []

    def watch(datagram: Datagram) -> Datagram:
        header = header_of(datagram)
        if header is not None and header.exchange == ExchangeType.CREATE_CHILD_SA and not header.is_response:
            asked.append(world.now)
        return datagram

    world.intercept.append(watch)
    world.do(alice, lambda now: alice.engine.rekey("net", what, now))
    world.run(60)
    assert len(asked) >= 3
    assert all(4.9 < later - earlier < 16 for earlier, later in pairwise(asked[:3]))


@pytest.mark.rfc("7296", "2.25")
def test_after_temporary_failure_a_new_child_waits_too() -> None:
    world = World()
    kids = [child("a", reqid=0x58000001), child("b", "10.3.1.0/24", "10.3.2.0/24", reqid=0x58000002)]
    theirs = [
        child("a", "10.1.2.0/24", "10.1.1.0/24", start=Start.NONE, reqid=0x58000001),
        child("b", "10.3.2.0/24", "10.3.1.0/24", start=Start.NONE, reqid=0x58000002),
    ]
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *kids))
    bob = world.add("bob", BOB, connection(BOB, ALICE, *theirs))
    rewrite(world, bob, ExchangeType.CREATE_CHILD_SA, lambda p: [Notify(NotifyType.TEMPORARY_FAILURE)], response=True)
    start(world, alice)
    world.run(1.5)
    assert len(sent(world, alice, ExchangeType.CREATE_CHILD_SA, response=False)) == 1
    world.run(20)
    assert len(alice.of(ChildSaInstalled)) == 2


@pytest.mark.rfc("7296", "4")
@pytest.mark.rfc("7296", "2.8")
@pytest.mark.parametrize("what", ["lan", None])
def test_a_peer_without_rekeying_gets_a_new_ike_sa_in_time(what: str | None) -> None:
    """NO_ADDITIONAL_SAS: make a new IKE SA with its CHILD SA, then delete the old ones."""
    world, alice, bob = established()
    none = [Notify(NotifyType.NO_ADDITIONAL_SAS)]
    rewrite(world, bob, ExchangeType.CREATE_CHILD_SA, lambda p: list(none), response=True, times=100)
    before, lost = set(alice.sad), list[float]()
    world.flow(alice, bob, lost, until=world.now + 2)
    world.do(alice, lambda now: alice.engine.rekey("net", what, now))
    world.run(0.03)
    # The honest Bob behind the forger has agreed to what he is said to have refused.
    world.run(40)
    assert len(alice.of(IkeSaEstablished)) >= 2
    assert not before & set(alice.sad)
    assert len(alice.sad) == 2
    assert alice.sad.keys() <= bob.sad.keys()


@pytest.mark.rfc("7296", "4")
def test_one_that_only_answers_lets_go_and_is_asked_again() -> None:
    """A responder to any address cannot begin anew itself: it deletes, and the peer comes back."""
    world = World()
    theirs = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child(), dpd_s=5.0))
    identity = connection(ALICE, BOB).local_id
    bob = world.add("bob", BOB, connection(BOB, None, theirs, remote_id=identity, dpd_s=None))
    start(world, alice)
    world.run(1)
    none = [Notify(NotifyType.NO_ADDITIONAL_SAS)]
    rewrite(world, alice, ExchangeType.CREATE_CHILD_SA, lambda p: list(none), response=True)
    world.do(bob, lambda now: bob.engine.rekey("net", None, now))
    world.run(60)  # the honest Alice behind the forger believes in the new IKE SA until nobody answers on it
    assert len(bob.of(IkeSaEstablished)) == 2
    matching(alice, bob)
    assert len(bob.sad) == 2


@pytest.mark.rfc("7296", "2.8")
def test_an_expired_sa_is_not_used_any_more() -> None:
    world, alice, bob = established()
    gone = inbound(bob)
    world.do(bob, lambda now: bob.engine.handle_expire(gone, True, now))
    assert gone not in bob.sad
    assert not bob.sad, "its other half goes with it"
    world.run(10)
    matching(alice, bob)
    assert gone not in alice.sad


@pytest.mark.rfc("7296", "2.8")
def test_a_child_outlives_a_successor_that_the_peer_cannot_install() -> None:
    world, alice, bob = established()
    before = set(alice.sad)
    alice.refuse.append(KernelRefusal("add SA", 12, "no memory"))
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(1)
    assert set(alice.sad) == before == set(bob.sad)
    (old,) = bob.sa().children
    assert (old.state, old.successor) == (ChildState.INSTALLED, None)
    world.run(30)
    matching(alice, bob)
    assert len(bob.of(ChildSaRekeyed)) == 2
    assert not set(alice.sad) & before


# -- keys


@pytest.mark.rfc("7296", "2.12")
@pytest.mark.parametrize("how", ["deleted", "rekeyed", "half-open"])
def test_keys_are_forgotten_with_their_ike_sa(how: str) -> None:
    def held() -> set[int]:
        gc.collect()  # of types, for a proxy would be asked for the class of what it stands for
        return {id(o) for o in gc.get_objects() if issubclass(type(o), IkeKeys | Protection)}

    before = held()
    world, alice, bob = established()
    if how == "rekeyed":
        world.do(alice, lambda now: alice.engine.rekey("net", None, now))
        world.run(60)
        kept = [s for n in (alice, bob) for s in n.engine.ike_sas()]
        assert len(kept) == 2
        assert len(held() - before) == 6, "keys and two protections at either end"
        return
    if how == "half-open":
        first = world.wire[0]
        for n in range(15):
            forged = (n + 1).to_bytes(8, "big") + first.data[8:]
            world.deliver(bob, Datagram(first.source, first.target, forged))
        assert len(held() - before) > 20
    for node in (alice, bob):
        world.do(node, node.engine.shutdown)
    world.run(60)
    assert not [s for n in (alice, bob) for s in n.engine.ike_sas() if s.state != IkeState.CLOSED]
    assert not held() - before


@pytest.mark.rfc("7296", "1.2")
@pytest.mark.rfc("7296", "2.12")
def test_the_private_value_is_gone_when_the_keys_are_there() -> None:
    _, alice, bob = established()
    assert alice.sa().ke is None
    assert bob.sa().ke is None
    assert alice.of(IkeSaEstablished)
    assert not alice.of(IkeSaClosed)
