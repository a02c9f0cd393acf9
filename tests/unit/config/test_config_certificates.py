"""``auth:`` with certificates: what is read, what is refused and where, what identities mean then."""

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests import pki
from tests.pki import crl, issue, ocsp_response, root
from tests.unit.config.config_files import keys_changed, loaded, minimal, only, problems
from xfrmctl.crypto.revocation import Revocation
from xfrmctl.model.identity import parse_identity

SIDES = "local: {address: 192.0.2.1}\nremote: {address: 192.0.2.2, id: fqdn:sun.example.org}\n"
BOTH = "auth: {certificate: moon.pem, key: moon.key, ca: ca.pem}"
LONG_AGO, FAR = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), 36500.0
NAMES = ["moon.example.org", "192.0.2.1"]


def text(auth: str = BOTH, sides: str = SIDES) -> str:
    return minimal(connection=sides + auth)


@pytest.fixture
def files(place: Path) -> Path:
    ca = issue("Lab CA", kind="p256", number=0, ca=True, start=LONG_AGO, days=FAR)
    above = issue("Lab CA 2", ca, number=20, ca=True, start=LONG_AGO, days=FAR)
    own = issue("moon", ca, names=NAMES, start=LONG_AGO, days=FAR)
    below = issue("moon", above, names=NAMES, start=LONG_AGO, days=FAR)
    bare = issue("moon", ca, start=LONG_AGO, days=FAR)
    for name, content in {
        "ca.pem": ca.pem,
        "other-ca.pem": root("ed25519", "Other").pem,
        "moon.pem": own.pem,
        "bare.pem": bare.pem,
        "chain.pem": below.pem + ca.pem + above.pem,
        "mess.pem": own.pem + above.pem,
        "ca.crl": crl(ca).public_bytes(Encoding.PEM).decode(),
        "garbage.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "empty.pem": "",
    }.items():
        (place / name).write_text(content)
    for name, key in {"moon.key": own.key_pem, "other.key": issue("x", number=9).key_pem}.items():
        (place / name).write_text(key)
        (place / name).chmod(0o600)
    (place / "moon.ocsp").write_bytes(ocsp_response(own, ca))
    locked = own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (place / "locked.key").write_bytes(locked)
    (place / "locked.key").chmod(0o600)
    return place


def test_both_by_certificate(files: Path) -> None:
    configuration = loaded(files, text())
    connection = configuration.engine.connections["c"]
    assert connection.credential and connection.trust
    assert connection.psk == b""
    assert connection.local_id == parse_identity("fqdn:moon.example.org")
    assert connection.credential.name == "CN=moon,O=Lab,C=XX"
    assert connection.trust.check.mode == Revocation.RELAXED
    assert not configuration.warnings
    assert "PRIVATE" not in repr(configuration)


def test_defaults_of_the_local_identity(files: Path) -> None:
    bare = loaded(files, text(BOTH.replace("moon.pem", "bare.pem"))).engine.connections["c"]
    assert str(bare.local_id) == "dn:CN=moon,O=Lab,C=XX"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("fqdn:moon.example.org", "fqdn:moon.example.org"),
        ("'dn:CN=moon,O=Lab,C=XX'", "dn:CN=moon,O=Lab,C=XX"),
        ("'dn:C=XX, O=lab, CN=Moon'", "dn:CN=moon,O=Lab,C=XX"),
    ],
)
def test_local_identities(files: Path, written: str, meant: str) -> None:
    sides = SIDES.replace("{address: 192.0.2.1}", f"{{address: 192.0.2.1, id: {written}}}")
    assert str(loaded(files, text(sides=sides)).engine.connections["c"].local_id) == meant


@pytest.mark.parametrize(
    ("written", "cause", "cure"),
    [
        ("fqdn:sun.example.org", "is not in our certificate", "fqdn:moon.example.org, 192.0.2.1, dn:CN=moon"),
        ("'dn:CN=sun,O=Lab,C=XX'", "is not the subject", "CN=moon"),
        ("'dn:CN=*,O=Lab,C=XX'", "wildcard", "whole identity"),
        ("'dn:moon'", "no distinguished name", "dn:CN=moon"),
        ("'fqdn:moon.*.org'", "one * at the beginning", "fqdn:*.example.org"),
    ],
)
def test_wrong_local_identities(files: Path, written: str, cause: str, cure: str) -> None:
    sides = SIDES.replace("{address: 192.0.2.1}", f"{{address: 192.0.2.1, id: {written}}}")
    problem = only(files, text(sides=sides))
    assert problem.key.endswith("local.id") and cause in problem.cause and cure in problem.cure


