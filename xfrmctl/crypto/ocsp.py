"""OCSP (RFC 6960): requests for the status of one certificate, and what a response says about it.

A response is believed when it is signed by the CA that has issued the certificate, or by a responder whom that very CA
has issued a certificate with id-kp-OCSPSigning (4.2.2.2). Whoever hands it to us does not matter, so that a file, a
web server and the peer itself (RFC 4806) are equally good sources.
"""

import hashlib
from dataclasses import dataclass, field
from enum import Enum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from xfrmctl.crypto import signature
from xfrmctl.crypto.certificate import Certificate, CertificateError, stamp
from xfrmctl.crypto.signature import Kind, PublicKey, Scheme
from xfrmctl.model.iana import HashAlgorithm

MAX_OCTETS = 65536
"""A response about one certificate has a few kilobytes."""

MAX_AGE_S = 3600.0
"""How long a response without nextUpdate is good for: it says that newer information is always to be had (4.2.2.1)."""

NONCE_LEN = 16
"""RFC 8954 2.1 wants 1 to 32 octets."""

_H = HashAlgorithm
_NAMES = {
    "1.2.840.113549.1.1.11": (Kind.RSA_PKCS1, _H.SHA2_256),
    "1.2.840.113549.1.1.12": (Kind.RSA_PKCS1, _H.SHA2_384),
    "1.2.840.113549.1.1.13": (Kind.RSA_PKCS1, _H.SHA2_512),
    "1.2.840.10045.4.3.2": (Kind.ECDSA, _H.SHA2_256),
    "1.2.840.10045.4.3.3": (Kind.ECDSA, _H.SHA2_384),
    "1.2.840.10045.4.3.4": (Kind.ECDSA, _H.SHA2_512),
    "1.3.101.112": (Kind.ED25519, _H.IDENTITY),
    "1.3.101.113": (Kind.ED448, _H.IDENTITY),
}
SCHEMES: dict[str, Scheme] = {
    oid: next(s for s in signature.SCHEMES if (s.kind, s.hash) == found) for oid, found in _NAMES.items()
}
"""Signature algorithms of responses by their object identifiers; SHA-1 is not among them."""


class Says(Enum):
    """What a response says about a certificate; the last two are no statement that counts."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    UNTIMELY = "untimely"
    NOT_BELIEVED = "not believed"


@dataclass(frozen=True, slots=True)
class Answer:
    """One statement. ``early_s`` is how far the clock stands before thisUpdate.

    ``delegate`` is the responder's certificate where it may itself be revoked: it has no id-pkix-ocsp-nocheck.
    """

    says: Says
    detail: str = ""
    early_s: float = 0.0
    delegate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A successful response; two are equal when their octets are."""

    digest: bytes
    parsed: ocsp.OCSPResponse = field(repr=False, compare=False)
    singles: tuple[ocsp.OCSPSingleResponse, ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, data: bytes, nonce: bytes | None = None) -> "Response":
        """Read a response in DER; raises CertificateError, also where it carries another nonce than ``nonce``.

        A response without a nonce is taken: many responders sign in advance (RFC 6960 4.4.1).
        """
        if len(data) > MAX_OCTETS:
            raise CertificateError(f"a response of {len(data)} bytes, more than {MAX_OCTETS} are not looked at")
        try:
            parsed = ocsp.load_der_ocsp_response(data)
            if parsed.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
                raise CertificateError(f"the responder answers {parsed.response_status.name}")
            if nonce is not None and _nonce(parsed) not in (None, nonce):
                raise CertificateError("the response has another nonce than our request: it is an old one")
            return cls(hashlib.sha256(data).digest(), parsed, tuple(parsed.responses))
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
            words = str(error).splitlines()[0][:120] if str(error) else "not understood"
            raise CertificateError(f"no OCSP response: {words}") from None

    def about(self, certificate: Certificate, issuer: Certificate, wall: float) -> Answer | None:
        """What this response says about a certificate of that issuer; None where it is about others."""
        mine = [s for s in self.singles if _matches(s, certificate, issuer)]
        if not mine:
            return None
        signer = self._signer(issuer, wall)
        if isinstance(signer, str):
            return Answer(Says.NOT_BELIEVED, signer)
        key, delegate = signer
        scheme = SCHEMES.get(self.parsed.signature_algorithm_oid.dotted_string)
        if scheme is None:
            oid = self.parsed.signature_algorithm_oid.dotted_string
            return Answer(Says.NOT_BELIEVED, f"it is signed by an algorithm that is not accepted ({oid})")
        if not signature.verify(key, scheme, self.parsed.tbs_response_bytes, self.parsed.signature):
            return Answer(Says.NOT_BELIEVED, "its signature does not verify")
        statements = [_statement(single, wall, delegate) for single in mine]
        order = (Says.REVOKED, Says.GOOD, Says.UNKNOWN, Says.UNTIMELY)
        return min(statements, key=lambda answer: order.index(answer.says))

    def _signer(self, issuer: Certificate, wall: float) -> tuple[PublicKey, Certificate | None] | str:
        """The responder's key, and its certificate if that may be revoked; or why nobody may sign so (4.2.2.2)."""
        if self._named(issuer):
            return issuer.key, None
        problem = f"it is not signed by {issuer.subject_text}, and there is no certificate of a responder in it"
        for parsed in self.parsed.certificates[:4]:
            try:
                delegate = Certificate.parse(parsed.public_bytes(Encoding.DER))
            except CertificateError as error:
                problem = f"the certificate of its responder cannot be used: {error}"
                continue
            if not self._named(delegate):
                continue
            refused = _no_delegate(delegate, issuer, wall)
            if not refused:
                return delegate.key, None if _has(delegate, x509.OCSPNoCheck) else delegate
            problem = f"its responder {delegate.subject_text} {refused}"
        return problem

    def _named(self, signer: Certificate) -> bool:
        if self.parsed.responder_name is not None:
            return self.parsed.responder_name == signer.parsed.subject
        return self.parsed.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.key).digest


