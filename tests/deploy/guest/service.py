"""A gateway as an operator has it: the package on a node, the unit under systemd, and no root in it."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.node import Node, Site
from tests.lab.tunnel import IDS, MAIN, lan
from xfrmctl.control.client import ControlClient, ControlError
from xfrmctl.lab.topology import OUTER_A, OUTER_B, Topology

CONFIG = "/etc/xfrmctl/xfrmctl.yaml"
SECRETS = "/etc/xfrmctl/secrets"
PSK = "only systemd hands this over"
VIA = (("10.21.1.0/24", "10.21.1.10", "10.21.1.1"), ("10.21.2.0/24", "10.21.2.10", "10.21.2.1"))
"""Network, host and gateway's address on either side, for the child of the interface plane."""
GRE = ("10.255.0.1", "10.255.0.2")
MEMBER, STRANGER = "member", "stranger"


class Service:
    """One gateway of the topology; ``side`` 0 is A, which begins."""

    def __init__(self, node: Node, side: int, firewall: str) -> None:
        self.node, self.side, self.firewall = node, side, firewall

    # -- configuration

    def connection(self, **more: Any) -> dict[str, Any]:
        """To the other end: a child of each kind."""
        outer = (OUTER_A[0], OUTER_B[0])
        start = {"start": "none" if self.side else "start"}
        via = {"local_ts": [VIA[self.side][0]], "remote_ts": [VIA[1 - self.side][0]], "dataplane": "interface"}
        gre = {"interface": "gre1", "addresses": [f"{GRE[self.side]}/30"]}
        return {
            "local": {"address": outer[self.side], "id": IDS[self.side]},
            "remote": {"address": outer[1 - self.side], "id": IDS[1 - self.side]},
            "auth": {"psk": "!credential main.psk" if self.side == 0 else "!file secrets/main.psk"},
            "children": {"lan": lan(self.side), "via": {**via, **start}, "gre": {"tunnel": gre, **start}},
            **more,
        }

    def configure(self, others: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Write the configuration; it is in force at the next start or reload."""
        gateway = {"control_group": "xfrmctl", "firewall": self.firewall, "metrics": "127.0.0.1:9877"}
        found = {"gateway": gateway, "connections": {MAIN: self.connection(**more), **(others or {})}}
        text = json.dumps(found, indent=1)
        for tag in ("credential", "file"):  # JSON is YAML, but for its tags
            text = text.replace(f'"!{tag} ', f'!{tag} "')
        self.node.run(["sh", "-ec", f"cat >{CONFIG}"], stdin=text)

    def secret(self) -> None:
        """Side A has it from systemd, side B in a file of the daemon's own."""
        put = ["install", "-D", "-m", "0600", "/dev/stdin"]
        if self.side == 0:
            self.node.run([*put, "/etc/credstore/main.psk"], stdin=PSK)
            self.drop_in("credential", "[Service]\nLoadCredential=main.psk:/etc/credstore/main.psk\n")
        else:
            self.node.run([*put, "-o", "xfrmctl", f"{SECRETS}/main.psk"], stdin=PSK)

    def drop_in(self, name: str, text: str) -> None:
        """A drop-in of the unit, as `systemctl edit` writes it; none where the text is empty."""
        at = f"/etc/systemd/system/xfrmctl.service.d/{name}.conf"
        if text:
            self.node.run(["install", "-D", "-m", "0644", "/dev/stdin", at], stdin=text)
        else:
            self.node.run(["rm", "-f", at])
        self.node.run(["systemctl", "daemon-reload"])

    # -- life

    def systemctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``systemctl WORDS xfrmctl``."""
        return self.node.run(["systemctl", *words, "xfrmctl"], check=check, timeout_s=120)

    def shown(self, name: str) -> str:
        """A property of the unit."""
        return self.systemctl("show", "-P", name).stdout.strip()

    @property
    def pid(self) -> int:
        """The daemon's process, by its number in the node."""
        return int(self.shown("MainPID"))

    @property
    def client(self) -> ControlClient:
        """The control API."""
        return ControlClient(self.node.files / "run/xfrmctl/control.sock")

    def up(self) -> bool:
        """Whether the connection is, with all its children."""
        try:
            return self.client.connection(MAIN).state == "up"
        except ControlError:
            return False

    # -- what it says

    def ctl(self, *words: str, user: str = MEMBER, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``xfrmctl WORDS`` as somebody types it who is not root."""
        become = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--init-groups"]
        return self.node.run([*become, "xfrmctl", *words], check=check, timeout_s=120)

    def journal(self, *words: str) -> list[dict[str, Any]]:
        """Entries of the unit's journal."""
        done = self.node.run(["journalctl", "-u", "xfrmctl", "-o", "json", "--no-pager", *words])
        return [json.loads(line) for line in done.stdout.splitlines()]

    def tail(self) -> str:
        """How the unit is, and the end of its journal."""
        status = self.systemctl("status", "--no-pager", "-n", "0", check=False).stdout
        return status + self.node.run(["journalctl", "-u", "xfrmctl", "-n", "40", "--no-pager", "-o", "cat"]).stdout

    def complaints(self) -> list[str]:
        """What the daemon has said at the level of a warning or worse."""
        return [str(entry["MESSAGE"]) for entry in self.journal("-p", "warning")]


IDLE = (
    "ssh",
    "systemd-udevd",
    "systemd-udev-trigger",
    "systemd-logind",
    "systemd-user-sessions",
    "systemd-update-utmp",
)


def mask(node: Node) -> None:
    """Leave out what starts slowly in the guest and is not asked for anything here."""
    for unit in IDLE:
        (node.tree / f"etc/systemd/system/{unit}.service").symlink_to("/dev/null")


@contextmanager
def services(topology: Topology) -> Iterator[tuple[Service, Service]]:
    """Both gateways of a topology, booted, the tunnel up. A clamps by nftables, B by iptables."""
    tree = Path(os.environ["XFRMCTL_INSTALLED"])
    with Site() as site:
        made = []
        for side, (name, firewall) in enumerate((("ga", "nftables"), ("gb", "iptables"))):
            node = site.node(name, tree, boot=False, namespace=topology.ns(name))
            made.append(Service(node, side, firewall))
            mask(node)
        for side, name in enumerate(("ga", "gb")):
            _, host, gateway = VIA[side]
            topology.ns(name).batch([f"address add {gateway}/24 dev lan"])
            topology.ns(f"h{name[1]}").batch([f"address add {host}/24 dev eth0"])
        for service in made:
            service.node.boot()
            service.node.run(["useradd", "-G", "xfrmctl", MEMBER])
            service.node.run(["useradd", STRANGER])
            service.configure()
            service.secret()
            service.drop_in("watchdog", "[Service]\nWatchdogSec=8s\n")
        yield made[0], made[1]
