"""What every fault of the lab is held to."""

from collections.abc import Sequence

from tests.lab.faults.fault import Fault
from tests.lab.faults.pair import Pair
from xfrmctl.model.finding import Finding


def told(fault: Fault, found: list[Finding]) -> None:
    """The finding and no other, with what proves it."""
    assert [f.id for f in found] == [fault.finding], found
    text = " ".join([*found[0].evidence, found[0].symptom])
    assert fault.evidence in text, text
    assert found[0].cause and (found[0].cure_here or found[0].cure_peer)


def check(pair: Pair, fault: Fault) -> None:
    """The finding and no other, and no finding when the fault is over."""
    with pair.fault(fault):
        told(fault, pair.diagnose(fault.side, fault.seconds))
    with pair.traffic():
        assert pair.diagnose(fault.side, 0.3) == []


def names(faults: Sequence[Fault]) -> list[str]:
    """For the tests' names."""
    return [fault.name for fault in faults]
