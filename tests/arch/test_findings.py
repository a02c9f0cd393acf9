"""The table of findings is current, and rules and catalogue know the same findings."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.lab.faults import BY_HAND, every
from tests.lab.faults.check import in_turn
from tests.lab.faults.fault import Fault
from tests.lab.faults.host import HOST, POLICY
from tests.lab.faults.negotiation import NEGOTIATION, REACH
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
    tested = "".join(path.read_text() for path in sorted(LAB.glob("test_diagnose*.py")))
    assert all(f'"{name}' in tested or name.startswith("own-") for name in BY_HAND)
    names = [fault.name for fault in every()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("faults", [(*NEGOTIATION, *REACH), (*HOST, *POLICY)])
def test_the_next_fault_proves_that_the_one_before_it_is_over(faults: tuple[Fault, ...]) -> None:
    made = in_turn(faults)
    assert sorted(f.name for f in made) == sorted(f.name for f in faults)
    assert all(one.finding != other.finding for one, other in pairwise(made))
