"""What an authenticated peer may send though no sane one does, and what unauthenticated ones may not (RFC 7296 1.4,
2.5, 2.21, 3.10.1)."""

from dataclasses import replace

import pytest

from tests.sim.forge import QUIET, Forger, bare, established, header_of, notifies, opened, reasons, rewrite, sent
from tests.sim.world import Datagram, Node, World, matching, pair, start
from xfrmctl.ike.states import IkeState
from xfrmctl.model.events import ChildSaInstalled, ChildSaRemoved, IkeSaClosed, NegotiationFailed
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.iana import ExchangeType, NotifyType, PayloadType, ProtocolId
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import encode, parse
from xfrmctl.wire.payloads import Delete, Notify, Payload, Unknown, Vendor

CRITICAL = Unknown(200, True, b"from the future")
HARMLESS = Unknown(200, False, b"from the future")


def waiting_for_auth(side: str) -> tuple[World, Node, Node]:
    """IKE_SA_INIT is done, IKE_AUTH is lost on the way from Alice ("bob" waits) or back ("alice" waits)."""
    world = World()
    alice, bob = pair(world, alice=QUIET, bob=QUIET)
    world.intercept.append(
        lambda d: (
            None
            if (h := header_of(d)) is not None
            and h.exchange == ExchangeType.IKE_AUTH
            and (d.source.address == alice.address) == (side == "bob")
            else d
        )
    )
    start(world, alice)
    world.run(0.1)
    return world, alice, bob


# -- before the peer is authenticated


@pytest.mark.rfc("7296", "1.4")
@pytest.mark.parametrize("exchange", [ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA])
@pytest.mark.parametrize("side", ["alice", "bob"])
def test_no_other_exchange_before_ike_auth_is_done(side: str, exchange: ExchangeType) -> None:
    world, alice, bob = waiting_for_auth(side)
    reader, writer = (alice, bob) if side == "alice" else (bob, alice)
    (sa,) = reader.engine.ike_sas()
    (pen,) = writer.engine.ike_sas()
    forger = Forger(world, writer, reader, pen)
    state = sa.state
    assert forger.ask(exchange, [Delete(ProtocolId.IKE, ())], message_id=sa.expected_id) is None
    assert reasons(reader)[-1] == "unexpected_exchange"
    assert sa.state == state
    assert sa in reader.engine.ike_sas()


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "2.21.2")
def test_an_unknown_critical_payload_in_ike_auth_is_refused_and_the_ike_sa_is_not_made() -> None:
    world = World()
    alice, bob = pair(world)
    rewrite(world, alice, ExchangeType.IKE_AUTH, lambda p: [*p, CRITICAL], response=False)
    start(world, alice)
    world.run(0.1)
    (answer,) = sent(world, bob, ExchangeType.IKE_AUTH, response=True)
    assert not bob.engine.ike_sas(), "nothing is left that a second IKE_AUTH could complete"
    assert not bob.sad
    assert not alice.of(ChildSaInstalled)
    assert len(bare(answer.data)) < 150, "the Notify is all that the answer says"
    world.run(30)
    matching(alice, bob)
    assert len(alice.sad) == 2


@pytest.mark.rfc("7296", "2.21.2")
def test_a_malformed_ike_auth_leads_to_invalid_syntax_only() -> None:
    world = World()
    alice, bob = pair(world)
    rewrite(world, alice, ExchangeType.IKE_AUTH, lambda p: [*p, p[0]], response=False)
    start(world, alice)
    world.run(0.1)
    assert not bob.engine.ike_sas()
    failures = [e.failure.code for e in alice.of(NegotiationFailed) if isinstance(e, NegotiationFailed)]
    assert len(failures) == 1


