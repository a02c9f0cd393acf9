"""SK payloads: the example of RFC 7634, SP 800-38A for AES-CBC, an independent AES-GCM reading, and tampering."""

from hmac import digest
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tests.vectors import cases
from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.crypto.protect import IntegrityError, Protection
from xfrmctl.model.algorithms import INTEG
from xfrmctl.model.iana import Encr, Integ, KeGroup, Prf, ProtocolId
from xfrmctl.model.suite import Suite

GOLDEN = Path(__file__).parents[2] / "golden"
ENTROPY = DeterministicEntropy(b"protect")
HEADER = bytes.fromhex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e2025000000000900000000")
BODY = 32


def ike(encr: Encr, bits: int, integ: Integ | None = None) -> Suite:
    return Suite(ProtocolId.IKE, encr, bits, integ, Prf.HMAC_SHA2_256, KeGroup.X25519)


GCM = ike(Encr.AES_GCM_16, 256)
CHACHA = ike(Encr.CHACHA20_POLY1305, 256)
SUITES = [
    GCM,
    ike(Encr.AES_GCM_16, 128),
    CHACHA,
    ike(Encr.AES_CBC, 256, Integ.HMAC_SHA2_256_128),
    ike(Encr.AES_CBC, 192, Integ.HMAC_SHA2_384_192),
    ike(Encr.AES_CBC, 128, Integ.HMAC_SHA2_512_256),
]


