"""The short cuts of selector arithmetic agree with the long way round."""

from ipaddress import IPv4Address, ip_network, summarize_address_range

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xfrmctl.model.selector import TrafficSelector, parse_selector

LOW = int(IPv4Address("10.0.0.0"))


@st.composite
def selectors(draw: st.DrawFn) -> TrafficSelector:
    start, end = sorted(draw(st.tuples(st.integers(0, 40), st.integers(0, 40))))
    ports = draw(st.sampled_from([(0, 65535), (80, 80), (80, 443), (65535, 0)]))
    return TrafficSelector(IPv4Address(LOW + start), IPv4Address(LOW + end), draw(st.sampled_from([0, 6, 17])), *ports)


@given(selectors())
def test_networks_are_the_fewest_that_cover_the_range(selector: TrafficSelector) -> None:
    assert isinstance(selector.start, IPv4Address)
    assert isinstance(selector.end, IPv4Address)
    assert selector.networks() == tuple(summarize_address_range(selector.start, selector.end))


@given(selectors(), selectors())
def test_an_intersection_is_what_both_cover(one: TrafficSelector, other: TrafficSelector) -> None:
    common = one.intersect(other)
    assert common == other.intersect(one)
    assert one.covers(other) is (common == other and other.start_port <= other.end_port)
    if common is not None:
        assert one.covers(common)
        assert other.covers(common)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "10.1.2.3/32", "fd00:1::/64", "10.0.0.0/9"])
def test_a_prefix_comes_back(text: str) -> None:
    assert parse_selector(text).networks() == (ip_network(text),)
    assert str(parse_selector(text)) == text