@pytest.mark.rfc("7296", "2.5")
def test_an_unknown_critical_payload_in_ike_sa_init_is_told() -> None:
    world = World()
    alice, bob = pair(world)
    rewrite(world, alice, ExchangeType.IKE_SA_INIT, lambda p: [*p, CRITICAL], response=False)
    start(world, alice)
    world.run(0.1)
    (answer,) = sent(world, bob, ExchangeType.IKE_SA_INIT, response=True)
    message = parse(answer.data)
    assert message.payloads == (Notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes([200])),)
    assert message.header.spi_r == bytes(8)
    assert not bob.engine.ike_sas()
    assert "critical" in reasons(bob)


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "2.4")
def test_critical_payloads_are_told_of_seldom_and_only_to_requests() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(0.005)
    init = parse(world.wire[0].data)
    request = encode(replace(init.header, next_payload=0), [*init.payloads, CRITICAL])
    response = encode(replace(init.header, next_payload=0, is_initiator=False, is_response=True), [CRITICAL])
    world.wire.clear()
    bob_end = world.nodes[bob.address]
    first = Datagram(alice.engine.ike_sas()[0].local, alice.engine.ike_sas()[0].remote, response)
    world.deliver(bob_end, first)
    assert not world.wire
    for _ in range(1000):
        world.deliver(bob_end, replace(first, data=request))
    assert len(world.wire) == 20


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "4")
@pytest.mark.rfc("7296", "3.12")
@pytest.mark.parametrize("exchange", [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA])
@pytest.mark.parametrize("response", [False, True])
def test_unknown_payloads_that_are_not_critical_are_skipped(exchange: ExchangeType, response: bool) -> None:
    """IKE_SA_INIT with them differs from what was sent, so that AUTH tells; the other exchanges go on."""
    world = World()
    alice, bob = pair(world)
    node = bob if response else alice
    strange: list[Payload] = [HARMLESS, Vendor(b"a stranger"), Unknown(47, True, b"\x01\x00\x00\x00")]
    rewrite(world, node, exchange, lambda p: [*strange, *p], response=response)
    start(world, alice)
    world.run(1)
    if exchange == ExchangeType.IKE_SA_INIT:
        assert sent(world, bob, ExchangeType.IKE_AUTH, response=True), "the message was read"
        return
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(20)
    matching(alice, bob)
    assert len(alice.of(ChildSaInstalled)) == 2


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "1.7")
@pytest.mark.parametrize("exchange", [ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA])
@pytest.mark.parametrize("response", [False, True])
def test_payloads_in_any_order(exchange: ExchangeType, response: bool) -> None:
    world = World()
    alice, bob = pair(world)
    rewrite(world, bob if response else alice, exchange, lambda p: p[::-1], response=response)
    start(world, alice)
    world.run(1)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(20)
    matching(alice, bob)
    assert len(alice.of(ChildSaInstalled)) == 2


# -- of a peer that has authenticated itself


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "2.21.3")
@pytest.mark.rfc("7296", "4")
@pytest.mark.parametrize("exchange", [ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA])
def test_an_unknown_critical_payload_is_refused_whole_and_the_ike_sa_lives(exchange: ExchangeType) -> None:
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    answer = forger.ask(exchange, [Delete(ProtocolId.IKE, ()), CRITICAL])
    assert answer == [Notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, bytes([200]))]
    assert bob.sad
    assert forger.ask(ExchangeType.INFORMATIONAL) == []


@pytest.mark.rfc("7296", "2.5")
def test_an_unknown_critical_payload_in_an_answer_ends_the_ike_sa() -> None:
    """Its request has had an effect that we cannot know: begin anew."""
    world, alice, bob = established()
    rewrite(world, bob, ExchangeType.CREATE_CHILD_SA, lambda p: [*p, CRITICAL], response=True)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(60)
    assert len(alice.of(IkeSaClosed)) == 1
    assert "critical" in reasons(alice)
    matching(alice, bob)


@pytest.mark.rfc("7296", "2.21.3")
@pytest.mark.rfc("7296", "1.4")
@pytest.mark.rfc("7296", "3.10.1")
@pytest.mark.rfc("7296", "4")
@pytest.mark.parametrize(
    ("exchange", "payloads", "told"),
    [
        (ExchangeType.IKE_AUTH, [], NotifyType.INVALID_SYNTAX),
        (ExchangeType(240), [], NotifyType.INVALID_SYNTAX),
        (ExchangeType.CREATE_CHILD_SA, [], NotifyType.INVALID_SYNTAX),
    ],
)
def test_every_bad_request_is_answered(exchange: ExchangeType, payloads: list[Payload], told: NotifyType) -> None:
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    answer = forger.ask(exchange, payloads)
    assert answer is not None
    assert notifies(answer) == [told]
    assert not [s for s in bob.engine.ike_sas() if s.state == IkeState.ESTABLISHED], "fatal for both"
    (closed,) = bob.of(IkeSaClosed)
    assert isinstance(closed, IkeSaClosed)
    assert closed.reason.code == FailureCode.INVALID_SYNTAX


