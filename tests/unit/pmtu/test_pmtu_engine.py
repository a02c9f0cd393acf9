"""The path-MTU engine on simulated paths."""

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.pmtu.simulated_path import PATH, PATH6, Lab, Underlay, one, path
from xfrmctl.model.events import PathMtuHinted, PathProbed
from xfrmctl.model.path import Confidence, MtuSource, ProbeOutcome
from xfrmctl.pmtu.engine import PmtuEngine
from xfrmctl.pmtu.inputs import SendProbe
from xfrmctl.pmtu.search import GUESSES, PLATEAUS, Grid, Search, plateau_below
from xfrmctl.pmtu.settings import EngineSettings, PathSettings

MOST_PROBES = 36
"""Of one search: 30 candidates at most, and of two sizes, the first and the last that do not pass, two more."""


def belief(lab: Lab) -> tuple[int, MtuSource, Confidence]:
    state = lab.engine.state(PATH)
    assert state is not None
    return state.belief.size, state.belief.source, state.belief.confidence


# -- finding


def test_a_path_as_wide_as_its_link_takes_one_probe() -> None:
    lab, _ = one(1500)
    assert belief(lab) == (1500, MtuSource.PROBE, Confidence.CONFIRMED)
    assert [size for _, _, size in lab.probes] == [1500]
    assert [size for _, _, size in lab.history] == [1500]


@pytest.mark.rfc(8899, "5.3")
@given(mtu=st.integers(576, 9000), link=st.sampled_from([1280, 1400, 1492, 1500, 9000]))
@settings(max_examples=300, deadline=None)
def test_the_exact_mtu_is_found_and_never_exceeded(mtu: int, link: int) -> None:
    mtu = min(mtu, link)
    lab, _ = one(mtu, link=link)
    assert belief(lab)[:2] == (mtu, MtuSource.PROBE)
    assert lab.in_force[PATH] == mtu
    assert all(size <= mtu for _, _, size in lab.history[1:])
    assert len(lab.probes) <= MOST_PROBES


@pytest.mark.parametrize("mtu", [1492, 1480, 1450, 1420, 1400, 1280, 1006])
def test_a_usual_size_is_found_with_few_losses(mtu: int) -> None:
    """Only what is too big costs time: three timeouts each."""
    lab, _ = one(mtu)
    assert belief(lab)[0] == mtu
    too_big = {size for _, _, size in lab.probes if size > mtu}
    assert len(too_big) <= 6
    assert lab.history[-1][0] < 5.0


def test_while_a_narrow_path_is_searched_each_size_that_passes_is_in_force() -> None:
    lab, _ = one(1333)
    sizes = [size for _, _, size in lab.history]
    assert sizes[0] == 1500
    assert len(sizes) == 3, "one relief, one result"
    assert sizes[1] <= sizes[2] == 1333


@given(mtu=st.integers(600, 1500), offset=st.integers(0, 15))
@settings(max_examples=100, deadline=None)
def test_a_carrier_that_cannot_send_every_size_finds_the_largest_that_it_can(mtu: int, offset: int) -> None:
    lab, _ = one(mtu, grid=Grid(offset, 16))
    found = belief(lab)[0]
    if found != 1500:  # with 1500 nothing larger than the grid's last size has spoken against the link's own word
        assert found <= mtu < found + 16
    else:
        assert Grid(offset, 16).down(1500) <= mtu


@pytest.mark.rfc(8899, "4.4")
def test_one_lost_probe_is_not_a_path_that_is_too_small() -> None:
    lab, real = one(1500)
    real.loss = 1.0
    lab.loss()
    lab.run(0.1)
    real.loss = 0.0
    lab.run(60)
    assert Counter(e.outcome for e in lab.events if isinstance(e, PathProbed))[ProbeOutcome.LOST] == 1
    assert belief(lab)[0] == 1500
    assert len(lab.history) == 1


