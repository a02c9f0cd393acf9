"""Raw public keys in configurations -> PEM. Raises ValueError."""

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

MAX_BYTES = 4096


def public_key(text: str) -> bytes:
    """``0s…`` or ``0x…``: an RSA key of RFC 3110 (libreswan, ``dns:``), or DER (strongSwan)."""
    digits = "".join(text.removeprefix("dns:").split())
    try:
        data = bytes.fromhex(digits[2:]) if digits[:2].lower() == "0x" else base64.b64decode(digits[2:], validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("neither hex after 0x nor base64 after 0s") from None
    if not 16 < len(data) <= MAX_BYTES or digits[:2].lower() not in ("0x", "0s"):
        raise ValueError("no public key")
    if not text.startswith("dns:") and data[:1] == b"\x30":
        try:
            return load_der_public_key(data).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        except (ValueError, UnsupportedAlgorithm):
            pass
    return _rfc3110(data)


def _rfc3110(data: bytes) -> bytes:
    """The length of the exponent in one octet, or three that begin with 0; exponent; modulus."""
    length, rest = (data[0], data[1:]) if data[0] else (int.from_bytes(data[1:3], "big"), data[3:])
    exponent, modulus = int.from_bytes(rest[:length], "big"), int.from_bytes(rest[length:], "big")
    try:
        key = RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise ValueError("no RSA key of RFC 3110") from None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