@pytest.mark.parametrize(
    ("written", "shown"),
    [("'fqdn:*.example.org'", "fqdn:*.example.org"), ("'dn:CN=*, O=Lab'", "dn:CN=*, O=Lab"), ("any", "None")],
)
def test_remote_patterns(files: Path, written: str, shown: str) -> None:
    sides = SIDES.replace("fqdn:sun.example.org", written)
    connection = loaded(files, text(sides=sides)).engine.connections["c"]
    assert connection.remote_id is None and str(connection.remote_pattern) == shown


def test_chains_are_put_in_order_and_roots_left_out(files: Path) -> None:
    credential = loaded(files, text(BOTH.replace("moon.pem", "chain.pem"))).engine.connections["c"].credential
    assert credential
    assert [c.subject_text.split(",")[0] for c in credential.chain] == ["CN=moon", "CN=Lab CA 2"]


def test_each_in_its_own_way(files: Path) -> None:
    one = loaded(files, text("auth: {certificate: moon.pem, key: moon.key, psk: !file k}")).engine.connections["c"]
    assert one.credential and not one.trust and one.psk
    two = loaded(files, text("auth: {psk: !file k, ca: ca.pem}")).engine.connections["c"]
    assert not two.credential and two.trust and two.psk


def test_several_cas_and_crls(files: Path) -> None:
    auth = "auth: {certificate: moon.pem, key: moon.key, ca: [ca.pem, other-ca.pem], crl: ca.crl, revocation: strict}"
    trust = loaded(files, text(auth)).engine.connections["c"].trust
    assert trust and len(trust.anchors) == 2 and trust.check.mode == Revocation.STRICT


OCSP = "auth: {certificate: moon.pem, key: moon.key, ca: ca.pem, ocsp: [moon.ocsp, 'http://10.0.0.1/o'], %s}"


def test_where_revocation_is_looked_up(files: Path) -> None:
    trust = loaded(files, text(OCSP % "crl: 'http://10.0.0.1/c', fetch: true")).engine.connections["c"].trust
    assert trust and trust.check.fetch and len(trust.check.responses) == 1
    assert (trust.check.ocsp_urls, trust.check.crl_urls) == (("http://10.0.0.1/o",), ("http://10.0.0.1/c",))
    off = "auth: {certificate: moon.pem, key: moon.key, ca: ca.pem, revocation: off}"
    trust = loaded(files, text(off)).engine.connections["c"].trust
    assert trust and trust.check.mode == Revocation.OFF
    for enough in ("ocsp: moon.ocsp", "fetch: true", "crl: 'http://10.0.0.1/c'"):
        strict = f"auth: {{certificate: moon.pem, key: moon.key, ca: ca.pem, revocation: strict, {enough}}}"
        assert loaded(files, text(strict)).engine.connections["c"].trust


def test_a_reload_sees_a_new_ocsp_response(files: Path) -> None:
    before = loaded(files, text(OCSP % "fetch: true"))
    assert loaded(files, text(OCSP % "fetch: true"), before).changes(before).changed == ()
    (files / "moon.ocsp").write_bytes(ocsp_response(issue("x", root()), root()))
    after = loaded(files, text(OCSP % "fetch: true"), before)
    assert before.changes(after).changed == ("c",) and keys_changed(before, after) == ["auth.ocsp"]
    last = loaded(files, text(OCSP % "fetch: false"), before)
    assert before.changes(last).changed == ("c",) and keys_changed(after, last) == ["auth.fetch"]


def test_connections_share_what_they_trust(files: Path) -> None:
    one = minimal(connection=SIDES + BOTH)
    two = one.replace("  c:", "  d:").replace("192.0.2.2", "192.0.2.3").replace("10.2.0.0", "10.3.0.0")
    both = loaded(files, one + two.removeprefix("connections:\n")).engine.connections
    assert both["c"].trust is both["d"].trust


