"""Names of the kernel's crypto API are read as the suites that they are."""

import pytest

from xfrmctl.kernel.netlink.algorithms import Sized, spelled


def name(text: str) -> bytes:
    return text.encode().ljust(64, b"\0")


@pytest.mark.parametrize(
    ("aead", "crypt", "auth", "suite"),
    [
        ((name("rfc4106(gcm(aes))"), 288, 128), None, None, "aes256gcm16-noesn"),
        ((name("rfc4106(gcm(aes))"), 160, 128), None, None, "aes128gcm16-noesn"),
        ((name("rfc7539esp(chacha20,poly1305)"), 288, 128), None, None, "chacha20poly1305-noesn"),
        (None, (name("cbc(aes)"), 256), (name("hmac(sha512)"), 512, 256), "aes256-sha512-noesn"),
        (None, (name("cbc(des3_ede)"), 192), (name("hmac(md5)"), 128, 96), "3des-md5-noesn"),
        ((name("rfc4106(gcm(aes))"), 160, 64), None, None, None),
        (None, (name("cbc(twofish)"), 256), (name("hmac(sha256)"), 256, 128), None),
        (None, (name("cbc(aes)"), 256), (name("hmac(sha256)"), 256, 96), None),
        (None, None, None, None),
    ],
)
def test_esp(aead: Sized | None, crypt: tuple[bytes, int] | None, auth: Sized | None, suite: str | None) -> None:
    words, found = spelled(aead=aead, crypt=crypt, auth=auth, ah=False)
    assert (None if found is None else str(found)) == suite
    assert all(part[0].rstrip(b"\0").decode() in words for part in (aead, crypt, auth) if part is not None)


def test_ah() -> None:
    _, found = spelled(aead=None, crypt=None, auth=(name("hmac(sha256)"), 256, 128), ah=True)
    assert found is not None and str(found) == "ah-sha256-noesn"
