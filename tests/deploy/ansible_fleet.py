"""Three gateways that Ansible manages, each installed another way; between one and two there is a tunnel.

One has the package from a repository, two the wheel, three the file of the package; three has what a Prometheus and a
Grafana read, too.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.deploy import apt_repository, roots
from tests.deploy.ansible_site import ENDS, HERE, SECRET, Control, connection, to_nobody
from tests.deploy.node import Node, Site

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
CHAINS = {"input": "inet filter input", "forward": "inet filter forward", "postrouting": "ip nat postrouting"}


class Fleet(NamedTuple):
    """The control machine and its gateways."""

    control: Control
    one: Node
    two: Node
    three: Node


def gateway(node: Node) -> dict[str, Any]:
    return {"control_group": "xfrmctl", "firewall": "nftables", "metrics": f"{node.address}:9877"}


def tunnel(name: str, **child: Any) -> dict[str, Any]:
    return {"xfrmctl_connections": {"tunnel": connection(name, **child)}}


def grafana(node: Node) -> None:
    """What the package of Grafana has on a disk that the role touches; no server: none can be had here."""
    unit = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    (node.tree / "etc/systemd/system/grafana-server.service").write_text(unit)
    for path in ("etc/grafana/provisioning/datasources", "etc/grafana/provisioning/dashboards", "var/lib/grafana"):
        (node.tree / path).mkdir(parents=True)
    roots.inside(node.tree, "systemctl enable --quiet grafana-server; adduser --quiet --system grafana")


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


@contextmanager
def managed(package: Path, wheels: Path) -> Iterator[Fleet]:
    """Three gateways, and the machine that manages them; nothing is installed yet."""
    with Site() as site, apt_repository.served(site, package) as (repository, key):
        one, two, three = nodes = [site.node(name, roots.ready(), boot=False) for name in ("one", "two", "three")]
        site.wire(one, two, "wan", {name: f"{address}/24" for name, (address, _) in ENDS.items()})
        grafana(three)
        prometheus(three)
        for node in nodes:
            for source in [
                *(node.tree / "etc/apt").glob("sources.list"),
                *(node.tree / "etc/apt").glob("*.d/*.sources"),
            ]:
                source.unlink()
            (node.tree / "etc/nftables.conf").write_text(FIREWALL)
            node.boot()
            node.run(["nft", "--file", "/etc/nftables.conf"])
        variables = {
            "xfrmctl_secrets": {"tunnel.psk": SECRET},
            "xfrmctl_firewall": "nftables",
            "xfrmctl_firewall_chains": CHAINS,
            "xfrmctl_firewall_forward": True,
            "xfrmctl_health_seconds": 20,
            "xfrmctl_health_command": ["test", "-S", "/run/xfrmctl/control.sock"],
        }
        repository_vars = {
            "xfrmctl_install": "apt",
            "xfrmctl_repository": repository,
            "xfrmctl_repository_key": str(key),
        }
        (wheel,), (archive,) = wheels.glob("*.whl"), wheels.glob("*.tar")
        wheel_vars = {"xfrmctl_install": "wheel", "xfrmctl_package": str(wheel), "xfrmctl_wheels": str(archive)}
        hosts: dict[str, Mapping[str, Any]] = {
            "one": {**repository_vars, **tunnel("one"), "xfrmctl_gateway": gateway(one)},
            "two": {**wheel_vars, **tunnel("two"), "xfrmctl_gateway": gateway(two)},
            "three": {
                "xfrmctl_install": "deb",
                "xfrmctl_package": str(package),
                "xfrmctl_connections": {"lonely": to_nobody(three.address)},
                "xfrmctl_gateway": gateway(three),
            },
        }
        yield Fleet(Control(site, nodes, variables, hosts), one, two, three)
