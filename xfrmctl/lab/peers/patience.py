"""What keeps a foreign daemon from hanging in virtual time: see ``patient_poll.c`` beside this file."""

import hashlib
import os
import subprocess
from pathlib import Path

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import virtual_time
from xfrmctl.lab.kernel.cache import cache_root

_SOURCE = Path(__file__).with_name("patient_poll.c")


def patience() -> dict[str, str]:
    """What a daemon's environment needs; nothing where time is real. Raises LabError without a compiler."""
    return {"LD_PRELOAD": str(_library())} if virtual_time() else {}


def _library() -> Path:
    """The compiled library, made once for each version of its source."""
    built = cache_root() / f"patient-poll-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        scratch = built.with_suffix(f".{os.getpid()}")
        argv = ["cc", "-O1", "-shared", "-fPIC", "-o", str(scratch), str(_SOURCE), "-ldl"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise LabError("cc is not installed; install with: tools/setup.sh test") from error
        if done.returncode:
            raise LabError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")
        scratch.rename(built)
    return built