@pytest.mark.parametrize(
    ("auth", "key", "cause", "cure"),
    [
        ("{certificate: moon.pem, ca: ca.pem}", "auth.certificate", "without key", "add key"),
        ("{key: moon.key, ca: ca.pem}", "auth.key", "without certificate", "add certificate"),
        ("{certificate: moon.pem, key: moon.key}", "auth.certificate", "peer has nothing", "add ca"),
        ("{ca: ca.pem}", "auth.ca", "we have nothing", "certificate"),
        ("{certificate: moon.pem, key: moon.key, ca: ca.pem, psk: !file k}", "auth.psk", "nobody", "leave psk out"),
        ("{psk: !file k, crl: ca.crl}", "auth.crl", "without a ca", "add ca"),
        ("{psk: !file k, ca: ca.pem, revocation: strict}", "auth.revocation", "accepts nobody", "crl"),
        ("{certificate: no.pem, key: moon.key, ca: ca.pem}", "auth.certificate", "No such file", "readable"),
        ("{certificate: garbage.pem, key: moon.key, ca: ca.pem}", "auth.certificate", "no certificate", "PEM"),
        ("{certificate: empty.pem, key: moon.key, ca: ca.pem}", "auth.certificate", "no certificate", "PEM"),
        ("{certificate: mess.pem, key: moon.key, ca: ca.pem}", "auth.certificate", "does not lead", "first"),
        ("{certificate: moon.key, key: moon.key, ca: ca.pem}", "auth.certificate", "private key", "mode 0600"),
        ("{certificate: moon.pem, key: other.key, ca: ca.pem}", "auth.key", "not the key of CN=moon", "that cert"),
        ("{certificate: moon.pem, key: moon.pem, ca: ca.pem}", "auth.key", "others can read", "chmod 0600"),
        ("{certificate: moon.pem, key: no.key, ca: ca.pem}", "auth.key", "No such file", "install -m 0600"),
        ("{certificate: moon.pem, key: locked.key, ca: ca.pem}", "auth.key", "is encrypted", "openssl pkey"),
        ("{certificate: moon.pem, key: k, ca: ca.pem}", "auth.key", "no private key", "PKCS#8"),
        ("{psk: !file k, ca: [ca.pem, no.pem]}", "auth.ca[1]", "No such file", "readable"),
        ("{psk: !file k, ca: ca.pem, crl: ca.pem}", "auth.crl[0]", "no CRL", "complete CRL"),
        ("{psk: !file k, ca: ca.pem, revocation: maybe}", "auth.revocation", "is not one of", "relaxed, strict"),
        ("{psk: !file k, ocsp: moon.ocsp}", "auth.ocsp", "without a ca", "add ca"),
        ("{psk: !file k, fetch: true}", "auth.fetch", "without a ca", "add ca"),
        ("{psk: !file k, ca: ca.pem, crl: ca.crl, revocation: off}", "auth.crl", "nobody would look", "relaxed"),
        ("{psk: !file k, ca: ca.pem, ocsp: ca.crl}", "auth.ocsp[0]", "no OCSP response", "-respout"),
        ("{psk: !file k, ca: ca.pem, ocsp: 'https://a/b'}", "auth.ocsp[0]", "only plain HTTP", "http://HOST"),
        ("{psk: !file k, ca: ca.pem, crl: 'ldap://a/b'}", "auth.crl[0]", "only plain HTTP", "http://HOST"),
    ],
)
def test_what_is_refused(files: Path, auth: str, key: str, cause: str, cure: str) -> None:
    problem = only(files, text(f"auth: {auth}"))
    assert problem.key.endswith(key), problem
    assert cause in problem.cause and cure in problem.cure, problem
    assert problem.line == 6


def test_a_private_key_that_others_can_read(files: Path) -> None:
    (files / "moon.key").chmod(0o640)
    problem = only(files, text())
    assert "mode 0640" in problem.cause and problem.cure == f"chmod 0600 {files / 'moon.key'}"


def test_identities_that_only_certificates_confirm(files: Path) -> None:
    by_key = SIDES.replace("fqdn:sun.example.org", "'dn:CN=sun'").replace("192.0.2.1}", "192.0.2.1, id: 'dn:CN=me'}")
    assert {p.key for p in problems(files, text("auth: {psk: !file k}", by_key))} == {
        "connections.c.local.id",
        "connections.c.remote.id",
    }
    keyid = SIDES.replace("fqdn:sun.example.org", "keyid:sun")
    assert "no certificate confirms" in only(files, text(sides=keyid)).cause


@pytest.mark.parametrize(("days", "words"), [(30.0, "is valid from"), (None, "expires at")])
def test_what_will_not_last_is_warned_about(files: Path, days: float | None, words: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    span = days if days is not None else ((now - LONG_AGO) / pki.DAY) + 3
    own = issue("moon", names=NAMES, start=LONG_AGO, days=span)
    (files / "moon.pem").write_text(own.pem)
    (warning,) = loaded(files, text()).warnings
    assert words in warning.cause and warning.line == 6 and "renew" in warning.cure


def test_a_reload_sees_a_new_certificate_and_a_new_crl(files: Path) -> None:
    auth = "auth: {certificate: moon.pem, key: moon.key, ca: ca.pem, crl: ca.crl}"
    before = loaded(files, text(auth))
    assert loaded(files, text(auth), before).changes(before).changed == ()
    ca = issue("Lab CA", kind="p256", number=0, ca=True, start=LONG_AGO, days=FAR)
    (files / "ca.crl").write_bytes(crl(ca, issue("x")).public_bytes(Encoding.PEM))
    after = loaded(files, text(auth), before)
    assert before.changes(after).changed == ("c",) and keys_changed(before, after) == ["auth.crl"]
    assert before.engine.connections["c"] != after.engine.connections["c"]
    (files / "moon.pem").write_text(issue("moon", ca, names=NAMES, start=LONG_AGO, days=FAR).pem)
    last = loaded(files, text(auth), after)
    assert after.changes(last).changed == ("c",) and keys_changed(after, last) == ["auth.certificate"]
