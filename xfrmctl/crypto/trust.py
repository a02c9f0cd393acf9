"""Whether to believe a certificate chain: path validation (RFC 5280 6) by OpenSSL, revocation by CRL files.

The validator is OpenSSL's, through pyOpenSSL. The one of ``cryptography.x509.verification`` speaks for the Web: it
takes neither Ed25519 nor Ed448 keys, whatever its policy (pyca/cryptography issue 13391). Purposes (EKU) are not
looked at, as certificates for IKE often have those of TLS (RFC 4945 5.1.3.12). Every certificate that is configured
as a CA is an anchor, be it a root, an intermediate one, or a peer's own (that peer is then pinned).

CRLs come from files and are read again with every reload. *relaxed*: a certificate is good unless a CRL revokes it.
*strict*: for each certificate below the anchor there has to be a CRL in force. OCSP and fetching are not done here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from OpenSSL import crypto

from xfrmctl.crypto.certificate import Certificate, CertificateError, stamp

END_OF_TIME_S = 253402300799.0
"""The end of the year 9999: no certificate lasts longer (RFC 5280 4.1.2.5)."""


class Revocation(Enum):
    """What the lack of a CRL means."""

    RELAXED = "relaxed"
    STRICT = "strict"


class Doubt(Enum):
    """Why a chain is not believed."""

    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    REVOKED = "revoked"
    NO_CRL = "no_crl"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Distrust:
    """A chain is not believed: why, and which certificate it is about. ``detail`` goes into a sentence."""

    doubt: Doubt
    subject: str
    issuer: str
    detail: str = ""
    certificate: Certificate | None = None


_DOUBTS = {
    9: Doubt.NOT_YET_VALID,
    10: Doubt.EXPIRED,
    2: Doubt.UNTRUSTED,  # no issuer certificate
    18: Doubt.UNTRUSTED,  # the peer's certificate is self-signed
    19: Doubt.UNTRUSTED,  # a root that is not ours
    20: Doubt.UNTRUSTED,  # no local issuer certificate
    21: Doubt.UNTRUSTED,  # cannot verify the leaf
    27: Doubt.UNTRUSTED,
}
"""OpenSSL's X509_V_ERR_* (x509_vfy.h); all others are faults of the chain itself."""


