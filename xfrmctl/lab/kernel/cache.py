"""Where a built kernel lives, and under which name.

The name is a hash of all that goes into the build, so a kernel is never stale: a new source package, a
changed fragment or a changed recipe asks for another name, and old names stay usable for old checkouts.
"""

import hashlib
import os
import platform
from pathlib import Path

from xfrmctl.lab.kernel.source import KernelSource

#: Raise it when build.py changes in a way that changes the kernel.
RECIPE = 1


def kernel_hash(source_identity: str, fragment: str, machine: str | None = None) -> str:
    """The name of the kernel that this source and fragment give; comments in the fragment do not count."""
    options = "\n".join(line for line in fragment.splitlines() if line and not line.startswith("#"))
    parts = (str(RECIPE), machine or platform.machine(), source_identity, options)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def cache_root() -> Path:
    """The user's cache directory, below which the kernels are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "xfrmctl" / "lab-kernel"


def kernel_path(source: KernelSource, fragment: str) -> Path:
    """The file of the kernel that this source and fragment give, whether it is there or not."""
    return cache_root() / kernel_hash(source.identity, fragment) / "linux"
