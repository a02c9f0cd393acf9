"""The command where a user runs it: terminals, locales and pipes of every kind, and stdout that takes no more."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.control.gateway_values import SNAPSHOT, UP, Gateway, serving
from xfrmctl.model.selection import EVERYTHING, Selection
from xfrmctl.model.snapshot import Snapshot

XFRMCTL = str(Path(sys.executable).with_name("xfrmctl"))
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
"""A locale without Unicode, and a Python that does not help itself."""


class Odd(Gateway):
    """Names that are long, and not ASCII."""

    async def snapshot(self, wanted: Selection = EVERYTHING) -> Snapshot:
        return replace(SNAPSHOT, connections=[replace(UP, name="b\u00fccher-" + "x" * 200)])


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("run") / "c"
    with serving(path, Odd()):
        yield path


def run(line: str, control: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A line of bash; ``xfrmctl`` is ours, and whatever it says is no traceback."""
    given = {
        **os.environ,
        "XFRMCTL_CONTROL": str(control),
        "PATH": f"{Path(XFRMCTL).parent}:{os.environ['PATH']}",
        **env,
    }
    done = subprocess.run(["bash", "-c", line], env=given, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def test_a_locale_without_unicode(control: Path) -> None:
    shown = run("xfrmctl show", control, **ASCII)
    assert shown.returncode == 0 and "b?cher-" in shown.stdout and shown.stdout.isascii()
    told = run("xfrmctl show --json", control, **ASCII)
    assert told.stdout.isascii() and json.loads(told.stdout)["connections"][0]["name"].startswith("b\u00fccher-")


@pytest.mark.parametrize("columns", ["20", "40", "200"])
def test_a_name_longer_than_the_terminal(control: Path, columns: str) -> None:
    assert run("xfrmctl show", control, COLUMNS=columns).stdout.replace("\n", "").count("x") > 150


def test_no_colour_where_none_is_wanted(control: Path) -> None:
    assert "\x1b[3" not in run("xfrmctl show", control, NO_COLOR="1", FORCE_COLOR="1").stdout


@pytest.mark.parametrize("verb", ["show", "show --json", "mtu", "--help"])
def test_nobody_reads_on(control: Path, verb: str) -> None:
    done = run(f"xfrmctl {verb} | head -1", control)
    assert done.stderr == "" and done.stdout.count("\n") == 1


@pytest.mark.parametrize("verb", ["show", "show --json", "--help"])
def test_a_full_disk_is_told(control: Path, verb: str) -> None:
    done = run(f"xfrmctl {verb} >/dev/full", control)
    assert done.returncode == 1
    assert done.stderr == "xfrmctl: stdout: No space left on device; make room, or write elsewhere\n"


def test_a_closed_stdout_takes_everything(control: Path) -> None:
    done = run("xfrmctl show >&-", control)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "dead"))
    for path in (tmp_path / "dead", tmp_path, tmp_path / ("x" * 200)):
        done = run("xfrmctl show", path)
        assert done.returncode == 3 and "cure: " in done.stderr, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="root lets go of its rights here")
def test_without_permission() -> None:
    """Of a place of its own: those of pytest are root's alone."""
    place = Path("/tmp") / f"xfrmctl-test-{os.getpid()}"
    place.mkdir(mode=0o755)
    try:
        with serving(place / "c"):
            (place / "c").chmod(0o600)
            probe = "import os, pathlib; from xfrmctl.control.client import ControlClient; os.setuid(65534); "
            probe += f"ControlClient(pathlib.Path('{place}/c')).status()"
            done = subprocess.run(
                [sys.executable, "-c", probe], capture_output=True, text=True, check=False, timeout=60
            )
        assert "you may not use" in done.stderr and "sudo" in done.stderr, done.stderr
    finally:
        place.rmdir()


@pytest.mark.parametrize("verb", ["events", "show --watch 1"])
def test_ctrl_c_ends_what_has_no_end(control: Path, verb: str) -> None:
    env = {**os.environ, "XFRMCTL_CONTROL": str(control), "PYTHONUNBUFFERED": "1"}
    argv = [XFRMCTL, *verb.split()]
    # A terminal's program does not ignore Ctrl-C; what a script has put into the background does, tests included.
    obey = f"import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv({XFRMCTL!r}, {argv!r})"
    with subprocess.Popen(
        [sys.executable, "-c", obey], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline()  # it has begun
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


# ---- the shell completes -----------------------------------------------------------------------------------------

_COMPLETE = """
eval "$(_XFRMCTL_COMPLETE=source_bash xfrmctl)"
how=$(complete -p xfrmctl | grep -o '[-]F [^ ]*' | cut -c4-)
words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); $how xfrmctl; echo "${COMPREPLY[@]}"; }
words xfrmctl di
words xfrmctl rekey branch-8 ''
words xfrmctl top --sort pa
"""


def test_bash_completes(tmp_path: Path) -> None:
    """With the script that `--install-completion` installs, by bash's own means."""
    with serving(tmp_path / "c"):
        done = run(_COMPLETE, tmp_path / "c")
    assert done.stdout.splitlines() == ["diagnose", "office", "packets"], done.stderr
