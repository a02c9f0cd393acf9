"""The rules of the house that no linter knows: file sizes, package maps, pure packages, honest names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "xfrmctl").rglob("*.py"))
PURE = ("model", "wire", "crypto", "ike", "pmtu", "netfilter", "trace", "journey", "diagnose")
LONGEST = 400
BANNED_CALLS = {"print", "input", "open", "eval", "exec"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_has_one_idea_and_fits_on_a_few_screens(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST, f"{name(path)} has {lines} lines: is there a second noun in it?"


@pytest.mark.parametrize("package", sorted(p.parent for p in SOURCES if p.name == "__init__.py"), ids=name)
def test_a_package_says_what_it_is(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert docstring, f"{name(package)}/__init__.py has no docstring: write its map"


@pytest.mark.parametrize("package", PURE)
def test_the_core_neither_prints_nor_opens(package: str) -> None:
    """Sockets, clocks and randomness are import-linter's and ruff's business; these need no import."""
    for path in (ROOT / "xfrmctl" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
                pytest.fail(f"{name(path)}:{node.lineno} calls {node.func.id}(): the core is sans-IO (DESIGN 2)")
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{name(path)}:{node} awaits"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_nobody_invents_a_utils_module_or_leaves_a_note_to_self(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}
    found = re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())
    assert found is None, f"{name(path)}: {found.group() if found else ''}: do it, or write it into an issue"


def test_the_map_in_the_package_docstring_names_every_package() -> None:
    text = (ROOT / "xfrmctl" / "__init__.py").read_text()
    packages = {p.parent.name for p in (ROOT / "xfrmctl").glob("*/__init__.py")}
    assert not {p for p in packages if not re.search(rf"^{p}\b", text, re.MULTILINE)}
