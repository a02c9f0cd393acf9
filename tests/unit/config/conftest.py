"""A place for configuration files."""

from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    for name in ("secrets/branch-7.psk", "k"):
        path = tmp_path / name
        path.write_text("a long and boring secret\n")
        path.chmod(0o600)
    return tmp_path
