"""Public known answers, as data. Every case names its source; hex may take as many lines as it needs."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

NAMES: Final = frozenset({"source", "algorithm", "group", "cipher", "scheme"})
"""Fields that are text; the others are octets, or numbers as they are."""


def load(name: str) -> list[dict[str, Any]]:
    """The cases of a file, octets read."""
    raw = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text())
    return [{key: value if key in NAMES else _read(value) for key, value in case.items()} for case in raw]


def cases(name: str) -> pytest.MarkDecorator:
    """Run a test with each case of a file, as its argument ``case``."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["source"]) for case in load(name)])


def _read(value: str | int) -> bytes | int:
    return bytes.fromhex(value) if isinstance(value, str) else value
