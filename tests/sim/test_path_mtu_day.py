"""A day of a path that changes a hundred times, both engines at both ends, in virtual time.

No drift: each end believes what is true within seconds of a narrowing that its traffic meets, and within the ageing
time of a widening. No oscillation: a path that stays as it is leaves its belief as it is, and a change costs a few
steps. No leak: what the engines keep at the end of the day is what they kept after its first hour.
"""

import random
from itertools import pairwise

import pytest

from tests.sim.test_path_mtu import PATIENT, Paths, in_force
from tests.sim.world import Node, pair, start
from xfrmctl.model.events import IkeSaClosed, IkeSaRekeyed, PathMtuChanged, PathProbed
from xfrmctl.model.failure import FailureCode

DAY, CHANGES = 86_400, 100
EACH = DAY // CHANGES
AGING_S = 600
NARROW_S = 15
"""How long an end may believe in more than the path carries while packets go through it, seconds.

In less it may believe for the ageing time and the search after it: what is left of ``EACH`` is more than that.
"""

MOST_STEPS = 4
"""Changes of a belief that one change of the path may cost: down, down once more, and up to the exact size."""


class Day:
    """Two gateways with lifetimes of four hours, and what has gone through the tunnel between them."""

    def __init__(self, seed: int, **options: object) -> None:
        self.world = Paths(seed=seed)
        settings: dict[str, object] = {"dpd_s": 30, "retransmit": PATIENT, "rekey_s": 4 * 3600}
        self.ends = pair(self.world, alice=settings, bob=settings)
        for node in self.ends:
            self.world.keep(node, **options)
        self.packets = 0
        self.came = {node.name: 0 for node in self.ends}
        self.steps: dict[str, list[PathMtuChanged]] = {node.name: [] for node in self.ends}
        self.rekeyed = 0
        start(self.world, self.ends[0])
        self.world.run(20)

    def busy(self, seconds: int) -> None:
        """Packets flow both ways as far as they fit: what is too large for the path goes out and is not answered."""
        for _ in range(seconds // 5):
            self.packets += 100
            for node in self.ends:
                fits = (in_force(self.world, node) or (0,))[0] <= self.world.mtu
                self.came[node.name] += 100 * fits
                self.world.traffic(node, went=self.packets, came=self.came[node.name])
            self.world.run(5)

    def beliefs(self) -> set[int]:
        return {(in_force(self.world, node) or (0,))[0] for node in self.ends}

    def collect(self) -> dict[str, int]:
        """How often each end has changed its mind since the last time; nothing bad has happened meanwhile."""
        found = {}
        for node in self.ends:
            changed = [e for e in node.of(PathMtuChanged) if isinstance(e, PathMtuChanged) and e.old != e.new]
            self.steps[node.name] += changed
            found[node.name] = len(changed)
            self.rekeyed += len(node.of(IkeSaRekeyed))
            for event in node.of(IkeSaClosed):
                assert isinstance(event, IkeSaClosed) and event.reason.code == FailureCode.REKEYED, event
            node.events.clear()
        self.world.wire.clear()
        return found

    def kept(self, node: Node) -> dict[str, int]:
        """What an end remembers, counted."""
        engine, core = self.world.keepers[node.name].engine, node.engine._core
        named = {name: len(value) for name, value in vars(engine).items() if isinstance(value, dict | list)}
        return named | {"ike": len(core.sas), "children": len(core.children), "ways": len(node.sad)}


@pytest.mark.rfc(1191, "6.3")
@pytest.mark.rfc(4301, "8.2.2")
@pytest.mark.parametrize("seed", range(2))
def test_a_day_in_which_the_path_changes_a_hundred_times(seed: int) -> None:
    day, chance = Day(seed, aging_s=AGING_S), random.Random(seed)
    day.world.loss = 0.005
    early: dict[str, dict[str, int]] = {}
    for number in range(CHANGES):
        before, day.world.mtu = day.world.mtu, chance.randint(600, 1500)
        quiet = chance.randrange(0, 60)
        day.world.run(quiet)
        day.busy(NARROW_S + 5)
        if day.world.mtu < before:
            assert max(day.beliefs()) <= day.world.mtu, f"change {number}: {before} to {day.world.mtu}"
        rest = EACH - quiet - NARROW_S - 5
        for _ in range(rest // 60):
            day.busy(10)
            day.world.run(50)
        day.world.run(rest % 60)
        assert day.beliefs() == {day.world.mtu}, f"change {number}: {before} to {day.world.mtu}"
        steps = day.collect()
        assert max(steps.values()) <= MOST_STEPS, (number, steps)
        if number == 5:
            early = {node.name: day.kept(node) for node in day.ends}
    assert day.rekeyed >= 2 * 5, "each end sees six rekeyings of the IKE SA, by either"
    for _ in range(120):
        day.busy(30)
    assert day.collect() == {"alice": 0, "bob": 0}, "an hour without a change, under traffic"
    assert day.beliefs() == {day.world.mtu}
    for node in day.ends:
        for name, size in day.kept(node).items():
            assert size <= max(early[node.name][name], 64 if name == "_heap" else 4), name
        assert all(a.new == b.old for a, b in pairwise(day.steps[node.name])), "each change begins where one ended"


@pytest.mark.rfc(4301, "8.2.2")
def test_a_day_without_ageing_only_ever_narrows_until_the_route_changes() -> None:
    day, chance = Day(3, aging_s=None), random.Random(3)
    least = 1500
    for _ in range(CHANGES):
        day.world.mtu = chance.randint(1200, 1500)
        least = min(least, day.world.mtu)
        day.busy(NARROW_S + 5)
        day.world.run(EACH - NARROW_S - 5)
        assert day.beliefs() == {least}
        assert max(day.collect().values()) <= MOST_STEPS
    day.world.mtu = 1500
    for node in day.ends:
        engine = day.world.keepers[node.name].engine
        (path,) = [state.path for state in engine.states()]
        day.world.do(node, lambda now, e=engine, p=path: e.handle_link(p, 1500, now, rerouted=True))  # type: ignore[misc]
    day.world.run(10)
    assert day.beliefs() == {1500}


def test_a_day_of_a_path_that_is_idle_costs_what_its_ageing_costs() -> None:
    """Where more would fit than the path carries, ageing asks for two sizes: the link's, and one byte more."""
    day = Day(4, aging_s=AGING_S)
    day.world.mtu = 1400
    day.busy(30)
    day.collect()
    day.world.run(DAY)
    probes = [e for e in day.ends[0].of(PathProbed) if isinstance(e, PathProbed)]
    assert len(probes) <= DAY // AGING_S * 5
    assert {e.size for e in probes} <= {1500, 1401}
    assert day.beliefs() == {1400}
