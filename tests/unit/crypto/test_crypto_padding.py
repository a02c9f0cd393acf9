"""Padding and initialization vectors of SK in CBC mode (RFC 7296 3.14), read as a stranger may write them."""

from hmac import digest

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.crypto.protect import IntegrityError, Protection
from xfrmctl.model.iana import Encr, Integ, KeGroup, Prf, ProtocolId
from xfrmctl.model.suite import Suite

SUITE = Suite(ProtocolId.IKE, Encr.AES_CBC, 256, Integ.HMAC_SHA2_256_128, Prf.HMAC_SHA2_256, KeGroup.X25519)
KEY, INTEGRITY = bytes(range(32)), b"i" * 32
HEAD = bytes.fromhex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000000029000000")
BODY = 32


def written(plaintext: bytes, padding: bytes, pad_length: int, iv: bytes) -> bytes:
    padded = plaintext + padding + bytes([pad_length])
    encryptor = Cipher(AES(KEY), CBC(iv)).encryptor()
    covered = HEAD + iv + encryptor.update(padded) + encryptor.finalize()
    return covered + digest(INTEGRITY, covered, "sha256")[:16]


@pytest.mark.rfc("7296", "3.14")
@pytest.mark.parametrize("iv", [bytes(16), b"\xff" * 16, bytes(range(16))])
@pytest.mark.parametrize("blocks", range(16))
def test_any_aligned_padding_of_any_content_and_any_iv_is_read(blocks: int, iv: bytes) -> None:
    plaintext = b"nine octs"
    size = 6 + 16 * blocks
    padding = bytes(range(100, 100 + size))[:size] if size <= 100 else b"\xa5" * size
    data = written(plaintext, padding, size, iv)
    assert Protection(SUITE, KEY, INTEGRITY).open(data, BODY) == plaintext


@pytest.mark.rfc("7296", "3.14")
@pytest.mark.parametrize("pad_length", [16, 17, 200, 255])
def test_padding_longer_than_the_message_is_not(pad_length: int) -> None:
    data = written(b"nine octs", bytes(6), pad_length, bytes(16))
    with pytest.raises(IntegrityError, match="padding"):
        Protection(SUITE, KEY, INTEGRITY).open(data, BODY)


@pytest.mark.rfc("7296", "3.14")
@pytest.mark.parametrize("size", range(48))
def test_our_padding_aligns_and_is_the_shortest(size: int) -> None:
    data = Protection(SUITE, KEY, INTEGRITY).seal(HEAD[:28], 41, bytes(size), DeterministicEntropy(b"p"))
    sealed = len(data) - BODY - 16 - 16
    assert sealed % 16 == 0
    assert size < sealed <= size + 16


@pytest.mark.rfc("7296", "3.14")
def test_every_message_has_an_iv_of_its_own_drawn_from_entropy() -> None:
    drawn: list[bytes] = []
    source = DeterministicEntropy(b"iv")

    def entropy(size: int) -> bytes:
        drawn.append(source(size))
        return drawn[-1]

    sealer = Protection(SUITE, KEY, INTEGRITY)
    ivs = [sealer.seal(HEAD[:28], 41, b"same", entropy)[BODY : BODY + 16] for _ in range(200)]
    assert ivs == drawn
    assert len(set(ivs)) == 200


@pytest.mark.rfc("7296", "3.14")
def test_the_checksum_covers_ciphertext_from_the_header_on() -> None:
    data = bytearray(written(b"nine octs", bytes(6), 6, bytes(16)))
    assert Protection(SUITE, KEY, INTEGRITY).open(bytes(data), BODY) == b"nine octs"
    for at in range(len(data)):
        data[at] ^= 1
        with pytest.raises(IntegrityError, match="integrity"):
            Protection(SUITE, KEY, INTEGRITY).open(bytes(data), BODY)
        data[at] ^= 1
