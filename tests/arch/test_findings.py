"""The table of findings is current, and rules and catalogue know the same findings."""

import re
from pathlib import Path

from tests.lab.faults import BY_HAND, every
from tools.findings import PAGE, page
from xfrmctl.diagnose.catalogue import CATALOGUE

LAB = Path(__file__).parents[1] / "lab"
RULES = Path(__file__).parents[2] / "xfrmctl" / "diagnose" / "rules"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(), "run make docs-findings"


def test_every_finding_has_a_rule() -> None:
    source = "".join(path.read_text() for path in sorted(RULES.glob("*.py")))
    spelled = set(re.findall(r'"([a-z][a-z0-9-]+)"', source))
    dropped = {f"firewall-drops-{what}" for what in ("ike", "esp", "ah", "esp-in-udp")}
    assert not set(CATALOGUE) - spelled - dropped


def test_every_fault_of_the_lab_gives_a_finding_that_there_is() -> None:
    assert {fault.finding for fault in every()} | set(BY_HAND) <= set(CATALOGUE)
    tested = "".join((LAB / f"test_diagnose{part}.py").read_text() for part in ("", "_host"))
    assert all(f'"{name}' in tested or name.startswith("own-") for name in BY_HAND)
    names = [fault.name for fault in every()]
    assert len(names) == len(set(names))
