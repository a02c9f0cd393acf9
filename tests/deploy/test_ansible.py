"""The collection on two gateways with a real systemd: applied, applied again, planned, changed, and taken back.

This machine's kernel need have no ESP for all that. In the end what the role has made is booted where there is one, and
full-size packets go from a host behind one gateway to a host behind the other.
"""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import roots
from tests.deploy.ansible_site import ENDS, HERE, SECRET, Control, connections
from tests.deploy.node import Node, Site
from xfrmctl.lab import boot
from xfrmctl.lab.job import Job

pytestmark = pytest.mark.deploy

FIREWALL = """\
flush ruleset
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iifname { "lo", "host0" } accept
	}
	chain forward { type filter hook forward priority filter; policy drop; }
}
table ip nat {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname "wan" masquerade
	}
}
"""
CONFIGURE = ("--tags", "xfrmctl_configure")
CHAINS = {"input": "inet filter input", "forward": "inet filter forward", "postrouting": "ip nat postrouting"}


@pytest.fixture(scope="module")
def site(package: Path) -> Iterator[tuple[Control, list[Node]]]:
    with Site() as made:
        nodes = [made.node(name, roots.ready(), boot=False) for name in ENDS]
        made.wire(nodes[0], nodes[1], "wan", {name: f"{address}/24" for name, (address, _) in ENDS.items()})
        for node in nodes:
            (node.tree / "etc/nftables.conf").write_text(FIREWALL)
            if node.name == "two":
                prometheus(node)
            node.boot()
            node.run(["nft", "--file", "/etc/nftables.conf"])
        variables = {
            "xfrmctl_install": "deb",
            "xfrmctl_package": str(package),
            "xfrmctl_gateway": {"control_group": "xfrmctl", "firewall": "nftables"},
            "xfrmctl_secrets": {"tunnel.psk": SECRET},
            "xfrmctl_firewall": "nftables",
            "xfrmctl_firewall_chains": CHAINS,
            "xfrmctl_firewall_forward": True,
            "xfrmctl_health_seconds": 20,
        }
        yield Control(made, nodes, variables), nodes


def prometheus(node: Node) -> None:
    """Put the distribution's Prometheus into a node that has no way to a package source."""
    for path in (
        "usr/bin/prometheus",
        "usr/bin/promtool",
        "lib/systemd/system/prometheus.service",
        "etc/default/prometheus",
    ):
        shutil.copy(HERE / "build/peers/prometheus" / path, node.tree / path)
    (node.tree / "etc/prometheus").mkdir()
    (node.tree / "etc/prometheus/prometheus.yml").write_text("scrape_configs: []\n")
    roots.inside(
        node.tree,
        "adduser --quiet --system --group --no-create-home prometheus;"
        " install -d -o prometheus /var/lib/prometheus /var/lib/prometheus/metrics2",
    )


def pid(node: Node) -> str:
    return node.run(["systemctl", "show", "--property=MainPID", "--value", "xfrmctl"]).stdout.strip()


def written(node: Node) -> str:
    return (node.tree / "etc/xfrmctl/xfrmctl.yaml").read_text()


def test_the_first_run_and_the_second(site: tuple[Control, list[Node]]) -> None:
    """Program, kernel, firewall and configuration; then nothing at all."""
    control, nodes = site
    first = control.play()
    assert first.code == 0, first.out
    for node in nodes:
        assert node.run(["systemctl", "is-active", "xfrmctl"]).stdout == "active\n"
        assert node.run(["systemctl", "is-enabled", "xfrmctl"]).stdout == "enabled\n"
        assert node.run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout == "1\n"
        secret = node.tree / "etc/xfrmctl/secrets/tunnel.psk"
        assert secret.read_text() == SECRET and secret.stat().st_mode & 0o777 == 0o600
        rules = node.run(["nft", "list", "ruleset"]).stdout
        assert rules.count("jump xfrmctl-input") == rules.count("jump xfrmctl-forward") == 1
        assert rules.index("jump xfrmctl-postrouting") < rules.index("masquerade")
        assert "IKE_SA_INIT" in node.run(["journalctl", "-u", "xfrmctl", "--no-pager"]).stdout
    second = control.play("--diff")
    assert (second.code, second.changed, second.tasks) == (0, {"one": 0, "two": 0}, []), second.out
    assert SECRET not in first.out + second.out


def test_check_mode_tells_what_would_change_and_changes_nothing(site: tuple[Control, list[Node]]) -> None:
    control, nodes = site
    before = written(nodes[0])
    control.host("one", connections("one", replay_window=1024))
    try:
        run = control.play(
            "--check", "--diff", "--limit", "one", extra={"xfrmctl_secrets": {"tunnel.psk": SECRET + "!"}}
        )
    finally:
        control.host("one", connections("one"))
    assert run.code == 0 and run.changed == {"one": 3}, run.out
    assert "replay_window: 128 -> 1024" in run.out and "auth.psk: it is another secret" in run.out
    assert "~ tunnel: it begins anew" in run.out and SECRET not in run.out
    assert written(nodes[0]) == before
    assert not list((nodes[0].tree / "run").glob("xfrmctl-*"))


