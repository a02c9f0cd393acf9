"""Message ids, the window of one, retransmission (RFC 7296 2.1-2.3), as strangers and lossy links test them."""

from itertools import pairwise

import pytest

from tests.sim.forge import Forger, established, header_of, reasons, sent
from tests.sim.world import ALICE, BOB, Datagram, World, child, connection, matching, pair, start
from xfrmctl.ike.config import RetransmitPolicy, Start
from xfrmctl.ike.exchanges.informational import Say
from xfrmctl.ike.transport import REKEY_AT_ID
from xfrmctl.model.events import ChildSaInstalled, IkeSaClosed, MessageSent
from xfrmctl.model.iana import ExchangeType, NotifyType
from xfrmctl.wire.payloads import Notify


@pytest.mark.rfc("7296", "2.1")
@pytest.mark.rfc("7296", "2.3")
def test_an_answer_is_repeated_only_when_the_request_is() -> None:
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    world.run(600)
    assert len(sent(world, bob, ExchangeType.IKE_AUTH, response=True)) == 1
    request = forger.seal(forger.header(ExchangeType.INFORMATIONAL, forger.next_id))
    (first,) = forger.deliver(request)
    world.run(600)
    assert forger.deliver(request) == [first]


@pytest.mark.rfc("7296", "2.1")
@pytest.mark.rfc("7296", "2.3")
def test_an_old_request_is_ignored_and_nothing_new_is_made_of_it() -> None:
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    oldest = forger.seal(forger.header(ExchangeType.INFORMATIONAL, forger.next_id))
    forger.deliver(oldest)
    forger.next_id += 1
    for _ in range(3):
        assert forger.ask(ExchangeType.INFORMATIONAL) == []
    assert not forger.deliver(oldest)
    assert reasons(bob)[-1] == "message_id"


@pytest.mark.rfc("7296", "2.3")
@pytest.mark.rfc("7296", "2.2")
@pytest.mark.rfc("7296", "2.18")
@pytest.mark.parametrize("ahead", [1, 2, 1000, 2**31, 2**32 - 2])
def test_a_request_beyond_the_window_is_not_acknowledged(ahead: int) -> None:
    """INVALID_MESSAGE_ID is optional, and we never send it: neither as an answer nor at any rate."""
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    number = (forger.next_id + ahead) % 2**32
    before = len(world.wire)
    assert forger.ask(ExchangeType.INFORMATIONAL, message_id=number) is None
    assert len(world.wire) == before + 0
    assert reasons(bob)[-1] == "message_id"
    assert forger.ask(ExchangeType.INFORMATIONAL) == []


@pytest.mark.rfc("7296", "2.1")
@pytest.mark.rfc("7296", "2.2")
@pytest.mark.rfc("7296", "2.3")
def test_a_request_is_retransmitted_bit_by_bit_until_it_is_answered() -> None:
    world, alice, bob = established()
    world.wire.clear()
    world.loss = 1.0
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(5)
    world.loss = 0.0
    world.run(15)
    requests = sent(world, alice, ExchangeType.CREATE_CHILD_SA, response=False)
    assert len(requests) == 4
    assert len({d.data for d in requests}) == 1
    assert len(sent(world, bob, ExchangeType.CREATE_CHILD_SA, response=True)) == 1
    matching(alice, bob)


@pytest.mark.rfc("7296", "2.1")
@pytest.mark.rfc("7296", "2.4")
@pytest.mark.rfc("7296", "2.3")
def test_an_ike_sa_that_nobody_answers_for_is_discarded_with_its_children() -> None:
    world, alice, bob = established()
    del world.nodes[bob.address]
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(10)
    assert alice.sad, "three retransmissions take 1 + 2 + 4 + 8 seconds"
    world.run(10)
    assert not alice.sad
    assert len(alice.of(IkeSaClosed)) == 1


@pytest.mark.rfc("7296", "2.4")
@pytest.mark.rfc("7383", "2.5.2")
def test_waits_grow_exponentially() -> None:
    world = World()
    policy = RetransmitPolicy(first_s=1, factor=1.8, tries=7, max_s=64)
    alice, _ = pair(world, alice={"retransmit": policy})
    world.loss = 1.0
    start(world, alice)
    times: list[float] = []
    world.intercept.append(lambda d: times.append(world.now) or d)  # type: ignore[func-returns-value]
    world.run(100)
    waits = [b - a for a, b in pairwise(times)]
    assert len(waits) >= 5
    assert all(abs(later / earlier - 1.8) < 0.01 for earlier, later in pairwise(waits))


