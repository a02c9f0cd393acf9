"""The OCI image: built without a daemon and without a registry, and what is in it works."""

import io
import json
import os
import subprocess
import sys
import tarfile
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import readme, roots
from xfrmctl import __version__
from xfrmctl.lab import boot
from xfrmctl.lab.boot import repository
from xfrmctl.lab.job import Job

pytestmark = pytest.mark.deploy


class Image:
    """An OCI image layout in a directory."""

    def __init__(self, archive: Path, place: Path) -> None:
        with tarfile.open(archive) as file:
            file.extractall(place, filter="data")
        self.place = place
        (found,) = self._json(place / "index.json")["manifests"]
        self.name: str = found["annotations"]["org.opencontainers.image.ref.name"]
        self._manifest = self._json(self._blob(found["digest"]))
        self.config: dict[str, Any] = self._json(self._blob(self._manifest["config"]["digest"]))["config"]

        self.command: list[str] = self.config["Entrypoint"] + self.config["Cmd"]

    @cached_property
    def root(self) -> Path:
        """Its layers, laid over one another."""
        root = self.place / "root"
        root.mkdir()
        for layer in self._manifest["layers"]:
            subprocess.run(["tar", "-C", root, "-xpf", self._blob(layer["digest"])], check=True)
        return root

    def _blob(self, digest: str) -> Path:
        return self.place / "blobs" / digest.replace(":", "/")

    @staticmethod
    def _json(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@pytest.fixture(scope="module")
def image(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image, built and read back; its files are in ``root``."""
    place = tmp_path_factory.mktemp("image")
    done = subprocess.run(
        [*readme.recipe("make oci"), place],
        env={**os.environ, "OCI_BASE": str(roots.ready()), "XFRMCTL_PACKAGE": str(package)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return Image(next(place.glob("*.oci.tar")), place / "layout")


def test_the_image_holds_the_package_and_would_start_the_daemon(image: Image) -> None:
    assert image.name == f"xfrmctl:{__version__}"
    assert image.command == ["/usr/bin/xfrmctl", "daemon", "--log-format", "json"]
    assert image.config["StopSignal"] == "SIGTERM"
    assert set(image.config["ExposedPorts"]) == {"500/udp", "4500/udp"}
    assert set(image.config["Volumes"]) == {"/var/lib/xfrmctl"}
    assert roots.inside(image.root, "xfrmctl --version") == f"xfrmctl {__version__}\n"
    assert "ok: 0 connections" in roots.inside(image.root, "xfrmctl check")
    assert not list((image.root / "var/tmp").iterdir())  # the package's file has gone


def test_two_containers_have_a_tunnel(image: Image) -> None:
    """What is tested is in :mod:`tests.deploy.guest.container`; it runs where there is a kernel with ESP."""
    tests = repository() / "tests/deploy/guest/container.py"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", str(tests)]
    env = {"XFRMCTL_IMAGE": str(image.root), "XFRMCTL_IMAGE_COMMAND": json.dumps(image.command)}
    said = io.BytesIO()
    status = boot.run(Job(argv=argv, cwd=repository(), env=env, timeout_s=600), said, said)
    assert status == 0, said.getvalue().decode(errors="replace")
