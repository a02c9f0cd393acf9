"""Prometheus's own programs, from where tools/setup.sh has unpacked the distribution's package."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = ROOT / "build" / "peers" / "prometheus" / "usr" / "bin"
DEPLOY = ROOT / "deploy"


def promtool(*arguments: str | Path, cwd: Path | None = None, given: str | None = None) -> str:
    """What it prints, of what it is ``given`` too; an AssertionError where it is not content."""
    argv = [str(PROGRAMS / "promtool"), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd, input=given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
