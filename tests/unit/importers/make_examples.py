"""Write what the examples become: ``.venv/bin/python -m tests.unit.importers.make_examples``; read the difference."""

import tempfile
from pathlib import Path

from xfrmctl.importers.convert import Imported, Request, run
from xfrmctl.importers.detect import Dialect
from xfrmctl.model.address import IPAddress

EXAMPLES = Path(__file__).parent / "examples"
NAMES = {"swanctl": Dialect.SWANCTL, "strongswan": Dialect.STRONGSWAN, "libreswan": Dialect.LIBRESWAN}


def made(name: str, ours: frozenset[IPAddress] = frozenset()) -> tuple[Imported, str, str]:
    """The import of an example: itself, its configuration and its report, without the path of this place."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "new"
        file = EXAMPLES / f"{name}.conf"
        found = run(Request(file=file, dialect=NAMES[name], ours=ours, target=target))
        texts = (found.text, (target / "import-report.txt").read_text())
    config, report = (text.replace(f"{EXAMPLES}/", "") for text in texts)
    return found, config, report


if __name__ == "__main__":
    for example in NAMES:
        _, config, report = made(example)
        (EXAMPLES / f"{example}.yaml").write_text(config)
        (EXAMPLES / f"{example}.txt").write_text(report)
