"""Certificates read, names compared, paths judged."""

import datetime
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki import START, issue, root, trust
from xfrmctl.crypto.certificate import (
    Certificate,
    CertificateError,
    parse_name,
    read_name,
    read_pem,
    readable,
    same_identity,
)
from xfrmctl.crypto.distrust import Distrust, Doubt
from xfrmctl.crypto.revocation import Crl
from xfrmctl.model.iana import IdType
from xfrmctl.model.identity import Identity, IdentityPattern, parse_identity

WALL = (START + datetime.timedelta(days=1)).timestamp()


def encoded(*values: tuple[str, str], kind: str = "UTF8String") -> bytes:
    tag = {"UTF8String": x509.name._ASN1Type.UTF8String, "PrintableString": x509.name._ASN1Type.PrintableString}[kind]
    oids = {"C": x509.NameOID.COUNTRY_NAME, "O": x509.NameOID.ORGANIZATION_NAME, "CN": x509.NameOID.COMMON_NAME}
    return x509.Name([x509.NameAttribute(oids[k], v, _type=tag) for k, v in values]).public_bytes()


def test_a_certificate_as_ike_sees_it() -> None:
    found = issue("moon", root(), names=["moon.example.org", "10.0.0.1", "fd00::1", "a@example.org"]).certificate
    assert [str(n) for n in found.names] == ["fqdn:moon.example.org", "10.0.0.1", "fd00::1", "email:a@example.org"]
    assert str(found.identity) == "dn:CN=moon,O=Lab,C=XX"
    assert found.confirms(parse_identity("fqdn:MOON.example.org"))
    assert not found.confirms(parse_identity("fqdn:sun.example.org"))
    assert not found.confirms(parse_identity("keyid:moon"))
    assert found.issuer_text == "CN=Lab CA,O=Lab,C=XX"


@pytest.mark.rfc("5280", "7.1")
def test_names_are_compared_by_what_they_say() -> None:
    """charon encodes a name from its configuration as PrintableString, certificates often have UTF8String."""
    who = (("C", "XX"), ("O", "Lab"), ("CN", "moon"))
    one, two = (Identity(IdType.DER_ASN1_DN, encoded(*who, kind=k)) for k in ("UTF8String", "PrintableString"))
    assert one != two and same_identity(one, two)
    folded = Identity(IdType.DER_ASN1_DN, encoded(("C", "xx"), ("O", "LAB"), ("CN", " Moon ")))
    assert same_identity(one, folded)
    for other in (who[:2], who[::-1], (*who[:2], ("CN", "sun"))):
        assert not same_identity(one, Identity(IdType.DER_ASN1_DN, encoded(*other)))
    garbage = Identity(IdType.DER_ASN1_DN, b"\x30\x03abc")
    assert not same_identity(garbage, one) and same_identity(garbage, garbage)
    assert str(readable(one)) == "dn:CN=moon,O=Lab,C=XX" and str(readable(garbage)) == str(garbage)


@pytest.mark.parametrize(
    "data", [b"", b"\x30\x00", b"\x30\x80", b"\x31\x00", encoded(("CN", "a")) + b"x", b"\x30" * 5000]
)
def test_what_is_no_name(data: bytes) -> None:
    assert read_name(data) is None


@pytest.mark.parametrize(
    "text", ["CN=moon,O=Lab,C=XX", "C=XX, O=Lab, CN=moon", "CN=*,O=Lab,C=XX", "CN=Moon,O=lab,C=xx"]
)
def test_patterns_of_names(text: str) -> None:
    moon = issue("moon", root()).certificate
    pattern = IdentityPattern(IdType.DER_ASN1_DN, text, parse_name(text))
    assert pattern.matches(moon.identity, moon.attributes)
    assert not pattern.matches(parse_identity("fqdn:moon"))
    assert not pattern.matches(moon.identity, moon.attributes[:-1])


@pytest.mark.parametrize("text", ["", "moon", "CN", "CN=a,,O=b", "XY=a"])
def test_what_is_no_spelled_name(text: str) -> None:
    with pytest.raises(ValueError):
        parse_name(text)


@pytest.mark.parametrize("kind", ["p256", "rsa2048", "ed25519", "ed448"])
def test_paths(kind: str) -> None:
    ca = root(kind)
    above = issue("above", ca, kind=kind, number=3, ca=True)
    own = issue("moon", above, kind=kind)
    store = trust(ca)
    assert store.judge([own.certificate, above.certificate], WALL) is None
    assert store.judge([own.certificate, ca.certificate, above.certificate], WALL) is None
    missing = store.judge([own.certificate], WALL)
    assert isinstance(missing, Distrust) and missing.doubt == Doubt.UNTRUSTED
    assert trust(above).judge([own.certificate], WALL) is None
    late = store.judge([own.certificate, above.certificate], WALL + 4000 * 86400)
    assert isinstance(late, Distrust) and late.doubt == Doubt.EXPIRED


def test_pss_signed_certificates() -> None:
    ca = root("rsa2048")
    assert trust(ca).judge([issue("moon", ca, pss=True).certificate], WALL) is None


@pytest.mark.parametrize("wall", [-1e12, -1.0, 0.0, 1e11, 1e18])
def test_impossible_clocks_end_in_doubt(wall: float) -> None:
    assert trust(root()).judge([issue("moon", root()).certificate], wall) is not None


def test_sha1_is_not_believed(tmp_path: Path) -> None:
    """``cryptography`` signs nothing with SHA-1 any more; the openssl command does."""
    ca = root("rsa2048")
    files = {"ca.pem": ca.pem, "ca.key": ca.key_pem, "moon.key": issue("moon", kind="rsa2048").key_pem}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    request = ["openssl", "req", "-new", "-key", "moon.key", "-subj", "/CN=moon", "-out", "moon.csr"]
    sign = ["openssl", "x509", "-req", "-in", "moon.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-sha1"]
    sign += ["-set_serial", "7", "-days", "3650", "-out", "moon.pem"]
    for command in (request, sign):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"openssl here does not: {done.stderr.decode()[-200:]}")
    (weak,) = read_pem((tmp_path / "moon.pem").read_bytes())
    found = trust(ca).judge([weak], weak.valid_from + 1)
    assert isinstance(found, Distrust) and found.doubt == Doubt.INVALID and "SHA1" in found.detail


def test_files() -> None:
    one, two = issue("a", root()), issue("b", root())
    assert [c.subject_text for c in read_pem((one.pem + two.pem).encode())] == ["CN=a,O=Lab,C=XX", "CN=b,O=Lab,C=XX"]
    assert read_pem(one.der)[0] == one.certificate == Certificate.parse(one.der)
    for wrong in (b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(CertificateError):
            read_pem(wrong)
        with pytest.raises(CertificateError):
            Crl.parse(wrong)
    with pytest.raises(CertificateError):
        Crl.parse(one.parsed.public_bytes(Encoding.DER))
