"""Signatures for IKE: identifiers as RFC 7427 prints them, public vectors, choice and refusal."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests import pki
from tests.vectors import cases
from xfrmctl.crypto import signature as sig
from xfrmctl.crypto.signature import ANNOUNCED, BY_IDENTIFIER, RsaPadding, choose, sign, sign_old, verify, verify_old
from xfrmctl.model.iana import AuthMethod, HashAlgorithm

H = HashAlgorithm

# RFC 7427 appendix A, RFC 8420 appendix A
PRINTED = {
    "rsa-pkcs1-sha256": "300d06092a864886f70d01010b0500",
    "rsa-pkcs1-sha384": "300d06092a864886f70d01010c0500",
    "rsa-pkcs1-sha512": "300d06092a864886f70d01010d0500",
    "ecdsa-sha256": "300a06082a8648ce3d040302",
    "ecdsa-sha384": "300a06082a8648ce3d040303",
    "ecdsa-sha512": "300a06082a8648ce3d040304",
    "ed25519": "300506032b6570",
    "ed448": "300506032b6571",
}


@pytest.mark.rfc("7427", "A")
@pytest.mark.parametrize(("name", "octets"), PRINTED.items())
def test_identifiers_are_those_of_the_rfc(name: str, octets: str) -> None:
    scheme = BY_IDENTIFIER[bytes.fromhex(octets)]
    assert scheme.name == name and scheme.identifier.hex() == octets


#: RSASSA-PSS with SHA-256 as DER has it, and with the trailer field that RFC 7427 A.4.3 prints beside its default.
PSS = (
    "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
)
PSS_TRAILER = (
    "304606092a864886f70d01010a3039a00f300d06096086480165030402010500"
    "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020101"
)


@pytest.mark.rfc("7427", "A")
def test_pss_parameters_are_taken_in_every_spelling_and_sent_in_der() -> None:
    """X.690 11.5: DER leaves out what is the default. pluto compares octets, and takes no other spelling."""
    for spelled in (PSS, PSS_TRAILER):
        scheme = BY_IDENTIFIER[bytes.fromhex(spelled)]
        assert scheme.name == "rsa-pss-sha256"
        assert scheme.identifier.hex() == PSS
    assert len([s for s in BY_IDENTIFIER.values() if s.kind == sig.Kind.RSA_PSS]) == 12


@pytest.mark.rfc("7427", "3")
@cases("signature")
def test_known_answers(case: dict[str, Any]) -> None:
    key = load_der_public_key(case["key"])
    assert isinstance(key, sig.PublicKey)
    (scheme,) = (s for s in sig.SCHEMES if s.name == case["scheme"])
    assert verify(key, scheme, case["data"], case["signature"])
    assert not verify(key, scheme, case["data"] + b"\0", case["signature"])
    assert not verify(key, scheme, case["data"], case["signature"][:-1] + bytes((case["signature"][-1] ^ 1,)))


@pytest.mark.rfc("4754", "8.1")
def test_ecdsa_256_vector() -> None:
    numbers = ec.EllipticCurvePublicNumbers(
        0x2442A5CC0ECD015FA3CA31DC8E2BBC70BF42D60CBCA20085E0822CB04235E970,
        0x6FC98BD7E50211A4A27102FA3549DF79EBCB4BF246B80945CDDFE7D509BBFD7D,
        ec.SECP256R1(),
    )
    made = bytes.fromhex(
        "CB28E0999B9C7715FD0A80D8E47A77079716CBBF917DD72E97566EA1C066957C"
        "86FA3BB4E26CAD5BF90B7F81899256CE7594BB1EA0C89212748BFF3B3D5B0315"
    )
    key = numbers.public_key()
    assert verify_old(key, AuthMethod.ECDSA_256, b"abc", made)
    assert not verify_old(key, AuthMethod.ECDSA_256, b"abx", made)
    assert not verify_old(key, AuthMethod.ECDSA_384, b"abc", made)


@pytest.mark.rfc("8032", "7.1")
def test_ed25519_vector() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    )
    made = bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )
    scheme = BY_IDENTIFIER[bytes.fromhex("300506032b6570")]
    assert sign(key, scheme, b"\xaf\x82") == made
    assert verify(key.public_key(), scheme, b"\xaf\x82", made)


@pytest.mark.rfc("7427", "3")
@pytest.mark.parametrize("kind", pki.KINDS)
def test_what_is_signed_verifies_with_its_own_scheme_only(kind: str) -> None:
    key = pki.key(kind)
    for padding in (RsaPadding.PSS, RsaPadding.PKCS1):
        for announced in [ANNOUNCED, *((h,) for h in ANNOUNCED)]:
            scheme = choose(key.public_key(), announced, padding)
            if scheme is None:
                continue
            made = sign(key, scheme, b"octets")
            assert {s for s in sig.SCHEMES if verify(key.public_key(), s, b"octets", made)} == {scheme}
            assert not verify(key.public_key(), scheme, b"octetz", made)
            assert not verify(pki.key(kind, 77).public_key(), scheme, b"octets", made)


@pytest.mark.rfc("7427", "3")
@pytest.mark.parametrize(
    ("kind", "announced", "name"),
    [
        ("rsa2048", ANNOUNCED, "rsa-pss-sha256"),
        ("rsa2048", (H.SHA2_512,), "rsa-pss-sha512"),
        ("p256", (H.SHA2_512, H.SHA2_384), "ecdsa-sha512"),
        ("p384", ANNOUNCED, "ecdsa-sha384"),
        ("p521", (H.SHA2_256,), "ecdsa-sha256"),
        ("p256", (H.SHA1, H.IDENTITY), None),
        ("rsa2048", (), None),
        ("ed25519", (H.SHA2_256,), None),
        ("ed448", (H.IDENTITY,), "ed448"),
    ],
)
def test_choice(kind: str, announced: tuple[HashAlgorithm, ...], name: str | None) -> None:
    found = choose(pki.key(kind).public_key(), announced, RsaPadding.AUTO)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("kind", pki.KINDS)
@pytest.mark.parametrize("sha1", [False, True])
def test_old_methods_there_and_back(kind: str, sha1: bool) -> None:
    key = pki.key(kind)
    made = sign_old(key, b"octets", sha1=sha1)
    if kind.startswith("ed"):
        assert made is None
        return
    assert made is not None
    scheme = verify_old(key.public_key(), made[0], b"octets", made[1])
    assert scheme is not None and (scheme.hash == H.SHA1) == (sha1 and kind == "rsa2048")
    assert verify_old(key.public_key(), made[0], b"octetz", made[1]) is None
    for method in sig.OLD_METHODS - {made[0]}:
        assert verify_old(key.public_key(), method, b"octets", made[1]) is None


def test_keys_that_do_not_fit() -> None:
    assert "1024 bits" in sig.unfit(pki.key("rsa1024").public_key())
    assert "secp256k1" in sig.unfit(pki.key("secp256k1").public_key())
    assert "str" in sig.unfit("no key")
    assert all(not sig.unfit(pki.key(kind).public_key()) for kind in pki.KINDS)
