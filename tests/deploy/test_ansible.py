"""The collection on gateways with a real systemd: applied, applied again, planned, changed, taken back, and taken away.

Three ways to install: one has the package from a repository, two has the wheel, three the package's file. Between one
and two there is a tunnel; three watches them. This machine's kernel need have no ESP for all that. In the end what the
role has made is booted where there is one, and full-size packets go from a host behind one gateway to a host behind
the other.
"""

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import ansible_fleet, firewall_probe
from tests.deploy.ansible_fleet import Fleet, gateway, tunnel
from tests.deploy.ansible_site import HERE, MONITORING, REMOVE, SECRET, WOULD, to_nobody
from tests.deploy.node import Node
from xfrmctl.lab import boot
from xfrmctl.lab.job import Job

pytestmark = pytest.mark.deploy

CONFIGURE = ("--tags", "xfrmctl_configure")
DEFAULTS = yaml.safe_load((HERE / "ansible/roles/xfrmctl/defaults/main.yml").read_text())


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, and an archive of those that it needs."""
    place = tmp_path_factory.mktemp("wheels")
    subprocess.run([HERE / "tools/package.sh", "wheels", place], check=True, capture_output=True, timeout=300)
    (archive,) = place.glob("*.tar")
    subprocess.run(["tar", "-C", place, "-xf", archive, "--wildcards", "xfrmctl-*.whl"], check=True)
    return place


@pytest.fixture(scope="module")
def fleet(package: Path, wheels: Path) -> Iterator[Fleet]:
    with ansible_fleet.managed(package, wheels) as made:
        yield made


def eventually(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def pid(node: Node) -> str:
    return node.run(["systemctl", "show", "--property=MainPID", "--value", "xfrmctl"]).stdout.strip()


def written(node: Node) -> str:
    return (node.tree / "etc/xfrmctl/xfrmctl.yaml").read_text()


def spis(node: Node) -> list[tuple[str, str]]:
    """Of the IKE SAs that stand in the tunnel. Its kernel has no ESP: the IKE SAs stand, and have no child."""
    connections = json.loads(node.run(["xfrmctl", "show", "--json"]).stdout)["connections"]
    (found,) = (each["ike_sas"] for each in connections if each["name"] == "tunnel")
    return [(sa["spi_initiator"], sa["spi_responder"]) for sa in found if sa["state"] == "established"]


def agreed(node: Node) -> bool:
    """Whether plan says that what is in the file is in force."""
    return '"configuration_differs": false' in node.run(["xfrmctl", "plan", "--json"], check=False).stdout


def test_check_mode_on_machines_that_have_nothing_yet(fleet: Fleet) -> None:
    run = fleet.control.play("--limit", "two", book=WOULD)
    assert run.code == 0, run.out
    assert "xfrmctl is not installed yet" in run.out and "net.ipv4.ip_forward = 1" in run.out
    for node in fleet[1:]:
        for path in ("usr/bin/xfrmctl", "etc/sysctl.d/60-xfrmctl.conf", "etc/nftables.d", "opt/xfrmctl", "etc/xfrmctl"):
            assert not (node.tree / path).exists(), path


def test_the_first_run_and_the_second(fleet: Fleet) -> None:
    """Program, kernel, firewall and configuration; then nothing at all. Nothing that is said holds a secret."""
    control, *nodes = fleet
    first = control.play("-vvv", "--diff")
    assert first.code == 0, first.out
    for node in nodes:
        assert node.run(["systemctl", "is-active", "xfrmctl"]).stdout == "active\n"
        assert node.run(["systemctl", "is-enabled", "xfrmctl"]).stdout == "enabled\n"
        settings: dict[str, int] = DEFAULTS["xfrmctl_sysctls"]
        found = node.run(["sysctl", "--values", *settings]).stdout
        assert [int(value) for value in found.split()] == list(settings.values())
        secret = node.tree / "etc/xfrmctl/secrets/tunnel.psk"
        assert secret.read_text() == SECRET and secret.stat().st_mode & 0o777 == 0o600
        rules = node.run(["nft", "list", "ruleset"]).stdout
        assert rules.count("jump xfrmctl-input") == rules.count("jump xfrmctl-forward") == 1
        assert rules.index("jump xfrmctl-postrouting") < rules.index("masquerade")
    for node in (fleet.one, fleet.two):
        assert "IKE_SA_INIT" in node.run(["journalctl", "-u", "xfrmctl", "--no-pager"]).stdout
    assert "10.98.0.1:" in fleet.one.run(["apt-cache", "policy", "xfrmctl"]).stdout
    assert fleet.two.run(["readlink", "/usr/bin/xfrmctl"]).stdout == "/opt/xfrmctl/venv/bin/xfrmctl\n"
    fleet.two.run(["/opt/xfrmctl/venv/bin/python", "-c", "import netfilterqueue"])
    assert fleet.three.run(["dpkg", "--verify", "xfrmctl"]).stdout.count("missing") == 0
    second = control.play("--diff")
    assert (second.code, set(second.changed.values()), second.tasks) == (0, {0}, []), second.out
    assert SECRET not in first.out + second.out


def test_the_firewall_lets_pass_what_a_gateway_lives_of_and_nothing_else(fleet: Fleet) -> None:
    """IKE, ESP, AH and the ICMP errors of path-MTU discovery, in both families, through a firewall that drops."""
    found = firewall_probe.passed(fleet.one, fleet.two)
    assert found == {kind: 2 if kind in firewall_probe.WANTED else 0 for kind in found} and len(found) == 8


def test_check_mode_tells_what_would_change_and_changes_nothing(fleet: Fleet) -> None:
    control, one = fleet.control, fleet.one
    before = written(one)
    control.host("one", **tunnel("one", replay_window=1024))
    try:
        run = control.play("--limit", "one", book=WOULD, extra={"xfrmctl_secrets": {"tunnel.psk": SECRET + "!"}})
    finally:
        control.host("one")
    assert run.code == 0 and run.changed == {"one": 3}, run.out
    assert "replay_window: 128 -> 1024" in run.out and "auth.psk: it is another secret" in run.out
    assert "~ tunnel: it begins anew" in run.out and SECRET not in run.out
    assert written(one) == before
    assert not list((one.tree / "run").glob("xfrmctl-*"))


def test_a_change_is_a_reload_and_never_a_restart(fleet: Fleet) -> None:
    """The daemons go on, and so do the IKE SAs: those of connections that have changed in a way that needs no other."""
    control, one, two = fleet.control, fleet.one, fleet.two
    eventually(lambda: len(spis(one)) == 1 and spis(one) == spis(two), "no IKE SA of the tunnel")
    before = [pid(one), pid(two), spis(one), spis(two)]
    changed = tunnel("one", mss=1300)
    changed["xfrmctl_connections"]["another"] = to_nobody(one.address)
    control.host("one", **changed)
    # What a reload cannot change is told, and waits.
    control.host("three", xfrmctl_gateway={**gateway(fleet.three), "ports": {"ike": 1500, "nat_t": 14500}})
    process = pid(fleet.three)
    run = control.play(*CONFIGURE)
    assert run.code == 0 and run.changed["two"] == 0, run.out
    assert run.tasks == [
        "Tell what differs from what is in force, and what it costs",
        "Write the configuration",
        "Reload",
    ]
    assert [pid(one), pid(two), spis(one), spis(two)] == before
    assert "+ another: " in run.out and "mss: 1300" in written(one) and agreed(one)
    assert "only from the next start of the daemon on: gateway.ports" in run.out and pid(fleet.three) == process


def test_a_restart_is_for_who_has_asked_for_it(fleet: Fleet) -> None:
    process = pid(fleet.three)
    run = fleet.control.play("--limit", "three", *CONFIGURE, extra={"xfrmctl_restart": "if_needed"})
    assert (run.code, run.tasks) == (0, ["Restart for what a reload cannot change"]), run.out
    assert pid(fleet.three) != process
    assert ":1500 " in fleet.three.run(["ss", "-Hlun"]).stdout


def test_what_ends_badly_is_taken_back(fleet: Fleet) -> None:
    """A connection that must be up is not: on these nodes' kernel none comes up."""
    control, one = fleet.control, fleet.one
    before = [written(one), pid(one), spis(one)]
    control.host("one", **tunnel("one", mss=1200))
    extra = {"xfrmctl_health_connections": ["tunnel"], "xfrmctl_health_seconds": 2}
    run = control.play("--limit", "one", "-vvv", "--diff", *CONFIGURE, extra=extra)
    assert run.code != 0 and "Wait until what was up is up again" in run.out, run.out
    assert "what was before is in force again" in run.out and SECRET not in run.out
    assert [written(one), pid(one), spis(one)] == before and agreed(one)
    assert not list((one.tree / "run").glob("xfrmctl-*"))


