"""Root file systems of this machine's distribution, made once and kept in the user's cache.

``clean`` is what a minimal installation has: systemd, ssh, Python. ``ready`` has the programs beside it that a gateway
calls, so that nothing need be fetched where there is no network. Both stay as they are: a test works on an overlay.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.kernel.cache import cache_root

RECIPE = 1
"""Raise it when something here changes what a root holds."""

CLEAN = ("systemd-sysv", "dbus", "udev", "openssh-server", "python3", "iproute2", "procps", "sudo", "ca-certificates")
READY = (
    *("iptables", "ipset", "nftables", "libnetfilter-queue1", "kmod", "tcpdump", "iputils-ping", "ethtool", "busybox"),
    *("python3-apt", "python3-venv", "adduser"),
)
_LEAVE_OUT = ("/usr/share/locale/*", "/usr/share/info/*")
Make = Callable[[Path, Sequence[str]], None]
_NO_STARTS = "#!/bin/sh\nexit 101\n"


def clean() -> Path:
    """A minimal installation with systemd."""
    return _kept("clean", CLEAN, _bootstrap)


def ready() -> Path:
    """The same with what a gateway needs from its distribution."""

    def make(root: Path, packages: Sequence[str]) -> None:
        _checked(["cp", "-a", str(clean()), str(root)])
        install(root, packages)

    return _kept("ready", CLEAN + READY, make, READY)


def install(root: Path, packages: Sequence[str]) -> None:
    """Install packages, or .deb files by their path inside ``root``, with what they depend on; starts nothing."""
    policy = root / "usr/sbin/policy-rc.d"
    borrowed = [Path("etc/resolv.conf"), Path("etc/hosts")]
    before = {path: (root / path).read_bytes() if (root / path).is_file() else None for path in borrowed}
    policy.write_text(_NO_STARTS)
    policy.chmod(0o755)
    apt = "apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0"
    try:
        for path in borrowed:
            (root / path).unlink(missing_ok=True)
            shutil.copyfile("/" / path, root / path)
        names = " ".join(packages)
        inside(
            root, f"{apt} update && {apt} -y --no-install-recommends install {names} && apt-get clean", timeout_s=600
        )
    finally:
        policy.unlink()
        for path, content in before.items():
            (root / path).unlink(missing_ok=True)
            if content is not None:
                (root / path).write_bytes(content)


def inside(root: Path, script: str, *, timeout_s: float = 60) -> str:
    """Run a shell script in ``root`` with /proc and /dev, without systemd; gives its output."""
    enter = (
        'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" /usr/bin/env -i '
        'PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 /bin/sh -euc "$1"'
    )
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", enter, str(root), script]
    return _checked(command, timeout_s=timeout_s)


def distribution() -> dict[str, str]:
    """This machine's os-release: ID, VERSION_ID, VERSION_CODENAME."""
    return platform.freedesktop_os_release()


def _bootstrap(root: Path, packages: Sequence[str]) -> None:
    """Make a root from the package sources that this machine has itself."""
    places = (Path("/etc/apt"), Path("/etc/apt/sources.list.d"))
    sources = [str(path) for place in places for path in sorted(place.glob("*.sources")) + sorted(place.glob("*.list"))]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(packages)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEAVE_OUT]
    _checked([*command, distribution()["VERSION_CODENAME"], str(root), *sources], timeout_s=900)
    (root / "etc/fstab").write_text("")  # nothing to mount: else systemd calls itself degraded


def _kept(name: str, recipe: Sequence[str], make: Make, packages: Sequence[str] | None = None) -> Path:
    """The root of this recipe from the cache, made where it is not there; one process at a time makes it."""
    parts = (str(RECIPE), platform.machine(), distribution()["VERSION_CODENAME"], *recipe)
    place = cache_root().with_name("roots")
    root = place / f"{name}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
    with _alone(place, name):
        if not root.exists():
            draft = root.with_suffix(".part")
            subprocess.run(["rm", "-rf", "--one-file-system", str(draft)], check=True)
            make(draft, packages or recipe)
            draft.rename(root)
    return root


@contextmanager
def _alone(place: Path, name: str) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _checked(command: Sequence[str], *, timeout_s: float = 120) -> str:
    environment = {**os.environ, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}".strip()
        raise LabError(f"{' '.join(command)[:300]} failed (status {done.returncode}):\n{said}")
    return done.stdout
