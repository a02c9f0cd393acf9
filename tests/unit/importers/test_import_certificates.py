"""Certificates, raw keys and CAs of swanctl.conf: what is copied, and what belongs together."""

import stat

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.pki import Issued, issue, root
from tests.unit.importers.imports import Importer

CA = root(common="Import CA")
OTHER_CA = root(common="Other CA", number=1)
MOON = issue("moon.example.org", CA, names=["moon.example.org", "192.0.2.1"], number=11)
BYSTANDER = issue("mars.example.org", CA, names=["mars.example.org"], number=12)


def swanctl(local: str, remote: str = "", more: str = "") -> str:
    return f"""
connections {{
  net {{
    local_addrs = 192.0.2.1
    remote_addrs = 198.51.100.1
    local {{
      {local}
    }}
    remote {{
      id = sun.example.org
      {remote}
    }}
    children {{
      lan {{
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
      }}
    }}
  }}
}}
{more}
"""


def public(issued: Issued) -> bytes:
    return issued.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def credentials(importer: Importer) -> Importer:
    importer.file("x509/moon.pem", MOON.pem)
    importer.file("x509/mars.pem", BYSTANDER.pem)
    importer.file("x509ca/ca.pem", CA.pem)
    importer.file("private/mars.key", BYSTANDER.key_pem)
    importer.file("ecdsa/moon.key", MOON.key_pem)
    return importer


def test_certificate_key_and_ca_are_copied_together(credentials: Importer) -> None:
    done = credentials.text("swanctl.conf", swanctl("certs = moon.pem\n id = moon.example.org", "cacerts = ca.pem"))
    assert done.imported.is_complete, done.decisions
    assert done.connection("net")["auth"] == {
        "certificate": "certs/net.pem",
        "key": "keys/net.key",
        "ca": ["certs/ca-ca.pem"],
        "fetch": True,
    }
    assert (done.target / "keys/net.key").read_text() == MOON.key_pem
    assert stat.S_IMODE((done.target / "keys/net.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in done.imported.text + str(done.imported.report.plain())
    assert done.loaded["net"].credential is not None


def test_without_an_id_it_is_the_subject_as_with_charon(credentials: Importer) -> None:
    done = credentials.text("swanctl.conf", swanctl("certs = moon.pem"))
    assert done.connection("net")["local"]["id"].startswith("dn:CN=moon.example.org")
    assert done.imported.is_complete, done.decisions


def test_without_certs_the_one_with_the_id_is_taken(credentials: Importer) -> None:
    done = credentials.text("swanctl.conf", swanctl("auth = pubkey\n id = moon.example.org"))
    assert (done.target / "certs/net.pem").read_text() == MOON.pem
    assert done.imported.is_complete, done.decisions


def test_without_cacerts_all_that_lie_there_are_trusted(credentials: Importer) -> None:
    credentials.file("x509ca/other.pem", OTHER_CA.pem)
    done = credentials.text("swanctl.conf", swanctl("certs = moon.pem"))
    assert done.connection("net")["auth"]["ca"] == ["certs/ca-ca.pem", "certs/ca-other.pem"]


def test_a_key_that_is_nowhere_is_to_be_decided(importer: Importer) -> None:
    importer.file("x509/moon.pem", MOON.pem)
    importer.file("x509ca/ca.pem", CA.pem)
    importer.file("private/mars.key", BYSTANDER.key_pem)
    done = importer.text("swanctl.conf", swanctl("certs = moon.pem"))
    assert any("no private key that fits" in line for line in done.decisions)
    assert not (done.target / "keys").exists()


def test_what_is_no_certificate_is_not_copied(importer: Importer) -> None:
    importer.file("x509/moon.pem", "root:x:0:0:not for copying")
    done = importer.text("swanctl.conf", swanctl("certs = moon.pem", "cacerts = ../x509/moon.pem"))
    assert any("moon.pem was not found, or is not what it should be" in line for line in done.decisions)
    assert all("not for copying" not in p.read_text() for p in done.target.rglob("*") if p.is_file())


def test_crl_and_ocsp_of_the_ca(credentials: Importer) -> None:
    more = """
authorities {
  import {
    cacert = ca.pem
    crl_uris = http://crl.example.org/ca.crl, ldap://ldap.example.org/ca
    ocsp_uris = http://ocsp.example.org
  }
  other {
    cacert = other.pem
    crl_uris = http://crl.example.org/other.crl
  }
}
"""
    credentials.file("x509ca/other.pem", OTHER_CA.pem)
    done = credentials.text("swanctl.conf", swanctl("certs = moon.pem", "cacerts = ca.pem\n revocation = ifuri", more))
    auth = done.connection("net")["auth"]
    assert auth["crl"] == ["http://crl.example.org/ca.crl"] and auth["ocsp"] == ["http://ocsp.example.org"]
    assert auth["revocation"] == "strict" and done.fate("revocation") == {"changed"}
    assert {"mapped", "dropped"} <= done.fate("crl_uris")


def test_raw_public_keys(importer: Importer) -> None:
    importer.file("pubkey/moon.pub", public(MOON))
    importer.file("pubkey/sun.pub", public(BYSTANDER))
    importer.file("private/moon.key", MOON.key_pem)
    done = importer.text("swanctl.conf", swanctl("pubkeys = moon.pub\n id = moon.example.org", "pubkeys = sun.pub"))
    assert done.imported.is_complete, done.decisions
    assert done.connection("net")["auth"] == {
        "pubkey": "keys/net.pub",
        "key": "keys/net.key",
        "remote_pubkey": ["keys/net-peer.pub"],
    }
    assert done.loaded["net"].remote_keys


def test_one_end_by_certificate_the_other_by_key(credentials: Importer) -> None:
    more = "secrets {\n ike {\n secret = a long and boring shared secret\n }\n}\n"
    done = credentials.text("swanctl.conf", swanctl("certs = moon.pem", "auth = psk", more))
    assert set(done.connection("net")["auth"]) == {"certificate", "key", "psk"}
    assert done.imported.is_complete, done.decisions


@pytest.mark.parametrize(
    "theirs",
    ["C=CH, O=Example Inc, CN=sun", "/C=CH/O=Example Inc/CN=sun", "C=CH/O=Example Inc/CN=sun", "C=CH, O=A/B, CN=sun"],
)
def test_distinguished_names_have_commas_or_slashes(credentials: Importer, theirs: str) -> None:
    text = swanctl("certs = moon.pem", "cacerts = ca.pem").replace("id = sun.example.org", f'id = "{theirs}"')
    done = credentials.text("swanctl.conf", text)
    organisation = "A/B" if "A/B" in theirs else "Example Inc"
    assert done.connection("net")["remote"]["id"] == f"dn:C=CH, O={organisation}, CN=sun"
    assert done.imported.is_complete, done.decisions
