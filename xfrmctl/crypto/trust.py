"""Whether to believe a certificate chain: path validation (RFC 5280 6) by OpenSSL; revocation is ``revocation``'s.

The validator is OpenSSL's, through pyOpenSSL. The one of ``cryptography.x509.verification`` speaks for the Web: it
takes neither Ed25519 nor Ed448 keys, whatever its policy (pyca/cryptography issue 13391). Purposes (EKU) are not
looked at, as certificates for IKE often have those of TLS (RFC 4945 5.1.3.12). Every certificate that is configured
as a CA is an anchor, be it a root, an intermediate one, or a peer's own (that peer is then pinned).
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from OpenSSL import crypto

from xfrmctl.crypto.certificate import Certificate, CertificateError
from xfrmctl.crypto.distrust import Distrust, Doubt
from xfrmctl.crypto.revocation import Known, Source, StatusCheck, Undecided

END_OF_TIME_S = 253402300799.0
"""The end of the year 9999: no certificate lasts longer (RFC 5280 4.1.2.5)."""

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
    """The CAs of one connection and how its certificates are checked for revocation. Equal stores judge equally."""

    def __init__(self, anchors: Sequence[Certificate], check: StatusCheck | None = None) -> None:
        self.anchors = tuple(anchors)
        self.authorities = tuple(dict.fromkeys(a.authority for a in anchors))
        self.check = check or StatusCheck()
        self._opened = tuple(crypto.X509.from_cryptography(a.parsed) for a in self.anchors)
        content = [*(a.der for a in self.anchors), self.check.digest.encode()]
        self._digest = hashlib.sha256(b"".join(hashlib.sha256(c).digest() for c in content)).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self._digest == other._digest if isinstance(other, TrustStore) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        """Names the content."""
        return f"TrustStore({len(self.anchors)} anchors, {self._digest}, {self.check.mode.value})"

    def judge(
        self, chain: Sequence[Certificate], wall: float, known: Known | None = None
    ) -> Distrust | Undecided | None:
        """Whether the first certificate leads to an anchor at this time; the others are what may help it there.

        Undecided: the path is good, and web servers should be asked whether it is revoked.
        """
        leaf = chain[0]
        if not leaf.may_sign:
            return Distrust.of(Doubt.INVALID, leaf, "its key usage allows no digital signature (RFC 4945 5.1.3.2)")
        read = {c.der: c for c in (*chain, *self.anchors)}
        try:
            helpers = [crypto.X509.from_cryptography(c.parsed) for c in chain[1:]]
            context = crypto.X509StoreContext(self._store(wall), crypto.X509.from_cryptography(leaf.parsed), helpers)
            path = [read.get(der) or Certificate.parse(der) for der in map(_der, context.get_verified_chain())]
        except crypto.X509StoreContextError as error:
            return _from_openssl(error, chain)
        except crypto.Error as error:
            return Distrust.of(Doubt.INVALID, leaf, f"OpenSSL cannot read it: {_words(error)}")
        except CertificateError as error:
            return Distrust.of(Doubt.INVALID, leaf, str(error))
        for certificate in path[:-1]:
            if certificate.weakness:
                return Distrust.of(Doubt.INVALID, certificate, certificate.weakness)
        return self._revoked(path, wall, known)

    def _store(self, wall: float) -> crypto.X509Store:
        """The anchors at a time. A new one for each use: OpenSSL keeps the first time that a store is given."""
        store = crypto.X509Store()
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        store.set_time(datetime.fromtimestamp(min(max(wall, 0.0), END_OF_TIME_S), UTC))
        for anchor in self._opened:
            store.add_cert(anchor)
        return store

    def _revoked(self, path: Sequence[Certificate], wall: float, known: Known | None) -> Distrust | Undecided | None:
        lacking: dict[Source, None] = {}
        for certificate, issuer in pairwise(path):
            found = self.check.judge(certificate, issuer, wall, known)
            if isinstance(found, Distrust):
                return found
            if found is not None:
                lacking |= dict.fromkeys(found.sources)
        return Undecided(tuple(lacking)) if lacking else None


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _from_openssl(error: crypto.X509StoreContextError, chain: Sequence[Certificate]) -> Distrust:
    number, _depth, message = error.errors
    doubt = _DOUBTS.get(number, Doubt.INVALID)
    try:
        about = Certificate.parse(_der(error.certificate))
    except CertificateError:
        about = chain[0]
    return Distrust.of(doubt, about, message)


def _words(error: crypto.Error) -> str:
    reasons = error.args[0] if error.args else []
    return ", ".join(str(r[-1]) for r in reasons if r) or "no reason given"
