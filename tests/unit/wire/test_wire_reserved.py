"""Reserved fields: zero in what we write, whatever they like in what we read (RFC 7296 2.5 and 3)."""

from dataclasses import replace

import pytest

from tests.sim.world import selectors
from xfrmctl.model.iana import AuthMethod, ExchangeType, KeGroup, NotifyType, PayloadType, ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.suite import parse_proposal
from xfrmctl.wire.header import HEADER_LEN, Header
from xfrmctl.wire.message import encode, parse
from xfrmctl.wire.payloads import Auth, Delete, Id, KeyExchange, Nonce, Notify, Payload, Sa, TrafficSelectors, Vendor

HEADER = Header(b"initiato", b"receiver", 0, ExchangeType.IKE_AUTH, True, False, 1, 0)
GENERIC_FLAGS = HEADER_LEN + 1
BODY = HEADER_LEN + 4

# payload, where its reserved octets are (from the start of the message)
RESERVED: list[tuple[Payload, list[int]]] = [
    (Sa((parse_proposal("aes256gcm16-noesn", ProtocolId.ESP).with_spi(b"1234", 1),)), [BODY + 1, BODY + 13, BODY + 17]),
    (KeyExchange(KeGroup.X25519, bytes(32)), [BODY + 2, BODY + 3]),
    (Id(PayloadType.IDI, parse_identity("fqdn:moon.example.org")), [BODY + 1, BODY + 2, BODY + 3]),
    (Auth(AuthMethod.SHARED_KEY_MIC, b"mac"), [BODY + 1, BODY + 2, BODY + 3]),
    (Nonce(bytes(16)), []),
    (Notify(NotifyType.INITIAL_CONTACT), []),
    (Delete(ProtocolId.ESP, (b"1234",)), []),
    (Vendor(b"somebody"), []),
    (TrafficSelectors(PayloadType.TSI, selectors("10.0.0.0/8")), [BODY + 1, BODY + 2, BODY + 3]),
]
IDS = [p.name for p, _ in RESERVED]


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "3.2")
@pytest.mark.rfc("7296", "3.3.1")
@pytest.mark.rfc("7296", "3.3.2")
@pytest.mark.rfc("7296", "3.5")
@pytest.mark.rfc("7296", "3.8")
@pytest.mark.rfc("7296", "3.13")
@pytest.mark.parametrize(("payload", "places"), RESERVED, ids=IDS)
def test_reserved_octets_are_sent_as_zero(payload: Payload, places: list[int]) -> None:
    data = encode(HEADER, [payload])
    assert data[GENERIC_FLAGS] == 0
    assert all(data[at] == 0 for at in places)


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "3.2")
@pytest.mark.rfc("7296", "3.3.1")
@pytest.mark.rfc("7296", "3.3.2")
@pytest.mark.rfc("7296", "3.5")
@pytest.mark.rfc("7296", "3.8")
@pytest.mark.rfc("7296", "3.13")
@pytest.mark.parametrize(("payload", "places"), RESERVED, ids=IDS)
def test_reserved_octets_are_ignored(payload: Payload, places: list[int]) -> None:
    data = bytearray(encode(HEADER, [payload]))
    for at in (GENERIC_FLAGS, *places):
        data[at] |= 0x7F
    (read,) = parse(bytes(data)).payloads
    if isinstance(read, Id):
        read = replace(read, reserved=b"\0\0\0")  # kept, because AUTH covers them as they were sent
    assert read == payload


@pytest.mark.rfc("7296", "3.2")
@pytest.mark.rfc("7296", "3.12")
@pytest.mark.rfc("7296", "2.5")
@pytest.mark.parametrize("payload", [p for p, _ in RESERVED], ids=IDS)
def test_the_critical_bit_of_known_payloads_is_not_set_and_not_looked_at(payload: Payload) -> None:
    data = bytearray(encode(HEADER, [payload]))
    assert data[GENERIC_FLAGS] & 0x80 == 0
    data[GENERIC_FLAGS] |= 0x80
    assert parse(bytes(data)).payloads == (payload,)
