"""The OCI image as a container, with real ESP: two gateways of the topology, each from the image's files.

No engine for containers runs here. What one would do for the command line in packaging/README.md is done by hand: mount
and PID namespaces, the root read-only, the configuration and the state as volumes, /run and /tmp of its own, a network
namespace, and of all capabilities three.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.tunnel import IDS, LAN, MAIN, eventually, lan
from xfrmctl.control.client import ControlClient, ControlError
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.process import end
from xfrmctl.lab.topology import HOST_A, HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.lab.traffic import ping

CAPABILITIES = ("net_admin", "net_raw", "net_bind_service")
_RUN = """
image=$1 place=$2
shift 2
mount --make-rprivate /
mount --bind "$image" "$place/root"
mount -o remount,bind,ro "$place/root"
mount -t proc proc "$place/root/proc"
mount --rbind /dev "$place/root/dev"
for each in run tmp; do mount -t tmpfs "$each" "$place/root/$each"; done
mount --bind "$place/etc" "$place/root/etc/xfrmctl"
mount -o remount,bind,ro "$place/root/etc/xfrmctl"
mount --bind "$place/state" "$place/root/var/lib/xfrmctl"
exec chroot "$place/root" "$@"
"""


class Container:
    """One gateway; ``side`` 0 is A, which begins."""

    def __init__(self, topology: Topology, side: int, place: Path) -> None:
        self.namespace = topology.ns(("ga", "gb")[side])
        for made in ("root", "etc/secrets", "state"):
            (place / made).mkdir(parents=True)
        outer = (OUTER_A[0], OUTER_B[0])
        connection = {
            "local": {"address": outer[side], "id": IDS[side]},
            "remote": {"address": outer[1 - side], "id": IDS[1 - side]},
            "auth": {"psk": "SECRET"},
            "children": {LAN: lan(side)},
        }
        text = json.dumps({"connections": {MAIN: connection}}).replace('"SECRET"', "!file secrets/main.psk")
        (place / "etc/xfrmctl.yaml").write_text(text)
        secret = place / "etc/secrets/main.psk"
        secret.touch(mode=0o600)
        secret.write_text("known to both containers, and to nobody else")
        self.log = place / "log"
        bounding = ",".join(("-all", *(f"+{name}" for name in CAPABILITIES)))
        command = ["setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", "--no-new-privs"]
        command += json.loads(os.environ["XFRMCTL_IMAGE_COMMAND"])
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _RUN, "sh"]
        with self.log.open("wb") as log:
            self._process = self.namespace.popen(
                [*enter, os.environ["XFRMCTL_IMAGE"], str(place), *command], stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        """The daemon, which is the container's first process."""
        found = subprocess.run(["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=False)
        return int(found.stdout.split()[0])

    def up(self) -> bool:
        """Whether the tunnel is."""
        assert self._process.poll() is None, self.log.read_text()
        try:
            socket = Path(f"/proc/{self.pid}/root/run/xfrmctl/control.sock")
            return ControlClient(socket).connection(MAIN).state == "up"
        except (ControlError, IndexError):
            return False

    def stop(self) -> int:
        """SIGTERM to the first process, as an engine does; its exit status."""
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(30)

    def close(self) -> None:
        """Leave nothing."""
        end(self._process, signal.SIGKILL)


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as made:
        yield made


@pytest.fixture(scope="module")
def containers(topology: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Container]]:
    made = [Container(topology, side, tmp_path_factory.mktemp("container")) for side in (0, 1)]
    try:
        for container in made:
            eventually("the tunnel is up", container.up, timeout_s=90)
        yield made
    finally:
        for container in made:
            print(container.log.read_text()[-3000:])
            container.close()


def test_full_size_packets_and_only_esp(topology: Topology, containers: list[Container]) -> None:
    with Capture(topology.ns("r"), "ra") as outside:
        for source, addresses in (("ha", HOST_B), ("hb", HOST_A)):
            for address in addresses:
                assert ping(topology.ns(source), address, packet_bytes=1446, df=True).loss == 0
    assert outside.report.problems() == [] and outside.report.esp >= 24


def test_three_capabilities_and_json(containers: list[Container]) -> None:
    for container in containers:
        status = Path(f"/proc/{container.pid}/status").read_text()
        found = dict(line.split(":\t", 1) for line in status.splitlines())
        assert int(found["CapEff"], 16) == int(found["CapBnd"], 16) == 1 << 10 | 1 << 12 | 1 << 13
        lines = [json.loads(line) for line in container.log.read_text().splitlines()]
        assert any(line["event"] == "ready" for line in lines)


def test_a_stop_is_a_goodbye(topology: Topology, containers: list[Container]) -> None:
    assert [container.stop() for container in containers] == [0, 0]
    assert "action block" in containers[0].namespace.run(["ip", "xfrm", "policy"]).stdout
    assert ping(topology.ns("ha"), HOST_B[0], count=1, wait_s=1).received == 0
