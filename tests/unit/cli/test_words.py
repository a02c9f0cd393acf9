"""Mistyped words get the right one; the shell completes verbs, options, and names that the daemon knows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.control.gateway_values import serving
from xfrmctl.cli.main import app
from xfrmctl.model.nearest import advice, nearest


def told(*arguments: str) -> str:
    env = {"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(app, list(arguments), env=env)
    assert result.exit_code == 2
    return result.stderr


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["sho"], "did you mean `xfrmctl show`?"),
        (["SHOW"], "did you mean `xfrmctl show`?"),
        (["diag"], "did you mean `xfrmctl diagnose`?"),
        (["status"], "here it is `xfrmctl show`"),
        (["initiate"], "here it is `xfrmctl up`"),
        (["help"], "`xfrmctl --help`"),
        (["version"], "`xfrmctl --version`"),
        (["frobnicate"], "the verbs are: check, daemon"),
        (["lab", "demmo"], "Did you mean 'demo'"),
        (["up", "x", "--timout", "3"], "--timeout"),
        (["daemon", "--log-format", "stor"], "did you mean 'story'?"),
        (["daemon", "--log-level", "loud"], "'loud' is not one of: debug, info, warning, error "),
        (["mtu", "aes265gcm16"], "did you mean 'aes256gcm16'?"),
        (["explain", "10.1.1.1", "10.2.1.1", "tpc"], "did you mean 'tcp'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_gets_the_right_one(words: list[str], right: str) -> None:
    assert right in told(*words)


@pytest.mark.parametrize("verb", ["up", "show", "diagnose"])
def test_a_wrong_name_gets_the_right_one(verb: str, tmp_path: Path) -> None:
    with serving(tmp_path / "s"):
        assert "did you mean 'branch-7'?" in told("--control", str(tmp_path / "s"), verb, "brunch-7")


def test_nearest_looks_past_case_and_dashes() -> None:
    assert nearest("Remote-TS", ["local_ts", "remote_ts"]) == "remote_ts"
    assert nearest("brnch", ["branch-7", "office"]) == "branch-7"
    assert nearest("xyz", ["branch-7", "office"]) is None


def test_advice_lists_what_there_is() -> None:
    assert advice("ofice", ["branch-7", "office"]) == "did you mean 'office'?"
    assert advice("xyz", ["branch-7", "office"]) == "known: branch-7, office"
    assert advice("xyz", [f"n{n}" for n in range(12)]).endswith("n9, …")
    assert advice("xyz", []) == ""


# ---- completion --------------------------------------------------------------------------------------------------


def complete(words: str, sock: Path) -> list[str]:
    """What bash would offer for the last word."""
    env = {**os.environ, "_XFRMCTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "XFRMCTL_CONTROL": str(sock)}
    env["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    command = [str(Path(sys.executable).with_name("xfrmctl"))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_verbs_options_and_values(tmp_path: Path) -> None:
    nobody = tmp_path / "s"
    assert complete("xfrmctl di", nobody) == ["diagnose"]
    assert complete("xfrmctl lab d", nobody) == ["demo"]
    assert complete("xfrmctl up --tim", nobody) == ["--timeout"]
    assert complete("xfrmctl daemon --log-format s", nobody) == ["story"]
    assert complete("xfrmctl up ", nobody) == [], "no daemon: no names, and no message"


def test_the_shell_completes_names(tmp_path: Path) -> None:
    with serving(tmp_path / "s"):
        assert complete("xfrmctl up br", tmp_path / "s") == ["branch-7", "branch-8"]
        assert complete("xfrmctl rekey branch-8 ", tmp_path / "s") == ["office"]
        assert complete("xfrmctl events -c branch-7", tmp_path / "s") == ["branch-7"]
        assert complete(f"xfrmctl --control {tmp_path / 's'} show bra", tmp_path / "t") == ["branch-7", "branch-8"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str) -> None:
    env = {**os.environ, "_XFRMCTL_COMPLETE": f"source_{shell}"}
    command = [str(Path(sys.executable).with_name("xfrmctl"))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert f"_XFRMCTL_COMPLETE=complete_{shell}" in done.stdout