@pytest.mark.rfc("7296", "2.3")
@pytest.mark.rfc("7296", "2.2")
def test_one_request_at_a_time() -> None:
    """The peer has promised no larger window, and nothing that it says makes us believe so."""
    world = World()
    kids = [child(f"c{n}", f"10.1.{n}.0/24", f"10.2.{n}.0/24", reqid=0x58000010 + n) for n in range(6)]
    theirs = [
        child(f"c{n}", f"10.2.{n}.0/24", f"10.1.{n}.0/24", start=Start.NONE, reqid=0x58000010 + n) for n in range(6)
    ]
    alice = world.add("alice", ALICE, connection(ALICE, BOB, *kids, dpd_s=None))
    bob = world.add("bob", BOB, connection(BOB, ALICE, *theirs, dpd_s=None))
    open_requests: set[int] = set()
    most = [0]

    def watch(datagram: Datagram) -> Datagram:
        header = header_of(datagram)
        if header is not None and header.exchange == ExchangeType.CREATE_CHILD_SA:
            (open_requests.discard if header.is_response else open_requests.add)(header.message_id)
            most[0] = max(most[0], len(open_requests))
        return datagram

    world.intercept.append(watch)
    start(world, alice)
    world.run(5)
    assert len(alice.of(ChildSaInstalled)) == 6
    assert most[0] == 1
    numbers = [header_of(d).message_id for d in sent(world, alice, ExchangeType.CREATE_CHILD_SA, response=False)]  # type: ignore[union-attr]
    assert numbers == [2, 3, 4, 5, 6]
    assert len(bob.sad) == 12


@pytest.mark.rfc("7296", "2.3")
def test_requests_are_served_while_one_of_ours_is_outstanding() -> None:
    world, alice, bob = established()
    world.intercept.append(lambda d: d if d.source.address == alice.address else None)
    world.do(bob, lambda now: bob.engine.rekey("net", "lan", now))
    assert bob.sa().outstanding is not None
    assert Forger(world, alice, bob).ask(ExchangeType.INFORMATIONAL) == []


@pytest.mark.rfc("7296", "2.2")
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_an_ike_sa_is_rekeyed_before_its_message_ids_are_used_up(side: str) -> None:
    world, alice, bob = established()
    old = alice.sa()
    if side == "ours":
        old.next_id = bob.sa().expected_id = REKEY_AT_ID - 2
    else:
        old.expected_id = bob.sa().next_id = REKEY_AT_ID - 2
    asker = alice if side == "ours" else bob
    asker.sa().queue.append(Say([]))
    world.do(asker, lambda now: asker.engine.rekey("net", "lan", now))
    world.run(30)
    assert alice.sa() is not old
    assert all(s.next_id < 100 and s.expected_id < 100 for n in (alice, bob) for s in n.engine.ike_sas())
    assert not alice.of(IkeSaClosed)[1:]
    matching(alice, bob)
    assert len(alice.sad) == 2


@pytest.mark.rfc("7296", "2.3")
@pytest.mark.parametrize("data", [b"", b"\x00\x00\x00\x05", b"\xff" * 4, b"x" * 5])
def test_whatever_a_peer_says_of_its_window_ours_stays_one(data: bytes) -> None:
    """SET_WINDOW_SIZE is permission, not a duty: we neither send it nor use a larger window."""
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    assert forger.ask(ExchangeType.INFORMATIONAL, [Notify(NotifyType(16385), data)]) == []
    spoken = [n for e in bob.events if isinstance(e, MessageSent) for n in e.payloads]
    assert not any("16385" in n or "WINDOW" in n for n in spoken)
    assert bob.sa()


@pytest.mark.rfc("7296", "1.3.2")
@pytest.mark.rfc("7296", "2.18")
def test_a_new_ike_sa_counts_from_zero_and_the_old_one_goes_on() -> None:
    world, alice, bob = established()
    old = alice.sa()
    last = old.next_id
    world.wire.clear()
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    world.run(1)
    new = alice.sa()
    assert new is not old
    assert (new.next_id, new.expected_id) == (0, 0) == (bob.sa().next_id, bob.sa().expected_id)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(1)
    headers = [header_of(d) for d in world.wire if d.source.address == alice.address]
    on_old = [h.message_id for h in headers if h is not None and h.spi_i == old.spi_i]
    on_new = [h.message_id for h in headers if h is not None and h.spi_i == new.spi_i]
    assert on_old == [last, last + 1]
    assert on_new == [0, 1]


@pytest.mark.rfc("7296", "2.8")
def test_the_delete_is_the_last_request_on_a_rekeyed_ike_sa() -> None:
    world, alice, bob = established(alice={"dpd_s": 1.0}, bob={"dpd_s": 1.0})
    old = alice.sa().spi_i
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.wire.clear()
    world.run(30)
    spoken = [h for d in world.wire if d.source.address == alice.address and (h := header_of(d)) is not None]
    assert [h.exchange for h in spoken if h.spi_i == old and not h.is_response] == [ExchangeType.INFORMATIONAL]
    matching(alice, bob)
