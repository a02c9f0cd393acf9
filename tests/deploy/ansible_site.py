"""Gateways that Ansible manages: nodes, an inventory, the collection as it is installed, and what a run did."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import readme
from tests.deploy.node import Node, Site

HERE = Path(__file__).resolve().parents[2]
COLLECTION = HERE / "ansible"
PROGRAMS = HERE / "build/ansible/bin"
ENDS = {"one": ("192.0.2.1", "10.1.1"), "two": ("192.0.2.2", "10.1.2")}
"""The two that have a tunnel: outer address, and the network behind."""
GATEWAYS = readme.command("ansible-playbook -i inventory.yml xfrmctl.gateway.gateways")
WOULD = readme.command("ansible-playbook -i inventory.yml xfrmctl.gateway.gateways --check --diff")
MONITORING = readme.command("ansible-playbook -i inventory.yml xfrmctl.gateway.monitoring")
REMOVE = "ansible-playbook -i inventory.yml xfrmctl.gateway.remove"
SECRET = "neither of the two ends tells this to anybody"

CFG = """\
[defaults]
collections_path = {place}/collections
host_key_checking = false
retry_files_enabled = false
stdout_callback = ansible.builtin.default
callback_result_format = yaml
interpreter_python = /usr/bin/python3
forks = 3
[ssh_connection]
pipelining = true
ssh_args = -o ControlMaster=auto -o ControlPersist=60 -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
control_path_dir = {place}/cp
"""


class Run:
    """What one run of a playbook has said and done."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out = done.returncode, done.stdout + done.stderr
        recap = re.findall(r"^(\w+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", self.out, re.M)
        self.changed = {name: int(changed) for name, _, changed, _, _ in recap}
        self.failed = {name: int(unreachable) + int(failed) for name, _, _, unreachable, failed in recap}

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that have changed something, once each."""
        found, name = [], ""
        for line in self.out.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line):
                name = match[1].rpartition(" : ")[2]
            elif line.startswith("changed: ") and name not in found:
                found.append(name)
        return found


class Control:
    """The machine that Ansible runs on."""

    def __init__(
        self, site: Site, nodes: Sequence[Node], variables: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._site, self.place = site, site.place / "control"
        self.place.mkdir()
        (self.place / "ansible.cfg").write_text(CFG.format(place=self.place))
        self._hosts = hosts
        machines = {
            node.name: {
                "ansible_host": node.address,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(node.key),
            }
            for node in nodes
        }
        groups = {"gateways": {"hosts": machines}, "monitoring": {"hosts": {nodes[-1].name: {}}}}
        (self.place / "inventory.yml").write_text(yaml.safe_dump(groups))
        (self.place / "host_vars").mkdir()
        self.variables(variables)
        for node in nodes:
            self.host(node.name)
        (self.place / "ansible").symlink_to(COLLECTION)
        self.tool(readme.command("ansible-galaxy collection build ansible/"))
        self.tool(readme.command("ansible-galaxy collection install xfrmctl-gateway-1.0.0.tar.gz"))

    def variables(self, found: Mapping[str, Any]) -> None:
        """Variables of all gateways."""
        (self.place / "group_vars").mkdir(exist_ok=True)
        (self.place / "group_vars/gateways.yml").write_text(yaml.safe_dump(dict(found)))

    def host(self, name: str, **found: Any) -> None:
        """Variables of one gateway: those that it always has, and these."""
        (self.place / f"host_vars/{name}.yml").write_text(yaml.safe_dump({**self._hosts[name], **found}))

    def tool(self, line: str, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of Ansible's programs in the namespace that reaches the nodes, in the directory of the inventory."""
        program, *words = shlex.split(line)
        env = {
            "ANSIBLE_CONFIG": str(self.place / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.place / "home"),
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(self.place),
            "LC_ALL": "C.UTF-8",
        }
        argv = ["env", f"--chdir={self.place}", str(PROGRAMS / program), *words, *more]
        return self._site.run(argv, check=check, timeout_s=600, env=env)

    def play(self, *arguments: str, extra: Mapping[str, Any] | None = None, book: str = GATEWAYS) -> Run:
        """Run a playbook of the collection."""
        words = [*arguments, *(["-e", json.dumps(extra)] if extra else [])]
        return Run(self.tool(book, *words, check=False))


def connection(name: str, **child: Any) -> dict[str, Any]:
    """The connection of a gateway to the other end of the tunnel."""
    (here, lan), ((there, behind),) = ENDS[name], [end for other, end in ENDS.items() if other != name]
    return {
        "local": {"address": here},
        "remote": {"address": there},
        "auth": {"psk": "!file secrets/tunnel.psk"},
        "children": {"lan": {"local_ts": [f"{lan}.0/24"], "remote_ts": [f"{behind}.0/24"], "start": "start", **child}},
    }


def to_nobody(here: str, **child: Any) -> dict[str, Any]:
    """A connection to an address that nobody has."""
    return {
        "local": {"address": here},
        "remote": {"address": "10.98.0.200"},
        "auth": {"psk": "!file secrets/tunnel.psk"},
        "children": {"lan": {"local_ts": ["10.9.1.0/24"], "remote_ts": ["10.9.2.0/24"], **child}},
    }
