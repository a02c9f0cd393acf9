"""The index finds what a comparison of each with each finds, and does not make one."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calls import calls
from xfrmctl.model.overlap import Pairs
from xfrmctl.model.selector import TrafficSelector, parse_selector


@st.composite
def selectors(draw: st.DrawFn) -> tuple[TrafficSelector, ...]:
    """One or two ranges of a small space, so that they meet often."""
    found = []
    for _ in range(draw(st.integers(1, 2))):
        low, high = sorted(draw(st.tuples(st.integers(0, 63), st.integers(0, 63))))
        if draw(st.booleans()):
            found.append(TrafficSelector(IPv4Address(low), IPv4Address(high)))
        else:
            found.append(TrafficSelector(IPv6Address(low), IPv6Address(high)))
    return tuple(found)


Thing = tuple[tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]]


def meet(one: Thing, two: Thing) -> bool:
    """Some pair of the one and some pair of the other share an address on both sides."""
    pairs = [[(a, b) for a in thing[0] for b in thing[1] if a.version == b.version] for thing in (one, two)]
    return any(a.intersect(c) and b.intersect(d) for a, b in pairs[0] for c, d in pairs[1])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(selectors(), selectors()), max_size=8), st.tuples(selectors(), selectors()), st.data())
def test_the_index_finds_what_a_walk_finds(things: list[Thing], wanted: Thing, data: st.DataObject) -> None:
    index: Pairs[int] = Pairs()
    for number, thing in enumerate(things):
        index.add(*thing, number)
    gone = data.draw(st.sets(st.sampled_from(range(len(things))))) if things else set()
    for number in gone:
        index.remove(*things[number], number)
    expected = {n for n, thing in enumerate(things) if n not in gone and meet(thing, wanted)}
    assert set(index.overlapping(*wanted)) == expected
    for number in set(range(len(things))) - gone:
        index.remove(*things[number], number)
    assert not index


@pytest.mark.parametrize("shared", ["local", "remote"])
def test_ten_thousand_with_one_side_in_common_cost_a_look_what_ten_cost(shared: str) -> None:
    def cost(number: int) -> int:
        index: Pairs[int] = Pairs()
        common = (parse_selector("0.0.0.0/0"),)
        own = [(parse_selector(f"10.{n >> 8}.{n & 255}.0/24"),) for n in range(number + 1)]
        for n in range(number):
            index.add(*((common, own[n]) if shared == "local" else (own[n], common)), n)
        found: list[int] = []
        wanted = (common, own[number]) if shared == "local" else (own[number], common)
        taken = calls(lambda: found.extend(index.overlapping(*wanted)))
        assert not found
        return taken

    assert cost(10_000) == cost(10)
