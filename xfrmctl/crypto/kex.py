"""Key exchange methods, RFC 7296 3.4: X25519 (RFC 8031), ECP (RFC 5903), MODP (RFC 3526, see ``modp``).

ECP public values are x || y without the 0x04 of SEC 1, the shared secret is x alone (RFC 5903 7, 9).
Private values of X25519 and ECP come from the injected entropy; those of MODP from the library. A peer's
value that has the wrong length, is not on the curve, or leads to the all-zero secret of X25519 raises
KeyExchangeError.
"""

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xfrmctl.crypto.entropy import Entropy
from xfrmctl.crypto.modp import PRIMES, KeyExchangeError, ModpKey
from xfrmctl.model.iana import KeGroup

__all__ = ["SUPPORTED", "KeyExchangeError", "PrivateKe", "generate"]


class PrivateKe(Protocol):
    """Our half of one key exchange."""

    @property
    def group(self) -> KeGroup:
        """The method."""
        ...

    @property
    def public(self) -> bytes:
        """What goes into our KE payload."""
        ...

    def shared(self, peer_public: bytes) -> bytes:
        """The shared secret g^ir with the peer's KE data; KeyExchangeError if that is unusable."""
        ...


class _X25519:
    __slots__ = ("_key", "group", "public")

    def __init__(self, group: KeGroup, entropy: Entropy) -> None:
        self._key = X25519PrivateKey.from_private_bytes(entropy(32))
        self.group = group
        self.public = self._key.public_key().public_bytes_raw()

    def shared(self, peer_public: bytes) -> bytes:
        """The secret; the library itself refuses the all-zero one (RFC 8031 2, RFC 7748 6.1)."""
        if len(peer_public) != 32:
            raise KeyExchangeError(f"X25519: public value of {len(peer_public)} octets, not 32")
        try:
            secret = self._key.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError as error:
            raise KeyExchangeError("X25519: public value of small order") from error
        if not any(secret):
            raise KeyExchangeError("X25519: all-zero secret")
        return secret


_ECDH = ECDH()
_TRIES = 64

_CURVES: dict[KeGroup, tuple[EllipticCurve, int]] = {
    KeGroup.ECP_256: (
        SECP256R1(),
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    ),
    KeGroup.ECP_384: (
        SECP384R1(),
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    ),
    KeGroup.ECP_521: (
        SECP521R1(),
        0x01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,
    ),
}
"""Curve and order of its base point, RFC 5903 3."""


def _private_scalar(order: int, entropy: Entropy) -> int:
    """A scalar in [1, order) by rejection sampling (FIPS 186-5 A.2.2); rejections are rare."""
    bits = order.bit_length()
    for _ in range(_TRIES):
        scalar = int.from_bytes(entropy((bits + 7) // 8), "big") & ((1 << bits) - 1)
        if 0 < scalar < order:
            return scalar
    raise ValueError("the entropy source is broken")


class _Ecp:
    __slots__ = ("_curve", "_key", "group", "public")

    def __init__(self, group: KeGroup, entropy: Entropy) -> None:
        self._curve, order = _CURVES[group]
        self._key = derive_private_key(_private_scalar(order, entropy), self._curve)
        self.group = group
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public = point[1:]

    def shared(self, peer_public: bytes) -> bytes:
        """The x coordinate of the shared point."""
        if len(peer_public) != len(self.public):
            name, size = self.group.name, len(self.public)
            raise KeyExchangeError(f"{name}: public value of {len(peer_public)} octets, not {size}")
        try:
            peer = EllipticCurvePublicKey.from_encoded_point(self._curve, b"\x04" + peer_public)
            return self._key.exchange(_ECDH, peer)
        except ValueError as error:
            raise KeyExchangeError(f"{self.group.name}: public value is no point of the curve") from error


SUPPORTED: frozenset[KeGroup] = frozenset((KeGroup.X25519, *_CURVES, *PRIMES))
"""Methods that :func:`generate` knows."""


def generate(group: KeGroup, entropy: Entropy) -> PrivateKe:
    """A fresh private value of a method; ValueError for one that is not in SUPPORTED."""
    if group == KeGroup.X25519:
        return _X25519(group, entropy)
    if group in _CURVES:
        return _Ecp(group, entropy)
    if group in PRIMES:
        return ModpKey(group)
    raise ValueError(f"key exchange method {group.name} is not supported")