@pytest.mark.rfc("7296", "1.4")
@pytest.mark.rfc("7296", "4")
@pytest.mark.rfc("7296", "3.10.1")
@pytest.mark.rfc("4555", "3.7")
@pytest.mark.rfc("4555", "3.8")
@pytest.mark.rfc("4555", "4.2.5")
@pytest.mark.rfc("7296", "1.4.1")
@pytest.mark.rfc("7296", "2.21.4")
@pytest.mark.rfc("7296", "3.1")
@pytest.mark.rfc("7296", "3.12")
@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [Notify(NotifyType(8192), b"an error nobody knows")],
        [Notify(NotifyType(40000), b"a status nobody knows")],
        [Notify(NotifyType(11), b"\x01\x02\x03\x04")],
        [Unknown(47, False, b"\x01\x00\x00\x00\x00\x07\x00\x00")],
        [Delete(ProtocolId.ESP, (b"\x00\x00\xff\xff",))],
        [Delete(ProtocolId.AH, (b"\x00\x00\xff\xff",))],
        [Vendor(b"a stranger")],
    ],
    ids=["nothing", "error", "status", "INVALID_SPI", "CP", "D(ESP)", "D(AH)", "V"],
)
def test_an_informational_request_is_answered_whatever_it_says(payloads: list[Payload]) -> None:
    world, alice, bob = established()
    before = dict(bob.sad)
    assert Forger(world, alice, bob).ask(ExchangeType.INFORMATIONAL, payloads) == []
    assert bob.sad == before
    assert not bob.of(IkeSaClosed)


@pytest.mark.rfc("7296", "3.10.1")
@pytest.mark.parametrize("kind", [8192, 16383])
@pytest.mark.parametrize("what", ["lan", None])
def test_an_unknown_error_in_an_answer_means_that_the_request_has_failed(kind: int, what: str | None) -> None:
    world, alice, bob = established()
    rewrite(world, bob, ExchangeType.CREATE_CHILD_SA, lambda p: [Notify(NotifyType(kind)), *p], response=True)
    before = set(alice.sad), alice.sa().spi_i
    world.do(alice, lambda now: alice.engine.rekey("net", what, now))
    world.run(0.1)
    assert (set(alice.sad), alice.sa().spi_i) == before
    failed = [e for e in alice.of(NegotiationFailed) if isinstance(e, NegotiationFailed)]
    assert failed
    assert failed[0].failure.code == FailureCode.REFUSED_BY_PEER


@pytest.mark.rfc("7296", "3.10.1")
@pytest.mark.rfc("7296", "2.21.2")
def test_an_unknown_error_in_the_answer_to_ike_auth_fails_all_of_it() -> None:
    world = World()
    alice, bob = pair(world)
    rewrite(world, bob, ExchangeType.IKE_AUTH, lambda p: [*p, Notify(NotifyType(8192))], response=True)
    start(world, alice)
    world.run(1)
    assert not alice.sad
    assert not bob.sad, "the peer is told"
    world.run(30)
    matching(alice, bob)
    assert len(alice.sad) == 2


@pytest.mark.rfc("7296", "2.21.2")
@pytest.mark.rfc("7296", "1.2")
@pytest.mark.parametrize(
    "kind", [NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.TS_UNACCEPTABLE, NotifyType(34), NotifyType(36), NotifyType(37)]
)
def test_errors_about_the_child_do_not_fail_the_authentication(kind: NotifyType) -> None:
    world = World()
    alice, bob = pair(world)

    def refuse(payloads: list[Payload]) -> list[Payload]:
        kept = {PayloadType.IDR, PayloadType.AUTH}
        return [*(p for p in payloads if p.payload_type in kept), Notify(kind)]

    rewrite(world, bob, ExchangeType.IKE_AUTH, refuse, response=True)
    start(world, alice)
    world.run(0.1)
    assert alice.sa().state == IkeState.ESTABLISHED
    assert not alice.of(ChildSaInstalled)


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "3.1")
@pytest.mark.rfc("7296", "3.2")
def test_what_we_send_has_version_two_and_no_reserved_or_critical_bit() -> None:
    world, alice, bob = established()
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(1)
    world.do(bob, lambda now: bob.engine.rekey("net", None, now))
    world.run(1)
    seen = set()
    for datagram in world.wire:
        data = bare(datagram.data)
        header = header_of(datagram)
        assert header is not None
        assert data[17] == 0x20
        assert data[19] & ~0x28 == 0
        seen.add((header.exchange, header.is_response, header.is_initiator))
        at, kind = 28, data[16]
        while kind and kind != PayloadType.SK:
            assert data[at + 1] == 0
            kind, at = data[at], at + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == PayloadType.SK:
            assert data[at + 1] == 0
    assert {(e, r) for e, r, _ in seen} == {(ExchangeType(e), r) for e in (34, 35, 36, 37) for r in (False, True)}


