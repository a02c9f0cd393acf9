"""The command as a user runs it: what it prints, where, and with which exit code."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.control.gateway_values import DOWN, IKE, SNAPSHOT, UP, Gateway, serving
from xfrmctl.cli.main import app
from xfrmctl.control.schema import ChildChange, ConnectionChange, GatewayChange, KeyChange, PlanResult
from xfrmctl.model import words
from xfrmctl.model.selection import EVERYTHING, Selection
from xfrmctl.model.snapshot import Snapshot

CONFIG = """\
connections:
  c:
    local: {address: 192.0.2.1}
    remote: {address: 192.0.2.2}
    auth: {psk: !file k}
    children:
      lan: {local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16}
"""
VERBS = (
    "check",
    "daemon",
    "up",
    "down",
    "show",
    "top",
    "reload",
    "plan",
    "events",
    "debug",
    "diagnose",
    "mtu",
    "trace",
    "explain",
    "import",
    "cleanup",
    "lab",
)


class Run:
    """One run of the command."""

    def __init__(self, *arguments: str, width: int = 80) -> None:
        env = {"COLUMNS": str(width), "NO_COLOR": "1", "TERM": "dumb"}
        result = CliRunner().invoke(app, list(arguments), env=env, catch_exceptions=True)
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception


@pytest.fixture
def sock(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "k").write_text("a long and boring secret\n")
    (tmp_path / "k").chmod(0o600)
    path = tmp_path / "x.yaml"
    path.write_text(CONFIG)
    return path


# ---- without a daemon --------------------------------------------------------------------------------------------


def test_help_lists_every_verb_and_the_exit_codes() -> None:
    run = Run("--help")
    assert run.code == 0
    assert all(f" {verb} " in run.out for verb in VERBS)
    assert "Exit codes" in run.out


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "lab"])
def test_every_verb_teaches_with_an_example(verb: str) -> None:
    run = Run(verb, "--help", width=200)
    assert run.code == 0 and "Example" in run.out and f"xfrmctl {verb}" in run.out


def test_version() -> None:
    assert Run("--version").out.startswith("xfrmctl 0.")


def test_help_and_version_import_nothing_heavy() -> None:
    """Completion runs the command at every <tab>."""
    program = (
        "import sys; from xfrmctl.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'pydantic', 'yaml', 'cryptography', 'pyroute2', 'prometheus_client', 'xfrmctl.lab'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for argument in ("--version", "--help"):
        done = subprocess.run(
            [sys.executable, "-c", program, argument], capture_output=True, text=True, check=True, timeout=30
        )
        assert done.stderr.strip() == "[]"


def test_the_lab_is_mounted_without_being_imported() -> None:
    assert "demo" in Run("lab", "--help").out


def test_wrong_usage_is_2() -> None:
    assert Run("sho").code == 2
    assert Run("up").code == 2
    assert Run("mtu", "--outer-mtu", "7").code == 2


def test_check_is_content(config: Path) -> None:
    run = Run("check", str(config))
    assert run.code == 0 and "ok: 1 connection, 1 child" in run.out and run.err == ""
    found = json.loads(Run("check", "--json", str(config)).out)
    assert found["ok"] is True and found["connections"] == ["c"]


def test_check_tells_all_problems(config: Path) -> None:
    config.write_text(CONFIG.replace("remote_ts", "remote-ts").replace("192.0.2.2", "192.0.2.999"))
    run = Run("check", str(config))
    assert run.code == 2 and run.out == "" and "Traceback" not in run.err
    assert f"{config}:4:" in run.err and f"{config}:7:" in run.err and "did you mean 'remote_ts'" in run.err
    assert len(json.loads(Run("check", "--json", str(config)).out)["error"]["problems"]) == 3


def test_check_warns(config: Path) -> None:
    (config.parent / "k").write_text("short")
    run = Run("check", str(config))
    assert run.code == 0 and "warning" in run.err and "5 bytes" in run.err


def test_check_of_nothing(tmp_path: Path) -> None:
    run = Run("check", str(tmp_path / "nowhere"))
    assert run.code == 2 and "No such file" in run.err


def test_check_schema() -> None:
    assert json.loads(Run("check", "--schema").out)["title"] == "xfrmctl configuration"


def test_daemon_with_a_wrong_file_is_2(config: Path, sock: Path) -> None:
    config.write_text("connections: 7\n")
    done = subprocess.run(
        [sys.executable, "-m", "xfrmctl", "daemon", "--config", str(config), "--control", str(sock)]
        if (Path(__file__).parents[3] / "xfrmctl" / "__main__.py").exists()
        else [str(Path(sys.executable).with_name("xfrmctl")), "daemon", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2 and "7 is no mapping" in done.stderr and "Traceback" not in done.stderr


def test_mtu_cisco() -> None:
    run = Run("mtu", "--cisco", width=120)
    assert run.code == 0 and "1277" in run.out and "1278" in run.out and "1 less than fits" in run.out


def test_mtu_of_a_suite() -> None:
    run = Run("mtu", "aes256gcm16", "--outer-mtu", "1500", "--encap")
    assert run.code == 0 and "1438" in run.out and "1398 over IPv4" in run.out and "UDP" in run.out
    found = json.loads(Run("mtu", "aes256gcm16", "-m", "1400", "-6", "--json").out)
    assert (found["inner_mtu"], found["mss_ipv4"], found["outer_version"]) == (1326, 1286, 6)


def test_mtu_of_the_usual_suites() -> None:
    run = Run("mtu")
    assert run.code == 0 and "1446" in run.out and "chacha20poly1305" in run.out
    assert {row["suite"] for row in json.loads(Run("mtu", "--json").out)} >= {"3des-md5", "aes256-sha256"}


def test_mtu_mistakes() -> None:
    run = Run("mtu", "aes257")
    assert run.code == 2 and "did you mean 'aes256'" in run.err
    assert "no room" in Run("mtu", "aes256gcm16", "-m", "68", "-6", "-u").err.replace("\n", " ")


@pytest.mark.parametrize("verb", ["show", "top --once", "up c", "down c", "reload", "plan", "events", "debug c"])
def test_no_daemon_is_3(verb: str, sock: Path) -> None:
    run = Run("--control", str(sock), *verb.split())
    assert run.code == 3 and f"no daemon listens at {sock}" in run.err and "cure: start it" in run.err
    error = json.loads(Run("--control", str(sock), *verb.split(), "--json").out)["error"]
    assert "no daemon" in error["message"] and "systemctl start" in error["cure"]


def test_control_comes_from_the_environment(sock: Path) -> None:
    env = {**os.environ, "XFRMCTL_CONTROL": str(sock)}
    assert f"listens at {sock}" in CliRunner().invoke(app, ["show"], env=env).stderr


# ---- with a daemon -----------------------------------------------------------------------------------------------


def test_up_and_down(sock: Path) -> None:
    with serving(sock) as gateway:
        run = Run("--control", str(sock), "up", "branch-7", "lan", "--timeout", "3")
        assert (run.code, run.out) == (0, "branch-7: lan up\n")
        assert Run("--control", str(sock), "down", "branch-7").code == 0
        assert gateway.asked == [("up", "branch-7", "lan", 3.0), ("down", "branch-7", None)]


def test_up_that_fails_tells_why(sock: Path) -> None:
    with serving(sock):
        run = Run("--control", str(sock), "up", "branch-8")
        assert run.code == 1
        for word in ("accepts none", "cause:", "cure:", "we offered:", "peer offered:", "aes128-sha256-modp2048"):
            assert word in run.err
        found = Run("--control", str(sock), "up", "branch-8", "--json")
        assert found.code == 1 and json.loads(found.out)["failure"]["notify"] == "NO_PROPOSAL_CHOSEN"


def test_wrong_names(sock: Path) -> None:
    with serving(sock):
        for verb in ("up", "show"):
            run = Run("--control", str(sock), verb, "brunch-7", width=200)
            assert run.code == 2 and "did you mean 'branch-7'" in run.err


def test_reload(sock: Path) -> None:
    with serving(sock) as gateway:
        run = Run("--control", str(sock), "reload")
        assert run.code == 0 and "added:    new" in run.out and "changed:  branch-7" in run.out
        gateway.reload_ok = False
        refused = Run("--control", str(sock), "reload")
        assert refused.code == 2 and "unknown key" in refused.err


CHANGES = PlanResult(
    file="/etc/xfrmctl/new.yaml",
    configuration_differs=True,
    connections=[
        ConnectionChange(name="new", action="add", cost="none", effect="nothing else is touched"),
        ConnectionChange(
            name="branch-7",
            action="change",
            cost="anew",
            effect="its IKE SA ends and is negotiated again; until then nothing passes: lan, voice",
            interrupts=["lan", "voice"],
            keys=[
                KeyChange(key="remote.address", old="172.16.2.1", new="172.16.2.9"),
                KeyChange(key="auth.psk", old="", new="", secret=True),
                KeyChange(key="auth.psks.a", old=None, new="", secret=True),
                KeyChange(key="auth.psks.b", old="", new=None, secret=True),
            ],
            children=[
                ChildChange(
                    name="lan", action="change", carries="a <-> b", keys=[KeyChange(key="x", old=None, new="1")]
                ),
                ChildChange(name="old", action="remove", carries="c <-> d"),
            ],
        ),
    ],
    gateway=[GatewayChange(cost="none", effect="in force at once", keys=[KeyChange(key="p", old="1", new=None)])],
    waiting=["gateway.ports"],
    lines=["+ policy out"],
)
PLAN = """\
+ new: nothing else is touched
~ branch-7: its IKE SA ends and is negotiated again; until then nothing passes: lan, voice
    remote.address: 172.16.2.1 -> 172.16.2.9
    auth.psk: it is another secret
    auth.psks.a: a secret is added
    auth.psks.b: the secret is taken out
    ~ lan: a <-> b
        x: 1
    - old: c <-> d
