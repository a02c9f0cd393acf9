"""The payload chain: order, bounds, SK, criticality, lookups."""

from struct import pack

import pytest

from xfrmctl.model.iana import ExchangeType, KeGroup, NotifyType, PayloadType, ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.suite import parse_proposal
from xfrmctl.wire.errors import UnsupportedCritical, WireError
from xfrmctl.wire.header import HEADER_LEN, Header
from xfrmctl.wire.message import (
    MAX_CLEAR,
    MAX_PAYLOADS,
    Fragment,
    SkBody,
    decode_payloads,
    encode,
    encode_payloads,
    first_of,
    id_of,
    notify_of,
    parse,
    selectors_of,
)
from xfrmctl.wire.payloads import Id, KeyExchange, Nonce, Notify, Payload, Sa, TrafficSelectors, Unknown, Vendor

HEADER = Header(b"I" * 8, b"R" * 8, 0, ExchangeType.INFORMATIONAL, True, False, 7, 0)
NAT = Notify(NotifyType.NAT_DETECTION_SOURCE_IP, b"s" * 20)
COOKIE = Notify(NotifyType.COOKIE, b"c")


def link(following: int, body: bytes, *, critical: bool = False) -> bytes:
    return pack(">BBH", following, 0x80 if critical else 0, 4 + len(body)) + body


def datagram(first: int, chain: bytes) -> bytes:
    header = Header(b"I" * 8, b"R" * 8, first, ExchangeType.INFORMATIONAL, True, False, 7, 0)
    return header.encode(HEADER_LEN + len(chain)) + chain


@pytest.mark.rfc("7296", "3.2")
def test_chain_both_ways() -> None:
    payloads = (KeyExchange(KeGroup.X25519, b"k"), Nonce(b"n" * 16), NAT, Vendor(b"v"), Unknown(99, False, b"x"))
    raw = encode(HEADER, payloads)
    message = parse(raw)
    assert message.payloads == payloads
    assert message.sk is None
    assert message.header.next_payload == PayloadType.KE
    assert message.header.length == len(raw)
    assert encode(message.header, message.payloads) == raw


def test_empty_message() -> None:
    assert encode_payloads(()) == (0, b"")
    assert decode_payloads(0, b"") == ()
    message = parse(encode(HEADER, ()))
    assert (message.payloads, message.sk) == ((), None)


@pytest.mark.rfc("7296", "3.14")
@pytest.mark.rfc("7296", "3.1")
def test_sk_ends_the_clear_part() -> None:
    raw = datagram(41, link(46, b"\0\0\x40\x06c") + link(33, b"sealed"))
    message = parse(raw)
    assert message.payloads == (COOKIE,)
    assert message.sk == SkBody(len(raw) - 6, 33)
    assert parse(datagram(46, link(0, b"sealed"))).sk == SkBody(32, 0)


@pytest.mark.rfc("7296", "3.14")
@pytest.mark.rfc("7296", "3.1")
def test_sk_must_be_last_and_alone() -> None:
    with pytest.raises(WireError, match="misplaced"):
        parse(datagram(46, link(0, b"sealed") + b"\0"))
    with pytest.raises(WireError, match="misplaced"):
        decode_payloads(46, link(0, b"inner"))
    with pytest.raises(WireError, match="bad_length"):
        parse(datagram(46, pack(">BBH", 0, 0, 9) + b"1234"))


@pytest.mark.rfc("7383", "2.5")
def test_skf_ends_the_chain_and_is_handed_on() -> None:
    data = datagram(53, link(35, b"\0\x01\0\x02fragment"))
    message = parse(data)
    assert message.payloads == ()
    assert message.sk == SkBody(36, 35, Fragment(1, 2))
    assert data[36:] == b"fragment"
    assert Fragment(1, 2).encode() == data[32:36]
    with pytest.raises(WireError, match="misplaced"):
        parse(datagram(53, link(35, b"\0\x01\0\x02fragment") + link(0, b"")))
    with pytest.raises(WireError, match="misplaced"):
        decode_payloads(53, link(35, b"\0\x01\0\x01inner"))


