"""Which tables of iptables' legacy variant there are, for root and for a daemon that is not root."""

from pathlib import Path
from typing import Any

import pytest

from xfrmctl.kernel.firewall.iptables import Tables


def test_root_reads_the_list(tmp_path: Path) -> None:
    (tmp_path / "ip_tables_names").write_text("mangle\nfilter\n")
    assert Tables(4, "legacy").legacy_tables(tmp_path, tmp_path) == ["mangle", "filter"]
    assert Tables(6, "legacy").legacy_tables(tmp_path, tmp_path) == []


def test_who_is_not_root_takes_the_modules_that_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in ("iptable_nat", "ip6table_filter"):
        (tmp_path / loaded).mkdir()
        (tmp_path / loaded / "initstate").touch()
    (tmp_path / "iptable_filter").mkdir()  # built in: it has parameters, and no state

    def refused(*_: Any) -> str:
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refused)
    assert Tables(4, "legacy").legacy_tables(tmp_path, tmp_path) == ["nat"]
    assert Tables(6, "legacy").legacy_tables(tmp_path, tmp_path) == ["filter"]
