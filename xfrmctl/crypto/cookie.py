"""Cookies, RFC 7296 2.6: an initiator proves that it can receive before we keep any state for it.

Cookie = version octet | HMAC-SHA-256(secret, Ni, IPi, SPIi): 33 octets, of the 64 allowed. The secret
changes every ``lifetime_s`` seconds; the one before still counts, so that a cookie lives for one to two
lifetimes. The version octet says which of the two to try. Secrets change when the jar is used: no timer, no
state per peer.
"""

from hmac import compare_digest, digest

from xfrmctl.crypto.entropy import Entropy

LIFETIME_S = 120.0
"""Seconds between two secrets."""

_SECRET_LEN = 32


class CookieJar:
    """Makes and checks cookies. ``now`` is monotonic seconds and never decreases."""

    __slots__ = ("_changed_at", "_current", "_entropy", "_lifetime_s", "_previous", "_version")

    def __init__(self, entropy: Entropy, lifetime_s: float = LIFETIME_S) -> None:
        self._entropy = entropy
        self._lifetime_s = lifetime_s
        self._version = 0
        self._current = entropy(_SECRET_LEN)
        self._previous = b""
        self._changed_at: float | None = None

    def make(self, now: float, nonce: bytes, address: bytes, spi_i: bytes) -> bytes:
        """The cookie for an IKE_SA_INIT request: Ni data, packed source address (4 or 16 octets), SPI."""
        self._rotate(now)
        return bytes((self._version,)) + _mac(self._current, nonce, address, spi_i)

    def check(self, now: float, cookie: bytes, nonce: bytes, address: bytes, spi_i: bytes) -> bool:
        """Whether we made the cookie for this nonce, address and SPI, two lifetimes ago at most."""
        self._rotate(now)
        version = cookie[:1]
        if version == bytes((self._version,)):
            secret = self._current
        elif self._previous and version == bytes((self._version - 1 & 0xFF,)):
            secret = self._previous
        else:
            return False
        return compare_digest(_mac(secret, nonce, address, spi_i), cookie[1:])

    def _rotate(self, now: float) -> None:
        if self._changed_at is None:
            self._changed_at = now
        age_s = now - self._changed_at
        if age_s < self._lifetime_s:
            return
        recent = age_s < 2 * self._lifetime_s
        self._previous = self._current if recent else b""
        self._current = self._entropy(_SECRET_LEN)
        self._version = self._version + 1 & 0xFF
        self._changed_at = self._changed_at + self._lifetime_s if recent else now


def _mac(secret: bytes, nonce: bytes, address: bytes, spi_i: bytes) -> bytes:
    """SPI first, and the address with its length: no two inputs spell the same octets."""
    return digest(secret, b"".join((spi_i, bytes((len(address),)), address, nonce)), "sha256")
