"""Which kernel is built, under which name, and whether it is what was asked for."""

import os
from pathlib import Path

import pytest

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.kernel import cache, fragment, source


def test_fragment_is_compared_with_what_came_of_it() -> None:
    wanted = "# comment\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_C=y\nCONFIG_D=n\n"
    final = "CONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_C is not set\nCONFIG_D=y\n"
    assert [str(wish) for wish in fragment.unmet(wanted, final)] == [
        "CONFIG_C: wanted y, got n",
        "CONFIG_D: wanted n, got y",
    ]


def test_fragment_asks_for_esp_in_both_families() -> None:
    options = fragment.parse(fragment.FRAGMENT.read_text())
    assert {"CONFIG_INET_ESP", "CONFIG_INET6_ESP", "CONFIG_XFRM_INTERFACE", "CONFIG_IP_SET_HASH_NETNET"} <= set(options)


def test_name_changes_with_everything_that_matters_and_with_nothing_else() -> None:
    name = cache.kernel_hash("source 1", "# why\nCONFIG_A=y\n", "x86_64")
    assert name == cache.kernel_hash("source 1", "# another reason\n\nCONFIG_A=y", "x86_64")
    others = {
        cache.kernel_hash("source 2", "CONFIG_A=y", "x86_64"),
        cache.kernel_hash("source 1", "CONFIG_A=n", "x86_64"),
        cache.kernel_hash("source 1", "CONFIG_A=y", "aarch64"),
    }
    assert len(others | {name}) == 4


def test_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_root() == tmp_path / "xfrmctl" / "lab-kernel"


def test_newest_source_wins_by_number(tmp_path: Path) -> None:
    deeper = tmp_path / "linux-source-6.8.0"
    deeper.mkdir()
    for path in (
        tmp_path / "linux-source-6.1.tar.xz",
        tmp_path / "linux-source-6.12.tar.xz",
        deeper / "linux-source-6.8.0.tar.bz2",
        tmp_path / "linux-patch-6.13-rt.patch.xz",
    ):
        path.touch()
    assert source.newest(tmp_path).path.name == "linux-source-6.12.tar.xz"


def test_a_security_update_under_the_same_name_is_another_source(tmp_path: Path) -> None:
    archive = tmp_path / "linux-source-6.12.tar.xz"
    archive.write_bytes(b"one")
    os.utime(archive, (1, 1))
    before = source.newest(tmp_path).identity
    os.utime(archive, (2, 2))
    assert source.newest(tmp_path).identity != before


def test_no_source_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"tools/setup\.sh lab"):
        source.newest(tmp_path)