@pytest.mark.rfc(8899, "4.3")
def test_a_sign_of_loss_and_two_lost_probes_are_enough_and_can_be_wrong() -> None:
    """Relief comes sooner than by three; what was too much for a moment is tried again before it is given up."""
    lab, real = one(1500)
    real.loss = 1.0
    lab.loss()
    while sum(e.outcome == ProbeOutcome.LOST for e in lab.events if isinstance(e, PathProbed)) < 2:
        lab.run(0.01)
    real.loss = 0.0
    lab.run(0.5)
    assert lab.history[-1][2] < 1500
    lab.run(60)
    assert belief(lab)[0] == 1500


@given(seed=st.integers(0, 10_000), mtu=st.integers(1000, 1500))
@settings(max_examples=60, deadline=None)
def test_losses_make_it_slower_not_wrong(seed: int, mtu: int) -> None:
    """One probe in twenty is lost: a size is given up wrongly once in 8,000, and ageing brings it back."""
    lab = Lab(seed=seed)
    lab.open(PATH, Underlay(mtu, loss=0.05))
    lab.run(2000)
    assert all(size <= mtu for _, _, size in lab.history[1:])
    assert belief(lab)[0] == mtu


@pytest.mark.rfc(8899, "4.4")
def test_a_dead_path_is_not_taken_for_a_small_one() -> None:
    lab, real = one(1400)
    real.dead = True
    lab.loss()
    lab.run(600)
    assert belief(lab)[0] == 1400
    real.dead = False
    lab.run(100)
    assert belief(lab) == (1400, MtuSource.PROBE, Confidence.CONFIRMED)


def test_a_peer_that_does_not_answer_padded_messages_leaves_errors_and_the_link() -> None:
    lab, _ = one(1300, answers=False)
    assert belief(lab)[:2] == (1500, MtuSource.LINK)
    probes = len(lab.probes)
    lab.icmp(PATH, 1300)
    assert belief(lab) == (1300, MtuSource.ICMP, Confidence.HINTED)
    lab.icmp(PATH, 100)
    assert belief(lab)[0] == 576
    lab.run(601)
    assert belief(lab)[:2] == (1500, MtuSource.LINK)
    assert len(lab.probes) == probes


def test_a_peer_that_let_the_tunnel_die_over_a_probe_is_not_probed_again_at_once() -> None:
    """The probe's end comes after the path's, for it was the IKE SA that ended."""
    engine = PmtuEngine()
    engine.open(PATH, 1500, PathSettings(), 0.0)
    engine.handle_timer(0.0)
    (probe,) = [item for item in engine.drain() if isinstance(item, SendProbe)]
    engine.close(PATH, 100.0)
    engine.handle_probe(probe.token, ProbeOutcome.UNSUPPORTED, 1500, 100.0)
    engine.open(PATH, 1500, PathSettings(), 101.0)
    engine.handle_timer(200.0)
    assert not [item for item in engine.drain() if isinstance(item, SendProbe)]
    engine.close(PATH, 300.0)
    engine.open(PATH, 1500, PathSettings(), 3701.0)
    engine.handle_timer(3701.0)
    assert [item.size for item in engine.drain() if isinstance(item, SendProbe)] == [1500]


def test_a_figure_of_the_operator_is_never_questioned() -> None:
    lab = Lab()
    lab.open(PATH, Underlay(1300), configured=1444)
    lab.icmp(PATH, 1300)
    lab.loss()
    lab.run(10_000)
    assert belief(lab)[:2] == (1444, MtuSource.CONFIGURED)
    assert lab.in_force[PATH] == 1444
    assert not lab.probes


# -- black holes and ageing


@pytest.mark.rfc(8899, "4.3")
@given(before=st.integers(1280, 1500), after=st.integers(576, 1500))
@settings(max_examples=150, deadline=None)
def test_a_silent_change_is_found_at_a_sign_of_loss(before: int, after: int) -> None:
    lab, real = one(before)
    real.mtu = after
    lab.loss()
    lab.run(30)
    assert belief(lab)[0] == min(before, after), "higher is for ageing to find"


