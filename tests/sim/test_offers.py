"""Offers and answers that an honest engine would not make: groups, suites, selectors (RFC 7296 1.3, 2.7, 2.9, 3.3)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.sim.forge import QUIET, Forger, bare, established, header_of, notifies, opened, rewrite, sent
from tests.sim.world import ALICE, BOB, Datagram, World, child, connection, matching, pair, selectors, start
from xfrmctl.ike.config import Start
from xfrmctl.ike.states import IkeState
from xfrmctl.model.events import ChildSaInstalled, IkeSaEstablished, NegotiationFailed
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.iana import ExchangeType, KeGroup, NotifyType, PayloadType, ProtocolId, TransformType
from xfrmctl.model.suite import Proposal, Transform, parse_proposal
from xfrmctl.wire.message import encode, first_of, parse
from xfrmctl.wire.payloads import KeyExchange, Nonce, Notify, Payload, Sa, TrafficSelectors

ESP_PFS: dict[str, object] = {"esp": ("aes256gcm16-x25519",)}
NONE = Transform(TransformType.KE, KeGroup.NONE)

Offer = Callable[[Proposal], Proposal]


def failures_of(node: object) -> list[FailureCode]:
    return [e.failure.code for e in node.of(NegotiationFailed)]  # type: ignore[attr-defined]


def offers(change: Offer) -> Callable[[list[Payload]], list[Payload]]:
    """Change every proposal of the SA payload."""
    return lambda payloads: [Sa(tuple(map(change, p.proposals))) if isinstance(p, Sa) else p for p in payloads]


def without(*kinds: PayloadType) -> Callable[[list[Payload]], list[Payload]]:
    return lambda payloads: [p for p in payloads if p.payload_type not in kinds]


def transforms(proposal: Proposal, *kept: TransformType, more: tuple[Transform, ...] = ()) -> Proposal:
    return replace(proposal, transforms=(*(t for t in proposal.transforms if t.type in kept), *more))


# -- what we offer


@pytest.mark.rfc("7296", "1.2")
@pytest.mark.rfc("7296", "2.6")
@pytest.mark.rfc("7296", "3.1")
@pytest.mark.parametrize("encap", [False, True])
def test_a_repeated_ike_sa_init_changes_only_what_it_must(encap: bool) -> None:
    """A cookie comes first and the rest stays; another group changes KE only, and all suites are offered again."""
    world = World()
    ike = ("aes256gcm16-prfsha384-x25519-ecp256", "aes128gcm16-prfsha256-ecp256")
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child(), ike=ike, force_encap=encap))
    theirs = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    bob = world.add(
        "bob", BOB, connection(BOB, ALICE, theirs, ike=("aes256gcm16-prfsha384-ecp256",)), cookie_threshold=0
    )
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    requests = [parse(d.data) for d in sent(world, alice, ExchangeType.IKE_SA_INIT, response=False)]
    first, cookie, group = requests
    assert cookie.payloads[0] == Notify(NotifyType.COOKIE, cookie.payloads[0].data)  # type: ignore[union-attr]
    assert cookie.payloads[1:] == first.payloads
    kinds = [p for p in group.payloads if not isinstance(p, KeyExchange)]
    assert kinds == [p for p in cookie.payloads if not isinstance(p, KeyExchange)]
    assert first_of(group.payloads, KeyExchange).group == KeGroup.ECP_256  # type: ignore[union-attr]
    assert {(m.header.message_id, m.header.spi_r) for m in requests} == {(0, bytes(8))}


@pytest.mark.rfc("7296", "2.6.1")
def test_a_peer_that_wants_a_new_cookie_for_every_group() -> None:
    """It counts KEi in, so that a new group needs a new cookie: one round trip more."""
    world = World()
    alice, bob = pair(
        world,
        alice={"ike": ("aes256gcm16-prfsha384-x25519-ecp256",)},
        bob={"ike": ("aes256gcm16-prfsha384-ecp256",)},
    )
    demanded: list[bytes] = []

    def demand(datagram: Datagram) -> Datagram | None:
        header = header_of(datagram)
        if header is None or header.exchange != ExchangeType.IKE_SA_INIT or header.is_response:
            return datagram
        message = parse(datagram.data)
        given, ke = message.notify(NotifyType.COOKIE), first_of(message.payloads, KeyExchange)
        assert ke is not None
        wanted = b"cookie for " + ke.group.name.encode()
        if given is not None and given.data == wanted:
            return datagram
        demanded.append(wanted)
        reply = replace(header, next_payload=0, is_initiator=False, is_response=True)
        answer = Datagram(datagram.target, datagram.source, encode(reply, [Notify(NotifyType.COOKIE, wanted)]))
        world.at(world.now + 0.01, lambda: world.deliver(alice, answer))
        return None

    world.intercept.append(demand)
    start(world, alice)
    world.run(1)
    assert demanded == [b"cookie for X25519", b"cookie for ECP_256"]
    matching(alice, bob)
    assert len(alice.of(IkeSaEstablished)) == 1


@pytest.mark.rfc("7296", "2.6")
@pytest.mark.parametrize("size", [0, 1, 64, 65])
def test_cookies_have_1_to_64_octets(size: int) -> None:
    world = World()
    alice, bob = pair(world)
    rewrite(world, bob, ExchangeType.IKE_SA_INIT, lambda p: [Notify(NotifyType.COOKIE, b"c" * size)], response=True)
    start(world, alice)
    world.run(0.5)
    requests = [parse(d.data) for d in sent(world, alice, ExchangeType.IKE_SA_INIT, response=False)]
    returned = [m for m in requests if m.notify(NotifyType.COOKIE) is not None]
    assert len(returned) == (1 if 1 <= size <= 64 else 0)


@pytest.mark.rfc("7296", "2.6")
@pytest.mark.parametrize("threshold", [0, 50])
def test_a_wrong_cookie_is_as_good_as_none(threshold: int) -> None:
    world = World()
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child()))
    theirs = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    bob = world.add("bob", BOB, connection(BOB, ALICE, theirs), cookie_threshold=threshold)
    wrong = Notify(NotifyType.COOKIE, b"some cookie of yesterday")
    rewrite(world, alice, ExchangeType.IKE_SA_INIT, lambda p: [wrong, *p], response=False)
    start(world, alice)
    world.run(0.015)
    (answer,) = [parse(d.data) for d in sent(world, bob, ExchangeType.IKE_SA_INIT, response=True)]
    assert (answer.notify(NotifyType.COOKIE) is not None) == (threshold == 0)
    assert (first_of(answer.payloads, Sa) is not None) == (threshold != 0)


@pytest.mark.rfc("7296", "3.3")
@pytest.mark.rfc("7296", "3.3.1")
@pytest.mark.rfc("7296", "3.4")
@pytest.mark.rfc("7296", "1.3")
@pytest.mark.rfc("7296", "2.18")
@pytest.mark.rfc("7296", "1.3.2")
def test_our_offers_are_numbered_in_our_order_and_hold_the_group_of_ke() -> None:
    ike = ("aes256gcm16-prfsha384-x25519-ecp256", "aes256-sha256-ecp256", "aes128-sha256-modp2048")
    esp = ("aes256gcm16-x25519-ecp256", "aes256-sha256-ecp256")
    kid: dict[str, object] = {"esp": esp}
    world = World()
    alice, bob = pair(world, alice=QUIET | {"ike": ike}, bob=QUIET | {"ike": ike}, alice_child=kid, bob_child=kid)
    start(world, alice)
    world.run(1)
    said = [list(parse(world.wire[0].data).payloads)]
    for what in ("lan", None):
        world.wire.clear()
        holder = bob.sa()
        world.do(alice, lambda now, what=what: alice.engine.rekey("net", what, now))  # type: ignore[misc]
        world.run(10)
        (request,) = sent(world, alice, ExchangeType.CREATE_CHILD_SA, response=False)
        said.append(opened(holder, request.data))
    for payloads, spelled, protocol, spi_size in zip(
        said, (ike, esp, ike), (ProtocolId.IKE, ProtocolId.ESP, ProtocolId.IKE), (0, 4, 8), strict=True
    ):
        offer, ke = first_of(payloads, Sa), first_of(payloads, KeyExchange)
        assert offer is not None
        assert ke is not None
        assert [p.number for p in offer.proposals] == list(range(1, len(spelled) + 1))
        assert [p.transforms for p in offer.proposals] == [parse_proposal(t, protocol).transforms for t in spelled]
        assert {len(p.spi) for p in offer.proposals} == {spi_size}
        groups = [t.id for p in offer.proposals for t in p.of(TransformType.KE)]
        assert ke.group == groups[0]
        assert KeGroup.NONE not in groups


@pytest.mark.rfc("7296", "1.2")
@pytest.mark.rfc("7296", "3.4")
def test_no_ke_payload_and_no_group_in_ike_auth() -> None:
    world = World()
    alice, bob = pair(world, alice_child=ESP_PFS, bob_child=ESP_PFS)
    start(world, alice)
    world.run(1)
    (request,) = sent(world, alice, ExchangeType.IKE_AUTH, response=False)
    payloads = opened(bob.sa(), request.data)
    offer = first_of(payloads, Sa)
    assert offer is not None
    assert all(not p.of(TransformType.KE) for p in offer.proposals)
    assert first_of(payloads, KeyExchange) is None


@pytest.mark.rfc("7296", "3.4")
def test_no_ke_payload_without_a_group_in_the_offer() -> None:
    world, alice, bob = established()
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(1)
    (request,) = sent(world, alice, ExchangeType.CREATE_CHILD_SA, response=False)
    assert first_of(opened(bob.sa(), request.data), KeyExchange) is None


@pytest.mark.rfc("7296", "2.10")
@pytest.mark.rfc("7296", "3.9")
def test_nonces_are_long_enough_and_never_used_twice() -> None:
    world, alice, bob = established(alice={"rekey_s": 50.0}, bob={"rekey_s": 70.0})
    for n in range(20):
        node = (alice, bob)[n % 2]
        world.do(node, lambda now, node=node: node.engine.rekey("net", "lan", now))  # type: ignore[misc]
        world.run(17)
    drawn = [n.engine._core.new_nonce() for n in (alice, bob) for _ in range(100)]
    assert {len(n) for n in drawn} == {32}
    assert len(set(drawn)) == 200
    spoken = [bare(d.data) for d in world.wire]
    assert len(spoken) == len(set(spoken))


# -- what we answer


@pytest.mark.rfc("7296", "1.3")
@pytest.mark.rfc("7296", "3.4")
@pytest.mark.parametrize("what", ["lan", None])
def test_another_group_than_that_of_ke_is_asked_for(what: str | None) -> None:
    kid: dict[str, object] = {"esp": ("aes256gcm16-ecp256",)}
    both: dict[str, object] = {"esp": ("aes256gcm16-x25519-ecp256",)}
    ike = {"ike": ("aes256gcm16-prfsha384-x25519-ecp256",)} | QUIET
    world = World()
    alice, bob = pair(world, alice=ike, bob=ike, alice_child=both, bob_child=kid)
    start(world, alice)
    world.run(1)
    if what is None:
        sa = bob.sa()
        assert sa.config is not None
        sa.config = replace(sa.config, ike=(parse_proposal("aes256gcm16-prfsha384-ecp256", ProtocolId.IKE),))
    world.wire.clear()
    ends = alice.sa(), bob.sa()
    world.do(alice, lambda now: alice.engine.rekey("net", what, now))
    world.run(10)
    answers = [opened(ends[0], d.data) for d in sent(world, bob, ExchangeType.CREATE_CHILD_SA, response=True)]
    assert answers[0] == [Notify(NotifyType.INVALID_KE_PAYLOAD, b"\x00\x13")]
    second = [opened(ends[1], d.data) for d in sent(world, alice, ExchangeType.CREATE_CHILD_SA, response=False)][1]
    assert first_of(second, KeyExchange).group == KeGroup.ECP_256  # type: ignore[union-attr]
    matching(alice, bob)


@pytest.mark.rfc("7296", "2.18")
@pytest.mark.rfc("7296", "1.3.2")
@pytest.mark.rfc("7296", "3.3.6")
@pytest.mark.parametrize("how", ["no group", "group none", "no KE", "none beside a group"])
def test_the_ike_sa_is_not_rekeyed_without_a_key_exchange(how: str) -> None:
    world, alice, bob = established()
    change: dict[str, Callable[[list[Payload]], list[Payload]]] = {
        "no group": offers(lambda p: transforms(p, TransformType.ENCR, TransformType.PRF)),
        "group none": offers(lambda p: transforms(p, TransformType.ENCR, TransformType.PRF, more=(NONE,))),
        "no KE": without(PayloadType.KE),
        "none beside a group": lambda p: without(PayloadType.KE)(
            offers(lambda q: transforms(q, TransformType.ENCR, TransformType.PRF, TransformType.KE, more=(NONE,)))(p)
        ),
    }
    rewrite(world, alice, ExchangeType.CREATE_CHILD_SA, change[how], response=False)
    before = bob.sa()
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    world.run(0.1)
    assert not [s for s in bob.engine.ike_sas() if s is not before and s.state == IkeState.ESTABLISHED]
    world.run(60)
    matching(alice, bob)


@pytest.mark.rfc("7296", "3.3.6")
@pytest.mark.rfc("7296", "1.3.1")
def test_an_offer_of_pfs_or_none_to_one_without_pfs() -> None:
    """The responder chooses NONE: it ignores KEi and sends no KEr."""
    world, alice, bob = established()
    ke = KeyExchange(KeGroup.X25519, bytes(range(1, 33)))
    group = Transform(TransformType.KE, KeGroup.X25519)

    def offer(payloads: list[Payload]) -> list[Payload]:
        both = (TransformType.ENCR, TransformType.ESN)
        return [*offers(lambda p: transforms(p, *both, more=(group, NONE)))(payloads), ke]

    rewrite(world, alice, ExchangeType.CREATE_CHILD_SA, offer, response=False)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(0.015)
    (answer,) = sent(world, bob, ExchangeType.CREATE_CHILD_SA, response=True)
    payloads = opened(alice.sa(), answer.data)
    assert first_of(payloads, KeyExchange) is None
    assert first_of(payloads, Sa) is not None
    assert not notifies(payloads)


@pytest.mark.rfc("7296", "2.7")
@pytest.mark.rfc("7296", "3.3.6")
@pytest.mark.rfc("7296", "3.3.1")
def test_an_answer_is_one_of_the_proposals_with_its_number_and_attributes() -> None:
    world = World()
    mine = ("aes128-sha512-modp2048", "aes256gcm16-aes128gcm16-prfsha384-x25519")
    kid: dict[str, object] = {"esp": ("aes128-sha512", "aes256-sha256", "aes128gcm16-aes256gcm16-esn-noesn")}
    alice, bob = pair(world, alice={"ike": mine}, alice_child=kid, bob_child={"esp": ("aes256gcm16",)})
    start(world, alice)
    world.run(1)
    init = parse(sent(world, bob, ExchangeType.IKE_SA_INIT, response=True)[-1].data).payloads
    auth = opened(alice.sa(), sent(world, bob, ExchangeType.IKE_AUTH, response=True)[0].data)
    for payloads, number, spelled, protocol in (
        (init, 2, "aes256gcm16-prfsha384-x25519", ProtocolId.IKE),
        (auth, 3, "aes256gcm16-noesn", ProtocolId.ESP),
    ):
        offer = first_of(payloads, Sa)
        assert offer is not None
        (proposal,) = offer.proposals
        assert (proposal.number, proposal.protocol) == (number, protocol)
        assert proposal.transforms == parse_proposal(spelled, protocol).transforms


@pytest.mark.rfc("7296", "2.7")
@pytest.mark.rfc("7296", "3.3.4")
@pytest.mark.rfc("7296", "3.3.6")
@pytest.mark.parametrize("exchange", [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA])
def test_offers_that_nobody_has_configured_are_refused(exchange: ExchangeType) -> None:
    """Weak and unknown suites, and ESP where IKE belongs, beside each other: NO_PROPOSAL_CHOSEN."""
    world = World()
    alice, bob = pair(world, alice=QUIET, bob=QUIET)
    stranger = Transform(TransformType.ENCR, 3)

    def weak(proposal: Proposal) -> Proposal:
        rest = tuple(t for t in proposal.transforms if t.type != TransformType.ENCR)
        return replace(proposal, transforms=(stranger, *rest))

    rewrite(world, alice, exchange, offers(weak), response=False)
    start(world, alice)
    world.run(0.5)
    if exchange == ExchangeType.CREATE_CHILD_SA:
        world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
        world.run(0.1)
    assert FailureCode.NO_PROPOSAL_CHOSEN in failures_of(bob)
    assert len(bob.of(ChildSaInstalled)) == (1 if exchange == ExchangeType.CREATE_CHILD_SA else 0)


# -- what we make of answers


@pytest.mark.rfc("7296", "3.3.6")
@pytest.mark.rfc("7296", "2.7")
@pytest.mark.parametrize("exchange", [ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA])
@pytest.mark.parametrize(
    "how", ["key length", "stranger", "two of a type", "two proposals", "other protocol", "none", "missing"]
)
def test_an_answer_that_we_have_not_offered_ends_the_exchange(exchange: ExchangeType, how: str) -> None:
    world = World()
    alice, bob = pair(world, alice=QUIET, bob=QUIET)

    def change(proposal: Proposal) -> Proposal:
        encr, *rest = proposal.transforms
        if how == "key length":
            return replace(proposal, transforms=(replace(encr, key_bits=128), *rest))
        if how == "stranger":
            return replace(proposal, transforms=(*proposal.transforms, Transform(TransformType(9), 1)))
        if how == "two of a type":
            return replace(proposal, transforms=(encr, *proposal.transforms))
        if how == "other protocol":
            return replace(proposal, protocol=ProtocolId.AH, spi=b"spi!")
        return replace(proposal, transforms=() if how == "missing" else proposal.transforms)

    def answer(payloads: list[Payload]) -> list[Payload]:
        found = []
        for payload in offers(change)(payloads):
            if isinstance(payload, Sa) and how == "two proposals":
                (one,) = payload.proposals
                payload = Sa((one, replace(one, number=one.number + 1)))  # noqa: PLW2901
            elif isinstance(payload, Sa) and how == "none":
                payload = Sa(())  # noqa: PLW2901
            found.append(payload)
        return found

    rewrite(world, bob, exchange, answer, response=True)
    start(world, alice)
    world.run(0.5)
    before = len(alice.of(ChildSaInstalled))
    if exchange == ExchangeType.CREATE_CHILD_SA:
        world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
        world.run(0.5)
    assert len(alice.of(ChildSaInstalled)) == before == (1 if exchange == ExchangeType.CREATE_CHILD_SA else 0)
    if exchange != ExchangeType.IKE_SA_INIT:
        assert set(failures_of(alice)) & {FailureCode.NO_PROPOSAL_CHOSEN, FailureCode.INVALID_SYNTAX}


# -- selectors


@pytest.mark.rfc("7296", "2.9")
@pytest.mark.parametrize("wanted", ["a", "b", "c"])
def test_the_child_of_the_first_selectors_is_chosen(wanted: str) -> None:
    """The initiator has a packet for one of three children, and asks for much more."""
    names = {"a": 1, "b": 2, "c": 3}
    world = World()
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child(), dpd_s=None))
    theirs = [
        child(n, f"10.2.{i}.0/24", "10.1.0.0/16", reqid=0x58000010 + i, start=Start.NONE) for n, i in names.items()
    ]
    bob = world.add("bob", BOB, connection(BOB, ALICE, *theirs, dpd_s=None))

    def of_a_packet(payloads: list[Payload]) -> list[Payload]:
        tsi = selectors("10.1.9.9/32", "10.1.0.0/16")
        tsr = selectors(f"10.2.{names[wanted]}.7/32", "10.2.0.0/16")
        others = without(PayloadType.TSI, PayloadType.TSR)(payloads)
        return [*others, TrafficSelectors(PayloadType.TSI, tsi), TrafficSelectors(PayloadType.TSR, tsr)]

    rewrite(world, alice, ExchangeType.IKE_AUTH, of_a_packet, response=False)
    start(world, alice)
    world.run(0.5)
    (installed,) = bob.of(ChildSaInstalled)
    assert isinstance(installed, ChildSaInstalled)
    assert installed.child == wanted


@pytest.mark.rfc("7296", "2.9.2")
def test_a_request_to_rekey_with_less_is_refused() -> None:
    world, alice, bob = established()
    forger = Forger(world, alice, bob)
    old = bob.sa().children[0]
    rekey = Notify(NotifyType.REKEY_SA, b"", ProtocolId.ESP, old.outbound.spi.to_bytes(4, "big"))
    offer = parse_proposal("aes256gcm16", ProtocolId.ESP).with_spi(b"\x12\x34\x56\x78", 1)
    for tsi, told in (("10.1.1.0/25", [NotifyType.TS_UNACCEPTABLE]), ("10.1.0.0/16", [])):
        answer = forger.ask(
            ExchangeType.CREATE_CHILD_SA,
            [
                rekey,
                Sa((offer,)),
                Nonce(bytes(range(32))),
                TrafficSelectors(PayloadType.TSI, selectors(tsi)),
                TrafficSelectors(PayloadType.TSR, selectors("10.1.2.0/24")),
            ],
        )
        assert answer is not None
        assert notifies(answer) == told
    assert old.successor is not None
    assert old.successor.remote_ts == selectors("10.1.1.0/24")


@pytest.mark.rfc("7296", "2.9.2")
def test_an_answer_to_a_rekey_with_less_is_not_taken() -> None:
    world, alice, bob = established()

    def narrower(payloads: list[Payload]) -> list[Payload]:
        return [
            TrafficSelectors(PayloadType.TSR, selectors("10.1.2.0/25")) if p.payload_type == PayloadType.TSR else p
            for p in payloads
        ]

    rewrite(world, bob, ExchangeType.CREATE_CHILD_SA, narrower, response=True)
    before = set(alice.sad)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(2)
    assert set(alice.sad) == before
    assert failures_of(alice) == [FailureCode.TS_UNACCEPTABLE]
    world.run(60)
    matching(alice, bob)
    assert len(alice.sad) == 2
    assert not set(alice.sad) & before, "the second try has made it"


# -- UDP encapsulation


@pytest.mark.rfc("7296", "2.23")
def test_no_encapsulation_on_port_500() -> None:
    """A peer behind a NAT that stays on port 500 all the same gets plain ESP."""
    world = World()
    alice, bob = pair(world, alice={"mobike": False})
    start(world, alice)
    world.run(0.015)
    (sa,) = bob.engine.ike_sas()
    sa.nat_remote = True
    world.run(1)
    assert sa.local.port == 500
    assert len(bob.sad) == 2
    assert all(s.encap is None for s, _ in bob.sad.values())


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.rfc("7296", "2")
def test_whoever_finds_a_nat_says_everything_else_from_port_4500() -> None:
    world = World()
    theirs = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child(), dpd_s=5.0))
    identity = connection(ALICE, BOB).local_id
    bob = world.add("bob", BOB, connection(BOB, None, theirs, remote_id=identity))
    world.nat[alice.address] = type(alice.address)("172.16.3.1")
    start(world, alice)
    world.run(30)
    ports = [d.source.port for d in world.wire if d.source.address == alice.address]
    assert ports[0] == 500
    assert set(ports[1:]) == {4500}
    marked = [d.data[:4] for d in world.wire if 4500 in (d.source.port, d.target.port) and len(d.data) > 1]
    assert marked
    assert set(marked) == {bytes(4)}
    assert all(s.encap is not None for n in (alice, bob) for s, _ in n.sad.values())


@pytest.mark.rfc("7296", "2.23")
@pytest.mark.rfc("7296", "2.11")
@pytest.mark.rfc("7296", "2.6")
def test_both_tell_their_addresses_and_any_source_port_will_do() -> None:
    world, alice, bob = established()
    for node, response in ((alice, False), (bob, True)):
        (datagram,) = sent(world, node, ExchangeType.IKE_SA_INIT, response=response)
        kinds = notifies(parse(datagram.data).payloads)
        assert kinds.count(NotifyType.NAT_DETECTION_SOURCE_IP) == 1
        assert kinds.count(NotifyType.NAT_DETECTION_DESTINATION_IP) == 1
    request = sent(world, alice, ExchangeType.IKE_SA_INIT, response=False)[0]
    for port in (1, 499, 4499, 50000):
        world.wire.clear()
        other = bytes([port & 0xFF] * 8) + request.data[8:]
        world.deliver(bob, replace(request, source=replace(request.source, port=port), data=other))
        (answer,) = world.wire
        assert (answer.source, answer.target) == (request.target, replace(request.source, port=port))
        header = header_of(answer)
        assert header is not None
        assert header.is_response


# -- SPIs


@pytest.mark.rfc("4301", "4.1")
@pytest.mark.parametrize("who", ["asker", "answerer"])
def test_an_spi_that_is_taken_is_refused(who: str) -> None:
    """Found by fuzzing: the kernel cannot hold two, and the end of the second would have been that of the first."""
    world, alice, bob = established()
    (child,) = bob.sa().children
    asker = alice if who == "asker" else bob
    before = dict(bob.sad)
    taken = offers(lambda proposal: replace(proposal, spi=child.outbound.spi.to_bytes(4, "big")))
    rewrite(world, alice, ExchangeType.CREATE_CHILD_SA, taken, response=who == "answerer")
    world.do(asker, lambda now: asker.engine.rekey("net", "lan", now))
    world.run(0.5)
    assert before.items() <= bob.sad.items()
    failed = bob.of(NegotiationFailed)[0]
    assert isinstance(failed, NegotiationFailed)
    assert failed.failure.text.startswith("the peer has chosen SPI")
    world.run(300)
    matching(alice, bob)
    assert len(bob.sad) == 2
    assert child not in bob.sa().children, "the next try has succeeded"
