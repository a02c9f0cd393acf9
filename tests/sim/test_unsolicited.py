"""Messages that belong to no IKE SA: answered where RFC 7296 says so, seldom, and never a response by a response."""

from dataclasses import replace

import pytest

from tests.sim.world import Datagram, Node, World, pair, start
from xfrmctl.ike.bucket import TokenBucket
from xfrmctl.model.events import DatagramDropped
from xfrmctl.model.iana import ExchangeType, NotifyType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import encode, parse
from xfrmctl.wire.payloads import Notify, Unknown

REQUEST = Header(b"stranger", b"somebody", 0, ExchangeType.INFORMATIONAL, True, False, 7, 0)


def established() -> tuple[World, Node, Node]:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(1)
    world.wire.clear()
    return world, alice, bob


def told(world: World, alice: Node, bob: Node, data: bytes, port: int = 500) -> list[bytes]:
    """What Bob answers to a datagram in Alice's name."""
    world.wire.clear()
    alice_end, bob_end = (replace(e, port=port) for e in (bob.sa().remote, bob.sa().local))
    world.deliver(bob, Datagram(alice_end, bob_end, data))
    return [d.data for d in world.wire if d.source == bob_end and d.target == alice_end]


def protected(header: Header, size: int = 60) -> bytes:
    return encode(header, [Unknown(46, False, bytes(size))])


@pytest.mark.rfc("7296", "2.21.4")
@pytest.mark.rfc("7296", "1.5")
@pytest.mark.parametrize("exchange", [ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA, ExchangeType.IKE_AUTH])
def test_a_request_for_an_unknown_ike_sa_is_told_so(exchange: ExchangeType) -> None:
    world, alice, bob = established()
    (answer,) = told(world, alice, bob, protected(replace(REQUEST, exchange=exchange)))
    message = parse(answer)
    header = message.header
    assert (header.spi_i, header.spi_r, header.message_id) == (REQUEST.spi_i, REQUEST.spi_r, 7)
    assert (header.exchange, header.is_response, header.is_initiator) == (exchange, True, False)
    assert message.payloads == (Notify(NotifyType.INVALID_IKE_SPI),)


@pytest.mark.rfc("3948", "2.2")
@pytest.mark.rfc("7296", "2.21.4")
def test_the_answer_is_framed_where_the_request_was() -> None:
    world, alice, bob = established()
    (answer,) = told(world, alice, bob, bytes(4) + protected(REQUEST), 4500)
    assert answer[:4] == bytes(4)
    assert parse(answer[4:]).payloads == (Notify(NotifyType.INVALID_IKE_SPI),)


@pytest.mark.rfc("7296", "2.21.4")
@pytest.mark.rfc("7296", "2.11")
@pytest.mark.rfc("7296", "2.23")
@pytest.mark.rfc("7296", "3.1")
def test_no_answer_to_responses_to_clear_text_and_to_what_is_shorter_than_the_answer() -> None:
    world, alice, bob = established()
    known = bob.sa()
    for data in (
        protected(replace(REQUEST, is_response=True)),
        encode(REQUEST, [Notify(NotifyType.INITIAL_CONTACT)]),
        protected(REQUEST, 1),
        protected(replace(REQUEST, spi_r=known.spi_r)),
        b"x" * 100,
    ):
        assert not told(world, alice, bob, data)


@pytest.mark.rfc("7296", "2.21.4")
def test_an_unprotected_invalid_ike_spi_changes_nothing() -> None:
    world, alice, bob = established()
    world.intercept.append(lambda d: None)
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    sa = alice.sa()
    assert sa.outstanding is not None
    header = Header(
        sa.spi_i, sa.spi_r, 0, ExchangeType.CREATE_CHILD_SA, not sa.initiator, True, sa.outstanding.message_id, 0
    )
    world.wire.clear()
    world.deliver(alice, Datagram(sa.remote, sa.local, encode(header, [Notify(NotifyType.INVALID_IKE_SPI)])))
    assert not world.wire
    assert sa.outstanding is not None
    assert alice.sa() is sa
    world.intercept.clear()
    world.run(30)
    assert len(alice.engine.ike_sas()) == len(bob.engine.ike_sas()) == 1


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "3.1")
@pytest.mark.parametrize(("major", "answers"), [(0, 0), (1, 0), (3, 1), (15, 1)])
def test_later_versions_are_told_ours(major: int, answers: int) -> None:
    world, alice, bob = established()
    request = bytearray(protected(replace(REQUEST, exchange=ExchangeType.IKE_SA_INIT)))
    request[17] = major << 4
    found = told(world, alice, bob, bytes(request))
    assert len(found) == answers
    for answer in found:
        message = parse(answer)
        assert (message.header.major, message.header.message_id) == (2, 7)
        assert message.payloads == (Notify(NotifyType.INVALID_MAJOR_VERSION),)
    request[19] |= 0x20
    assert not told(world, alice, bob, bytes(request))


@pytest.mark.rfc("7296", "2.4")
def test_floods_are_answered_seldom() -> None:
    world, alice, bob = established()
    answers = sum(len(told(world, alice, bob, protected(REQUEST))) for _ in range(1000))
    assert answers == 20
    assert len([e for e in bob.of(DatagramDropped) if isinstance(e, DatagramDropped)]) == 1000
    world.now += 1
    assert sum(len(told(world, alice, bob, protected(REQUEST))) for _ in range(1000)) == 10


def test_the_bucket() -> None:
    bucket = TokenBucket(2.0, 3.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(100.5), bucket.take(100.5)] == [True, False]
    assert [bucket.take(1e6) for _ in range(4)] == [True, True, True, False]


@pytest.mark.rfc("7296", "2.11")
@pytest.mark.rfc("7296", "2.23")
def test_answers_go_to_where_the_request_came_from() -> None:
    """Without a NAT an authentic request from elsewhere is answered there, and nothing moves."""
    world, alice, bob = established()
    before = bob.sa().remote

    def elsewhere(datagram: Datagram) -> Datagram:
        if datagram.source.address != alice.address:
            return datagram
        return replace(datagram, source=replace(datagram.source, port=datagram.source.port + 7))

    world.intercept.append(elsewhere)
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    world.run(0.005)
    world.run(0.006)
    answers = [d.target.port for d in world.wire if d.source.address == bob.address]
    assert answers and set(answers) == {before.port + 7}
    assert all(s.remote == before for s in bob.engine.ike_sas())
