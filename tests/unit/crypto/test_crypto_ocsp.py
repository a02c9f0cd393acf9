"""OCSP responses: which of them count, and what hostile ones come to."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as library
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pki import DAY, START, Issued, issue, ocsp_response, responder, root
from xfrmctl.crypto import ocsp
from xfrmctl.crypto.certificate import CertificateError
from xfrmctl.crypto.ocsp import Answer, Response, Says

WALL = (START + 10 * DAY).timestamp()
GOOD, REVOKED, UNKNOWN = (library.OCSPCertStatus[name] for name in ("GOOD", "REVOKED", "UNKNOWN"))
CA = root()
OWN = issue("moon", CA)


def about(data: bytes, certificate: Issued = OWN, issuer: Issued = CA, wall: float = WALL) -> Answer | None:
    return Response.parse(data).about(certificate.certificate, issuer.certificate, wall)


def says(data: bytes, wall: float = WALL) -> Says:
    answer = about(data, wall=wall)
    assert answer is not None
    return answer.says


@pytest.mark.rfc("6960", "3.2")
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519", "ed448"])
@pytest.mark.parametrize("by_key", [True, False])
def test_signed_by_the_ca(kind: str, *, by_key: bool) -> None:
    ca = root(kind)
    own = issue("moon", ca)
    for status, wanted in ((GOOD, Says.GOOD), (REVOKED, Says.REVOKED), (UNKNOWN, Says.UNKNOWN)):
        answer = about(ocsp_response(own, ca, status, by_key=by_key), own, ca)
        assert answer is not None and answer.says == wanted


@pytest.mark.parametrize("hashed", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_certificates_are_named_by_any_hash(hashed: hashes.HashAlgorithm) -> None:
    assert says(ocsp_response(OWN, CA, hashed=hashed)) == Says.GOOD


@pytest.mark.rfc("6960", "4.1.1")
def test_a_response_about_others_says_nothing() -> None:
    other_ca = root(common="Other", number=7)
    assert about(ocsp_response(issue("sun", CA), CA)) is None
    twin = issue("moon", other_ca)
    assert about(ocsp_response(OWN, CA), twin, other_ca) is None, "another serial number"
    assert about(ocsp_response(OWN, other_ca)) is None, "the same serial number of another CA"


@pytest.mark.rfc("6960", "4.2.2.2")
@pytest.mark.parametrize("kind", ["p256", "ed25519", "rsa2048"])
@pytest.mark.parametrize("by_key", [True, False])
def test_a_delegated_responder(kind: str, *, by_key: bool) -> None:
    signer = responder(CA, kind=kind)
    data = ocsp_response(OWN, CA, signer=signer, included=[signer], by_key=by_key)
    assert about(data) == Answer(Says.GOOD)


def test_a_delegated_responder_that_may_be_revoked_is_named() -> None:
    signer = responder(CA, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]))
    answer = about(ocsp_response(OWN, CA, signer=signer, included=[signer]))
    assert answer is not None and answer.delegate == signer.certificate


def _of_another_ca() -> Issued:
    return responder(root(common="Other", number=7))


@pytest.mark.rfc("6960", "4.2.2.2")
@pytest.mark.parametrize(
    ("signer", "words"),
    [
        (lambda: responder(CA, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])), "id-kp-OCSPSigning"),
        (lambda: issue("responder", CA, number=30), "id-kp-OCSPSigning"),
        (_of_another_ca, "not certified by CN=Lab CA"),
        (lambda: responder(issue("below", CA, number=31, ca=True)), "not certified by CN=Lab CA"),
        (lambda: responder(CA, days=5), "has a certificate for 2026-06-01"),
        (lambda: responder(CA, start=START + 20 * DAY), "has a certificate for 2026-06-21"),
    ],
)
def test_who_may_not_answer_for_the_ca(signer: object, words: str) -> None:
    made = signer()  # type: ignore[operator]
    answer = about(ocsp_response(OWN, CA, signer=made, included=[made]))
    assert answer is not None and answer.says == Says.NOT_BELIEVED and words in answer.detail


def test_a_responder_whose_certificate_is_not_there() -> None:
    answer = about(ocsp_response(OWN, CA, signer=responder(CA)))
    assert answer is not None and answer.says == Says.NOT_BELIEVED and "no certificate of a responder" in answer.detail


def test_the_peer_s_own_certificate_is_no_responder() -> None:
    """The peer vouches for itself, with its own certificate: issued by the right CA, for another purpose."""
    answer = about(ocsp_response(OWN, CA, signer=OWN, included=[OWN]))
    assert answer is not None and answer.says == Says.NOT_BELIEVED


@pytest.mark.rfc("6960", "3.2")
def test_a_forged_signature() -> None:
    data = bytearray(ocsp_response(OWN, CA))
    impostor = root(number=8)  # of the same name, with another key
    assert says(ocsp_response(OWN, CA, signer=impostor, by_key=False)) == Says.NOT_BELIEVED
    at = data.rindex(Response.parse(bytes(data)).parsed.signature) + 12
    data[at] ^= 1
    assert says(bytes(data)) == Says.NOT_BELIEVED


@pytest.mark.rfc("6960", "4.2.2.1")
def test_times() -> None:
    later = START + 20 * DAY
    early = about(ocsp_response(OWN, CA, start=later))
    assert early is not None and early.says == Says.UNTIMELY and early.early_s == 10 * 86400
    late = about(ocsp_response(OWN, CA, days=5))
    assert late is not None and late.says == Says.UNTIMELY and "ended at 2026-06-06" in late.detail
    undated = ocsp_response(OWN, CA, days=None)
    assert says(undated, START.timestamp() + ocsp.MAX_AGE_S) == Says.GOOD
    assert says(undated, START.timestamp() + ocsp.MAX_AGE_S + 1) == Says.UNTIMELY
    assert says(ocsp_response(OWN, CA, REVOKED, days=5)) == Says.REVOKED, "who was revoked once stays so"


@pytest.mark.rfc("6960", "4.4.1")
def test_nonces() -> None:
    mine, other = bytes(16), bytes(range(16))
    with_nonce = ocsp_response(OWN, CA, nonce=mine)
    assert Response.parse(with_nonce, mine) == Response.parse(with_nonce)
    Response.parse(ocsp_response(OWN, CA), mine)
    with pytest.raises(CertificateError, match="another nonce"):
        Response.parse(with_nonce, other)


def test_a_request_names_the_certificate_and_carries_the_nonce() -> None:
    made = library.load_der_ocsp_request(ocsp.request(OWN.certificate, CA.certificate, b"n" * 16))
    assert made.serial_number == OWN.parsed.serial_number
    assert made.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"n" * 16


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x0a\x01\x03", b"\x30\x80", b"<html>", bytes(70000)])
def test_what_is_no_response(data: bytes) -> None:
    with pytest.raises(CertificateError):
        Response.parse(data)


@given(st.integers(0, 2000), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_never_makes_another_statement(at: int, change: int) -> None:
    """Whatever is changed: unreadable, about others, not believed, or (in what no signature covers) as it was."""
    data = bytearray(ocsp_response(OWN, CA, REVOKED, start=START - datetime.timedelta(days=1)))
    data[at % len(data)] ^= change
    try:
        answer = about(bytes(data))
    except CertificateError:
        return
    assert answer is None or answer.says in (Says.NOT_BELIEVED, Says.REVOKED)