@pytest.mark.rfc("7296", "3.1")
def test_the_initiator_flag_follows_the_last_rekey() -> None:
    world, alice, bob = established()
    for datagram in world.wire:
        header = header_of(datagram)
        assert header is not None
        assert header.is_initiator == (datagram.source.address == alice.address)
    world.do(bob, lambda now: bob.engine.rekey("net", None, now))
    world.run(1)
    new = bob.sa()
    world.wire.clear()
    for node in (alice, bob):
        world.do(node, lambda now, node=node: node.engine.rekey("net", "lan", now))  # type: ignore[misc]
        world.run(1)
    headers = [(d, h) for d in world.wire if (h := header_of(d)) is not None and h.spi_i == new.spi_i]
    assert len(headers) >= 8
    assert all(h.is_initiator == (d.source.address == bob.address) for d, h in headers)


@pytest.mark.rfc("7296", "3.1")
@pytest.mark.rfc("7296", "2.5")
def test_reserved_flags_and_the_minor_version_are_ignored() -> None:
    """They are under the integrity check, so the peer itself has to set them."""
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    sa = forger.sa
    assert sa.protect_out is not None
    header = bytearray(forger.header(ExchangeType.INFORMATIONAL, forger.next_id).encode(0))
    header[17] |= 0x07
    header[19] |= 0xC7 | 0x10
    data = sa.protect_out.seal(bytes(header), 0, b"", alice.engine._core.entropy)
    (answer,) = forger.deliver(data)
    assert opened(sa, answer.data) == []


@pytest.mark.rfc("7296", "3.1")
@pytest.mark.rfc("7296", "2.21.4")
def test_responses_are_never_answered() -> None:
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    for exchange in (ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL):
        for number in range(4):
            header = replace(forger.header(exchange, number), is_response=True)
            assert not forger.deliver(forger.seal(header, [Notify(NotifyType.INVALID_SYNTAX)]))
    assert bob.sa()


@pytest.mark.rfc("7296", "1.4")
@pytest.mark.rfc("7296", "2.21.4")
@pytest.mark.rfc("7296", "1.5")
@pytest.mark.parametrize("kind", [NotifyType.INVALID_IKE_SPI, NotifyType(11), NotifyType.AUTHENTICATION_FAILED])
@pytest.mark.parametrize("response", [False, True])
def test_unprotected_notices_are_neither_answered_nor_believed(kind: NotifyType, response: bool) -> None:
    world, _, bob = established()
    sa = bob.sa()
    clear = Header(sa.spi_i, sa.spi_r, 0, ExchangeType.INFORMATIONAL, True, response, sa.expected_id, 0)
    stray = replace(clear, spi_i=b"anything", spi_r=bytes(8))
    before = dict(bob.sad)
    for header in (clear, stray):
        world.wire.clear()
        data = encode(header, [Notify(kind, b"\x00\x00\x10\x00")])
        world.deliver(bob, Datagram(sa.remote, sa.local, data))
        assert not world.wire
    assert bob.sad == before
    assert bob.sa() is sa


@pytest.mark.rfc("7296", "2.20")
@pytest.mark.rfc("7296", "2.19")
@pytest.mark.rfc("7296", "3.15.1")
@pytest.mark.rfc("7296", "1.7")
def test_configuration_payloads_are_ignored_and_never_sent() -> None:
    """CFG_REQUEST for a version and an address, and CFG_SET: we support none of it, and say nothing."""
    world = World()
    alice, bob = pair(world)
    request = Unknown(47, False, bytes.fromhex("01000000 0001 0000 0007 0000 0005 0004 00000001"))
    rewrite(world, alice, ExchangeType.IKE_AUTH, lambda p: [request, *p], response=False)
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert len(bob.sad) == 2
    forger = Forger(world, alice, bob)
    for kind in (1, 3):
        payload = Unknown(47, False, bytes([kind]) + bytes(3) + bytes.fromhex("0007 0000"))
        assert forger.ask(ExchangeType.INFORMATIONAL, [payload]) == []
    (answer,) = sent(world, bob, ExchangeType.IKE_AUTH, response=True)
    assert all(p.payload_type != PayloadType.CP for p in opened(alice.sa(), answer.data))