def test_a_black_hole_is_over_within_ten_seconds() -> None:
    lab, real = one(1500)
    at = lab.now
    real.mtu = 1371
    lab.loss()
    lab.run(30)
    relief = next(when for when, _, size in lab.history if when > at and size <= 1371)
    assert relief - at < 3.0
    assert lab.history[-1][2] == 1371
    assert lab.history[-1][0] - at < 10.0
    falls = [(new, reason) for old, new, reason in lab.changes() if old is not None and new < old]
    assert [reason for _, reason in falls] == ["black hole"] and falls[0][0] <= 1371


@pytest.mark.parametrize("says", [1400, 0])
def test_what_a_router_reports_is_no_black_hole(says: int) -> None:
    lab, real = one(1500)
    real.mtu = 1400
    lab.icmp(PATH, says)
    lab.run(30)
    assert belief(lab)[0] == 1400
    assert "black hole" not in {reason for *_, reason in lab.changes()}


def test_what_our_own_link_does_not_take_is_no_black_hole() -> None:
    lab, real = one(1500)
    real.mtu = real.link = 1400
    lab.loss()
    lab.run(30)
    assert belief(lab)[0] == 1400
    assert "black hole" not in {reason for *_, reason in lab.changes()}


@pytest.mark.rfc(1191, "6.3")
@pytest.mark.rfc(4301, "8.2.2")
def test_a_belief_ages_and_is_probed_upwards() -> None:
    lab, real = one(1400)
    real.mtu = 1500
    lab.run(500)
    assert belief(lab)[0] == 1400
    lab.run(110)
    assert belief(lab)[0] == 1500


def test_no_aging_never_raises() -> None:
    lab = Lab()
    real = Underlay(1400)
    lab.open(PATH, real, aging_s=None)
    lab.run(60)
    real.mtu = 1500
    lab.run(86_400)
    assert belief(lab)[0] == 1400


def test_confirming_does_not_keep_a_belief_young() -> None:
    lab, real = one(1400)
    real.mtu = 1450
    lab.traffic(700)
    assert belief(lab)[0] == 1450


def test_an_aged_path_that_has_not_changed_costs_two_sizes() -> None:
    lab, _ = one(1400)
    before = len(lab.probes)
    lab.run(610)
    assert Counter(size for _, _, size in lab.probes[before:]) == {1500: 1, 1401: 3}
    assert belief(lab)[0] == 1400


def test_traffic_confirms_now_and_then_and_so_finds_what_nobody_reports() -> None:
    lab, real = one(1500)
    real.mtu = 1400
    lab.traffic(60)
    assert belief(lab)[0] == 1400


def test_signs_of_loss_that_mean_nothing_are_heeded_less_and_less() -> None:
    lab, _ = one(1500)
    before = len(lab.probes)
    for _ in range(3600):
        lab.loss()
        lab.run(1)
    assert len(lab.probes) - before <= 66, "about one a minute"


# -- errors of routers


@pytest.mark.rfc(1191, "3")
def test_an_error_lowers_at_once_and_is_then_confirmed() -> None:
    lab, real = one(1500)
    real.mtu = 1400
    lab.icmp(PATH, 1400)
    assert belief(lab) == (1400, MtuSource.ICMP, Confidence.HINTED)
    assert lab.in_force[PATH] == 1400
    lab.run(10)
    assert belief(lab) == (1400, MtuSource.PROBE, Confidence.CONFIRMED)
    assert [size for _, _, size in lab.history] == [1500, 1400]


@pytest.mark.rfc(1191, "5")
def test_a_router_that_reports_nothing_is_answered_with_the_next_plateau() -> None:
    lab, real = one(1500)
    real.mtu = 1300
    lab.icmp(PATH, 0, quoted=1500)
    assert belief(lab)[0] == 1492
    lab.run(30)
    assert belief(lab)[0] == 1300
    assert [plateau_below(size) for size in (65535, 1500, 1492, 1280, 69, 1)] == [32000, 1492, 1280, 1006, 68, 68]
    assert all(b < a for b, a in pairwise(PLATEAUS))


