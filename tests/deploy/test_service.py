"""The unit under a real systemd: no root, ready when it is ready, reloads, credentials, the watchdog, the journal."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.node import Node
from xfrmctl.lab.boot import repository

pytestmark = pytest.mark.deploy

UNIT = repository() / "packaging/systemd/xfrmctl.service"
BOOT = UNIT.with_name("xfrmctl-boot.service")
STRONGSWAN = Path("/lib/systemd/system/strongswan.service")
CONFIG = "/etc/xfrmctl/xfrmctl.yaml"
CAPABILITIES = sum(1 << number for number in (10, 12, 13))
"""CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW."""


def configure(node: Node, *connections: str, secret: str = "!file secrets/all.psk") -> None:
    rows = "".join(
        f"""
  {name}:
    local: {{address: {node.address}, id: fqdn:here.example.org}}
    remote: {{address: 10.98.0.{200 + number}, id: fqdn:{name}.example.org}}
    auth: {{psk: {secret}}}
    children: {{lan: {{local_ts: 10.1.{number}.0/24, remote_ts: 10.2.{number}.0/24, start: start}}}}"""
        for number, name in enumerate(connections)
    )
    text = f"gateway: {{control_group: xfrmctl, firewall: nftables}}\nconnections:{rows or ' {}'}\n"
    node.run(["sh", "-ec", f"cat >{CONFIG}"], stdin=text)
    node.run(["install", "-m", "0600", "-o", "xfrmctl", "/dev/stdin", "/etc/xfrmctl/secrets/all.psk"], stdin="x" * 32)


def drop_in(node: Node, text: str) -> None:
    node.run(["install", "-D", "-m", "0644", "/dev/stdin", "/run/systemd/system/xfrmctl.service.d/t.conf"], stdin=text)
    node.run(["systemctl", "daemon-reload"])


@pytest.fixture
def service(gateway: Node) -> Iterator[Node]:
    """The service, running, with one connection to nobody."""
    configure(gateway, "one")
    gateway.run(["systemctl", "start", "xfrmctl"], timeout_s=120)
    yield gateway
    gateway.run(["rm", "-rf", "/run/systemd/system/xfrmctl.service.d"])
    gateway.run(["systemctl", "daemon-reload"])
    gateway.run(["systemctl", "stop", "xfrmctl"], timeout_s=120)
    gateway.run(["systemctl", "reset-failed"])


def shown(node: Node, name: str) -> str:
    return node.run(["systemctl", "show", "-P", name, "xfrmctl"]).stdout.strip()


def eventually(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def exposure(unit: Path) -> float:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found[1])


def test_systemd_has_nothing_to_say_about_the_unit(gateway: Node) -> None:
    done = gateway.run(
        ["systemd-analyze", "verify", "--man=no", "xfrmctl.service", "xfrmctl-boot.service"], check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_less_exposed_than_strongswans() -> None:
    ours, theirs = exposure(UNIT), exposure(STRONGSWAN)
    assert ours <= 2.0
    assert theirs > 9.0


def test_it_is_ready_when_policies_and_sockets_are_there(gateway: Node) -> None:
    """In the moment in which ``systemctl start`` returns; the command's own time does not count, so look at once."""
    configure(gateway, "one")
    look = "systemctl start xfrmctl; ip xfrm policy; ss -Hlun 'sport = :500'; ls /run/xfrmctl"
    seen = gateway.run(["sh", "-ec", look], timeout_s=120).stdout
    assert "dst 10.2.0.0/24" in seen
    assert re.search(r":500\b", seen)
    assert "control.sock" in seen
    gateway.run(["systemctl", "stop", "xfrmctl"], timeout_s=120)


