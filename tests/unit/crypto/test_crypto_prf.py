"""PRFs: known answers of RFC 4231, and prf+ by its definition and by NIST's IKEv2 vectors (see keys)."""

from hmac import digest

import pytest

from xfrmctl.crypto.prf import prf, prf_key_length, prf_plus
from xfrmctl.model.iana import Prf

# RFC 4231 4.2 (key 20 x 0x0b), 4.3 ("Jefe"), 4.7 (a key longer than the block)
RFC4231 = [
    (
        Prf.HMAC_SHA2_256,
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        Prf.HMAC_SHA2_384,
        b"\x0b" * 20,
        b"Hi There",
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
    ),
    (
        Prf.HMAC_SHA2_512,
        b"\x0b" * 20,
        b"Hi There",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    ),
    (
        Prf.HMAC_SHA2_256,
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        Prf.HMAC_SHA2_256,
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]


@pytest.mark.rfc("4868", "2.1.2")
@pytest.mark.parametrize(("algorithm", "key", "data", "expected"), RFC4231)
def test_known_answers(algorithm: Prf, key: bytes, data: bytes, expected: str) -> None:
    assert prf(algorithm, key, data).hex() == expected
    assert prf_key_length(algorithm) == len(expected) // 2


@pytest.mark.rfc("7296", "2.13")
def test_prf_plus_chains_blocks() -> None:
    first = digest(b"key", b"seed\x01", "sha256")
    second = digest(b"key", first + b"seed\x02", "sha256")
    assert prf_plus(Prf.HMAC_SHA2_256, b"key", b"seed", 64) == first + second
    assert prf_plus(Prf.HMAC_SHA2_256, b"key", b"seed", 33) == first + second[:1]
    assert prf_plus(Prf.HMAC_SHA2_256, b"key", b"seed", 0) == b""


@pytest.mark.rfc("7296", "2.13")
def test_prf_plus_ends_at_255_blocks() -> None:
    assert len(prf_plus(Prf.HMAC_SHA2_256, b"k", b"s", 255 * 32)) == 255 * 32
    with pytest.raises(ValueError, match="cannot make"):
        prf_plus(Prf.HMAC_SHA2_256, b"k", b"s", 255 * 32 + 1)


@pytest.mark.rfc("7296", "1.7")
@pytest.mark.rfc("7296", "5")
def test_weak_prfs_are_not_there() -> None:
    with pytest.raises(KeyError):
        prf(Prf.HMAC_MD5, b"k", b"d")
