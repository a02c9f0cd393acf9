"""Algorithms by the names of the kernel's crypto API -> suites of ours, for SAs that others have installed.

Sizes are all that is wanted of them; what is not in our tables has a name and no suite.
"""

from xfrmctl.model.iana import Encr, Integ, ProtocolId
from xfrmctl.model.suite import Suite

Sized = tuple[bytes, int, int]
"""Name, key bits, ICV bits."""

_AEAD = {
    ("rfc4106(gcm(aes))", 128): (Encr.AES_GCM_16, 32),
    ("rfc7539esp(chacha20,poly1305)", 128): (Encr.CHACHA20_POLY1305, 32),
}
"""With the bits of salt at the end of the key."""
_CRYPT = {"cbc(aes)": Encr.AES_CBC, "cbc(des3_ede)": Encr.DES3, "ecb(cipher_null)": Encr.NULL}
_AUTH = {
    ("hmac(sha256)", 128): Integ.HMAC_SHA2_256_128,
    ("hmac(sha384)", 192): Integ.HMAC_SHA2_384_192,
    ("hmac(sha512)", 256): Integ.HMAC_SHA2_512_256,
    ("hmac(sha1)", 96): Integ.HMAC_SHA1_96,
    ("hmac(md5)", 96): Integ.HMAC_MD5_96,
}


def spelled(
    *, aead: Sized | None, crypt: tuple[bytes, int] | None, auth: Sized | None, ah: bool
) -> tuple[str, Suite | None]:
    """The kernel's words, and the suite where we know its sizes."""
    integ = None
    words = []
    if auth is not None:
        words.append(f"auth-trunc {_text(auth[0])} {auth[2]}")
        integ = _AUTH.get((_text(auth[0]), auth[2]))
    if aead is not None:
        words.append(f"aead {_text(aead[0])} {aead[2]}")
        known = _AEAD.get((_text(aead[0]), aead[2]))
        suite = None if known is None else Suite(ProtocolId.ESP, known[0], aead[1] - known[1])
        return " ".join(words), suite
    if crypt is not None:
        words.append(f"enc {_text(crypt[0])}")
    encr = _CRYPT.get(_text(crypt[0])) if crypt is not None else None
    if ah:
        return " ".join(words), None if integ is None else Suite(ProtocolId.AH, Encr.NULL, 0, integ)
    if encr is None or crypt is None or integ is None:
        return " ".join(words), None
    return " ".join(words), Suite(ProtocolId.ESP, encr, crypt[1], integ)


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
