"""Which payloads a message may carry: the table, positive and negative."""

import pytest

from xfrmctl.model.iana import AuthMethod, CertEncoding, ExchangeType, KeGroup, NotifyType, PayloadType, ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.suite import parse_proposal
from xfrmctl.wire.cardinality import RULES, check
from xfrmctl.wire.errors import REASONS, WireError
from xfrmctl.wire.payloads import (
    Auth,
    Cert,
    CertReq,
    Delete,
    Id,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    Sa,
    TrafficSelectors,
    Unknown,
    Vendor,
)

INIT, AUTH_X = ExchangeType.IKE_SA_INIT, ExchangeType.IKE_AUTH
CREATE, INFO = ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL
REQUEST, RESPONSE = False, True

SA = Sa((parse_proposal("aes256gcm16", ProtocolId.ESP).with_spi(b"spi!", 1),))
KE = KeyExchange(KeGroup.X25519, b"k")
NO = Nonce(b"n" * 16)
IDI = Id(PayloadType.IDI, parse_identity("a.example"))
IDR = Id(PayloadType.IDR, parse_identity("b.example"))
AUTH = Auth(AuthMethod.SHARED_KEY_MIC, b"mac")
TSI = TrafficSelectors(PayloadType.TSI, (parse_selector("10.0.0.0/8"),))
TSR = TrafficSelectors(PayloadType.TSR, (parse_selector("10.0.0.0/8"),))
COOKIE = Notify(NotifyType.COOKIE, b"c")
REKEY = Notify(NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=b"spi!")
STATUS = Notify(NotifyType.INITIAL_CONTACT)
ERROR = Notify(NotifyType.NO_PROPOSAL_CHOSEN)
EXTRA: list[Payload] = [
    Vendor(b"v"),
    Vendor(b"v"),
    Cert(CertEncoding.X509_SIGNATURE, b""),
    CertReq(CertEncoding.X509_SIGNATURE),
    Unknown(47, False, b""),
    Unknown(99, False, b""),
    STATUS,
    STATUS,
    Notify(NotifyType(40000)),
]

GOOD: list[tuple[str, ExchangeType, bool, list[Payload]]] = [
    ("C.1 request", INIT, REQUEST, [SA, KE, NO]),
    ("C.1 request with cookie", INIT, REQUEST, [COOKIE, SA, KE, NO]),
    ("C.1 request in any order", INIT, REQUEST, [NO, KE, SA]),
    ("C.1 response", INIT, RESPONSE, [SA, KE, NO]),
    ("C.1 cookie response", INIT, RESPONSE, [COOKIE]),
    ("C.1 other group", INIT, RESPONSE, [Notify(NotifyType.INVALID_KE_PAYLOAD, b"\0\x13")]),
    ("C.2 request", AUTH_X, REQUEST, [IDI, IDR, AUTH, SA, TSI, TSR]),
    ("C.2 request, minimal", AUTH_X, REQUEST, [IDI, AUTH, SA, TSI, TSR]),
    ("C.3 request for EAP", AUTH_X, REQUEST, [IDI, SA, TSI, TSR]),
    ("RFC 6023 childless", AUTH_X, REQUEST, [IDI, AUTH]),
    ("C.2 response", AUTH_X, RESPONSE, [IDR, AUTH, SA, TSI, TSR]),
    ("C.2 response, child failed", AUTH_X, RESPONSE, [IDR, AUTH, ERROR]),
    ("2.21.2 response, no SA", AUTH_X, RESPONSE, [Notify(NotifyType.AUTHENTICATION_FAILED)]),
    ("C.4 request", CREATE, REQUEST, [SA, NO, TSI, TSR]),
    ("C.4 request with PFS, rekeying", CREATE, REQUEST, [REKEY, SA, NO, KE, TSI, TSR]),
    ("C.4 response", CREATE, RESPONSE, [SA, NO, KE, TSI, TSR]),
    ("C.4 error", CREATE, RESPONSE, [Notify(NotifyType.TEMPORARY_FAILURE)]),
    ("C.5 request", CREATE, REQUEST, [SA, NO, KE]),
    ("C.5 response", CREATE, RESPONSE, [SA, NO, KE]),
    ("C.6 empty", INFO, REQUEST, []),
    ("C.6 deletes", INFO, REQUEST, [Delete(ProtocolId.ESP, (b"spi!",)), Delete(ProtocolId.AH, (b"spi!",))]),
    ("C.6 response", INFO, RESPONSE, [ERROR]),
]


