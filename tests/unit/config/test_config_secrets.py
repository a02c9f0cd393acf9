"""Where keys may stand, how they are spelled, and that nobody ever sees them."""

import os
from pathlib import Path

import pytest

from tests.unit.config.config_files import MINIMAL, loaded, only
from xfrmctl.config.load import load
from xfrmctl.config.problem import ConfigError


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
