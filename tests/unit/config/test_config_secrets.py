"""Where keys may stand, how they are spelled, and that nobody ever sees them."""

import os
from pathlib import Path

import pytest

from tests.unit.config.config_files import MINIMAL, loaded, only
from xfrmctl.config.load import load
from xfrmctl.config.problem import ConfigError
from xfrmctl.model.identity import parse_identity


def inline(place: Path, key: str, mode: int = 0o600) -> bytes:
    file = place / "c.yaml"
    file.write_text(MINIMAL.replace("!file k", key))
    file.chmod(mode)
    return load(file).engine.connections["c"].psk


@pytest.mark.rfc("7296", "2.15")
@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("correct-horse-battery", b"correct-horse-battery"),
        ("0x00ff41", b"\x00\xffA"),
        ("0sAP9B", b"\x00\xffA"),
        ("12345678901234567890", b"12345678901234567890"),
        ("'007'", b"007"),
        ("007", b"007"),
    ],
)
def test_inline_secrets(place: Path, key: str, secret: bytes) -> None:
    assert inline(place, key) == secret


@pytest.mark.rfc("7296", "2.15")
@pytest.mark.parametrize(
    ("key", "cause"), [("0xabc", "is no hex"), ("0sA", "is no base64"), ("''", "not a single value"), ("0x", "empty")]
)
def test_wrong_inline_secrets(place: Path, key: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        inline(place, key)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_inline_secret_in_a_public_file(place: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=r"others can read .*chmod 0600") as caught:
        inline(place, "correct-horse-battery", mode)
    assert "correct-horse" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_public_secret_file(place: Path, mode: int) -> None:
    (place / "k").chmod(mode)
    problem = only(place, MINIMAL)
    assert f"mode {mode:04o}" in problem.cause and problem.cure == f"chmod 0600 {place / 'k'}"


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"abc\n", b"abc"), (b"abc\r\n", b"abc"), (b"abc\n\n", b"abc\n"), (b" a ", b" a "), (b"0x4142\n", b"AB")],
)
def test_secret_files(place: Path, content: bytes, secret: bytes) -> None:
    (place / "k").write_bytes(content)
    assert loaded(place, MINIMAL).engine.connections["c"].psk == secret


def test_empty_secret_file(place: Path) -> None:
    (place / "k").write_bytes(b"\n")
    assert "the key is empty" in only(place, MINIMAL).cause


def test_a_fifo_is_no_secret_and_does_not_hang(place: Path) -> None:
    (place / "k").unlink()
    os.mkfifo(place / "k", 0o600)
    assert "no ordinary file" in only(place, MINIMAL).cause


@pytest.mark.rfc("7296", "2.15")
def test_short_secret_is_warned_about(place: Path) -> None:
    (place / "k").write_bytes(b"secret\n")
    (warning,) = loaded(place, MINIMAL).warnings
    assert "6 bytes" in warning.cause and "openssl" in warning.cure and warning.line == 5


def test_secrets_are_never_shown(place: Path) -> None:
    assert "boring" not in repr(loaded(place, MINIMAL))


MANY = """\
connections:
  c:
    local: {address: 192.0.2.1}
    remote: {id: fqdn:*.example.org}
    auth:
      psks:
        fqdn:a.example.org: !file k
        b.example.org: another-secret-of-forty-and-more-characters
    children: {lan: {local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16}}
"""


def many(place: Path, text: str = MANY) -> Path:
    file = place / "many.yaml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_each_of_many_peers_has_a_key_that_is_told_by_nobody(place: Path) -> None:
    found = load(many(place))
    (connection,) = found.engine.connections.values()
    assert {str(who) for who in connection.psks} == {"fqdn:a.example.org", "fqdn:b.example.org"}
    assert connection.psk_of(parse_identity("b.example.org")) == b"another-secret-of-forty-and-more-characters"
    assert connection.psk_of(parse_identity("c.example.org")) == b""
    assert "another-secret" not in repr(found) and "boring" not in repr(found)
    newer = load(many(place, MANY.replace("forty", "fifty")))
    assert found.changes(newer).changed == ("c",)
    swapped = MANY.replace("b.example.org", "c.example.org")
    assert found.changes(load(many(place, swapped))).changed == ("c",)


@pytest.mark.parametrize(
    ("old", "new", "key", "cause"),
    [
        ("fqdn:a.example.org", "fqdn:*.example.org", "psks.fqdn:*.example.org", "more than one identity"),
        ("fqdn:a.example.org", "any", "psks.any", "more than one identity"),
        ("fqdn:a.example.org", "fqdn:b.example.org", "psks.b.example.org", "a second key for fqdn:b.example.org"),
        ("remote: {", "remote: {address: 192.0.2.2, ", "auth.psks", "this one has a single peer"),
    ],
)
def test_a_key_belongs_to_one_identity_of_many_peers(place: Path, old: str, new: str, key: str, cause: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(many(place, MANY.replace(old, new)))
    (problem,) = caught.value.problems
    assert cause in problem.cause and problem.key.endswith(key) and "another-secret" not in str(problem)


def test_one_key_for_many_peers_is_warned_about(place: Path) -> None:
    text = MINIMAL.replace("remote: {address: 192.0.2.2}", "remote: {id: any}")
    assert any("take another's identity" in warning.cause for warning in loaded(place, text).warnings)


def handed(place: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    directory = place / "handed"
    directory.mkdir()
    (directory / "branch-7.psk").write_text("correct-horse-battery\n")
    (directory / "branch-7.psk").chmod(mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))


@pytest.mark.parametrize("mode", [0o400, 0o440])
def test_a_secret_that_systemd_hands_over(place: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    """An access control list shows itself in the group's bits: whom it lets read is systemd's business."""
    handed(place, monkeypatch, mode)
    text = MINIMAL.replace("!file k", "!credential branch-7.psk")
    assert loaded(place, text).engine.connections["c"].psk == b"correct-horse-battery"


def test_a_credential_that_the_unit_does_not_load(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed(place, monkeypatch, 0o400)
    problem = only(place, MINIMAL.replace("!file k", "!credential other"))
    assert "LoadCredential=other:" in problem.cure


@pytest.mark.parametrize("name", ["../k", "a/b", "..", "''", "/etc/passwd", "x" * 256])
def test_what_can_be_no_credential(place: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"can be no credential's name"):
        loaded(place, MINIMAL.replace("!file k", f"!credential {name}"))
