"""Signatures over the signed octets of RFC 7296 2.15: RFC 7427 (method 14), RFC 8420 (EdDSA), and the old methods.

Method 14 names its algorithm by a DER AlgorithmIdentifier. The ones in use are constants (RFC 7427 appendix A), so
that nothing is parsed: an identifier is in the table or it is unknown. RSASSA-PSS has four spellings of the same
parameters (hash with or without NULL, trailer field written or left to its default); we take all four and send what
is DER, without the trailer field that appendix A.4.3 prints: libreswan compares octets and takes nothing else.

The old methods (RFC 7296 3.8, RFC 4754) fix the hash with the method or leave it unsaid (RSA). They serve peers that
do not announce hash algorithms; SHA-1 only where the configuration allows it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa, utils

from xfrmctl.model.iana import AuthMethod, HashAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""Below: too weak (RFC 8247 4.1.1). Above: too long a step for one datagram."""

H = HashAlgorithm
ANNOUNCED = (H.SHA2_256, H.SHA2_384, H.SHA2_512, H.IDENTITY)
"""What we verify with in method 14; SHA-1 is not among it (RFC 8247 4.2)."""

_HASHES: dict[HashAlgorithm, hashes.HashAlgorithm] = {
    H.SHA1: hashes.SHA1(),
    H.SHA2_256: hashes.SHA256(),
    H.SHA2_384: hashes.SHA384(),
    H.SHA2_512: hashes.SHA512(),
}
_SHA2 = (H.SHA2_256, H.SHA2_384, H.SHA2_512)


class RsaPadding(Enum):
    """How we sign with an RSA key. AUTO: PSS, or PKCS1 to answer a peer that has signed so itself."""

    AUTO = "auto"
    PSS = "pss"
    PKCS1 = "pkcs1"


class Kind(Enum):
    """What a scheme does with a key; the value is how its name begins."""

    RSA_PKCS1 = "rsa-pkcs1"
    RSA_PSS = "rsa-pss"
    ECDSA = "ecdsa"
    ED25519 = "ed25519"
    ED448 = "ed448"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A signature algorithm with its hash."""

    kind: Kind
    hash: HashAlgorithm
    identifier: bytes

    @property
    def name(self) -> str:
        """As in ``rsa-pss-sha256``."""
        if self.hash == H.IDENTITY:
            return self.kind.value
        return f"{self.kind.value}-{self.hash.name.lower().replace('sha2_', 'sha')}"


def _pss(number: int, salt: int, *, null: bool = True, trailer: bool = True) -> bytes:
    """AlgorithmIdentifier of RSASSA-PSS with SHA-2 number 1-3 for both hash and MGF1 (RFC 4055 3.1)."""
    oid = bytes.fromhex("06096086480165030402") + bytes((number,))
    sha = _sequence(oid + (b"\x05\x00" if null else b""))
    mgf = _sequence(bytes.fromhex("06092a864886f70d010108") + sha)
    parameters = b"\xa0" + _len(sha) + b"\xa1" + _len(mgf) + b"\xa2\x03\x02\x01" + bytes((salt,))
    return _sequence(_RSASSA_PSS + _sequence(parameters + (b"\xa3\x03\x02\x01\x01" if trailer else b"")))


def _sequence(body: bytes) -> bytes:
    return b"\x30" + _len(body)


def _len(body: bytes) -> bytes:
    return bytes((len(body),)) + body


_RSASSA_PSS = bytes.fromhex("06092a864886f70d01010a")
_PSS = ((H.SHA2_256, 1, 32), (H.SHA2_384, 2, 48), (H.SHA2_512, 3, 64))

SCHEMES = (
    *(Scheme(Kind.RSA_PSS, h, _pss(number, salt, trailer=False)) for h, number, salt in _PSS),
    Scheme(Kind.RSA_PKCS1, H.SHA2_256, bytes.fromhex("300d06092a864886f70d01010b0500")),
    Scheme(Kind.RSA_PKCS1, H.SHA2_384, bytes.fromhex("300d06092a864886f70d01010c0500")),
    Scheme(Kind.RSA_PKCS1, H.SHA2_512, bytes.fromhex("300d06092a864886f70d01010d0500")),
    Scheme(Kind.ECDSA, H.SHA2_256, bytes.fromhex("300a06082a8648ce3d040302")),
    Scheme(Kind.ECDSA, H.SHA2_384, bytes.fromhex("300a06082a8648ce3d040303")),
    Scheme(Kind.ECDSA, H.SHA2_512, bytes.fromhex("300a06082a8648ce3d040304")),
    Scheme(Kind.ED25519, H.IDENTITY, bytes.fromhex("300506032b6570")),
    Scheme(Kind.ED448, H.IDENTITY, bytes.fromhex("300506032b6571")),
)
"""What method 14 can do here, and how it is announced; RFC 7427 appendix A, RFC 8420 appendix A."""

BY_IDENTIFIER: dict[bytes, Scheme] = {scheme.identifier: scheme for scheme in SCHEMES} | {
    _pss(number, salt, null=null, trailer=trailer): scheme
    for (_, number, salt), scheme in zip(_PSS, SCHEMES, strict=False)
    for null in (True, False)
    for trailer in (True, False)
}

_CURVES = {"secp256r1": H.SHA2_256, "secp384r1": H.SHA2_384, "secp521r1": H.SHA2_512}
_OLD_ECDSA = {
    AuthMethod.ECDSA_256: ("secp256r1", H.SHA2_256, 32),
    AuthMethod.ECDSA_384: ("secp384r1", H.SHA2_384, 48),
    AuthMethod.ECDSA_521: ("secp521r1", H.SHA2_512, 66),
}
OLD_METHODS = frozenset({AuthMethod.RSA_SIGNATURE, *_OLD_ECDSA})


def describe(key: PublicKey) -> str:
    """``RSA 2048``, ``ECDSA secp256r1``, ``Ed25519``."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    return "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "Ed448"


