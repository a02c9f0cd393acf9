"""Pre-shared keys as files have them -> octets. Raises ValueError, which never shows one."""

import base64
import binascii


def charon(text: str) -> bytes:
    """``0x`` hex, ``0s`` base64, or the text itself."""
    head, rest = text[:2].lower(), text[2:]
    if head == "0x":
        return _hex(rest)
    return _base64(rest) if head == "0s" else _text(text)


def quoted_or_not(text: str, *, quoted: bool) -> bytes:
    """ipsec.secrets: what stands in quotes is taken as it is; libreswan also has ``0t`` for text."""
    if quoted:
        return _text(text)
    return _text(text[2:]) if text[:2].lower() == "0t" else charon(text)


def _hex(digits: str) -> bytes:
    try:
        return _some(bytes.fromhex(digits.replace("_", "").replace(":", "")))
    except ValueError:
        raise ValueError("begins with 0x and is no hex") from None


def _base64(digits: str) -> bytes:
    try:
        return _some(base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True))
    except binascii.Error:
        raise ValueError("begins with 0s and is no base64") from None


def _text(text: str) -> bytes:
    return _some(text.encode())


def _some(key: bytes) -> bytes:
    if not key:
        raise ValueError("empty")
    return key