@pytest.mark.rfc(1191, "5")
def test_what_a_router_without_figures_says_of_packets_from_before_is_no_news() -> None:
    """A flight of large packets brings as many errors: one plateau lower for the first, not for each."""
    lab, real = one(1500)
    real.mtu = 1400
    for quoted in (1500, 1500, 1492, 1492, 1492, 1500):
        lab.icmp(PATH, 0, quoted=quoted)
    assert belief(lab)[0] == 1280


@pytest.mark.rfc(1191, "5")
def test_below_a_plateau_and_above_it_the_first_size_that_passes_is_in_force() -> None:
    """Nobody has named the plateau: it is not confirmed first. Of IPv6 hosts hear nothing of less than 1280."""
    for quoted in ([1500], [1500, 1492]):
        lab, real = one(1500)
        real.mtu = 1400
        for size in quoted:
            lab.icmp(PATH, 0, quoted=size)
        plateau, before = belief(lab)[0], len(lab.probes)
        while belief(lab)[0] == plateau:
            lab.run(0.01)
        assert belief(lab)[0] <= 1400
        assert len(lab.probes) - before <= 4, "before the search is over"
        lab.run(10)
        assert belief(lab) == (1400, MtuSource.PROBE, Confidence.CONFIRMED)


def test_an_error_without_an_mtu_that_is_not_true_is_undone() -> None:
    lab, _ = one(1500)
    lab.icmp(PATH, 0, quoted=1500)
    assert belief(lab)[0] == 1492
    lab.run(10)
    assert belief(lab) == (1500, MtuSource.PROBE, Confidence.CONFIRMED)


def test_a_forged_error_is_undone_by_a_probe_and_its_like_must_wait() -> None:
    lab, _ = one(1500)
    lab.icmp(PATH, 600)
    assert belief(lab)[0] == 600
    lab.run(1)
    assert belief(lab)[:2] == (1500, MtuSource.PROBE)
    for _ in range(1000):
        lab.icmp(PATH, 700)
        lab.run(0.05)
    assert {size for _, _, size in lab.history} == {1500, 600}
    assert Counter(e.verdict for e in lab.events if isinstance(e, PathMtuHinted)) == {"lowered": 1, "held": 1000}
    assert len(lab.probes) < 20


def test_while_errors_are_held_back_a_true_one_still_works_by_its_probe() -> None:
    lab, real = one(1500)
    lab.icmp(PATH, 600)
    lab.run(5)
    real.mtu = 1400
    lab.icmp(PATH, 1400)
    lab.run(20)
    assert belief(lab)[:2] == (1400, MtuSource.PROBE)


@pytest.mark.parametrize("mtu", [1, 68, 300, 575])
def test_nothing_is_believed_below_the_floor(mtu: int) -> None:
    lab, _ = one(1500)
    lab.icmp(PATH, mtu)
    lab.run(60)
    assert {size for _, _, size in lab.history} == {1500}


@pytest.mark.rfc(8200, "5")
def test_ipv6_never_goes_below_1280() -> None:
    lab = Lab()
    lab.open(PATH6, Underlay(1280, link=1500))
    lab.icmp(PATH6, 1279)
    lab.run(60)
    assert lab.in_force[PATH6] == 1280
    assert min(size for _, _, size in lab.probes) == 1280


@pytest.mark.parametrize("grid", [Grid(), Grid(8, 16)], ids=["gcm", "cbc"])
def test_the_size_that_every_ipv6_path_carries_is_tried_before_the_last_byte_is_looked_for(grid: Grid) -> None:
    lab = Lab()
    lab.open(PATH6, Underlay(1280, link=1500, grid=grid))
    while lab.in_force[PATH6] == 1500:
        lab.run(0.01)
    assert lab.in_force[PATH6] == 1280
    assert len(lab.probes) <= 8
    lab.run(60)
    assert lab.in_force[PATH6] == 1280