~ gateway: in force at once
    p: 1 -> (not there)
kernel:
    + policy out
waits for the next start of the daemon already: gateway.ports
connections: 1 to add, 1 to change; interrupted: branch-7 (lan, voice)
"""


def test_plan(sock: Path) -> None:
    """2 is for differences; 1 for whatever goes wrong, wrong usage too, so that no script takes that for a 2."""
    with serving(sock) as gateway:
        control = ("--control", str(sock), "plan")
        disturbed = Run(*control)
        assert (disturbed.code, disturbed.out.splitlines()[-1]) == (2, "the configuration would not change")
        assert disturbed.out.startswith("kernel, where it is not as it should be:\n    + policy out 10.1.1.0/24")
        gateway.planned = PlanResult(file="x", configuration_differs=False)
        assert (Run(*control).code, Run(*control).out) == (0, "nothing would change\n")
        gateway.planned = CHANGES
        run = Run(*control, "new.yaml")
        assert (run.code, run.out) == (2, PLAN)
        assert gateway.asked[-1] == ("plan", Path("new.yaml").absolute())
        as_json = Run(*control, "--json")
        assert as_json.code == 2 and json.loads(as_json.out) == asdict(CHANGES)
        for wrong in (("--jsn",), ("a", "b")):
            assert Run(*control, *wrong).code == 1
        gateway.reload_ok = False
        refused = Run(*control)
        assert (refused.code, refused.out) == (1, "") and "cure: correct the file" in refused.err
        assert json.loads(Run(*control, "--json").out)["error"]["cure"] == "correct the file"


@pytest.mark.parametrize("width", [60, 80, 140, 200])
def test_show_on_any_terminal(sock: Path, width: int) -> None:
    with serving(sock):
        run = Run("--control", str(sock), "show", width=width)
    assert run.code == 0
    assert max(len(line) for line in run.out.splitlines()) <= width
    flat = " ".join(run.out.replace("│", " ").split())
    for word in ("branch-7", "0xc0000001", "0xc0000002", "1.5 MB", "1200 packets", "1338 inner", "1298", "branch-8"):
        assert word in flat, (word, run.out)
    for word in ("accepts none of our", "peer offered:", "next try:", "in 16 s; 3 attempts so far"):
        assert word in flat, (word, run.out)


def test_show_one(sock: Path) -> None:
    with serving(sock):
        up = Run("--control", str(sock), "show", "branch-7")
        assert up.code == 0 and "branch-8" not in up.out
        down = Run("--control", str(sock), "show", "branch-8")
        assert down.code == 1 and "next try" in down.out


def test_show_json(sock: Path) -> None:
    with serving(sock):
        assert json.loads(Run("--control", str(sock), "show", "--json").out)["half_open"] == 0
        one = Run("--control", str(sock), "show", "branch-8", "--json")
        assert one.code == 1 and json.loads(one.out)["last_failure"]["code"] == "no_proposal_chosen"


def test_show_brackets_of_selectors_and_trouble(sock: Path) -> None:
    """Rich would take [tcp] for markup."""
    child = replace(IKE.children[0], local_ts=["10.1.1.0/24[tcp/443]"], mtu=None)
    child = replace(child, inbound=replace(child.inbound, missing=True))
    ike = replace(IKE, children=[child])

    class Troubled(Gateway):
        async def snapshot(self, wanted: Selection = EVERYTHING) -> Snapshot:
            kernel = replace(SNAPSHOT.kernel, problems=["policy [out] is missing"], disturbances=["[-j ACCEPT] stood"])
            clamps = [replace(clamp, standing=False) for clamp in SNAPSHOT.clamps]
            connections = [replace(UP, ike_sas=[ike]), DOWN]
            return replace(
                SNAPSHOT,
                kernel=kernel,
                clamps=clamps,
                connections=connections,
                reload_ok=False,
                reload_error="x.yaml:1: [bad]",
            )

    with serving(sock, Troubled()):
        for width in (80, 200):
            out = Run("--control", str(sock), "show", width=width).out
            flat = " ".join(out.split())
            assert "10.1.1.0/24[tcp/443]" in flat and "policy [out] is missing" in flat and "x.yaml:1: [bad]" in flat
            assert "the last reload failed" in flat and "gone" in flat
            assert "put back a moment ago: [-j ACCEPT] stood" in flat and "MSS 1298 is not in force" in flat


def test_cleanup_is_refused_beside_a_daemon(sock: Path) -> None:
    with serving(sock):
        run = Run("--control", str(sock), "cleanup")
        assert run.code == 1 and "a daemon answers" in run.err and "--force" in run.err
        for _ in range(2):  # the server has then seen the probe come and go, and leaves no transport unclosed
            assert Run("--control", str(sock), "show", "--json").code == 0


# ---- words -------------------------------------------------------------------------------------------------------


def test_words() -> None:
    assert [words.duration(s) for s in (None, 0, 119.9, 120, 7200, 172800)] == [
        "-", "0 s", "119 s", "2 min", "2 h 0 min", "2 d 0 h",
    ]  # fmt: skip
    assert [words.size(n) for n in (0, 999, 1000, 999_949, 999_960, 10**12, 10**16)] == [
        "0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.0 TB", "10.0 PB",
    ]  # fmt: skip
    assert [words.count(n) for n in (9999, 10_000, 2 * 10**6, 3 * 10**9)] == ["9999", "10.0 k", "2.0 M", "3.0 G"]
    assert words.plural(1, "attempt") == "1 attempt" and words.plural(0, "attempt") == "0 attempts"
