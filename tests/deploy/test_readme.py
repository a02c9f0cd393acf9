"""README's way to a gateway, command by command, on a node that has what the distribution brings."""

import re
import shutil
from pathlib import Path

import pytest

from tests.deploy import readme, roots
from tests.deploy.node import Node, Site

pytestmark = pytest.mark.deploy


def run(node: Node, line: str, *, check: bool = True) -> str:
    return node.run(["sh", "-c", line], timeout_s=300, check=check).stdout


def test_from_the_package_to_a_gateway_that_runs(package: Path) -> None:
    example = re.search(
        r"^```yaml\n(# /etc/xfrmctl/xfrmctl.yaml\n.*?)^```", readme.ROOT.joinpath("README.md").read_text(), re.M | re.S
    )
    assert example
    with Site() as site:
        node = site.node("moon", roots.ready(), boot=False)
        (node.tree / "root/dist").mkdir()
        shutil.copy(package, node.tree / "root/dist" / package.name)
        node.boot()
        for address in ("172.16.1.1/24", "10.1.1.1/24"):
            node.namespace.run(["ip", "address", "add", address, "dev", "host0"])
        run(node, "cd /root && " + readme.command("apt install ./dist/xfrmctl_*.deb"))
        assert node.run(["systemctl", "is-active", "xfrmctl"], check=False).stdout == "inactive\n"
        (node.tree / "etc/xfrmctl/xfrmctl.yaml").write_text(example[1])
        run(
            node,
            readme.command(
                "openssl rand -base64 32 | install -m 0600 -o xfrmctl /dev/stdin /etc/xfrmctl/secrets/branch-7.psk"
            ),
        )
        said = run(node, readme.command("xfrmctl check && systemctl enable --now xfrmctl"))
        assert "ok: 1 connection" in said
        assert node.run(["systemctl", "is-active", "xfrmctl"]).stdout == "active\n"
        shown = run(
            node, readme.command("xfrmctl show branch-7"), check=False
        )  # 1: not up, for it is nobody's turn yet
        assert "branch-7 trap: waits for the first packet" in shown
        changed = example[1].replace("start: trap", "start: trap, mss: 1300")
        (node.tree / "etc/xfrmctl/xfrmctl.yaml").write_text(changed)
        told = run(node, readme.command("xfrmctl plan; systemctl reload xfrmctl"))
        assert "mss: auto -> 1300" in told
        in_force = node.run(["xfrmctl", "plan", "--json"], check=False).stdout
        assert '"configuration_differs": false' in in_force