def test_it_is_not_root_and_has_three_capabilities(service: Node) -> None:
    status = service.run(["cat", f"/proc/{shown(service, 'MainPID')}/status"]).stdout
    found = dict(line.split(":\t", 1) for line in status.splitlines())
    owner = service.run(["id", "-u", "xfrmctl"]).stdout.strip()
    assert set(found["Uid"].split()) == {owner}
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(found[kind], 16) == CAPABILITIES
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_nothing_is_refused_to_it_that_it_needs(service: Node) -> None:
    """Sandboxing that is too tight would show as errors: of permissions, or of calls that are filtered.

    This machine's kernel may lack what a gateway wants; that is another error, and not looked at here.
    """
    said = service.run(["journalctl", "-u", "xfrmctl", "-b", "-p", "warning", "-o", "cat", "--no-pager"]).stdout
    assert not re.search(r"permi|not permitted|CAP_|Traceback|Read-only", said, re.IGNORECASE), said


def test_members_of_the_group_use_the_control_socket_and_others_do_not(service: Node) -> None:
    assert service.run(["stat", "-c", "%U %G %a", "/run/xfrmctl/control.sock"]).stdout == "xfrmctl xfrmctl 660\n"
    service.run(["useradd", "-G", "xfrmctl", "member"])
    service.run(["useradd", "stranger"])
    as_user = ["setpriv", "--init-groups", "--regid=nogroup"]
    assert "1 connection" in service.run([*as_user, "--reuid=member", "xfrmctl", "show"]).stdout
    refused = service.run([*as_user, "--reuid=stranger", "xfrmctl", "show"], check=False)
    assert refused.returncode != 0
    assert "Traceback" not in refused.stderr
    for name in ("member", "stranger"):
        service.run(["userdel", name])


def test_a_reload_touches_only_what_has_changed(service: Node) -> None:
    before = shown(service, "MainPID")
    attempt = json.loads(service.run(["xfrmctl", "show", "--json"]).stdout)["connections"][0]["ike_sas"]
    configure(service, "one", "two")
    service.run(["systemctl", "reload", "xfrmctl"])
    assert shown(service, "MainPID") == before
    assert shown(service, "StatusText") == "reloaded: 1 added"
    after = {c["name"]: c for c in json.loads(service.run(["xfrmctl", "show", "--json"]).stdout)["connections"]}
    assert set(after) == {"one", "two"}
    assert [sa["name"] for sa in after["one"]["ike_sas"]] == [sa["name"] for sa in attempt]


def test_a_faulty_file_fails_the_reload_and_changes_nothing(service: Node) -> None:
    before = shown(service, "MainPID")
    service.run(["sh", "-ec", f"echo 'connections: [' >{CONFIG}"])
    assert service.run(["systemctl", "reload", "xfrmctl"], check=False).returncode != 0
    assert (shown(service, "ActiveState"), shown(service, "MainPID")) == ("active", before)
    assert shown(service, "StatusText") == "reload refused, the old configuration is in force"
    assert "1 connection" in service.run(["xfrmctl", "show"]).stdout


def test_a_hangup_is_a_reload_that_systemd_sees(service: Node) -> None:
    configure(service, "one", "two")
    service.run(["systemctl", "kill", "-s", "HUP", "--kill-whom=main", "xfrmctl"])
    eventually(lambda: shown(service, "StatusText") == "reloaded: 1 added", "no reload")
    assert shown(service, "ActiveState") == "active"


def test_before_there_is_a_network_what_is_configured_is_blocked(gateway: Node) -> None:
    configure(gateway, "one", "two")
    gateway.run(["xfrmctl", "cleanup"])
    gateway.run(["systemctl", "start", "xfrmctl-boot"], timeout_s=120)
    policies = gateway.run(["ip", "xfrm", "policy"]).stdout
    for number in range(2):
        assert re.search(rf"src 10.1.{number}.0/24 dst 10.2.{number}.0/24 \n\tdir out action block", policies), policies
    assert gateway.run(["pgrep", "-u", "xfrmctl"], check=False).stdout == ""
    gateway.run(["systemctl", "stop", "xfrmctl-boot"])
    enabled = gateway.run(["systemctl", "enable", "xfrmctl"]).stderr
    assert "xfrmctl-boot.service" in enabled, "both are enabled together"
    gateway.run(["systemctl", "disable", "xfrmctl"])


