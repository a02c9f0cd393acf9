"""What the tests of what is deployed share: the package, built once, and a node on which it is installed."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import readme, roots
from tests.deploy.node import Node, Site
from xfrmctl.lab.boot import need_root


@pytest.fixture(scope="session", autouse=True)
def as_root() -> None:
    """Nodes are overlays, namespaces and mounts."""
    need_root()


def build(place: Path) -> Path:
    """Build the Debian package of this checkout into a directory."""
    done = subprocess.run([*readme.recipe("make deb"), place], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    (made,) = place.glob("*.deb")
    return made


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package: of this checkout, or the one that $XFRMCTL_PACKAGE names."""
    if (given := os.environ.get("XFRMCTL_PACKAGE")) is not None:
        return Path(given)
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def installed(package: Path) -> Iterator[Path]:
    """The files of a system with the package and what it depends on, for nodes in a kernel with ESP to stand upon."""
    with Site() as site:
        tree = site.node("installed", roots.ready(), boot=False).tree
        shutil.copy(package, tree / "var/tmp/xfrmctl.deb")
        roots.inside(tree, "dpkg -i /var/tmp/xfrmctl.deb")
        yield tree


@pytest.fixture(scope="session")
def gateway(package: Path) -> Iterator[Node]:
    """A minimal system on which the package was installed by apt, with what it depends on, and nothing else."""
    with Site() as site:
        node = site.node("gateway", roots.clean(), boot=False)
        shutil.copy(package, node.tree / "var/tmp/xfrmctl.deb")
        roots.install(node.tree, ["/var/tmp/xfrmctl.deb"])
        node.boot()
        yield node
