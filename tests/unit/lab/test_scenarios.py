"""The directories of the scenarios: complete, readable for a shell, and every command that they use is there."""

import os
import subprocess
from pathlib import Path

import pytest

from xfrmctl.config.load import load
from xfrmctl.config.problem import ConfigError
from xfrmctl.lab import play
from xfrmctl.lab.errors import LabError

VAGRANT = play.SCENARIOS.parents[2] / "vagrant"
SCRIPTS = [
    path
    for place in (play.SCENARIOS, VAGRANT / "commands", VAGRANT / "provision", VAGRANT / "box", VAGRANT)
    for path in sorted(place.rglob("*") if place == play.SCENARIOS else place.iterdir())
    if path.is_file() and path.read_text().startswith("#!")
]
NAMES = [one.name for one in play.scenarios()]


def test_there_is_something_to_play_and_the_first_look_comes_first() -> None:
    assert NAMES[0] == "tunnel"
    assert {"black-hole", "nat", "never-in-clear", "reload", "wrong-key"} < set(NAMES)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scripts_are_what_their_shell_understands_and_can_be_run(script: Path) -> None:
    shell = "bash" if script.read_text().startswith("#!/bin/bash") else "sh"
    assert subprocess.run([shell, "-n", script], capture_output=True, check=False).returncode == 0
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("name", NAMES)
def test_each_tells_its_story(name: str) -> None:
    directory = play.SCENARIOS / name
    title, _, story = (directory / "README.md").read_text().partition("\n")
    assert title.startswith("# ") and len(title) < 100
    assert len(story.split()) > 30
    checks = [
        line for line in (directory / "check").read_text().splitlines() if "holds " in line or "eventually " in line
    ]
    assert len(checks) >= 2


def test_every_lab_has_the_three_commands() -> None:
    for lab in (play.SCENARIOS / "namespaces", VAGRANT / "commands"):
        assert {path.name for path in lab.iterdir()} == {"on", "put", "daemon"}


@pytest.mark.parametrize(
    "file", sorted(play.SCENARIOS.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_configurations_are_what_xfrmctl_takes(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "tunnel.psk"
    secret.parent.mkdir()
    secret.touch(mode=0o600)
    secret.write_text((play.SCENARIOS / "base" / "tunnel.psk").read_text())
    there = tmp_path / "xfrmctl.yaml"
    there.touch(mode=0o600)
    there.write_text(file.read_text())
    if file.name == "faulty.yaml":
        with pytest.raises(ConfigError):
            load(there)
    else:
        assert "tunnel" in load(there).engine.connections


def test_a_name_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(LabError, match="there are: tunnel, "):
        play.named(["blackhole"])
