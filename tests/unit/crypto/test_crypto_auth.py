"""Shared-key authentication, cookies, NAT detection, deterministic entropy."""

from hashlib import sha1
from hmac import digest
from typing import Any

import pytest

from tests.vectors import cases
from xfrmctl.crypto.auth import psk_auth, psk_verify, signed_octets
from xfrmctl.crypto.cookie import CookieJar
from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.crypto.natd import nat_detection_hash
from xfrmctl.model.iana import Prf

SHA256 = Prf.HMAC_SHA2_256
ID = b"\x02\0\0\0moon.example.org"
SPI = b"12345678"
NONCE = bytes(32)
ADDRESS = bytes((192, 0, 2, 1))


@pytest.mark.rfc("7296", "2.15")
def test_psk_auth_is_the_formula_of_the_rfc() -> None:
    octets = b"message" + b"nonce" + digest(b"sk_p", ID, "sha256")
    key = digest(b"secret", b"Key Pad for IKEv2", "sha256")
    assert signed_octets(SHA256, b"message", b"nonce", b"sk_p", ID) == octets
    assert psk_auth(SHA256, b"secret", b"message", b"nonce", b"sk_p", ID) == digest(key, octets, "sha256")


@pytest.mark.rfc("7296", "2.15")
def test_psk_verify() -> None:
    good = (b"secret", b"message", b"nonce", b"sk_p", ID)
    proof = psk_auth(SHA256, *good)
    assert psk_verify(SHA256, *good, proof)
    assert not psk_verify(SHA256, *good, proof[:-1])
    assert not psk_verify(SHA256, *good, b"")
    for at in range(len(good)):
        bad = [*good]
        bad[at] += b"x"
        assert not psk_verify(SHA256, bad[0], bad[1], bad[2], bad[3], bad[4], proof)


@pytest.mark.rfc("7296", "2.6")
def test_cookie_is_bound_to_what_it_was_made_for() -> None:
    jar = CookieJar(DeterministicEntropy(b"jar"))
    cookie = jar.make(0.0, NONCE, ADDRESS, SPI)
    assert 1 <= len(cookie) <= 64
    assert jar.check(1.0, cookie, NONCE, ADDRESS, SPI)
    assert not jar.check(1.0, cookie, NONCE + b"\0", ADDRESS, SPI)
    assert not jar.check(1.0, cookie, NONCE, bytes((192, 0, 2, 2)), SPI)
    assert not jar.check(1.0, cookie, NONCE, ADDRESS, b"87654321")
    assert not CookieJar(DeterministicEntropy(b"other")).check(1.0, cookie, NONCE, ADDRESS, SPI)


@pytest.mark.rfc("7296", "2.6")
def test_cookie_of_any_shape_is_only_wrong() -> None:
    jar = CookieJar(DeterministicEntropy(b"jar"))
    cookie = jar.make(0.0, NONCE, ADDRESS, SPI)
    for wrong in (b"", b"\0", cookie[:-1], cookie + b"\0", b"\xff" + cookie[1:], b"\x01" * 64):
        assert not jar.check(0.0, wrong, NONCE, ADDRESS, SPI)


@pytest.mark.rfc("7296", "2.6")
def test_secret_rotates_and_the_last_one_still_counts() -> None:
    jar = CookieJar(DeterministicEntropy(b"jar"), lifetime_s=120.0)
    first = jar.make(1000.0, NONCE, ADDRESS, SPI)
    assert jar.make(1119.0, NONCE, ADDRESS, SPI) == first
    second = jar.make(1120.0, NONCE, ADDRESS, SPI)
    assert second[0] != first[0]
    assert jar.check(1239.0, first, NONCE, ADDRESS, SPI)
    assert jar.check(1240.0, second, NONCE, ADDRESS, SPI)
    assert not jar.check(1240.0, first, NONCE, ADDRESS, SPI)


@pytest.mark.rfc("7296", "2.6")
def test_idle_jar_does_not_stretch_lives() -> None:
    jar = CookieJar(DeterministicEntropy(b"jar"), lifetime_s=120.0)
    first = jar.make(0.0, NONCE, ADDRESS, SPI)
    assert jar.check(239.0, first, NONCE, ADDRESS, SPI)
    assert not jar.check(240.0, first, NONCE, ADDRESS, SPI)
    second = jar.make(240.0, NONCE, ADDRESS, SPI)
    assert not jar.check(1000.0, second, NONCE, ADDRESS, SPI)


def test_versions_wrap() -> None:
    jar = CookieJar(DeterministicEntropy(b"jar"), lifetime_s=1.0)
    for second in range(600):
        cookie = jar.make(float(second), NONCE, ADDRESS, SPI)
        assert jar.check(second + 1.0, cookie, NONCE, ADDRESS, SPI)


@pytest.mark.rfc("7296", "2.23")
def test_nat_detection_hash() -> None:
    expected = sha1(b"IIIIIIIIRRRRRRRR" + ADDRESS + b"\x01\xf4").digest()
    assert nat_detection_hash(b"I" * 8, b"R" * 8, ADDRESS, 500) == expected
    assert nat_detection_hash(b"I" * 8, b"R" * 8, ADDRESS, 4500) != expected
    assert len(nat_detection_hash(b"I" * 8, bytes(8), bytes(16), 65535)) == 20


@pytest.mark.rfc("7296", "2.23")
@cases("nat_detection")
def test_nat_detection_hash_is_that_of_another_daemon(case: dict[str, Any]) -> None:
    assert nat_detection_hash(case["spi_i"], case["spi_r"], case["address"], case["port"]) == case["hash"]


def test_deterministic_entropy() -> None:
    one, same, other = (DeterministicEntropy(seed) for seed in (b"a", b"a", b"b"))
    drawn = [one(16), one(16)]
    assert drawn == [same(16), same(16)]
    assert drawn[0] != drawn[1]
    assert other(16) not in drawn
    assert [len(one(size)) for size in (0, 1, 256)] == [0, 1, 256]
