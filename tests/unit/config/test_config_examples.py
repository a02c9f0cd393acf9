"""The examples of the documents are good: `xfrmctl check` has nothing to say about them, once their keys exist."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.pki import issue
from xfrmctl.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))


@pytest.fixture
def checked(tmp_path: Path) -> Path:
    """Where the examples find what they name: secrets and certificates."""
    ca = issue("Lab CA", kind="p256", number=0, ca=True)
    own = issue("moon", ca, names=["moon.example.org"])
    (tmp_path / "certs").mkdir()
    (tmp_path / "secrets").mkdir()
    for name, content in {"ca.pem": ca.pem, "moon.pem": own.pem, "moon.key": own.key_pem}.items():
        (tmp_path / "certs" / name).write_text(content)
    for name in ("a", "b", "branch-7", "cloud", "sun"):
        (tmp_path / "secrets" / f"{name}.psk").write_text(f"a long and boring secret of {name}\n")
    for private in (tmp_path / "certs" / "moon.key", *(tmp_path / "secrets").iterdir()):
        private.chmod(0o600)
    return tmp_path / "xfrmctl.yaml"


def check(file: Path, text: str) -> str:
    file.write_text(text)
    result = CliRunner().invoke(app, ["check", str(file)])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_example(checked: Path, example: Path) -> None:
    assert ": ok: 1 connection, 1 child" in check(checked, example.read_text())


def test_the_readme_example(checked: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert ": ok: 1 connection, 1 child" in check(checked, text)