def test_the_least_that_ipv4_believes_is_no_guess() -> None:
    """552 would be in force for a moment, and remembered by hosts for ten minutes."""
    lab = Lab()
    lab.open(PATH, Underlay(1000, link=1500))
    lab.run(60)
    assert lab.in_force[PATH] == 1000
    assert min(size for _, _, size in lab.probes) > 700


def test_a_lost_probe_of_the_least_size_does_not_end_the_search() -> None:
    search = Search(1280, 1501)
    while (size := search.candidate()) is not None:
        if size == 1280 or size > 1331:
            search.lost(size, 3)
        else:
            search.passed(size)
    assert search.low == 1331


@pytest.mark.parametrize("mtu", [1500, 1501, 65535])
def test_an_error_that_reports_more_changes_nothing(mtu: int) -> None:
    lab, _ = one(1500)
    probes = len(lab.probes)
    lab.icmp(PATH, mtu)
    lab.run(60)
    assert len(lab.probes) == probes
    assert [size for _, _, size in lab.history] == [1500]


def test_an_error_for_a_path_that_nobody_goes_is_nothing() -> None:
    lab, _ = one(1500)
    lab.icmp(path(7), 1400)
    lab.loss(path(7))
    assert lab.engine.mtu(path(7)) is None


# -- changes of the path


def test_a_narrower_link_is_in_force_at_once() -> None:
    lab, real = one(1500)
    real.link = real.mtu = 1400
    lab.engine.handle_link(PATH, 1400, lab.now)
    lab.settle()
    assert lab.in_force[PATH] == 1400
    lab.run(10)
    assert belief(lab) == (1400, MtuSource.PROBE, Confidence.CONFIRMED)


def test_a_wider_link_is_used_when_a_probe_has_passed() -> None:
    lab, real = one(1500)
    real.link = 9000
    real.mtu = 8000
    lab.engine.handle_link(PATH, 9000, lab.now)
    lab.run(60)
    assert belief(lab)[0] == 8000
    assert all(size <= 8000 for _, _, size in lab.history)


def test_another_route_of_the_same_size_is_looked_at_anew() -> None:
    lab, real = one(1400)
    real.mtu = 1500
    lab.engine.handle_link(PATH, 1500, lab.now, rerouted=True)
    lab.run(5)
    assert belief(lab)[0] == 1500


# -- restart


def test_what_was_believed_survives_a_restart_and_is_confirmed_again() -> None:
    lab, real = one(1400)
    memories = lab.engine.remember(lab.now)
    after = Lab(now=5.0)
    after.engine.recall(memories, after.now)
    after.open(PATH, real)
    assert after.in_force[PATH] == 1400
    after.run(1)
    assert [size for _, _, size in after.probes] == [1400]
    assert belief(after) == (1400, MtuSource.PROBE, Confidence.CONFIRMED)
    after.run(700)
    assert belief(after)[0] == 1400


def test_a_memory_larger_than_the_link_or_too_old_is_forgotten() -> None:
    lab, _ = one(1400)
    memories = lab.engine.remember(lab.now)
    after = Lab()
    after.engine.recall(memories, after.now)
    after.open(PATH, Underlay(1300, link=1300))
    assert after.in_force[PATH] == 1300
    later = Lab()
    later.engine.recall(memories, later.now)
    later.now = 8 * 86400.0
    later.open(PATH, Underlay(1500))
    assert later.in_force[PATH] == 1500


def test_a_closed_path_is_remembered_and_its_late_probe_is_nothing() -> None:
    lab, real = one(1400)
    lab.loss()
    lab.run(0.03)
    lab.engine.close(PATH, lab.now)
    lab.run(10)
    assert lab.engine.mtu(PATH) is None
    assert lab.engine.deadline() is None
    lab.open(PATH, real)
    assert lab.in_force[PATH] == 1400