def test_a_change_is_a_reload_and_never_a_restart(site: tuple[Control, list[Node]]) -> None:
    control, nodes = site
    before = [pid(node) for node in nodes]
    control.host("one", connections("one", mss=1300))
    run = control.play(*CONFIGURE)
    assert run.code == 0 and run.changed["two"] == 0, run.out
    assert run.tasks == [
        "Tell what differs from what is in force, and what it costs",
        "Write the configuration",
        "Reload",
    ]
    assert [pid(node) for node in nodes] == before
    assert "mss: 1300" in written(nodes[0])
    assert nodes[0].run(["xfrmctl", "plan", "--json"], check=False).stdout.count('"configuration_differs": false') == 1


def test_what_ends_badly_is_taken_back(site: tuple[Control, list[Node]]) -> None:
    control, nodes = site
    before, process = written(nodes[0]), pid(nodes[0])
    control.host("one", connections("one", mss=1200))
    run = control.play("--limit", "one", *CONFIGURE, extra={"xfrmctl_health_command": ["false"]})
    assert run.code != 0 and "Ask whether all is well" in run.out and "what was before is in force again" in run.out
    assert (written(nodes[0]), pid(nodes[0])) == (before, process)
    assert '"configuration_differs": false' in nodes[0].run(["xfrmctl", "plan", "--json"], check=False).stdout
    assert not list((nodes[0].tree / "run").glob("xfrmctl-*"))


def test_a_faulty_configuration_reaches_no_file(site: tuple[Control, list[Node]]) -> None:
    """Where the controller has jsonschema, not even the gateway; what a schema cannot say, the program itself."""
    control, nodes = site
    before = written(nodes[0])
    control.host("one", connections("one", replay_windows=64))
    run = control.play("--limit", "one", *CONFIGURE)
    assert run.code != 0 and "replay_windows" in run.out and "Look for the program" not in run.out
    control.host("one", connections("one", interface="ipsec0"))
    run = control.play("--limit", "one", *CONFIGURE)
    assert run.code != 0 and "the policy data plane has no interface" in run.out and "Reload" not in run.out
    control.host("one", connections("one", mss=1300))
    assert written(nodes[0]) == before


def test_iptables_gets_its_rules_once_and_before_others(site: tuple[Control, list[Node]]) -> None:
    control, nodes = site
    node = nodes[0]
    words = ("--limit", "one", "--tags", "xfrmctl_firewall")
    extra = {"xfrmctl_firewall": "iptables", "xfrmctl_firewall_peers": ["192.0.2.0/24", "2001:db8::/32"]}
    node.run(["nft", "delete", "table", "ip", "nat"])  # nft's rules there are beyond iptables; it comes again at boot
    for program in ("iptables", "ip6tables"):
        node.run([program, "-A", "INPUT", "-i", "wan", "-j", "DROP"])
    try:
        first = control.play(*words, extra=extra)
        assert first.code == 0 and first.changed == {"one": 3}, first.out
        for program, peers in (("iptables", "192.0.2.0/24"), ("ip6tables", "2001:db8::/32")):
            rules = node.run([f"{program}-save"]).stdout
            assert f"-s {peers} -p udp -m multiport --dports 500,4500 -j ACCEPT" in rules
            assert rules.index("-A INPUT -j IPSEC-INPUT") < rules.index("-A INPUT -i wan -j DROP")
            assert "-A IPSEC-POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT" in rules
        second = control.play(*words, extra=extra)
        assert second.changed == {"one": 0}, second.out
    finally:
        for program in ("iptables", "ip6tables"):
            for table in ("filter", "nat"):
                node.run([program, "-t", table, "-F"])
                node.run([program, "-t", table, "-X"])


def test_prometheus_gets_targets_rules_and_alerts(site: tuple[Control, list[Node]]) -> None:
    control, nodes = site
    extra = {
        "xfrmctl_monitoring_gateways": {"gw-one": "10.98.0.2:9877", "gw-two": "127.0.0.1:9877"},
        "xfrmctl_monitoring_install": False,
    }
    kept = control.play(book="monitoring", extra=extra)
    assert kept.code != 0 and "Take over in it" in kept.out, kept.out
    extra["xfrmctl_monitoring_prometheus_file"] = "replace"
    first = control.play(book="monitoring", extra=extra)
    assert first.code == 0 and "Reload Prometheus" in first.out, first.out
    second = control.play(book="monitoring", extra=extra)
    assert (second.code, second.changed, second.tasks) == (0, {"two": 0}, []), second.out
    ask = "import json, urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/api/v1/{}').read().decode())"
    targets = json.loads(nodes[1].run(["python3", "-c", ask.format("targets")]).stdout)["data"]["activeTargets"]
    assert {target["labels"]["instance"] for target in targets} == {"gw-one", "gw-two"}
    rules = nodes[1].run(["python3", "-c", ask.format("rules")]).stdout
    assert "XfrmctlGatewayDown" in rules


def test_what_it_has_made_passes_full_size_packets_after_a_reboot(site: tuple[Control, list[Node]]) -> None:
    """Both gateways as the role has left them, booted with a kernel that has ESP: unit, sysctls, firewall, tunnel."""
    _, nodes = site
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