@pytest.mark.rfc("7296", "C")
@pytest.mark.parametrize(("exchange", "response", "payloads"), [g[1:] for g in GOOD], ids=[g[0] for g in GOOD])
def test_legal(exchange: ExchangeType, response: bool, payloads: list[Payload]) -> None:
    check(exchange, response, payloads)
    check(exchange, response, payloads + EXTRA)


BAD: list[tuple[str, ExchangeType, bool, list[Payload]]] = [
    ("missing", INIT, REQUEST, []),
    ("missing", INIT, REQUEST, [KE, NO]),
    ("missing", INIT, REQUEST, [SA, NO]),
    ("missing", INIT, REQUEST, [SA, KE]),
    ("missing", INIT, REQUEST, [COOKIE]),
    ("missing", INIT, REQUEST, [ERROR]),
    ("missing", INIT, RESPONSE, [STATUS]),
    ("missing", INIT, RESPONSE, [SA, KE]),
    ("duplicate", INIT, REQUEST, [SA, SA, KE, NO]),
    ("duplicate", INIT, REQUEST, [SA, KE, KE, NO]),
    ("duplicate", INIT, REQUEST, [SA, KE, NO, NO]),
    ("duplicate", INIT, REQUEST, [COOKIE, COOKIE, SA, KE, NO]),
    ("duplicate", INIT, RESPONSE, [ERROR, NO, NO]),
    ("missing", AUTH_X, REQUEST, [AUTH, SA, TSI, TSR]),
    ("missing", AUTH_X, REQUEST, [IDR, AUTH, SA, TSI, TSR]),
    ("missing", AUTH_X, REQUEST, [IDI, AUTH, SA, TSI]),
    ("missing", AUTH_X, REQUEST, [IDI, AUTH, SA]),
    ("missing", AUTH_X, REQUEST, [IDI, AUTH, TSI, TSR]),
    ("duplicate", AUTH_X, REQUEST, [IDI, IDI, AUTH, SA, TSI, TSR]),
    ("duplicate", AUTH_X, REQUEST, [IDI, AUTH, AUTH, SA, TSI, TSR]),
    ("duplicate", AUTH_X, REQUEST, [IDI, AUTH, SA, TSI, TSR, TSR]),
    ("missing", AUTH_X, RESPONSE, []),
    ("missing", AUTH_X, RESPONSE, [IDR]),
    ("missing", AUTH_X, RESPONSE, [AUTH, SA, TSI, TSR]),
    ("missing", AUTH_X, RESPONSE, [COOKIE]),
    ("missing", AUTH_X, RESPONSE, [IDI, AUTH, SA, TSI, TSR]),
    ("missing", CREATE, REQUEST, [SA, NO]),
    ("missing", CREATE, REQUEST, [SA, NO, TSI]),
    ("missing", CREATE, REQUEST, [NO, TSI, TSR]),
    ("missing", CREATE, REQUEST, [SA, TSI, TSR]),
    ("missing", CREATE, REQUEST, [ERROR]),
    ("missing", CREATE, RESPONSE, []),
    ("missing", CREATE, RESPONSE, [SA, NO]),
    ("duplicate", CREATE, REQUEST, [SA, NO, KE, KE]),
    ("duplicate", CREATE, REQUEST, [REKEY, REKEY, SA, NO, TSI, TSR]),
    ("duplicate", CREATE, RESPONSE, [SA, SA, NO, TSI, TSR]),
    ("bad_exchange", ExchangeType(99), REQUEST, []),
    ("bad_exchange", ExchangeType(38), RESPONSE, [ERROR]),
]


@pytest.mark.rfc("7296", "C")
@pytest.mark.rfc("7296", "1.7")
@pytest.mark.rfc("7296", "2.5")
@pytest.mark.parametrize(("reason", "exchange", "response", "payloads"), BAD)
def test_illegal(reason: str, exchange: ExchangeType, response: bool, payloads: list[Payload]) -> None:
    for extra in ([], EXTRA):
        with pytest.raises(WireError) as caught:
            check(exchange, response, payloads + extra)
        assert caught.value.reason == reason
    assert reason in REASONS


def test_table_is_complete_and_consistent() -> None:
    assert {exchange for exchange, _ in RULES} == set(ExchangeType)
    assert len(RULES) == 2 * len(ExchangeType)
    for rule in RULES.values():
        assert rule.required <= rule.once
        assert rule.together <= rule.once
