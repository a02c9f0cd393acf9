"""Nodes: systemd as init on an overlay of a root file system, in a network namespace of its own, reached by ssh.

    with Site() as site:
        one = site.node("one", roots.ready())
        one.run(["systemctl", "is-active", "ssh"])       # as root in the node, without ssh
        site.run(one.ssh("true"))                        # over ssh, from the namespace that manages the nodes
        site.run(["ansible-playbook", ...])              # the same place: node's address is one.address

A node has no kernel of its own: where this machine's has no ESP, the same nodes stand in the lab's guest, at a few
times the price. All nodes hang with ``host0`` on one bridge of the managing namespace, 10.98.0.0/24, without a way out.
``site.wire(one, two, ...)`` lays a link between two nodes.
"""

import itertools
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.process import end

BOOT_S, STOP_S = 60.0, 30.0
CAPABILITIES = "CAP_NET_ADMIN,CAP_NET_RAW"
HAS_BLOCKS = Path("/sys/block").exists()
"""The lab's kernel has no block devices, and nspawn wants that directory before it gives a node a network namespace.
There it is started inside the namespace; /proc/sys and /sys are then the guest's, which is thrown away."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: A control group of its own for each node: two inits in one group would take each other's processes for theirs.
_IN_OWN_GROUP = r"""
for at in $(sed -n 's,^[^ ]* \([^ ]*\) cgroup2\? rw.*,\1,p' /proc/self/mounts); do
    mkdir -p "$at/$0" && if [ -e "$at/cpuset.cpus" ]; then
        cat "$at/cpuset.cpus" >"$at/$0/cpuset.cpus"; cat "$at/cpuset.mems" >"$at/$0/cpuset.mems"
    fi
    echo $$ >"$at/$0/cgroup.procs"
done
exec "$@"
"""


_SITES = itertools.count(1)


class Node:
    """One machine. Made by :meth:`Site.node`."""

    def __init__(self, name: str, address: str, root: Path, place: Path, namespace: Namespace, group: str) -> None:
        self.name, self.address, self.namespace = name, address, namespace
        self.tree = place / name / "tree"
        self.key = place / "key"
        self._lower, self._place, self._group = root, place / name, group
        self._init = 0
        self._nspawn: subprocess.Popen[bytes] | None = None

    # -- life

    def mount(self) -> None:
        """Put the overlay together: from here on files may be written to ``tree``."""
        scratch = self._place / "scratch"
        for made in (scratch, self.tree):
            made.mkdir(parents=True)
        _checked(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(scratch)])
        (scratch / "upper").mkdir(mode=0o755)
        (scratch / "work").mkdir()
        layers = f"lowerdir={self._lower},upperdir={scratch}/upper,workdir={scratch}/work"
        _checked(["mount", "-t", "overlay", "overlay", "-o", layers, str(self.tree)])
        (self.tree / "etc/hostname").write_text(f"{self.name}\n")
        (self.tree / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")  # without one it is a first boot, which asks
        (self.tree / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        ssh = self.tree / "root/.ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        (ssh / "authorized_keys").write_bytes(self.key.with_suffix(".pub").read_bytes())

    def boot(self) -> None:
        """Start systemd and wait until it has started all there is to start."""
        argv = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory", str(self.tree)]
        argv += [f"--capability={CAPABILITIES}", f"--machine={self.name}", "--console=pipe", "--boot"]
        enter, writable = ["sh", "-euc", _IN_OWN_GROUP, self._group], "network"
        if HAS_BLOCKS:
            argv.append(f"--network-namespace-path={self.namespace.path}")
        else:
            enter, writable = ["nsenter", f"--net={self.namespace.path}", *enter], "yes"
        environment = {"PATH": _PATH, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": writable, "TERM": "dumb"}
        with (self._place / "console").open("wb") as console:
            self._nspawn = subprocess.Popen(
                [*enter, *argv],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + BOOT_S
        state = ""
        while state not in ("running", "degraded"):
            if time.monotonic() > deadline or self._nspawn.poll() is not None:
                raise LabError(f"{self.name} does not boot (state {state!r}):\n{self.console()[-3000:]}")
            time.sleep(0.1)
            self._init = self._child(self._nspawn.pid)
            if self._init:
                state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
        if state == "degraded":
            raise LabError(f"{self.name} is degraded:\n{self.run(['systemctl', '--failed', '--no-pager']).stdout}")

    def power_off(self) -> None:
        """Shut down in order; by force where that takes too long."""
        nspawn, self._nspawn = self._nspawn, None
        if nspawn is None:
            return
        if self._init and nspawn.poll() is None:
            self.run(["systemctl", "--no-block", "poweroff"], check=False)
            try:
                nspawn.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.kill(self._init, signal.SIGKILL)  # all in its namespace go with init
        end(nspawn, signal.SIGTERM, STOP_S)
        self._init = 0

    def remove(self) -> None:
        """Power off and leave nothing behind."""
        self.power_off()
        for path in (self.tree, self._place / "scratch"):
            subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False)
        self.namespace.remove()
        for group in sorted(Path("/sys/fs/cgroup").rglob(self._group), reverse=True):
            subprocess.run(["find", str(group), "-depth", "-type", "d", "-delete"], capture_output=True, check=False)

    # -- use

    @property
    def files(self) -> Path:
        """Its file system as it sees it while it runs, with all that it has mounted."""
        return Path(f"/proc/{self._init}/root")

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout_s: float = 60, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node as root; ``check`` makes a failing one a LabError that shows what it said."""
        clean = ["env", "-i", f"PATH={_PATH}", "HOME=/root", "LC_ALL=C.UTF-8"]
        enter = ["nsenter", f"--target={self._init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        return _checked([*enter, *clean, *argv], check=check, timeout_s=timeout_s, stdin=stdin)

    def ssh(self, command: str, user: str = "root") -> list[str]:
        """The command line that runs a shell command over ssh; to be run in the managing namespace."""
        return ["ssh", *self.ssh_options(), f"{user}@{self.address}", command]

    def ssh_options(self) -> list[str]:
        """Options of ssh that know this site's key and ask nothing."""
        options = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "BatchMode": "yes"}
        options["LogLevel"] = "ERROR"
        return ["-i", str(self.key), *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]

    def console(self) -> str:
        """What systemd has said on its console."""
        path = self._place / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    @staticmethod
    def _child(pid: int) -> int:
        """The only child of nspawn, which is the node's init; 0 while there is none."""
        found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
        children = found.stdout.split()
        return int(children[0]) if len(children) == 1 else 0