def pair(suite: Suite) -> tuple[Protection, Protection]:
    encryption = bytes(range(suite.key_bits // 8 + suite.encr_facts.salt))
    integrity = b"i" * (suite.integ_facts.key if suite.integ_facts else 0)
    return Protection(suite, encryption, integrity), Protection(suite, encryption, integrity)


@pytest.mark.rfc("7634", "B")
def test_rfc_7634_example_both_ways() -> None:
    lines = (GOLDEN / "rfc7634_informational.hex").read_text().splitlines()[1:]
    datagram = bytes.fromhex("".join(lines))
    key = bytes(range(0x80, 0xA0)) + bytes.fromhex("a0a1a2a3")
    plaintext = bytes.fromhex("0000000c000040010000000a")
    assert Protection(CHACHA, key, b"").open(datagram, BODY) == plaintext
    sealer = Protection(CHACHA, key, b"", counter=0x1011121314151617)
    assert sealer.seal(HEADER, 41, plaintext, ENTROPY) == datagram


@pytest.mark.rfc("5282", "5.1")
def test_gcm_covers_header_and_sk_header_and_salts_the_nonce() -> None:
    sealer, _ = pair(GCM)
    datagram = sealer.seal(HEADER, 41, b"payloads", ENTROPY)
    key = bytes(range(36))
    opened = AESGCM(key[:32]).decrypt(key[32:] + datagram[32:40], datagram[40:], datagram[:32])
    assert opened == b"payloads\0"
    assert int.from_bytes(datagram[24:28], "big") == len(datagram)
    assert datagram[28:32] == bytes((41, 0)) + (len(datagram) - 28).to_bytes(2, "big")


@cases("aead")
def test_aead_known_answers(case: dict[str, Any]) -> None:
    """The ciphers themselves; the tests around this one say what is their key, salt, nonce and associated data."""
    key, nonce, associated = case["key"], case["salt"] + case["iv"], case["associated"]
    cipher = AESGCM(key) if case["cipher"] == "AES_GCM_16" else ChaCha20Poly1305(key)
    assert cipher.encrypt(nonce, case["plaintext"], associated) == case["output"]
    assert cipher.decrypt(nonce, case["output"], associated) == case["plaintext"]


@pytest.mark.rfc("7296", "3.14")
@cases("aes_cbc")
def test_cbc_known_answers(case: dict[str, Any]) -> None:
    key, iv, plaintext, expected = case["key"], case["iv"], case["plaintext"], case["output"]
    suite = ike(Encr.AES_CBC, len(key) * 8, Integ.HMAC_SHA2_256_128)
    datagram = Protection(suite, key, b"i" * 32).seal(HEADER, 33, plaintext, lambda size: iv[:size])
    assert datagram[32:48] == iv
    assert datagram[48 : 48 + len(expected)] == expected
    assert len(datagram) == 48 + len(expected) + 16 + 16
    assert datagram[-16:] == digest(b"i" * 32, datagram[:-16], "sha256")[:16]


@pytest.mark.rfc("4868", "2.7.2")
@cases("integrity")
def test_truncated_mac_known_answers(case: dict[str, Any]) -> None:
    """The MAC of an SK payload is this one, cut like this; ``test_integrity_is_that_of_the_suite`` ties them."""
    facts = INTEG[Integ[case["algorithm"]]]
    assert len(case["key"]) == facts.key
    assert digest(case["key"], case["data"], facts.hash_name)[: facts.icv] == case["icv"]


@pytest.mark.rfc("4868", "2.3")
@pytest.mark.parametrize("suite", [s for s in SUITES if s.integ is not None], ids=str)
def test_integrity_is_that_of_the_suite(suite: Suite) -> None:
    sealer, _ = pair(suite)
    assert suite.integ_facts is not None
    size = suite.integ_facts.icv
    datagram = sealer.seal(HEADER, 33, b"payloads", ENTROPY)
    made = digest(b"i" * suite.integ_facts.key, datagram[:-size], suite.integ_facts.hash_name)
    assert datagram[-size:] == made[:size]


@pytest.mark.parametrize("suite", SUITES, ids=str)
@pytest.mark.parametrize("size", [0, 1, 14, 15, 16, 17, 31, 32, 1000])
def test_round_trip(suite: Suite, size: int) -> None:
    sealer, opener = pair(suite)
    datagram = sealer.seal(HEADER, 33, b"p" * size, ENTROPY)
    assert opener.open(datagram, BODY) == b"p" * size


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_clear_payloads_before_sk_are_covered(suite: Suite) -> None:
    sealer, opener = pair(suite)
    clear = HEADER[:16] + b"\x29" + HEADER[17:] + b"\x2e\0\0\x08\0\0\x40\x00"
    datagram = sealer.seal(clear, 33, b"payloads", ENTROPY)
    assert datagram[28:36] == clear[28:]
    assert opener.open(datagram, BODY + 8) == b"payloads"
    with pytest.raises(IntegrityError):
        opener.open(datagram[:35] + b"\x01" + datagram[36:], BODY + 8)


@pytest.mark.rfc("7296", "3.14")
@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_every_flipped_bit_is_noticed(suite: Suite) -> None:
    sealer, opener = pair(suite)
    datagram = sealer.seal(HEADER, 33, b"payloads", ENTROPY)
    for at in range(len(datagram)):
        forged = datagram[:at] + bytes((datagram[at] ^ 1 << at % 8,)) + datagram[at + 1 :]
        with pytest.raises(IntegrityError):
            opener.open(forged, BODY)


@pytest.mark.rfc("7296", "3.14")
@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_every_truncation_is_noticed(suite: Suite) -> None:
    sealer, opener = pair(suite)
    datagram = sealer.seal(HEADER, 33, b"payloads", ENTROPY)
    for size in range(len(datagram)):
        with pytest.raises(IntegrityError):
            opener.open(datagram[:size], min(BODY, size))
        with pytest.raises(IntegrityError):
            opener.open(datagram[:size], BODY)


@pytest.mark.rfc("5282", "3.1")
@pytest.mark.rfc("7296", "3.14")
def test_aead_ivs_never_repeat() -> None:
    sealer, _ = pair(GCM)
    ivs = {sealer.seal(HEADER, 0, b"", ENTROPY)[32:40] for _ in range(1000)}
    assert len(ivs) == 1000
    assert sealer.counter == 1000


@pytest.mark.rfc("7296", "3.14")
def test_impossible_padding_is_refused() -> None:
    suite = ike(Encr.AES_CBC, 128, Integ.HMAC_SHA2_256_128)
    _, opener = pair(suite)
    key = bytes(range(16))
    # a block that an authentic but broken peer sealed: its last octet claims 200 octets of padding
    forged = _seal_raw(key, b"x" * 15 + b"\xc8")
    with pytest.raises(IntegrityError, match="padding"):
        opener.open(forged, BODY)


def _seal_raw(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    covered = HEADER + bytes((0, 0, 0, 52)) + bytes(16) + encryptor.update(block)
    return covered + digest(b"i" * 32, covered, "sha256")[:16]


@pytest.mark.rfc("7296", "2.13")
def test_keys_must_fit_the_suite() -> None:
    with pytest.raises(ValueError, match="encryption key"):
        Protection(GCM, bytes(32), b"")
    with pytest.raises(ValueError, match="integrity key"):
        Protection(GCM, bytes(36), b"i" * 32)
    with pytest.raises(ValueError, match="integrity key"):
        Protection(ike(Encr.AES_CBC, 128), bytes(16), b"")
    with pytest.raises(ValueError, match="cannot protect"):
        Protection(ike(Encr.DES3, 192, Integ.HMAC_SHA2_256_128), bytes(24), bytes(32))


def test_nothing_secret_shows() -> None:
    assert repr(pair(GCM)[0]) == "Protection(counter=0)"