class TrustStore:
    """The CAs of one connection with their CRLs. Equal stores judge equally; :func:`repr` names the content."""

    def __init__(
        self,
        anchors: Sequence[Certificate],
        crls: Sequence[x509.CertificateRevocationList] = (),
        revocation: Revocation = Revocation.RELAXED,
    ) -> None:
        self.anchors = tuple(anchors)
        self.authorities = tuple(dict.fromkeys(a.authority for a in anchors))
        self.revocation = revocation
        self._crls = tuple(crls)
        self._opened = tuple(crypto.X509.from_cryptography(a.parsed) for a in self.anchors)
        self._signed_by: dict[tuple[int, bytes], bool] = {}
        content = [a.der for a in self.anchors] + [c.fingerprint(hashes.SHA256()) for c in self._crls]
        self._digest = hashlib.sha256(b"".join(hashlib.sha256(c).digest() for c in content)).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TrustStore):
            return NotImplemented
        return (self._digest, self.revocation) == (other._digest, other.revocation)

    def __hash__(self) -> int:
        return hash((self._digest, self.revocation))

    def __repr__(self) -> str:
        return f"TrustStore({len(self.anchors)} anchors, {self._digest}, {self.revocation.value})"

    def judge(self, chain: Sequence[Certificate], wall: float) -> Distrust | None:
        """Whether the first certificate leads to an anchor at this time; the others are what may help it there."""
        leaf = chain[0]
        if not leaf.may_sign:
            return _distrust(Doubt.INVALID, leaf, "its key usage allows no digital signature (RFC 4945 5.1.3.2)")
        known = {c.der: c for c in (*chain, *self.anchors)}
        try:
            helpers = [crypto.X509.from_cryptography(c.parsed) for c in chain[1:]]
            context = crypto.X509StoreContext(self._store(wall), crypto.X509.from_cryptography(leaf.parsed), helpers)
            path = [known.get(der) or Certificate.parse(der) for der in map(_der, context.get_verified_chain())]
        except crypto.X509StoreContextError as error:
            return _from_openssl(error, chain)
        except crypto.Error as error:
            return _distrust(Doubt.INVALID, leaf, f"OpenSSL cannot read it: {_words(error)}")
        except CertificateError as error:
            return _distrust(Doubt.INVALID, leaf, str(error))
        for certificate in path[:-1]:
            if certificate.weakness:
                return _distrust(Doubt.INVALID, certificate, certificate.weakness)
        return self._revoked(path, wall)

    def _store(self, wall: float) -> crypto.X509Store:
        """The anchors at a time. A new one for each use: OpenSSL keeps the first time that a store is given."""
        store = crypto.X509Store()
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        store.set_time(datetime.fromtimestamp(min(max(wall, 0.0), END_OF_TIME_S), UTC))
        for anchor in self._opened:
            store.add_cert(anchor)
        return store

    def _revoked(self, path: Sequence[Certificate], wall: float) -> Distrust | None:
        if not self._crls and self.revocation == Revocation.RELAXED:
            return None
        for certificate, issuer in pairwise(path):
            found = self._by_crl(certificate, issuer, wall)
            if found is not None:
                return found
        return None

    def _by_crl(self, certificate: Certificate, issuer: Certificate, wall: float) -> Distrust | None:
        problem = f"there is no CRL of {issuer.subject_text}"
        good = False
        for number, crl in enumerate(self._crls):
            if crl.issuer != certificate.parsed.issuer or not self._is_signed(number, issuer):
                continue
            entry = crl.get_revoked_certificate_by_serial_number(certificate.parsed.serial_number)
            if entry is not None:
                detail = f"since {stamp(entry.revocation_date_utc.timestamp())}"
                return _distrust(Doubt.REVOKED, certificate, detail)
            ends = crl.next_update_utc.timestamp() if crl.next_update_utc else None
            if crl.last_update_utc.timestamp() > wall:
                problem = f"the CRL of {issuer.subject_text} begins at {stamp(crl.last_update_utc.timestamp())}"
            elif ends is not None and ends < wall:
                problem = f"the CRL of {issuer.subject_text} ended at {stamp(ends)}"
            else:
                good = True
        if good or self.revocation == Revocation.RELAXED:
            return None
        return _distrust(Doubt.NO_CRL, certificate, problem)

    def _is_signed(self, number: int, issuer: Certificate) -> bool:
        """Whether this CA has signed that CRL; asked once of each pair."""
        key = (number, issuer.authority)
        if key not in self._signed_by:
            try:
                self._signed_by[key] = self._crls[number].is_signature_valid(issuer.key)
            except (ValueError, TypeError, UnsupportedAlgorithm):
                self._signed_by[key] = False
        return self._signed_by[key]


def read_crl(data: bytes) -> x509.CertificateRevocationList:
    """A CRL in PEM or DER; raises CertificateError for what we could misunderstand."""
    try:
        crl = x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
        critical = [e.oid.dotted_string for e in crl.extensions if e.critical]
    except (ValueError, TypeError) as error:
        raise CertificateError(str(error).splitlines()[0] if str(error) else "no CRL") from None
    if critical:
        raise CertificateError(f"a delta, indirect or partial CRL (critical extension {critical[0]})")
    return crl


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _distrust(doubt: Doubt, certificate: Certificate, detail: str) -> Distrust:
    return Distrust(doubt, certificate.subject_text, certificate.issuer_text, detail, certificate)


def _from_openssl(error: crypto.X509StoreContextError, chain: Sequence[Certificate]) -> Distrust:
    number, _depth, message = error.errors
    doubt = _DOUBTS.get(number, Doubt.INVALID)
    try:
        about = Certificate.parse(_der(error.certificate))
    except CertificateError:
        about = chain[0]
    return _distrust(doubt, about, message)


def _words(error: crypto.Error) -> str:
    reasons = error.args[0] if error.args else []
    return ", ".join(str(r[-1]) for r in reasons if r) or "no reason given"