class Site:
    """Nodes and the namespace that manages them; a context manager."""

    def __init__(self) -> None:
        self._mark = f"xfrmctl-{os.getpid()}-{next(_SITES)}"
        self.manager = Namespace(f"{self._mark}-manager")
        self.nodes: dict[str, Node] = {}
        self._temporary = tempfile.TemporaryDirectory(prefix="xfrmctl-site-", ignore_cleanup_errors=True)
        self.place = Path(self._temporary.name)

    def __enter__(self) -> Self:
        if " cgroup" not in Path("/proc/self/mounts").read_text():  # in the lab's guest nobody has mounted them
            _checked(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])
        try:
            _checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.place / "key")])
            self.manager.add()
            for line in ("link set lo up", "link add mgmt type bridge", "address add 10.98.0.1/24 dev mgmt"):
                self._ip(self.manager, line)
            self._ip(self.manager, "link set mgmt up")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for node in reversed(self.nodes.values()):
            node.remove()
        self.manager.remove()
        self._temporary.cleanup()

    def node(self, name: str, root: Path, *, boot: bool = True, namespace: Namespace | None = None) -> Node:
        """Make a node, and boot it unless files are to be put into its ``tree`` before.

        ``namespace`` is one that stands already, such as a gateway's place in a topology.
        """
        number = len(self.nodes) + 2
        address = f"10.98.0.{number}"
        if namespace is None:
            namespace = Namespace(f"{self._mark}-{name}")
            namespace.add()
            self._ip(namespace, "link set lo up")
        node = Node(name, address, root, self.place, namespace, f"{self._mark}-{name}")
        self.nodes[name] = node
        self._ip(self.manager, f"link add to-{number} type veth peer name host0 netns {namespace.name}")
        self._ip(self.manager, f"link set to-{number} master mgmt up")
        self._ip(namespace, f"address add {address}/24 dev host0")
        self._ip(namespace, "link set host0 up")
        node.mount()
        if boot:
            node.boot()
        return node

    def wire(self, one: Node, other: Node, device: str, addresses: Mapping[str, str], mtu: int = 1500) -> None:
        """Lay a link between two nodes: ``device`` on both; ``addresses`` with prefix length by the node's name."""
        self._ip(
            one.namespace, f"link add {device} mtu {mtu} type veth peer name {device} netns {other.namespace.name}"
        )
        for node in (one, other):
            self._ip(node.namespace, f"link set {device} mtu {mtu} up")
            if node.name in addresses:
                self._ip(node.namespace, f"address add {addresses[node.name]} dev {device}")

    def argv(self, argv: Sequence[str]) -> list[str]:
        """A command line that runs in the managing namespace and sees this machine's files."""
        return ["nsenter", f"--net={self.manager.path}", *argv]

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout_s: float = 60, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return _checked(self.argv(argv), check=check, timeout_s=timeout_s, env=env)

    @staticmethod
    def _ip(namespace: Namespace, line: str) -> None:
        _checked(["ip", "-n", namespace.name, *line.split()])


def _checked(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout_s: float = 60,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
        input=stdin if stdin is not None else "",
        env=None if env is None else {**os.environ, **env},
    )
    if check and done.returncode != 0:
        said = f"{done.stdout[-4000:]}{done.stderr[-4000:]}".strip()
        raise LabError(f"{' '.join(argv)} failed (status {done.returncode}):\n{said}")
    return done
