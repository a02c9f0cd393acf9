"""Golden octets both ways. Written by scapy (``tests/golden/make_golden.py``), by an RFC, or captured."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from xfrmctl.model.iana import AuthMethod, CertEncoding, ExchangeType, KeGroup, NotifyType, PayloadType, ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.selector import TrafficSelector, parse_selector
from xfrmctl.model.suite import Proposal, parse_proposal
from xfrmctl.wire.cardinality import check
from xfrmctl.wire.message import Message, SkBody, encode, parse
from xfrmctl.wire.payloads import (
    Auth,
    CertReq,
    Delete,
    Id,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    Sa,
    TrafficSelectors,
    Vendor,
)

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.hex"))
NONCE_I, NONCE_R = bytes(range(32)), bytes(range(32, 64))
TSI = TrafficSelectors(PayloadType.TSI, (parse_selector("10.1.1.0/24"),))
TSR = TrafficSelectors(
    PayloadType.TSR,
    (
        parse_selector("10.1.2.0/24"),
        TrafficSelector(ip_address("2001:db8::"), ip_address("2001:db8::ffff"), 6, 443, 443),
    ),
)


def load(name: str) -> bytes:
    lines = (GOLDEN / f"{name}.hex").read_text().splitlines()
    return bytes.fromhex("".join(line for line in lines if not line.startswith("#")))


def ike(text: str, number: int = 1) -> Proposal:
    return parse_proposal(text, ProtocolId.IKE).with_spi(b"", number)


def esp(text: str, spi: str) -> Proposal:
    return parse_proposal(text, ProtocolId.ESP).with_spi(bytes.fromhex(spi), 1)


EXPECTED: dict[str, tuple[ExchangeType, bool, int, tuple[Payload, ...]]] = {
    "ike_sa_init_request": (
        ExchangeType.IKE_SA_INIT,
        False,
        0,
        (
            Sa((ike("aes256gcm16-prfsha384-x25519"), ike("aes256-aes128-sha256-modp2048", 2))),
            KeyExchange(KeGroup.X25519, bytes(range(100, 132))),
            Nonce(NONCE_I),
            Notify(NotifyType.NAT_DETECTION_SOURCE_IP, b"s" * 20),
            Notify(NotifyType.NAT_DETECTION_DESTINATION_IP, b"d" * 20),
            Notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED),
        ),
    ),
    "ike_sa_init_response": (
        ExchangeType.IKE_SA_INIT,
        True,
        0,
        (
            Sa((ike("aes256gcm16-prfsha384-x25519"),)),
            KeyExchange(KeGroup.X25519, bytes(range(132, 164))),
            Nonce(NONCE_R),
            Vendor(b"a vendor"),
        ),
    ),
    "ike_sa_init_cookie": (ExchangeType.IKE_SA_INIT, True, 0, (Notify(NotifyType.COOKIE, b"c" * 33),)),
    "ike_sa_init_invalid_ke": (
        ExchangeType.IKE_SA_INIT,
        True,
        0,
        (Notify(NotifyType.INVALID_KE_PAYLOAD, b"\0\x0e"),),
    ),
    "ike_auth_clear": (
        ExchangeType.IKE_AUTH,
        False,
        1,
        (
            Id(PayloadType.IDI, parse_identity("moon.example.org")),
            Id(PayloadType.IDR, parse_identity("172.16.2.1")),
            Auth(AuthMethod.SHARED_KEY_MIC, bytes(range(48))),
            Notify(NotifyType.INITIAL_CONTACT),
            Sa((esp("aes256gcm16", "c1c2c3c4"),)),
            TSI,
            TSR,
        ),
    ),
    "create_child_sa_clear": (
        ExchangeType.CREATE_CHILD_SA,
        False,
        2,
        (
            Notify(NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=bytes.fromhex("c1c2c3c4")),
            Sa((esp("aes256gcm16-x25519", "c5c6c7c8"),)),
            Nonce(NONCE_R),
            KeyExchange(KeGroup.X25519, bytes(range(32))),
            TSI,
            TSR,
        ),
    ),
    "informational_delete_clear": (
        ExchangeType.INFORMATIONAL,
        False,
        3,
        (
            Delete(ProtocolId.ESP, (bytes.fromhex("c1c2c3c4"), bytes.fromhex("c5c6c7c8"))),
            CertReq(CertEncoding.X509_SIGNATURE, b"h" * 20),
        ),
    ),
}


@pytest.mark.rfc("7296", "3.3.5")
@pytest.mark.parametrize("name", EXPECTED)
def test_octets_to_values(name: str) -> None:
    exchange, response, message_id, payloads = EXPECTED[name]
    message = parse(load(name))
    header = message.header
    assert (header.exchange, header.is_response, header.message_id) == (exchange, response, message_id)
    assert header.is_initiator is not response
    assert message.payloads == payloads
    check(exchange, response, message.payloads)


@pytest.mark.parametrize("name", NAMES)
def test_values_to_the_same_octets(name: str) -> None:
    raw = load(name)
    message = parse(raw)
    if message.sk is None:
        assert encode(message.header, message.payloads) == raw
    else:
        assert message.header.encode(len(raw)) == raw[:28]


@pytest.mark.rfc("7296", "3.14")
def test_sk_is_found() -> None:
    message = parse(load("informational_sk"))
    assert message == Message(message.header, (), SkBody(32, 41))
    assert parse(load("rfc7634_informational")).sk == SkBody(32, 41)
