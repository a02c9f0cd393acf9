"""The secret of quick crash detection: private, kept, replaced where it is neither."""

import stat
from pathlib import Path

import pytest

from xfrmctl.daemon.secret import NAME, kept

FIRST, SECOND = b"1" * 32, b"2" * 32


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    warnings: list[str] = []
    place = tmp_path / "state"
    assert kept(place, lambda size: FIRST[:size], warnings.append) == FIRST
    assert kept(place, lambda size: SECOND[:size], warnings.append) == FIRST
    assert stat.S_IMODE((place / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert [p.name for p in place.iterdir()] == [NAME]
    assert not warnings


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_what_others_can_read_is_replaced(tmp_path: Path, mode: int) -> None:
    warnings: list[str] = []
    kept(tmp_path, lambda size: FIRST[:size], warnings.append)
    (tmp_path / NAME).chmod(mode)
    assert kept(tmp_path, lambda size: SECOND[:size], warnings.append) == SECOND
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert len(warnings) == 1 and f"{mode:04o}" in warnings[0]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_what_is_no_secret_is_replaced(tmp_path: Path, content: bytes) -> None:
    warnings: list[str] = []
    (tmp_path / NAME).write_bytes(content)
    (tmp_path / NAME).chmod(0o600)
    assert kept(tmp_path, lambda size: SECOND[:size], warnings.append) == SECOND
    assert kept(tmp_path, lambda size: FIRST[:size], warnings.append) == SECOND
    assert len(warnings) == 1


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    warnings: list[str] = []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(FIRST)
    elsewhere.chmod(0o600)
    (tmp_path / NAME).symlink_to(elsewhere)
    assert kept(tmp_path, lambda size: SECOND[:size], warnings.append) == SECOND
    assert elsewhere.read_bytes() == FIRST
    assert len(warnings) == 1


def test_where_it_cannot_be_kept_one_for_now_is_used(tmp_path: Path) -> None:
    warnings: list[str] = []
    (tmp_path / "file").write_text("")
    assert kept(tmp_path / "file" / "state", lambda size: FIRST[:size], warnings.append) == FIRST
    assert warnings and "silence" in warnings[-1]
    assert FIRST.decode() not in "".join(warnings)