def request(certificate: Certificate, issuer: Certificate, nonce: bytes) -> bytes:
    """A request for the status of one certificate, DER. Its CertID is by SHA-1: some responders know no other."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate.parsed, issuer.parsed, hashes.SHA1())
    return builder.add_extension(x509.OCSPNonce(nonce), False).build().public_bytes(Encoding.DER)


def _nonce(parsed: ocsp.OCSPResponse) -> bytes | None:
    try:
        return parsed.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def _matches(single: ocsp.OCSPSingleResponse, certificate: Certificate, issuer: Certificate) -> bool:
    """Whether a CertID names this certificate: serial number, and name and key of the issuer (RFC 6960 4.1.1)."""
    if single.serial_number != certificate.parsed.serial_number:
        return False
    try:
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate.parsed, issuer.parsed, single.hash_algorithm)
        wanted = builder.build()
    except (ValueError, UnsupportedAlgorithm):
        return False
    names, keys = wanted.issuer_name_hash, wanted.issuer_key_hash
    return (single.issuer_name_hash, single.issuer_key_hash) == (names, keys)


def _statement(single: ocsp.OCSPSingleResponse, wall: float, delegate: Certificate | None) -> Answer:
    begins = single.this_update_utc.timestamp()
    ends = single.next_update_utc.timestamp() if single.next_update_utc is not None else begins + MAX_AGE_S
    if single.certificate_status == ocsp.OCSPCertStatus.REVOKED:
        since = single.revocation_time_utc
        return Answer(Says.REVOKED, f"since {stamp(since.timestamp())}" if since else "", delegate=delegate)
    if begins > wall:
        return Answer(Says.UNTIMELY, f"begins at {stamp(begins)}", begins - wall, delegate)
    if ends < wall:
        return Answer(Says.UNTIMELY, f"ended at {stamp(ends)}", 0.0, delegate)
    if single.certificate_status == ocsp.OCSPCertStatus.GOOD:
        return Answer(Says.GOOD, delegate=delegate)
    return Answer(Says.UNKNOWN, "does not know this certificate", delegate=delegate)


def _no_delegate(delegate: Certificate, issuer: Certificate, wall: float) -> str:
    """Why this certificate is none of a responder of that CA, "" if it is."""
    try:
        delegate.parsed.verify_directly_issued_by(issuer.parsed)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return f"is not certified by {issuer.subject_text} itself"
    try:
        purposes = delegate.parsed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        return "is not certified for that purpose (no id-kp-OCSPSigning)"
    if not delegate.valid_from <= wall <= delegate.valid_to:
        return f"has a certificate for {delegate.time_of('from')} to {delegate.time_of('to')} only"
    return f"has a certificate that cannot be relied on: {delegate.weakness}" if delegate.weakness else ""


def _has(certificate: Certificate, extension: type[x509.ExtensionType]) -> bool:
    try:
        certificate.parsed.extensions.get_extension_for_class(extension)
    except x509.ExtensionNotFound:
        return False
    return True
