"""The commands of README's section Deploy. Tests that run one take it from here, so that it is the README's.

``command("…")`` gives the words back, and fails where the README has other ones; tests/arch/test_readme.py finds the
commands that no test takes.
"""

import re
import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def section() -> str:
    """The section, as text."""
    found = re.search(r"^## Deploy$(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found, "README.md has no section Deploy"
    return found[1]


def commands() -> list[str]:
    """Every command of it, without prompts and what is said behind them."""
    blocks = re.findall(r"^```console\n(.*?)^```", section(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines and all(line.startswith(("$ ", "# ")) for line in lines), lines
    return [re.split(r"\s+# ", line[2:])[0].strip() for line in lines]


def command(text: str) -> str:
    """A command as the README has it."""
    assert text in commands(), f"README.md, Deploy, has no command {text!r}"
    return text


def recipe(text: str) -> list[str]:
    """What a ``make`` target of the README runs in the end, less sudo: a script of tools/; a test may add words."""
    done = subprocess.run(
        [*shlex.split(command(text)), "--dry-run", "--no-print-directory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    words = shlex.split(done.stdout.splitlines()[-1])
    tool = next(at for at, word in enumerate(words) if word.startswith("tools/"))
    return [str(ROOT / words[tool]), *words[tool + 1 :]]
