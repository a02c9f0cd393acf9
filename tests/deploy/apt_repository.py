"""A flat, signed apt repository on the network of the nodes, as somebody who has many gateways would keep one."""

import hashlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

from tests.deploy.node import Site
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.process import end

ADDRESS, PORT = "10.98.0.1", 8099
START_S = 20.0


@contextmanager
def served(site: Site, package: Path) -> Iterator[tuple[str, Path]]:
    """Serve one package; gives the line of ``sources.list`` that names the repository, and the key that signs it."""
    place = site.place / "repository"
    place.mkdir()
    (place / package.name).write_bytes(package.read_bytes())
    index = subprocess.run(
        ["dpkg-scanpackages", "-m", "."], cwd=place, capture_output=True, text=True, check=True
    ).stdout
    (place / "Packages").write_text(index)
    digest, size = hashlib.sha256(index.encode()).hexdigest(), len(index.encode())
    release = f"Date: {formatdate(usegmt=True)}\nSHA256:\n {digest} {size} Packages\n"
    key = _sign(site.place / "gpg", release, place / "InRelease")
    argv = ["python3", "-m", "http.server", "--bind", ADDRESS, "--directory", str(place), str(PORT)]
    with (site.place / "repository.log").open("wb") as log:
        server = subprocess.Popen(site.argv(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while not site.run(["ss", "-Htln", f"sport = :{PORT}"]).stdout:
            if time.monotonic() > deadline or server.poll() is not None:
                raise LabError(f"the repository is not served: {(site.place / 'repository.log').read_text()}")
            time.sleep(0.1)
        yield f"deb [signed-by=/etc/apt/keyrings/xfrmctl.asc] http://{ADDRESS}:{PORT} ./", key
    finally:
        end(server)


def _sign(home: Path, text: str, signed: Path) -> Path:
    """Sign by a key that is made for it; gives the file of the public key."""
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--batch", "--quiet", "--homedir", str(home), "--pinentry-mode", "loopback", "--passphrase", ""]
    key = home / "repository.asc"

    def run(*words: str, stdin: str = "") -> None:
        subprocess.run([*gpg, *words], input=stdin, capture_output=True, text=True, check=True)

    try:
        run("--quick-generate-key", "packages@example.org", "ed25519", "sign", "never")
        run("--clearsign", "--output", str(signed), stdin=text)
        run("--armor", "--output", str(key), "--export")
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], capture_output=True, check=False)
    return key