def test_a_faulty_configuration_reaches_no_file(fleet: Fleet) -> None:
    """Where the controller has jsonschema, not even the gateway; what a schema cannot say, the program itself."""
    control, one = fleet.control, fleet.one
    before = [written(one), pid(one)]
    control.host("one", **tunnel("one", replay_windows=64))
    run = control.play("--limit", "one", *CONFIGURE)
    assert run.code != 0 and "replay_windows" in run.out and "Look for the program" not in run.out
    bare = tunnel("one")
    bare["xfrmctl_connections"]["tunnel"]["auth"] = {"psk": SECRET}
    control.host("one", **bare)
    run = control.play("--limit", "one", "-vvv", "--diff", *CONFIGURE)
    assert run.code != 0 and "xfrmctl_connections.tunnel.auth.psk" in run.out and SECRET not in run.out, run.out
    control.host("one", **tunnel("one", interface="ipsec0"))
    run = control.play("--limit", "one", *CONFIGURE)
    assert run.code != 0 and "the policy data plane has no interface" in run.out and "Reload" not in run.out
    assert re.search(r"xfrmctl\.yaml:\d+:\d+: connections\.tunnel\.children\.lan\.interface", run.out), run.out
    control.host("one", **tunnel("one", mss=1300))
    assert [written(one), pid(one)] == before