def test_what_runs_at_boot_has_no_more_rights_than_the_daemon() -> None:
    """What is not about how the two start, say and end."""
    own = re.compile(r"Type|Exec|Timeout|Watchdog|Restart|RemainAfterExit|RuntimeDirectory")
    daemon, boot = (
        [line for line in service_section(unit).splitlines() if line and line[0] != "#" and not own.match(line)]
        for unit in (UNIT, BOOT)
    )
    assert boot == daemon


def service_section(unit: Path) -> str:
    return unit.read_text().partition("[Service]\n")[2].partition("[Install]")[0]


def test_a_faulty_file_at_start_is_told_and_not_tried_again(gateway: Node) -> None:
    gateway.run(["sh", "-ec", f"echo 'connections: [' >{CONFIG}"])
    assert gateway.run(["systemctl", "start", "xfrmctl"], check=False, timeout_s=120).returncode != 0
    assert (shown(gateway, "ActiveState"), shown(gateway, "NRestarts")) == ("failed", "0")
    assert f"{CONFIG}:" in gateway.run(["journalctl", "-u", "xfrmctl", "-o", "cat", "-n", "20", "--no-pager"]).stdout
    gateway.run(["systemctl", "reset-failed"])


def test_secrets_that_only_root_can_read_come_as_credentials(gateway: Node) -> None:
    gateway.run(["install", "-m", "0600", "-D", "/dev/stdin", "/etc/credstore/one.psk"], stdin="y" * 32)
    drop_in(gateway, "[Service]\nLoadCredential=one.psk:/etc/credstore/one.psk\n")
    configure(gateway, "one", secret="!credential one.psk")
    assert "LoadCredential=one.psk" in gateway.run(["xfrmctl", "check"], check=False).stderr
    gateway.run(["systemctl", "start", "xfrmctl"], timeout_s=120)
    assert "1 connection" in gateway.run(["xfrmctl", "show"]).stdout
    assert "ok: 1 connection" in gateway.run(["xfrmctl", "check"]).stdout
    gateway.run(["systemctl", "reload", "xfrmctl"])
    drop_in(gateway, "")
    gateway.run(["systemctl", "stop", "xfrmctl"], timeout_s=120)


def test_a_daemon_that_hangs_is_started_again(service: Node) -> None:
    service.run(["systemctl", "stop", "xfrmctl"], timeout_s=120)
    drop_in(service, "[Service]\nWatchdogSec=3s\n")
    service.run(["systemctl", "start", "xfrmctl"], timeout_s=120)
    hung = shown(service, "MainPID")
    service.run(["kill", "-STOP", hung])
    eventually(lambda: shown(service, "NRestarts") == "1", "the watchdog does not bite")
    eventually(lambda: shown(service, "ActiveState") == "active", "it does not come back")
    assert shown(service, "MainPID") not in ("0", hung)
    assert "dst 10.2.0.0/24" in service.run(["ip", "xfrm", "policy"]).stdout


def test_the_journal_can_be_asked_for_a_connection(service: Node) -> None:
    rows: list[dict[str, str]] = []

    def found() -> list[dict[str, str]]:
        asked = ["journalctl", "XFRMCTL_CONNECTION=one", "-b", "-o", "json", "--no-pager"]
        rows[:] = [json.loads(line) for line in service.run(asked).stdout.splitlines()]
        return rows

    eventually(found, "no entry of this connection")
    sent = next(row for row in rows if row["XFRMCTL_KIND"] == "message_sent")
    assert sent["XFRMCTL_EXCHANGE"] == "IKE_SA_INIT"
    assert sent["XFRMCTL_REMOTE"] == "10.98.0.200:500"
    assert sent["_SYSTEMD_UNIT"] == "xfrmctl.service"
    assert sent["PRIORITY"] == "6"
    assert sent["SYSLOG_IDENTIFIER"] == "xfrmctl"
