"""A place to import from and to."""

from pathlib import Path

import pytest

from tests.unit.importers.imports import Importer


@pytest.fixture
def importer(tmp_path: Path) -> Importer:
    return Importer(tmp_path)
