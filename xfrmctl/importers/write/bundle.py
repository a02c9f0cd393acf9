"""The directory of an import: xfrmctl.yaml, secrets/, keys/ and certs/ beside it, and the report.

It is made under another name and moved into place whole. Nothing that is there already is touched.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from xfrmctl.model.errors import UnusableInput

CONFIG = "xfrmctl.yaml"
REPORT = "import-report.txt"
_OPEN = ("certs/", REPORT)
_PUBLIC = ".pub"


class Bundle:
    """A directory in the making; a context manager that leaves nothing behind unless it is kept."""

    def __init__(self, target: Path | None) -> None:
        """``target`` must not exist, or be empty; None is for trying only. Raises UnusableInput."""
        self._target = target
        try:
            if target is not None:
                self._check(target)
                target.parent.mkdir(parents=True, exist_ok=True)
            where = target.parent if target is not None else None
            self.directory = Path(tempfile.mkdtemp(prefix=".xfrmctl-import-", dir=where))
        except OSError as error:
            raise UnusableInput(f"{target}: {error.strerror}") from None

    @staticmethod
    def _check(target: Path) -> None:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise UnusableInput(f"{target}: no directory; name one that does not exist yet")
        if target.is_dir() and any(target.iterdir()):
            raise UnusableInput(f"{target}: not empty; name a directory that does not exist yet, with --to")

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def config(self) -> Path:
        """The configuration file, while it is in the making."""
        return self.directory / CONFIG

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files by their paths; all but certificates, public keys and the report are for their owner only."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            mode = 0o644 if name.startswith(_OPEN) or name.endswith(_PUBLIC) else 0o600
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)

    def keep(self) -> None:
        """Move it into place."""
        if self._target is None:
            return
        try:
            self.directory.rename(self._target)
        except OSError as error:
            raise UnusableInput(f"{self._target}: {error.strerror}") from None