def unfit(key: object) -> str:
    """Why a public key cannot be used here, "" if it can."""
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return f"an RSA key of {key.key_size} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are acceptable"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            return f"an elliptic curve that IKE does not use here, {key.curve.name}"
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return f"a kind of key that IKE does not sign with, {type(key).__name__}"
    return ""


def choose(key: PublicKey, announced: Collection[HashAlgorithm], rsa_padding: RsaPadding) -> Scheme | None:
    """How to sign for a peer that verifies with these hashes (RFC 7427 4); None where there is no way."""
    wanted: tuple[HashAlgorithm, ...]
    if isinstance(key, rsa.RSAPublicKey):
        kind, wanted = Kind.RSA_PKCS1 if rsa_padding == RsaPadding.PKCS1 else Kind.RSA_PSS, _SHA2
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind, wanted = Kind.ECDSA, (_CURVES[key.curve.name], *reversed(_SHA2))
    else:
        kind = Kind.ED25519 if isinstance(key, ed25519.Ed25519PublicKey) else Kind.ED448
        wanted = (H.IDENTITY,)
    hash_ = next((h for h in wanted if h in announced), None)
    return next((s for s in SCHEMES if s.kind == kind and s.hash == hash_), None)


def _padding(kind: Kind, hash_: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if kind == Kind.RSA_PKCS1:
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(hash_), padding.PSS.DIGEST_LENGTH)


def sign(key: PrivateKey, scheme: Scheme, data: bytes) -> bytes:
    """A signature of method 14."""
    if isinstance(key, rsa.RSAPrivateKey):
        hash_ = _HASHES[scheme.hash]
        return key.sign(data, _padding(scheme.kind, hash_), hash_)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(_HASHES[scheme.hash]))
    return key.sign(data)


def verify(key: PublicKey, scheme: Scheme, data: bytes, signature: bytes) -> bool:
    """Whether a signature of method 14 is right; False also where the scheme does not go with the key."""
    hash_ = _HASHES.get(scheme.hash)
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if scheme.kind not in (Kind.RSA_PKCS1, Kind.RSA_PSS) or hash_ is None:
                return False
            key.verify(signature, data, _padding(scheme.kind, hash_), hash_)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            if scheme.kind != Kind.ECDSA or hash_ is None:
                return False
            key.verify(signature, data, ec.ECDSA(hash_))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            if scheme.kind != Kind.ED25519:
                return False
            key.verify(signature, data)
        else:
            if scheme.kind != Kind.ED448:
                return False
            key.verify(signature, data)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


# -- old methods


def sign_old(key: PrivateKey, data: bytes, *, sha1: bool) -> tuple[AuthMethod, bytes] | None:
    """Method and signature for a peer without RFC 7427; None for keys that the old methods do not know."""
    if isinstance(key, rsa.RSAPrivateKey):
        hash_ = _HASHES[H.SHA1 if sha1 else H.SHA2_256]
        return AuthMethod.RSA_SIGNATURE, key.sign(data, padding.PKCS1v15(), hash_)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        for method, (curve, hash_number, size) in _OLD_ECDSA.items():
            if curve == key.curve.name:
                r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(_HASHES[hash_number])))
                return method, r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return None


def verify_old(key: PublicKey, method: AuthMethod, data: bytes, signature: bytes) -> Scheme | None:
    """How a signature of an old method was made, None if it is wrong. RSA does not say its hash: each is tried."""
    if method == AuthMethod.RSA_SIGNATURE:
        tried = [Scheme(Kind.RSA_PKCS1, h, b"") for h in (*_SHA2, H.SHA1)]
        fits = isinstance(key, rsa.RSAPublicKey)
        return next((s for s in tried if fits and verify(key, s, data, signature)), None)
    curve, hash_number, size = _OLD_ECDSA[method]
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != curve or len(signature) != 2 * size:
        return None
    halves = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
    scheme = Scheme(Kind.ECDSA, hash_number, b"")
    return scheme if verify(key, scheme, data, utils.encode_dss_signature(*halves)) else None
