"""The nodes that the other tests stand on: a real systemd, real ssh, links, and nothing left behind."""

from pathlib import Path

import pytest

from tests.deploy import roots
from tests.deploy.node import Site

pytestmark = pytest.mark.deploy


def test_two_nodes_boot_answer_ssh_and_reach_each_other() -> None:
    with Site() as site:
        one, two = (site.node(name, roots.ready()) for name in ("one", "two"))
        site.wire(one, two, "wan", {"one": "192.0.2.1/30", "two": "192.0.2.2/30"})
        for node in (one, two):
            assert site.run(node.ssh("hostname")).stdout == f"{node.name}\n"
        assert one.run(["ping", "-c1", "-W2", "192.0.2.2"], check=False).returncode == 0
        assert one.run(["systemctl", "is-active", "ssh"]).stdout == "active\n"
        names, place = [one.namespace.path, two.namespace.path, site.manager.path], site.place
    assert not any(path.exists() for path in [*names, place])
    assert str(place) not in Path("/proc/self/mounts").read_text()