# -- the long run and the large number


@pytest.mark.parametrize("seed", range(6))
def test_a_day_with_a_hundred_changes_leaves_no_drift_no_leak_and_no_oscillation(seed: int) -> None:
    lab = Lab(seed=seed)
    real = Underlay(1500, loss=0.01)
    lab.open(PATH, real)
    chance = random.Random(seed)
    changes = sorted(chance.sample(range(86_400 - 1800), 100))
    sizes = [chance.randint(600, 1500) for _ in changes]
    tells = [chance.random() < 0.5 for _ in changes]
    for at, size, tell in zip(changes, sizes, tells, strict=True):
        lab.traffic(at - lab.now)
        real.mtu = size
        if tell and size < lab.in_force[PATH]:
            lab.icmp(PATH, size)
    lab.traffic(1700)
    assert belief(lab)[0] == real.mtu
    settled, probes = len(lab.history), len(lab.probes)
    lab.traffic(3600)
    assert len(lab.history) == settled, "a path that stays as it is leaves its belief as it is"
    assert len(lab.probes) - probes <= 7 * 2 * 4 + 3600 / 30 * 1.5
    assert len(lab.engine._heap) <= 64
    assert len(lab.engine._under_way) <= 1


def test_ten_thousand_paths_are_paced_and_cost_what_one_costs() -> None:
    engine = PmtuEngine(EngineSettings(probes_per_s=100.0, burst=20))
    for number in range(10_000):
        engine.open(path(number), 1500, PathSettings(), 0.0)
    sent = 0
    for tenth in range(100):
        now = tenth / 10
        engine.handle_timer(now)
        for item in engine.drain():
            if isinstance(item, SendProbe):
                sent += 1
                engine.handle_probe(item.token, ProbeOutcome.ANSWERED, item.size, now)
    assert 950 <= sent <= 1050
    for _ in range(5):
        for number in range(10_000):
            engine.handle_link(path(number), 1400, 10.0, rerouted=True)
    assert len(engine._heap) <= 2 * 10_000 + 64


# -- the search itself


@given(
    mtu=st.integers(69, 65_535),
    high=st.integers(69, 65_536),
    grid=st.builds(Grid, st.integers(0, 15), st.sampled_from([1, 8, 16])),
)
@settings(max_examples=300, deadline=None)
def test_a_search_ends_at_the_largest_size_that_passes(mtu: int, high: int, grid: Grid) -> None:
    mtu = min(mtu, high - 1)
    search = Search(68, high, grid)
    tried: list[int] = []
    while (size := search.candidate()) is not None:
        assert tried.count(size) < 3
        assert grid.down(size) == size
        tried.append(size)
        if size <= mtu:
            search.passed(size)
        else:
            search.lost(size, 3)
    assert search.low == max(68, grid.down(mtu)) if grid.down(mtu) >= 68 else search.low == 68
    assert len(tried) <= 32
    assert len({size for size in tried if size > mtu}) >= len([size for size in tried if size > mtu]) - 2
    assert all(low < high for low, high in pairwise(GUESSES))


@given(
    mtu=st.integers(600, 1500),
    unlucky=st.sets(st.integers(0, 40), max_size=12),
)
@settings(max_examples=300, deadline=None)
def test_a_probe_that_was_lost_by_chance_does_not_mislead_a_search(mtu: int, unlucky: set[int]) -> None:
    """Chance hits any probes, but not the same size three times: then the search would be right to give it up."""
    search, hit = Search(576, 1501, first=[1500]), Counter[int]()
    for number in range(200):
        size = search.candidate()
        if size is None:
            break
        if size > mtu or (number in unlucky and hit[size] < 2):
            hit[size] += size <= mtu
            search.lost(size, 3)
        else:
            search.passed(size)
    assert search.candidate() is None
    assert search.low == mtu
