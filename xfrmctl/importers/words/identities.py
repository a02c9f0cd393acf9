"""Identities: how the other daemons tell their kinds, and how ours are spelled. Raises ValueError with the reason."""

import re
from ipaddress import ip_address

from xfrmctl.crypto.certificate import parse_name

ANY = "any"
NOBODY = "fqdn:decide.invalid"
"""Written for a peer whose identity cannot be: nobody has it (RFC 6761 6.4), so nobody gets in by mistake."""

_NOTHING = ("", "%any", "%any4", "%any6", "0.0.0.0", "::", "*", "any")
_SLASHED = re.compile(r"(?:^|(?<=[^/]))/(?=\s*[A-Za-z][\w.]*=)")
_PREFIXES = {
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "rfc822": "email",
    "email": "email",
    "userfqdn": "email",
    "fqdn": "fqdn",
    "dns": "fqdn",
    "asn1dn": "dn",
    "keyid": "keyid",
}


def charon(text: str) -> str:
    """strongSwan's rules: a prefix, or what it looks like; ``@`` keeps a name from being taken for an address."""
    text = text.strip()
    if text in _NOTHING:
        return ANY
    kind, colon, rest = text.partition(":")
    if colon and kind.lower() in _PREFIXES:
        return _prefixed(_PREFIXES[kind.lower()], rest)
    if "=" in text:
        return _name(text)
    if "@" in text:
        if text.startswith("@@"):
            return _plain("email", text[2:])
        if text.startswith("@#"):
            return _hex("keyid", text[2:])
        return _plain("fqdn", text[1:]) if text.startswith("@") else _plain("email", text)
    try:
        return str(ip_address(text))
    except ValueError:
        return _plain("keyid" if ":" in text else "fqdn", text)


def pluto(text: str) -> str:
    """libreswan's: ``@name``, ``@[keyid]``, ``@#hex``, an address, a distinguished name."""
    text = text.strip()
    if text in _NOTHING:
        return ANY
    if text.startswith("%"):
        raise ValueError(f"{text} is made from something else at run time")
    if text.startswith("@["):
        return _plain("keyid", text[2:].removesuffix("]"))
    if text.startswith("@~"):
        return _hex("dn", text[2:])
    if not text.startswith("@") and "=" not in text and "@" not in text:
        try:
            return str(ip_address(text))
        except ValueError:
            raise ValueError("libreswan looks this name up and takes the address for the identity") from None
    return charon(text)


def _prefixed(kind: str, rest: str) -> str:
    if rest.startswith("#"):
        return _hex(kind, rest[1:])
    if kind == "dn":
        return _name(rest)
    if kind in ("ipv4", "ipv6"):
        raise ValueError("with a prefix, strongSwan takes an address for its bare text")
    return _plain(kind, rest)


def _hex(kind: str, digits: str) -> str:
    try:
        data = bytes.fromhex(digits.replace(":", "").removeprefix("0x"))
    except ValueError:
        raise ValueError("no hex behind the #") from None
    if kind in ("ipv4", "ipv6") and len(data) in (4, 16):
        return str(ip_address(data))
    if kind == "dn":
        raise ValueError("a distinguished name in hex; write it as text")
    try:
        return _plain(kind, data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("binary identities cannot be written here") from None


def _plain(kind: str, text: str) -> str:
    if not text or not text.isprintable() or (kind != "keyid" and not text.isascii()):
        raise ValueError("empty, or with characters that identities have not")
    if "*" in text and kind != "keyid" and (not text.startswith("*") or "*" in text[1:]):
        raise ValueError("one * at the beginning is all there may be")
    return f"{kind}:{text}"


def _name(text: str) -> str:
    """``C=CH, O=strongSwan, CN=moon``, also with ``/`` between; our spelling is RFC 4514's."""
    if text.startswith("/") or ("," not in text and _SLASHED.search(text)):
        text = ", ".join(part.strip().replace(",", "\\,") for part in _SLASHED.split(text) if part.strip())
    text = re.sub(r"\b(?:E|emailAddress|Email)=", "1.2.840.113549.1.9.1=", text)
    try:
        parse_name(text)
    except ValueError:
        raise ValueError("no distinguished name") from None
    return f"dn:{text}"
