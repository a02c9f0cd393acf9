"""``xfrmctl diagnose`` as a user runs it: with a daemon, without one, and where it cannot look."""

import json
from pathlib import Path

from tests.unit.cli.test_cli import CONFIG, Run
from tests.unit.control.gateway_values import serving


def test_findings_are_told_in_full_and_give_1(tmp_path: Path) -> None:
    with serving(tmp_path / "s") as gateway:
        run = Run("--control", str(tmp_path / "s"), "diagnose", "--seconds", "0", width=120)
        assert gateway.asked == [("diagnose", None, 0.0)]
    assert run.code == 1
    for part in (
        "no-common-ike-proposal (branch-8)", "symptom", "evidence", "ke: we x25519", "cause", "cure here", "cure peer",
        "strongSwan: proposals = aes256gcm16-prfsha384-x25519", "branch-7, branch-8: 1 finding",
    ):  # fmt: skip
        assert part in run.out, part


def test_nothing_found_gives_0(tmp_path: Path) -> None:
    with serving(tmp_path / "s"):
        run = Run("--control", str(tmp_path / "s"), "diagnose", "branch-7", "-s", "0")
    assert run.code == 0 and run.out == "branch-7: nothing found\n"


def test_json_and_a_wrong_name(tmp_path: Path) -> None:
    with serving(tmp_path / "s"):
        found = json.loads(Run("--control", str(tmp_path / "s"), "diagnose", "--json").out)
        assert [f["id"] for f in found["findings"]] == ["no-common-ike-proposal"]
        run = Run("--control", str(tmp_path / "s"), "diagnose", "branch7")
    assert run.code == 2 and "did you mean 'branch-7'" in run.err


def test_without_a_daemon_that_is_the_first_finding(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("a long and boring secret, for tests\n")
    (tmp_path / "k").chmod(0o600)
    (tmp_path / "x.yaml").write_text(CONFIG)
    options = ["--control", str(tmp_path / "none"), "diagnose", "--config", str(tmp_path / "x.yaml"), "-s", "0"]
    found = json.loads((run := Run(*options, "--json")).out)
    assert run.code == 1 and found["findings"][0]["id"] == "daemon-not-running"
    assert Run(*options, "nobody").code == 2
    (tmp_path / "x.yaml").unlink()
    found = json.loads((run := Run(*options, "--json")).out)
    assert run.code == 1 and found["findings"][0]["id"] == "daemon-not-running" and "x.yaml" in found["blind"][0]
