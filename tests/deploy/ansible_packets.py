"""In the lab's guest: two gateways from what the role has made of two others, a host behind each, and packets.

``python -m tests.deploy.ansible_packets TREE TREE`` prints what was found as one line of JSON.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.deploy import roots
from tests.deploy.ansible_site import ENDS
from tests.deploy.node import Node, Site
from xfrmctl.lab.capture import Capture

UP_S = 90.0
HEADERS = 28
"""IPv4 and ICMP."""


def show(node: Node) -> dict[str, Any]:
    """What ``xfrmctl show --json`` says; nothing while nobody answers."""
    done = node.run(["xfrmctl", "show", "--json"], check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def tunnel(node: Node) -> dict[str, Any]:
    """What is said of the connection between the two; nothing while nobody answers."""
    return next((each for each in show(node).get("connections", []) if each["name"] == "tunnel"), {})


def states(nodes: list[Node]) -> list[str]:
    """How the connection is at each end, once both are up or time is."""
    deadline = time.monotonic() + UP_S
    while True:
        found = [tunnel(node).get("state", "") for node in nodes]
        if found == ["up", "up"] or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def answered(host: Node, target: str, size: int) -> int:
    """How many of three pings of this many bytes, DF set, come back."""
    command = ["ping", "-M", "do", "-c", "3", "-i", "0.2", "-W", "2", "-s", str(size - HEADERS), target]
    done = subprocess.run(
        ["nsenter", f"--net={host.namespace.path}", *command], capture_output=True, text=True, check=False
    )
    found = re.search(r"(\d+) received", done.stdout)
    return int(found[1]) if found else 0


def bridged(site: Site, nodes: list[Node], between: Node) -> None:
    """Lay the link between the gateways over a third one: what is decrypted shows in a capture on a gateway itself."""
    between.namespace.run(["ip", "link", "add", "bridge", "up", "type", "bridge"])
    for device, node in zip(("wan", "far"), nodes, strict=True):
        site.wire(node, between, device, {node.name: f"{ENDS[node.name][0]}/24"})
        between.namespace.run(["ip", "link", "set", device, "master", "bridge"])
    for words in ("far down", "far name wan", "wan up"):
        nodes[1].namespace.run(["ip", "link", "set", *words.split()])


def main(trees: list[str]) -> None:
    """Boot, wait, ping with the largest packet that fits and with one byte more, and capture between the gateways."""
    with Site() as site:
        nodes = [site.node(name, Path(tree), boot=False) for name, tree in zip(ENDS, trees, strict=True)]
        hosts = [site.node(f"behind-{name}", roots.ready(), boot=False) for name in ENDS]
        between = site.node("between", roots.ready(), boot=False)
        bridged(site, nodes, between)
        for host, node in zip(hosts, nodes, strict=True):
            lan = ENDS[node.name][1]
            site.wire(host, node, "lan", {host.name: f"{lan}.10/24", node.name: f"{lan}.1/24"})
            host.namespace.run(["ip", "route", "add", "default", "via", f"{lan}.1"])
            away = next(address for name, (address, _) in ENDS.items() if name != node.name)
            node.namespace.run(["ip", "route", "add", "default", "via", away])
        for node in nodes:
            node.boot()
        up = states(nodes)
        newest = [child for sa in tunnel(nodes[0]).get("ike_sas", []) for child in sa["children"]]
        inner_mtu = newest[-1]["mtu"]["inner_mtu"] if newest else 0
        target = f"{ENDS['two'][1]}.10"
        with Capture(between.namespace, "wan") as capture:
            counts = {size: answered(hosts[0], target, size) for size in (inner_mtu, inner_mtu + 1)}
        report = capture.report
        found = {
            "states": up,
            "inner_mtu": inner_mtu,
            "answered": counts,
            "esp": report.esp,
            "in_clear": len(report.plaintext),
            "firewall": ["jump xfrmctl" in node.run(["nft", "list", "ruleset"]).stdout for node in nodes],
            "forwarding": nodes[0].run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout.strip(),
        }
        if up != ["up", "up"] or counts[inner_mtu] != 3:
            for node in nodes:
                print(node.run(["journalctl", "-u", "xfrmctl", "--no-pager", "-n", "30"], check=False).stdout)
                print(node.run(["nft", "list", "ruleset"], check=False).stdout)
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
