"""``xfrmctl import`` as a user runs it."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.test_cli import Run
from tests.unit.importers.imports import KEY
from tests.unit.importers.swanctl_text import SITES, connection

AMBIGUOUS = "conn net\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\tauto=add\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "swanctl.conf"
    path.write_text(SITES)
    return path


def test_what_needs_eyes_is_shown_and_the_rest_is_counted(file: Path, tmp_path: Path) -> None:
    run = Run("import", str(file), "--to", str(tmp_path / "new"), width=120)
    assert run.code == 0 and run.err == ""
    assert "replay_window = 32: the default of strongSwan" in run.out
    assert "local_addrs" not in run.out
    assert "`xfrmctl check` passes: 1 connection, 1 child" in run.out
    assert "local_addrs" in (tmp_path / "new" / "import-report.txt").read_text()
    assert Run("check", str(tmp_path / "new" / "xfrmctl.yaml")).code == 0


def test_what_has_to_be_decided_is_status_1(file: Path, tmp_path: Path) -> None:
    file.write_text(connection("vips = 0.0.0.0"))
    run = Run("import", str(file), "--to", str(tmp_path / "new"), width=120)
    assert run.code == 1 and "To decide" in run.out and "virtual addresses are not handed out here" in run.out


def test_json_has_every_option_and_no_secret(file: Path, tmp_path: Path) -> None:
    run = Run("import", str(file), "--to", str(tmp_path / "new"), "--json")
    found = json.loads(run.out)
    assert run.code == 0 and found["ok"] and found["from"] == "swanctl"
    assert found["files"] == ["import-report.txt", "secrets/branch.psk", "xfrmctl.yaml"]
    secret = next(o for o in found["options"] if o["option"] == "secrets.ike-branch.secret")
    assert (secret["value"], secret["fate"], secret["line"]) == ("(secret)", "mapped", 34)
    assert KEY not in run.out


def test_a_dry_run_writes_nothing(file: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    run = Run("import", str(file), "--to", str(tmp_path / "new"), "--dry-run", "--json")
    assert run.code == 0 and json.loads(run.out)["directory"] is None
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_that_is_there_is_touched(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "new"
    target.mkdir()
    assert Run("import", str(file), "--to", str(target)).code == 0  # empty: fine
    again = Run("import", str(file), "--to", str(target))
    assert again.code == 2 and "not empty" in again.err
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".xfrmctl")]


def test_what_could_be_either_products_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "ipsec.conf"
    path.write_text(AMBIGUOUS)
    run = Run("import", str(path), "--to", str(tmp_path / "new"))
    assert run.code == 2 and "--from strongswan or --from libreswan" in " ".join(run.err.split())


@pytest.mark.parametrize(
    ("text", "cause"),
    [("connections {\n", "no end"), ("hello\n", "neither"), ("\x00\xff", "neither")],
)
def test_faults_are_one_line_and_status_2(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "some.conf"
    path.write_text(text)
    run = Run("import", str(path), "--to", str(tmp_path / "new"), width=200)
    assert run.code == 2 and cause in run.err and "Traceback" not in run.err
    assert not (tmp_path / "new").exists()


def test_missing_files_and_wrong_addresses(tmp_path: Path) -> None:
    assert Run("import", str(tmp_path / "gone"), "--to", str(tmp_path / "new")).code == 2
    (tmp_path / "swanctl.conf").write_text(SITES)
    run = Run("import", str(tmp_path / "swanctl.conf"), "--to", str(tmp_path / "new"), "--local", "moon")
    assert run.code == 2 and "no address" in run.err
