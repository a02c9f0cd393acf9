"""The shapes that public examples have: scenarios of strongSwan's and libreswan's tests, cloud providers' how-tos,
VyOS's documentation and smoke tests. In other words and with other names; what matters is which options come together.

The first line of each says what becomes of it: ``taken``, or ``decide:`` and what has to be decided. No option may be
unknown, and every line that sets one has to be in the report.
"""

import re
from pathlib import Path

import pytest

from tests.pki import issue, root
from tests.unit.importers.imports import Importer, options_in, told_lines
from xfrmctl.importers.report import Fate

SHAPES = Path(__file__).parent / "shapes"
FILES = {"swanctl": "swanctl.conf", "strongswan": "ipsec.conf", "libreswan": "ipsec.conf", "vyos": "config.boot"}
OURS = ("192.0.2.1", "192.0.2.45", "203.0.113.5", "203.0.113.9", "2001:db8::1")
CA = root(common="Shapes CA")
OWN = issue("a.example.org", CA, names=["a.example.org", "carol@example.org"], number=3)


def shapes() -> list[tuple[str, str, str, str, str]]:
    """Dialect, name, what becomes of it, text, secrets."""
    found = []
    for dialect in FILES:
        for part in re.split(r"^=== ", (SHAPES / f"{dialect}.txt").read_text(), flags=re.MULTILINE)[1:]:
            head, _, body = part.partition("\n")
            name, _, outcome = head.partition(": ")
            text, _, secrets = body.partition("--- secrets\n")
            found.append((dialect, name, outcome, text, secrets))
    return found


@pytest.mark.parametrize(
    ("dialect", "outcome", "text", "secrets"),
    [pytest.param(d, o, t, s, id=f"{d}-{n}") for d, n, o, t, s in shapes()],
)
def test_it_becomes_what_it_says(importer: Importer, dialect: str, outcome: str, text: str, secrets: str) -> None:
    for place in ("x509", "ipsec.d/certs"):
        importer.file(f"{place}/ours.pem", OWN.pem)
    for place in ("private", "ipsec.d/private"):
        importer.file(f"{place}/ours.key", OWN.key_pem)
    for place in ("x509ca", "ipsec.d/cacerts"):
        importer.file(f"{place}/ca.pem", CA.pem)
    importer.file("ipsec.secrets", secrets)
    file = importer.file(FILES[dialect], text)
    done = importer.run(file, dialect, ours=OURS)
    unknown = [entry.line for entry in done.imported.report.entries if entry.fate is Fate.UNKNOWN]
    assert not unknown
    assert told_lines(done, file) >= options_in(text)
    if outcome == "taken":
        assert not done.decisions
        assert done.imported.connections or done.data["policies"]
    else:
        assert outcome.startswith("decide: ")
        assert any(outcome.removeprefix("decide: ") in decision for decision in done.decisions), done.decisions


def test_there_are_enough_of_them() -> None:
    assert len(shapes()) >= 70
