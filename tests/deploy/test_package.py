"""The Debian package: what is in it, what it depends on, upgrades, and what is left when it goes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy import roots
from tests.deploy.conftest import build
from tests.deploy.node import Node, Site
from xfrmctl import __version__
from xfrmctl.lab.boot import repository

pytestmark = pytest.mark.deploy

CONFIG = "etc/xfrmctl/xfrmctl.yaml"
ELSEWHERE = re.compile(r"^/(bin|sbin|lib64|opt|usr/local|home|root|srv)/.")


def listed(package: Path) -> dict[str, str]:
    """Path -> mode and owner."""
    lines = subprocess.run(["dpkg-deb", "-c", package], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = (line.split(maxsplit=5) for line in lines)
    return {row[5].split(" -> ")[0].removeprefix("."): f"{row[0]} {row[1]}" for row in rows}


def test_two_builds_in_two_places_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    assert build(tmp_path / "another place").read_bytes() == package.read_bytes()


def test_its_files_are_where_a_distribution_puts_them(package: Path) -> None:
    files = listed(package)
    assert not [path for path in files if ELSEWHERE.match(path)]
    assert "/lib/systemd/system/xfrmctl.service" in files or "/usr/lib/systemd/system/xfrmctl.service" in files
    completions = ("/usr/share/bash-completion/completions/xfrmctl", "/usr/share/zsh/vendor-completions/_xfrmctl")
    for path in ("/usr/bin/xfrmctl", f"/{CONFIG}", *completions):
        assert path in files
    for page in (repository() / "man").glob("*.[1-9]"):
        assert f"/usr/share/man/man{page.suffix[1:]}/{page.name}.gz" in files
    assert not [path for path, mode in files.items() if "s" in mode.split()[0] or not mode.endswith("root/root")]


def test_it_is_whole_and_works(gateway: Node) -> None:
    assert gateway.run(["dpkg", "--verify", "xfrmctl"]).stdout == ""
    assert gateway.run(["xfrmctl", "--version"]).stdout == f"xfrmctl {__version__}\n"
    assert "ok: 0 connections" in gateway.run(["xfrmctl", "check"]).stdout
    gateway.run(
        ["/usr/lib/xfrmctl/bin/python", "-I", "-c", "import netfilterqueue, xfrmctl.daemon.main, xfrmctl.lab.app"]
    )
    completion = gateway.run(["bash", "-ec", ". /usr/share/bash-completion/completions/xfrmctl; complete -p xfrmctl"])
    assert "xfrmctl" in completion.stdout
    zsh = gateway.run(["head", "-n", "1", "/usr/share/zsh/vendor-completions/_xfrmctl"]).stdout
    assert zsh == "#compdef xfrmctl\n", "zsh takes it by its first line"
    # Nothing was compiled since: what is installed stays as it was packed.
    assert gateway.run(["find", "/usr/lib/xfrmctl", "-newer", "/var/lib/dpkg/info/xfrmctl.list"]).stdout == ""


def test_it_does_not_say_where_it_was_built(gateway: Node) -> None:
    found = subprocess.run(
        ["grep", "-rlF", "-e", str(repository()), "-e", "/tmp/tmp.", gateway.tree / "usr/lib/xfrmctl"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_the_daemon_reads_its_configuration_and_others_do_not(gateway: Node) -> None:
    owners = gateway.run(["stat", "-c", "%U %G %a %n", "/etc/xfrmctl", f"/{CONFIG}", "/etc/xfrmctl/secrets"]).stdout
    assert owners.splitlines() == [
        "root xfrmctl 750 /etc/xfrmctl",
        f"root xfrmctl 640 /{CONFIG}",
        "xfrmctl xfrmctl 700 /etc/xfrmctl/secrets",
    ]
    shell = gateway.run(["getent", "passwd", "xfrmctl"]).stdout.strip().split(":")[-1]
    assert shell == "/usr/sbin/nologin"


def newer(package: Path, place: Path) -> Path:
    """The same package as version 1.0 with another default configuration."""
    tree = place / "newer"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 1.0-1", control.read_text()))
    with (tree / CONFIG).open("a") as file:
        file.write("# more to read\n")
    subprocess.run(["dpkg-deb", "-Znone", "-b", tree, place / "newer.deb"], check=True, capture_output=True)
    return place / "newer.deb"


def test_an_upgrade_keeps_the_configuration_and_a_purge_leaves_nothing(package: Path, tmp_path: Path) -> None:
    with Site() as site:
        node = site.node("upgraded", roots.ready(), boot=False)
        shutil.copy(package, node.tree / "var/tmp/old.deb")
        shutil.copy(newer(package, tmp_path), node.tree / "var/tmp/new.deb")
        node.boot()
        node.run(["dpkg", "-i", "/var/tmp/old.deb"])
        assert node.run(["systemctl", "is-enabled", "xfrmctl"], check=False).stdout == "disabled\n"
        assert node.run(["systemctl", "is-active", "xfrmctl"], check=False).stdout == "inactive\n"

        (node.tree / CONFIG).write_text("gateway: {control_group: xfrmctl, firewall: nftables}\npolicies:\n" + BLOCK)
        node.run(["systemctl", "enable", "--now", "xfrmctl"])
        before = node.run(["systemctl", "show", "-P", "MainPID", "xfrmctl"]).stdout
        members = node.run(["getent", "group", "xfrmctl"]).stdout
        node.run(["dpkg", "--force-confold", "-i", "/var/tmp/new.deb"], timeout_s=120)  # nobody is there to be asked
        assert "192.0.2.0/24" in (node.tree / CONFIG).read_text()
        assert "# more to read" in (node.tree / f"{CONFIG}.dpkg-dist").read_text()
        assert node.run(["systemctl", "is-active", "xfrmctl"]).stdout == "active\n"
        assert node.run(["systemctl", "show", "-P", "MainPID", "xfrmctl"]).stdout != before
        assert node.run(["stat", "-c", "%U %G %a", f"/{CONFIG}"]).stdout == "root xfrmctl 640\n"

        assert node.run(["getent", "group", "xfrmctl"]).stdout == members
        journal = node.run(["journalctl", "-u", "xfrmctl", "-o", "cat", "--no-pager"]).stdout
        assert "left to a successor" in journal  # SAs were not taken down

        removed = node.run(["dpkg", "-r", "xfrmctl"], timeout_s=120).stdout
        assert "stays blocked until the next boot" in removed and "ip xfrm policy flush" in removed
        assert "192.0.2.0/24" in node.run(["ip", "xfrm", "policy"]).stdout
        assert "192.0.2.0/24" in (node.tree / CONFIG).read_text()

        node.run(["dpkg", "-P", "xfrmctl"])
        for kind in ("passwd", "group"):
            assert node.run(["getent", kind, "xfrmctl"], check=False).stdout == ""
        left = node.run(
            ["find", "/etc", "/usr", "/var/lib", "/run", "-name", "*xfrmctl*", "-not", "-path", "*/journal/*"]
        )
        assert left.stdout == ""


BLOCK = "  lan: {action: discard, local_ts: 198.51.100.0/24, remote_ts: 192.0.2.0/24}\n"