@pytest.mark.rfc("7296", "2.22")
def test_compression_is_never_agreed_on() -> None:
    world = World()
    alice, bob = pair(world)
    ipcomp = Notify(NotifyType(16387), b"\x12\x34\x02")
    rewrite(world, alice, ExchangeType.IKE_AUTH, lambda p: [*p, ipcomp, ipcomp], response=False)
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    (answer,) = sent(world, bob, ExchangeType.IKE_AUTH, response=True)
    assert NotifyType(16387) not in notifies(opened(alice.sa(), answer.data))


@pytest.mark.rfc("7296", "2.4")
def test_nothing_unprotected_makes_a_peer_dead() -> None:
    """1000 forged notices in Alice's name: no delete, no liveness check, no IKE SA less; Bob's rate limits hold."""
    world, alice, bob = established()
    sa = bob.sa()
    world.wire.clear()
    for n in range(1000):
        header = Header(sa.spi_i, sa.spi_r, 0, ExchangeType.INFORMATIONAL, True, n % 2 == 0, n, 0)
        world.deliver(bob, Datagram(sa.remote, sa.local, encode(header, [Notify(NotifyType.INVALID_IKE_SPI)])))
    assert not world.wire
    world.run(60)
    assert bob.sa() is sa
    matching(alice, bob)


@pytest.mark.rfc("7296", "2.4")
def test_initial_contact_stands_in_the_first_ike_auth_only() -> None:
    world, alice, bob = established()
    (request,) = sent(world, alice, ExchangeType.IKE_AUTH, response=False)
    assert NotifyType.INITIAL_CONTACT in notifies(opened(bob.sa(), request.data))
    before = bob.sa()
    assert Forger(world, alice, bob).ask(ExchangeType.INFORMATIONAL, [Notify(NotifyType.INITIAL_CONTACT)]) == []
    assert bob.sa() is before


@pytest.mark.rfc("7296", "2")
def test_messages_of_1280_and_3000_octets_and_more() -> None:
    world = World()
    alice, bob = pair(world, alice=QUIET | {"fragment_size": None}, bob=QUIET | {"fragment_size": None})
    start(world, alice)
    world.run(1)
    forger = Forger(world, alice, bob)
    for size in (1100, 1280, 3000, 20000):
        padding = Notify(NotifyType(40000), bytes(size))
        assert forger.ask(ExchangeType.INFORMATIONAL, [padding]) == []


@pytest.mark.rfc("7296", "3.10")
@pytest.mark.parametrize("protocol", list(ProtocolId))
def test_the_protocol_of_a_notify_without_spi_is_ignored(protocol: ProtocolId) -> None:
    world, alice, bob = established()
    busy = Notify(NotifyType.TEMPORARY_FAILURE, b"", protocol)
    rewrite(world, bob, ExchangeType.CREATE_CHILD_SA, lambda p: [busy], response=True)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(1)
    assert not alice.of(NegotiationFailed), "it is read as what it is: try again later"
    assert not alice.of(IkeSaClosed)


@pytest.mark.rfc("7296", "1.4.1")
@pytest.mark.parametrize("payloads", [1, 2], ids=["in one payload", "in two"])
def test_a_child_that_is_deleted_twice_is_deleted_once(payloads: int) -> None:
    """Found by fuzzing."""
    world, alice, bob = established()
    (child,) = alice.sa().children
    spi = child.inbound.spi.to_bytes(4, "big")
    twice = [Delete(ProtocolId.ESP, (spi,) * (3 - payloads))] * payloads
    answer = Forger(world, alice, bob).ask(ExchangeType.INFORMATIONAL, twice)
    assert answer == [Delete(ProtocolId.ESP, (child.outbound.spi.to_bytes(4, "big"),))]
    assert bob.sad == {}
    assert len(bob.of(ChildSaRemoved)) == 1
