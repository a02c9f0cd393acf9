"""Two entries that claim the same packets: both are named with their lines, and who wins, or why nobody does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.calls import calls
from tests.sim.world import child, connection
from tests.unit.config.config_files import BASE, MINIMAL, ROUTED, loaded, only, pair
from xfrmctl.config.document import Key
from xfrmctl.config.load import Configuration
from xfrmctl.config.overlaps import MAX_REPORTED, check_overlaps
from xfrmctl.config.problem import Problem


def _overlaps(found: Configuration) -> list[Problem]:
    """Warnings about selectors."""
    return [warning for warning in found.warnings if "remote_ts" in warning.key]


@pytest.mark.parametrize(
    ("one", "two", "word"),
    [
        (BASE, BASE, "are the same as"),
        (BASE + ROUTED, BASE + ROUTED, "route the same destination as"),
        (BASE + ROUTED, BASE, "are the same as"),
        (BASE + ROUTED + ", interface: i1", BASE + ROUTED + ", interface: i1", "are the same as"),
        (BASE + ", mark: 1", BASE + ", mark: 1", "are the same as"),
        ("local_ts: 10.1.0.0/24, remote_ts: 10.2.0.0/16", "local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/24", "neither"),
    ],
)
def test_what_nobody_could_tell_apart_is_an_error_that_names_both(place: Path, one: str, two: str, word: str) -> None:
    problem = only(place, pair(one, two))
    assert word in problem.cause and "child 'lan' of connection 'a' in line 6" in problem.cause
    assert problem.key == "connections.b.children.lan.remote_ts" and problem.line == 11


@pytest.mark.parametrize(
    ("one", "two", "winner"),
    [
        (
            BASE,
            "local_ts: 10.1.1.0/24, remote_ts: 10.2.3.0/24",
            "connection 'b' gets the packets of both, being the more",
        ),
        ("local_ts: [10.9.0.0/16, 10.1.0.0/16], remote_ts: 0.0.0.0/0", BASE, "connection 'b' gets"),
        (BASE, "local_ts: 10.1.0.0/16, remote_ts: 10.0.0.0/8", "connection 'a' gets"),
        (BASE, BASE + ", mark: 1", "connection 'b' gets"),
        (BASE + ROUTED, "local_ts: 10.1.0.0/16, remote_ts: 10.2.3.0/24" + ROUTED, "the longer prefix wins"),
        (
            "local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0" + ROUTED,
            BASE,
            "'b' gets the packets of both: the SPD comes before",
        ),
        (
            BASE,
            "local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0" + ROUTED,
            "'a' gets the packets of both: the SPD comes before",
        ),
    ],
)
def test_where_one_wins_a_warning_says_which_and_why(place: Path, one: str, two: str, winner: str) -> None:
    (warning,) = _overlaps(loaded(place, pair(one, two)))
    assert winner in warning.cause and "overlap with those of child 'lan' of connection 'a' in line 6" in warning.cause
    assert warning.line == 11 and warning.cure


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (BASE, "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"),
        (BASE, "local_ts: 10.5.0.0/16, remote_ts: 10.2.0.0/16"),
        ("local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0" + ROUTED, "local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0" + ROUTED),
        (BASE + ", mark: 1", BASE + ", mark: 2"),
        ("local_ts: fd00::/16, remote_ts: fd01::/16", BASE),
    ],
)
def test_selectors_that_do_not_clash(place: Path, one: str, two: str) -> None:
    found = loaded(place, pair(one, two))
    assert len(found.engine.connections) == 2 and not _overlaps(found)


def test_children_of_one_connection_may_nest_but_not_repeat(place: Path) -> None:
    nested = "local_ts: 10.7.0.0/16, remote_ts: 10.8.0.0/16"
    loaded(place, pair(BASE, nested, more=", x: {local_ts: 10.7.1.0/24, remote_ts: 10.8.0.0/16}"))
    assert "same as those of child 'lan'" in only(place, pair(BASE, nested, more=f", x: {{{nested}}}")).cause


POLICIES = (
    MINIMAL
    + """\
policies:
  p: {action: discard, local_ts: LOCAL, remote_ts: 10.2.0.0/16}
"""
)


def test_a_policy_with_the_selectors_of_a_child_is_an_error(place: Path) -> None:
    problem = only(place, POLICIES.replace("LOCAL", "10.1.0.0/16"))
    assert problem.key == "policies.p.remote_ts" and "the same as those of child 'lan'" in problem.cause


def test_a_policy_among_the_children_says_who_wins(place: Path) -> None:
    (warning,) = _overlaps(loaded(place, POLICIES.replace("LOCAL", "10.1.1.0/24")))
    assert "policy 'p' gets the packets of both" in warning.cause
    text = POLICIES.replace("LOCAL", "10.1.1.0/24").replace("action", "precedence: first, action")
    assert not _overlaps(loaded(place, text)), "that is what precedence is for"


def steps(number: int, remote: Callable[[int], str]) -> tuple[int, int]:
    """Python calls of a check of so many connections, and what it has told."""
    many = [
        connection(
            "172.16.0.1", f"172.17.{n >> 8}.{n & 255}", child(local="10.0.0.0/8", remote=remote(n)), name=f"c{n}"
        )
        for n in range(number)
    ]
    told: list[Key] = []

    def tell(key: Key, _cause: str, _cure: str) -> None:
        told.append(key)

    return calls(lambda: check_overlaps(many, (), tell, tell, lambda _key: 1)), len(told)


def test_ten_times_the_connections_cost_ten_times_the_work() -> None:
    (few, none), (many, none_) = (steps(n, lambda i: f"192.168.{i >> 4}.{(i & 15) << 4}/28") for n in (300, 3000))
    assert none == none_ == 0
    assert many < few * 11


def test_where_all_overlap_some_are_told(place: Path) -> None:
    (few, told), (many, _) = (steps(n, lambda i: f"192.{i & 127}.0.0/{16 + (i & 7)}") for n in (1000, 10_000))
    assert told == MAX_REPORTED + 1
    assert many < few * 11


def test_a_discard_whose_sides_overlap_stands_behind_the_children_or_not_at_all(place: Path) -> None:
    text = POLICIES.replace("LOCAL", "10.0.0.0/8").replace("10.2.0.0/16}\n", "10.0.0.0/8}\n")
    policy = text[text.index("policies:") :]
    assert "10.0.0.0/8" in policy
    problem = only(place, text)
    assert problem.key == "policies.p" and "precedence: last" in problem.cure
    assert loaded(place, text.replace("action", "precedence: last, action"))


def test_what_drops_everything_or_bypasses_in_vain_is_warned_about(place: Path) -> None:
    everything = POLICIES.replace("LOCAL", "0.0.0.0/0").replace("remote_ts: 10.2.0.0/16}\n", "remote_ts: 0.0.0.0/0}\n")
    (warning,) = loaded(place, everything.replace("action", "precedence: last, action")).warnings[-1:]
    assert "SSH" in warning.cause
    routed = MINIMAL.replace("10.2.0.0/16}", "10.2.0.0/16, dataplane: interface}")
    text = routed + "policies: {p: {action: bypass, local_ts: 10.9.0.0/16, remote_ts: 10.2.3.0/24}}\n"
    assert any("its routes take these packets" in w.cause for w in loaded(place, text).warnings)
