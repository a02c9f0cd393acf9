"""The OCI image: built without a daemon and without a registry, and what is in it works."""

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import readme, roots
from xfrmctl import __version__

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

    def unpack(self, root: Path) -> None:
        """Lay its layers over one another."""
        root.mkdir()
        for layer in self._manifest["layers"]:
            subprocess.run(["tar", "-C", root, "-xpf", self._blob(layer["digest"])], check=True)

    def _blob(self, digest: str) -> Path:
        return self.place / "blobs" / digest.replace(":", "/")

    @staticmethod
    def _json(path: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def test_the_image_holds_the_package_and_would_start_the_daemon(package: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*readme.recipe("make oci"), tmp_path],
        env={**os.environ, "OCI_BASE": str(roots.ready()), "XFRMCTL_PACKAGE": str(package)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    image = Image(next(tmp_path.glob("*.oci.tar")), tmp_path / "layout")
    assert image.name == f"xfrmctl:{__version__}"
    assert image.config["Entrypoint"] + image.config["Cmd"] == ["/usr/bin/xfrmctl", "daemon", "--log-format", "json"]
    assert image.config["StopSignal"] == "SIGTERM"
    assert set(image.config["ExposedPorts"]) == {"500/udp", "4500/udp"}

    image.unpack(tmp_path / "root")
    assert roots.inside(tmp_path / "root", "xfrmctl --version") == f"xfrmctl {__version__}\n"
    assert "ok: 0 connections" in roots.inside(tmp_path / "root", "xfrmctl check")
    assert not list((tmp_path / "root/var/tmp").iterdir())  # the package's file has gone