def test_iptables_gets_its_rules_once_and_before_others(fleet: Fleet) -> None:
    control, node = fleet.control, fleet.three
    words = ("--limit", "three", "--tags", "xfrmctl_firewall")
    extra = {"xfrmctl_firewall": "iptables", "xfrmctl_firewall_peers": ["192.0.2.0/24", "2001:db8::/32"]}
    node.run(["nft", "delete", "table", "ip", "nat"])  # nft's rules there are beyond iptables
    for program in ("iptables", "ip6tables"):
        node.run([program, "-A", "INPUT", "-i", "wan", "-j", "DROP"])
    first = control.play(*words, extra=extra)
    assert first.code == 0 and first.changed == {"three": 3}, first.out
    for program, peers in (("iptables", "192.0.2.0/24"), ("ip6tables", "2001:db8::/32")):
        rules = node.run([f"{program}-save"]).stdout
        assert f"-s {peers} -p udp -m multiport --dports 500,4500 -j ACCEPT" in rules
        assert rules.index("-A INPUT -j IPSEC-INPUT") < rules.index("-A INPUT -i wan -j DROP")
        assert "-A IPSEC-POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT" in rules
    second = control.play(*words, extra=extra)
    assert second.changed == {"three": 0}, second.out


def test_prometheus_and_grafana_get_what_they_read(fleet: Fleet) -> None:
    """A real Prometheus scrapes the gateways. Of Grafana there are the places that it reads, and no server."""
    control, node = fleet.control, fleet.three
    extra = {
        "xfrmctl_monitoring_gateways": {each.name: f"{each.address}:9877" for each in fleet[1:]},
        "xfrmctl_monitoring_install": False,
        "xfrmctl_monitoring_grafana": True,
    }
    kept = control.play(book=MONITORING, extra=extra)
    assert kept.code != 0 and "Take over in it" in kept.out, kept.out
    extra["xfrmctl_monitoring_prometheus_file"] = "replace"
    before = node.run(["systemctl", "show", "-P", "MainPID", "grafana-server"]).stdout
    first = control.play(book=MONITORING, extra=extra)
    assert first.code == 0 and "Reload Prometheus" in first.out, first.out
    assert node.run(["systemctl", "show", "-P", "MainPID", "grafana-server"]).stdout != before
    second = control.play(book=MONITORING, extra=extra)
    assert (second.code, second.changed, second.tasks) == (0, {"three": 0}, []), second.out

    said = node.run(["promtool", "check", "config", "/etc/prometheus/prometheus.yml"]).stdout
    assert "2 rule files found" in said and "FAILED" not in said

    def ask(what: str) -> Any:
        words = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/api/v1/{what}').read().decode())"
        return json.loads(node.run(["python3", "-c", words]).stdout)["data"]

    def up() -> dict[str, str]:
        return {each["labels"]["instance"]: each["health"] for each in ask("targets")["activeTargets"]}

    eventually(lambda: up() == dict.fromkeys(("one", "two", "three"), "up"), "not all targets are up")
    assert "XfrmctlGatewayDown" in json.dumps(ask("rules"))
    counted = ask("query?query=count(xfrmctl_connection_up)by(instance)")["result"]
    assert {each["metric"]["instance"] for each in counted} == {"one", "two", "three"}

    provisioned = node.tree / "etc/grafana/provisioning"
    (provider,) = yaml.safe_load((provisioned / "dashboards/xfrmctl.yml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioned / "datasources/xfrmctl.yml").read_text())["datasources"]
    assert (source["url"], source["type"]) == ("http://127.0.0.1:9090", "prometheus")
    look = "import glob, json; print(len({json.load(open(p))['uid'] for p in glob.glob('%s/*.json')}))"
    words = ["setpriv", "--reuid=grafana", "--regid=nogroup", "--clear-groups", "python3", "-c"]
    assert node.run([*words, look % provider["options"]["path"]]).stdout == "4\n"


def test_what_it_has_made_passes_full_size_packets_after_a_reboot(fleet: Fleet) -> None:
    """Both gateways as the role has left them, booted with a kernel that has ESP: unit, sysctls, firewall, tunnel.

    The firewall of the gateways masquerades: that the packets come through says that those of the tunnel are exempt.
    """
    nodes = fleet.one, fleet.two
    for node in nodes:
        node.power_off()
    said = io.BytesIO()
    argv = [sys.executable, "-m", "tests.deploy.ansible_packets", *(str(node.tree) for node in nodes)]
    status = boot.run(Job(argv=argv, cwd=HERE, timeout_s=600), said, said)
    text = said.getvalue().decode()
    assert status == 0, text
    found = json.loads(text.splitlines()[-1])
    assert found["states"] == ["up", "up"] and found["forwarding"] == "1", text
    assert found["firewall"] == [True, True], text
    assert found["inner_mtu"] == 1446 and found["answered"] == {"1446": 3, "1447": 0}, text
    assert found["in_clear"] == 0 and found["esp"] >= 6, text


def test_it_can_be_taken_away_again(fleet: Fleet) -> None:
    """The wheel, with all of the configuration and the blocks; the package, of which both stay."""
    control, two, three = fleet.control, fleet.two, fleet.three
    two.power_off()
    two.boot()
    control.host("two", xfrmctl_remove_configuration=True, xfrmctl_remove_protection=True)
    words = ("--limit", "two,three")
    first = control.play(*words, book=REMOVE, extra={"xfrmctl_firewall": "nftables"})
    assert first.code == 0, first.out
    second = control.play(*words, book=REMOVE, extra={"xfrmctl_firewall": "iptables"})
    assert (second.code, second.changed["two"]) == (0, 0), second.out
    assert second.tasks == ["Take the jumps and our chains away"]
    assert two.run(["ip", "xfrm", "policy"]).stdout == ""
    assert "dst 10.9.2.0/24" in three.run(["ip", "xfrm", "policy"]).stdout
    for node in (two, three):
        assert "jump xfrmctl" not in node.run(["nft", "list", "ruleset"]).stdout
        assert node.run(["systemctl", "cat", "xfrmctl"], check=False).returncode != 0
        found = node.run(
            ["find", "/etc", "/opt", "/usr", "/var/lib", "-name", "*xfrmctl*", "-not", "-path", "*/grafana/*"]
        )
        others = ("/prometheus/", "/dpkg/", "/deb-systemd-helper-")
        left = {line for line in found.stdout.splitlines() if not any(word in line for word in others)}
        assert left <= ({"/etc/xfrmctl", "/etc/xfrmctl/xfrmctl.yaml", "/var/lib/xfrmctl"} if node is three else set())
    assert (three.tree / "etc/xfrmctl/secrets/tunnel.psk").read_text() == SECRET
    assert "IPSEC" not in three.run(["iptables-save"]).stdout + three.run(["ip6tables-save"]).stdout