@pytest.mark.rfc("7383", "2.6")
@pytest.mark.rfc("7383", "2.5")
@pytest.mark.parametrize(("number", "total"), [(0, 1), (1, 0), (0, 0), (3, 2), (65535, 65534)])
def test_impossible_fragment_numbers_are_refused(number: int, total: int) -> None:
    with pytest.raises(WireError, match="bad_value"):
        parse(datagram(53, link(0, pack(">HH", number, total) + b"sealed")))
    with pytest.raises(WireError, match="short"):
        parse(datagram(53, link(0, b"\0\x01\0")))


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "3.2")
def test_unknown_critical_payload_is_reported() -> None:
    with pytest.raises(UnsupportedCritical) as caught:
        parse(datagram(99, link(0, b"x", critical=True)))
    assert caught.value.payload_type == 99
    assert parse(datagram(99, link(0, b"x"))).payloads == (Unknown(99, False, b"x"),)


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "3.2")
@pytest.mark.parametrize("kind", [PayloadType.CP, PayloadType.EAP])
def test_critical_bit_is_ignored_on_known_types(kind: PayloadType) -> None:
    (found,) = parse(datagram(kind, link(0, b"x", critical=True))).payloads
    assert found == Unknown(kind, True, b"x")
    assert found.name == kind.name
    (nonce,) = parse(datagram(40, link(0, b"n" * 16, critical=True))).payloads
    assert nonce == Nonce(b"n" * 16)


def test_reserved_bits_of_the_generic_header_are_ignored() -> None:
    raw = bytearray(datagram(43, link(0, b"v")))
    raw[29] = 0x7F
    assert parse(bytes(raw)).payloads == (Vendor(b"v"),)


@pytest.mark.parametrize(
    ("first", "chain"),
    [
        (43, b""),
        (43, b"\0\0\0"),
        (43, pack(">BBH", 0, 0, 0)),
        (43, pack(">BBH", 0, 0, 3)),
        (43, pack(">BBH", 43, 0, 4)),
        (43, pack(">BBH", 0, 0, 5)),
        (43, pack(">BBH", 0, 0, 0xFFFF) + bytes(100)),
        (0, b"\0"),
        (43, link(0, b"v") + b"\0"),
    ],
)
def test_malformed_chains(first: int, chain: bytes) -> None:
    for read in (lambda: parse(datagram(first, chain)), lambda: decode_payloads(first, chain)):
        with pytest.raises(WireError):
            read()


def test_payloads_are_counted() -> None:
    assert len(decode_payloads(*encode_payloads([Vendor(b"")] * MAX_PAYLOADS))) == MAX_PAYLOADS
    with pytest.raises(WireError, match="too_many"):
        decode_payloads(*encode_payloads([Vendor(b"")] * (MAX_PAYLOADS + 1)))


@pytest.mark.rfc("7296", "2")
def test_clear_octets_are_limited_protected_ones_are_not() -> None:
    room = MAX_CLEAR - HEADER_LEN - 4
    assert parse(encode(HEADER, [Vendor(bytes(room))])).payloads
    with pytest.raises(WireError, match="too_many"):
        parse(encode(HEADER, [Vendor(bytes(room + 1))]))
    assert parse(datagram(46, link(0, bytes(60000)))).sk
    assert decode_payloads(*encode_payloads([Vendor(bytes(60000))]))


def test_lookups() -> None:
    idi = Id(PayloadType.IDI, parse_identity("a.example"))
    idr = Id(PayloadType.IDR, parse_identity("b.example"))
    tsr = TrafficSelectors(PayloadType.TSR, (parse_selector("10.0.0.0/8"),))
    payloads: tuple[Payload, ...] = (NAT, idi, idr, tsr, COOKIE)
    assert first_of(payloads, Notify) is NAT
    assert first_of(payloads, Nonce) is None
    assert notify_of(payloads, NotifyType.COOKIE) is COOKIE
    assert notify_of(payloads, NotifyType.REKEY_SA) is None
    assert (id_of(payloads, PayloadType.IDI), id_of(payloads, PayloadType.IDR)) == (idi, idr)
    assert selectors_of(payloads, PayloadType.TSR) is tsr
    assert selectors_of(payloads, PayloadType.TSI) is None
    message = parse(encode(HEADER, payloads))
    assert message.one(Id) == idi
    assert message.notify(NotifyType.COOKIE) == COOKIE
    assert message.one(KeyExchange) is None


NET = (parse_selector("10.0.0.0/8"),)
OFFER = Sa((parse_proposal("aes256gcm16", ProtocolId.ESP).with_spi(b"spi!", 1),))


@pytest.mark.parametrize(
    "lengthy", [OFFER, TrafficSelectors(PayloadType.TSI, NET), TrafficSelectors(PayloadType.TSR, NET)]
)
def test_a_second_long_list_is_refused_unread(lengthy: Payload) -> None:
    """Sixty of them in an authenticated peer's message took five milliseconds, to be refused in the end."""
    first, chain = encode_payloads((lengthy,))
    with pytest.raises(WireError, match="duplicate"):
        decode_payloads(first, bytes((first, *chain[1:])) + link(0, b"\xff"))
