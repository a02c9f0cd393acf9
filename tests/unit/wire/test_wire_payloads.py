"""Every payload both ways, and what each refuses."""

import pytest

from xfrmctl.model.iana import (
    AuthMethod,
    IdType,
    KeGroup,
    NotifyType,
    PayloadType,
    ProtocolId,
)
from xfrmctl.model.identity import Identity, parse_identity
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.payloads import Auth, Delete, Id, KeyExchange, Nonce, Notify, Unknown, Vendor
from xfrmctl.wire.payloads.identification import parse_idi, parse_idr

FRAME = b"\xee" * 3


def framed(body: bytes) -> tuple[bytes, int, int]:
    """A body in the middle of other octets, and its bounds."""
    return FRAME + body + FRAME, len(FRAME), len(FRAME) + len(body)


@pytest.mark.rfc("7296", "3.4")
def test_ke() -> None:
    payload = KeyExchange(KeGroup.X25519, b"k" * 32)
    assert payload.encode() == b"\0\x1f\0\0" + b"k" * 32
    assert KeyExchange.parse(*framed(payload.encode())) == payload
    assert KeyExchange.parse(*framed(b"\x99\x99\xff\xffdata")).group.name == "UNKNOWN_39321"
    for size in range(4):
        with pytest.raises(WireError, match="short"):
            KeyExchange.parse(*framed(bytes(size)))


@pytest.mark.rfc("7296", "3.9")
@pytest.mark.rfc("7296", "2.10")
def test_nonce_has_16_to_256_octets() -> None:
    for size in (16, 32, 256):
        assert Nonce.parse(*framed(b"n" * size)) == Nonce(b"n" * size)
        assert Nonce(b"n" * size).encode() == b"n" * size
    for size in (0, 15, 257):
        with pytest.raises(WireError, match="bad_length"):
            Nonce.parse(*framed(bytes(size)))


@pytest.mark.rfc("7296", "3.8")
def test_auth() -> None:
    payload = Auth(AuthMethod.SHARED_KEY_MIC, b"mac")
    assert payload.encode() == b"\x02\0\0\0mac"
    assert Auth.parse(*framed(b"\x02\xff\xff\xffmac")) == payload
    with pytest.raises(WireError, match="short"):
        Auth.parse(*framed(b"\x02\0\0"))


@pytest.mark.rfc("7296", "3.5")
def test_id() -> None:
    identity = parse_identity("fqdn:moon.example.org")
    for kind, parse, name in ((PayloadType.IDI, parse_idi, "IDi"), (PayloadType.IDR, parse_idr, "IDr")):
        payload = Id(kind, identity)
        assert payload.encode() == b"\x02\0\0\0moon.example.org"
        assert parse(*framed(payload.encode())) == payload
        assert (payload.name, payload.payload_type) == (name, kind)
    assert parse_idi(*framed(b"\x01\0\0\0\xac\x10\x01\x01")).identity == parse_identity("172.16.1.1")
    with pytest.raises(WireError, match="short"):
        parse_idi(*framed(b"\x02\0\0"))


@pytest.mark.rfc("7296", "2.15")
def test_id_body_keeps_reserved_octets_for_auth() -> None:
    body = b"\x02\x01\x02\x03moon"
    payload = parse_idi(*framed(body))
    assert payload.identity == Identity(IdType.FQDN, b"moon")
    assert payload.body == body
    assert payload.encode() == body


@pytest.mark.rfc("7296", "3.10")
def test_notify() -> None:
    rekey = Notify(NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=b"\xc1\xc2\xc3\xc4")
    assert rekey.encode() == b"\x03\x04\x40\x09\xc1\xc2\xc3\xc4"
    assert Notify.parse(*framed(rekey.encode())) == rekey
    cookie = Notify(NotifyType.COOKIE, b"cookie")
    assert cookie.encode() == b"\0\0\x40\x06cookie"
    assert Notify.parse(*framed(cookie.encode())) == cookie
    assert cookie.name == "N(COOKIE)"
    assert Notify.parse(*framed(b"\0\0\x9c\x40")).name == "N(UNKNOWN_40000)"
    for wrong in (b"", b"\0\0\x40", b"\x03\x04\x40\x09\xc1\xc2\xc3", b"\0\xff\x40\x06cookie"):
        with pytest.raises(WireError):
            Notify.parse(*framed(wrong))


@pytest.mark.rfc("7296", "3.11")
def test_delete() -> None:
    ike = Delete(ProtocolId.IKE)
    assert ike.encode() == b"\x01\0\0\0"
    assert Delete.parse(*framed(ike.encode())) == ike
    assert Delete.parse(*framed(b"\x01\0\0\x01")) == ike
    esp = Delete(ProtocolId.ESP, (b"\xc1\xc2\xc3\xc4", b"\xc5\xc6\xc7\xc8"))
    assert esp.encode() == b"\x03\x04\0\x02\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8"
    assert Delete.parse(*framed(esp.encode())) == esp


@pytest.mark.rfc("7296", "3.11")
@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\x03\x04\0",
        b"\x03\x04\0\x02\xc1\xc2\xc3\xc4",
        b"\x03\x04\0\x01\xc1\xc2\xc3\xc4\0",
        b"\x03\x08\0\x01" + bytes(8),
        b"\x03\0\xff\xff",
        b"\x01\x08\0\x01" + bytes(8),
        b"\x01\0\0\0\0",
    ],
)
def test_delete_refuses(wrong: bytes) -> None:
    with pytest.raises(WireError):
        Delete.parse(*framed(wrong))


def test_vendor_and_unknown() -> None:
    assert Vendor.parse(*framed(b"mark")) == Vendor(b"mark")
    assert Vendor(b"mark").encode() == b"mark"
    assert Unknown(48, False, b"x").name == "EAP"
    assert Unknown(48, False, b"x").payload_type == PayloadType.EAP
    assert Unknown(99, True, b"x").name == "P(99)"


def test_secrets_do_not_show() -> None:
    for payload in (KeyExchange(KeGroup.X25519, b"SECRET"), Nonce(b"SECRET"), Notify(NotifyType.COOKIE, b"SECRET")):
        assert "SECRET" not in repr(payload)
    assert "SECRET" not in repr(Auth(AuthMethod.SHARED_KEY_MIC, b"SECRET"))
