"""Tokens of quick crash detection (RFC 6290 5.1): made from a secret and the SPIs, so that none need be remembered.

Whoever has the secret can make the token of every IKE SA again after a crash; nobody else can make any.
"""

import hmac
from hashlib import sha256

SECRET_LEN = 32
"""Octets of the secret."""

TOKEN_LEN = 16
"""Octets of our tokens; others may have 16 to 128 (RFC 6290 3). Short, for the answer to a stranger is to be short."""

TOKEN_RANGE = range(16, 129)

_LABEL = b"xfrmctl QCD token 1"


def qcd_token(secret: bytes, spi_i: bytes, spi_r: bytes) -> bytes:
    """The token of the IKE SA with these SPIs of 8 octets each."""
    return hmac.digest(secret, _LABEL + spi_i + spi_r, sha256)[:TOKEN_LEN]


def same_token(known: bytes, presented: bytes) -> bool:
    """Whether two tokens are the same, in constant time."""
    return hmac.compare_digest(known, presented)
