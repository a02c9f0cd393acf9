"""``auth:`` with raw public keys: what is read, what is refused and where."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.pki import issue, key, raw_key
from tests.unit.config.config_files import keys_changed, loaded, minimal, only
from xfrmctl.config.credentials import MAX_KEYS
from xfrmctl.model.identity import parse_identity

SIDES = "local: {address: 192.0.2.1, id: 'fqdn:moon'}\nremote: {address: 192.0.2.2, id: 'keyid:sun'}\n"
BOTH = "{pubkey: moon.pub, key: moon.key, remote_pubkey: sun.pub}"


def pem(kind: str, number: int) -> bytes:
    return key(kind, number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def text(auth: str) -> str:
    return minimal(connection=f"{SIDES}auth: {auth}")


@pytest.fixture
def files(place: Path) -> Path:
    own = issue("moon", kind="p256", number=1)
    for name, content in {
        "moon.pub": pem("p256", 1),
        "sun.pub": pem("ed25519", 2),
        "old-sun.pub": raw_key("rsa2048", 3).der,
        "weak.pub": pem("rsa1024", 4),
        "moon.pem": own.pem.encode(),
        "garbage.pub": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "moon.key": own.key_pem.encode(),
        "other.key": issue("x", number=9).key_pem.encode(),
    }.items():
        (place / name).write_bytes(content)
        (place / name).chmod(0o600)
    return place


def test_both_by_raw_keys(files: Path) -> None:
    connection = loaded(files, text(BOTH)).engine.connections["c"]
    assert connection.credential and connection.credential.raw == raw_key("p256", 1)
    assert connection.credential.certificate is None and connection.trust is None and connection.psk == b""
    assert connection.remote_keys == (raw_key("ed25519", 2),)
    assert connection.local_id == parse_identity("fqdn:moon") and connection.remote_id == parse_identity("keyid:sun")


def test_several_keys_in_pem_and_der(files: Path) -> None:
    auth = "{pubkey: !file moon.pub, key: !file moon.key, remote_pubkey: [sun.pub, old-sun.pub]}"
    assert len(loaded(files, text(auth)).engine.connections["c"].remote_keys) == 2


def test_each_in_its_own_way(files: Path) -> None:
    one = loaded(files, text("{pubkey: moon.pub, key: moon.key, psk: !file k}")).engine.connections["c"]
    assert one.credential and not one.remote_keys and one.psk
    two = loaded(files, text("{psk: !file k, remote_pubkey: sun.pub}")).engine.connections["c"]
    assert not two.credential and two.remote_keys and two.psk


@pytest.mark.parametrize(
    ("auth", "where", "cause", "cure"),
    [
        ("{pubkey: moon.pub, remote_pubkey: sun.pub}", "auth.pubkey", "without key", "add key"),
        ("{pubkey: moon.pub, key: moon.key}", "auth.pubkey", "peer has nothing", "remote_pubkey"),
        ("{remote_pubkey: sun.pub}", "auth.remote_pubkey", "we have nothing", "pubkey"),
        (BOTH.replace("}", ", psk: !file k}"), "auth.psk", "nobody", "leave psk out"),
        (BOTH.replace("}", ", certificate: moon.pem}"), "auth.pubkey", "one way only", "leave"),
        (BOTH.replace("}", ", ca: moon.pem}"), "auth.remote_pubkey", "one way only", "leave"),
        (BOTH.replace("moon.key", "other.key"), "auth.key", "not the private half", "openssl pkey"),
        (BOTH.replace("moon.pub", "moon.key"), "auth.pubkey", "private key", "-pubout"),
        (BOTH.replace("sun.pub", "moon.pem"), "auth.remote_pubkey[0]", "holds a certificate", "-pubkey"),
        (BOTH.replace("sun.pub", "garbage.pub"), "auth.remote_pubkey[0]", "no public key", "PEM"),
        (BOTH.replace("sun.pub", "weak.pub"), "auth.remote_pubkey[0]", "1024 bits", "PEM"),
        (BOTH.replace("sun.pub", "none.pub"), "auth.remote_pubkey[0]", "No such file", "readable"),
        (BOTH.replace("sun.pub", f"[{', '.join(['sun.pub'] * (MAX_KEYS + 1))}]"), "remote_pubkey", "11 keys", "most"),
    ],
)
def test_what_is_refused(files: Path, auth: str, where: str, cause: str, cure: str) -> None:
    problem = only(files, text(auth))
    assert problem.key.endswith(where), problem
    assert cause in problem.cause and cure in problem.cure, problem


def test_a_reload_sees_a_new_key(files: Path) -> None:
    before = loaded(files, text(BOTH))
    assert loaded(files, text(BOTH), before).changes(before).changed == ()
    (files / "sun.pub").write_bytes(pem("ed25519", 8))
    after = loaded(files, text(BOTH), before)
    assert before.changes(after).changed == ("c",) and keys_changed(before, after) == ["auth.remote_pubkey"]
    (files / "moon.pub").write_bytes(pem("p256", 9))
    (files / "moon.key").write_bytes(issue("x", number=9).key_pem.encode())
    last = loaded(files, text(BOTH), after)
    assert after.changes(last).changed == ("c",) and keys_changed(after, last) == ["auth.pubkey"]
