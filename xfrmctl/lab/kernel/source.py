"""The distribution's kernel source, as its ``linux-source`` package puts it under /usr/src."""

import re
from dataclasses import dataclass
from pathlib import Path

from xfrmctl.lab.errors import LabError

_NAME = re.compile(r"linux-source-(\d+(?:\.\d+)*)\.tar\.(?:xz|bz2|gz|zst)$")
_ROOT = Path("/usr/src")


@dataclass(frozen=True, slots=True)
class KernelSource:
    """A source archive and the version in its name."""

    path: Path
    version: tuple[int, ...]

    @property
    def identity(self) -> str:
        """What tells one release of the package from the next: Debian keeps the name over security updates.

        Size and time come out of the package unchanged, so the same package gives the same identity on every
        machine, without reading the 150 MB.
        """
        stat = self.path.stat()
        return f"{self.path.name} {stat.st_size} {int(stat.st_mtime)}"


def version_of(name: str) -> tuple[int, ...] | None:
    """The kernel version in an archive's name, or None when the name is of something else."""
    match = _NAME.fullmatch(name)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def newest(root: Path = _ROOT) -> KernelSource:
    """The newest source archive; Ubuntu keeps it one directory deeper than Debian."""
    found = [
        KernelSource(path.resolve(), version)
        for pattern in ("linux-source-*.tar.*", "linux-source-*/linux-source-*.tar.*")
        for path in root.glob(pattern)
        if (version := version_of(path.name)) is not None
    ]
    if not found:
        raise LabError(f"no kernel source in {root}; install it with: tools/setup.sh lab (package linux-source-6.12)")
    return max(found, key=lambda source: source.version)
