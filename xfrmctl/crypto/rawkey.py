"""Raw public keys (RFC 7670): a SubjectPublicKeyInfo without a certificate around it.

Nobody vouches for such a key but the configuration that names it, and it vouches for no identity: whoever holds the
private key is the peer. It never expires and cannot be revoked, other than by taking it out of the configuration.
"""

import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from xfrmctl.crypto.certificate import CertificateError
from xfrmctl.crypto.signature import PublicKey, describe, unfit


@dataclass(frozen=True, slots=True)
class RawKey:
    """One public key; ``der`` is its SubjectPublicKeyInfo. Two are equal when their octets are."""

    der: bytes = field(repr=False)
    key: PublicKey = field(repr=False, compare=False)
    fingerprint: str
    """SHA-256 of the SubjectPublicKeyInfo, hex."""

    @classmethod
    def of(cls, key: PublicKey) -> "RawKey":
        """Wrap a key that is fit for IKE."""
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(der, key, fingerprint(der))

    @classmethod
    def parse(cls, data: bytes) -> "RawKey":
        """Read one key in PEM (``-----BEGIN PUBLIC KEY-----``) or DER; raises CertificateError."""
        try:
            key = load_pem_public_key(data) if b"-----BEGIN" in data else load_der_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(str(error).splitlines()[0][:120] if str(error) else "not understood") from None
        if reason := unfit(key):
            raise CertificateError(reason)
        return cls.of(key)  # type: ignore[arg-type]  # unfit() has looked

    def __str__(self) -> str:
        return f"{describe(self.key)} key SHA256:{self.fingerprint}"


def fingerprint(spki: bytes) -> str:
    """How people compare keys: SHA-256 of the SubjectPublicKeyInfo, hex."""
    return hashlib.sha256(spki).hexdigest()
