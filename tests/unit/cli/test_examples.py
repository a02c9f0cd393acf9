"""Every example of every verb's help is carried out as it stands: against an API, and files that are real."""

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests.unit.cli.test_cli import CONFIG
from tests.unit.control.gateway_values import serving
from tests.unit.importers.swanctl_text import SITES
from tests.unit.trace.captures import ethernet, pcapng, syn, syn_ack
from tools.man_pages import verbs
from xfrmctl.cli import show, top
from xfrmctl.cli.main import app

ELSEWHERE = {
    "daemon": "the lab's gateways are started so",
    "cleanup": "tests/lab/test_ownership.py: it would clean up this host",
    "lab": "tests/lab",
    "trace --live": "tests/lab/test_trace.py: it wants two devices",
}
"""What is not carried out here, and where it is."""

EXAMPLES = [example for verb in verbs() for example in verb.examples]
HERE = [e for e in EXAMPLES if not any(f"xfrmctl {what}" in e for what in ELSEWHERE)]

ENDS = {"diagnose": (0, 1), "trace": (1,), "explain": (0, 1), "plan": (2,)}
"""Exit codes besides 0: there are findings, a path that changes packets, this host's rules, a plan to carry out."""


@dataclass
class Shell:
    """A line of shell: ``|``, ``&&`` and ``>`` between commands; /etc is a directory of ours."""

    place: Path
    control: Path

    def __call__(self, line: str) -> str:
        words = shlex.split(line.replace("/etc/", f"{self.place}/etc/"))
        given, said = "", ""
        command: list[str] = []
        for word in (*words, "&&"):
            if word not in ("|", "&&", ">"):
                command.append(word)
                continue
            if given == ">":
                (self.place / command[0]).write_text(said)
            else:
                said = self._run(command, said if given == "|" else "")
            given, command = word, []
        return said

    def _run(self, command: list[str], given: str) -> str:
        if command[0] == "jq" and shutil.which("jq") is None:
            return "".join(str(json.loads(line)) for line in (given.splitlines() if "\n{" in given else [given]))
        if command[0] == "jq":
            return subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=60).stdout
        line = shlex.join(command)
        if line == "xfrmctl check":
            command = [*command, str(self.place / "etc" / "xfrmctl" / "xfrmctl.yaml")]  # its default, here
        if line == "xfrmctl debug branch-7":
            command = [*command, "--for", "1s"]  # instead of ten minutes
        if command[1] == "events" and "--no-follow" not in command:
            command = [*command, "--no-follow"]  # instead of for ever
        env = {"XFRMCTL_CONTROL": str(self.control), "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
        result = CliRunner().invoke(app, command[1:], env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code in ENDS.get(command[1], (0,)), f"{line}: {result.exit_code}\n{result.output}"
        assert result.stdout.strip(), f"{line} prints nothing"
        return result.stdout


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    etc = tmp_path / "etc" / "xfrmctl"
    etc.mkdir(parents=True)
    (etc / "k").write_text("a long and boring secret\n")
    (etc / "k").chmod(0o600)
    for name in ("xfrmctl.yaml", "new.yaml"):
        (etc / name).write_text(CONFIG)
    (tmp_path / "etc" / "swanctl").mkdir()
    (tmp_path / "etc" / "swanctl" / "swanctl.conf").write_text(SITES)
    (tmp_path / "client.pcap").write_bytes(ethernet([syn(), syn_ack(ttl=62)]))
    (tmp_path / "server.pcapng").write_bytes(pcapng([(0, bytes(syn(1406, ttl=63))), (0, bytes(syn_ack(ttl=63)))]))
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path / "c"):
        yield Shell(tmp_path, tmp_path / "c")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks again and again is stopped by ^C before the third look."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) > 1:
            raise KeyboardInterrupt

    for watcher in (show, top):  # and nobody else: programs are waited for with it, too
        monkeypatch.setattr(watcher, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))


@pytest.mark.parametrize("example", [e for e in HERE if "import" not in e and "new/xfrmctl.yaml" not in e])
def test_an_example_works(example: str, shell: Shell) -> None:
    shell(example)


def test_examples_of_import_in_their_order(shell: Shell) -> None:
    for example in HERE:
        if "xfrmctl import" in example or "new/xfrmctl.yaml" in example:
            shell(example)


def test_what_is_left_to_others_is_little() -> None:
    elsewhere = [example for example in EXAMPLES if example not in HERE and "xfrmctl lab" not in example]
    assert len(HERE) > 25 and len(elsewhere) < 6, elsewhere


def test_a_schema_that_an_example_writes_is_json(shell: Shell) -> None:
    shell("xfrmctl check --schema > xfrmctl.schema.json")
    assert json.loads((shell.place / "xfrmctl.schema.json").read_text())["properties"]
