"""What README.md points to exists, and it names the documents that there are."""

import re
from pathlib import Path

from tests.deploy import readme
from xfrmctl.lab import play

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_every_file_that_it_names_exists() -> None:
    named = set(re.findall(r"\]\(([^)#]+)\)", README)) | set(re.findall(r"`((?:tests|docs|xfrmctl)/[\w/.-]+)`", README))
    assert len(named) > 10
    missing = sorted(name for name in named if not name.startswith("http") and not (ROOT / name).exists())
    assert not missing


def test_every_document_is_listed() -> None:
    for document in sorted((ROOT / "docs").iterdir()):
        assert f"](docs/{document.name})" in README, document.name


def test_every_make_target_that_it_names_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"lab", "test"} <= named <= set(targets)


def test_every_command_of_the_section_deploy_is_run_by_a_test() -> None:
    """Tests take them from tests/deploy/readme.py by their words; scenarios are all played by one test."""
    texts = [path.read_text() for path in (ROOT / "tests" / "deploy").glob("*.py")]
    run = {line for text in texts for line in re.findall(r'readme\.(?:command|recipe)\(\s*"([^"]+)"', text)}
    run |= {f"xfrmctl lab scenario {one.name}" for one in play.scenarios()}
    acceptance = (ROOT / "tools" / "acceptance.sh").read_text()
    assert "vagrant up" in acceptance and "./scenario " in acceptance
    run |= {"cd vagrant && vagrant up"} | {f"./scenario {one.name}" for one in play.scenarios()}
    assert len(readme.commands()) > 10
    assert set(readme.commands()) <= run


def test_it_stays_short() -> None:
    assert len(README.splitlines()) <= 150
