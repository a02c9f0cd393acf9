"""What every fault of the lab is held to."""

from collections.abc import Iterable, Sequence

from tests.lab.faults.fault import Fault
from tests.lab.faults.pair import Pair
from tests.lab.tunnel import eventually
from xfrmctl.lab.topology import HOST_B
from xfrmctl.model.finding import Finding


def told(fault: Fault, found: list[Finding]) -> None:
    """The finding and no other, with what proves it."""
    assert [f.id for f in found] == [fault.finding], found
    text = " ".join([*found[0].evidence, found[0].symptom])
    assert fault.evidence in text, text
    assert found[0].cause and found[0].cure_here and found[0].cure_peer


def check(pair: Pair, fault: Fault, *, back: bool = True) -> None:
    """The finding and no other, so nothing of the fault before it either; with ``back`` the tunnel is up again.

    Where the fault says so, the finding's own commands are the cure: run, they leave no finding, and packets cross.
    """
    with pair.fault(fault, back=back):
        found = pair.diagnose(fault.side, fault.seconds)
        told(fault, found)
        if fault.cured:
            with pair.cured(found[0], fault.side) as lines:
                assert lines, found[0].lines
                assert pair.diagnose(fault.side, 0) == [], lines
                eventually("a ping crosses the tunnel", lambda: pair.ping(HOST_B[fault.version]), 5)


def healthy(pair: Pair) -> None:
    """No finding at either end, with traffic both ways and without."""
    for side in (0, 1):
        assert pair.diagnose(side, 0) == []
    with pair.traffic():
        for side in (0, 1):
            assert pair.diagnose(side) == []


def in_turn(faults: Iterable[Fault]) -> list[Fault]:
    """In an order in which no two neighbours have one finding: each proves that the one before it is over."""
    turns: dict[str, int] = {}
    found: list[tuple[int, Fault]] = []
    for fault in faults:
        turns[fault.finding] = turns.get(fault.finding, 0) + 1
        found.append((turns[fault.finding], fault))
    return [fault for _, fault in sorted(found, key=lambda one: one[0])]


def names(faults: Sequence[Fault]) -> list[str]:
    """For the tests' names."""
    return [fault.name for fault in faults]
