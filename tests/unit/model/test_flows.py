"""Selectors in an operator's words, and as the kernel holds them: exactly, and bounded."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xfrmctl.model.flow import ANY, MAX_FLOWS, Port, blocks, count, flows, port
from xfrmctl.model.selector import TrafficSelector, parse_selector

NET = "10.1.0.0/16"


@pytest.mark.parametrize(
    ("suffix", "protocol", "ports"),
    [
        ("tcp", 6, (0, 65535)),
        ("tcp/443", 6, (443, 443)),
        ("udp/1024-65535", 17, (1024, 65535)),
        ("gre", 47, (0, 65535)),
        ("89", 89, (0, 65535)),
        ("icmp/8", 1, (0x0800, 0x08FF)),
        ("icmp/3/4", 1, (0x0304, 0x0304)),
        ("icmp/8-11", 1, (0x0800, 0x0BFF)),
    ],
)
def test_protocol_and_ports_are_spelled_as_they_are_shown(suffix: str, protocol: int, ports: tuple[int, int]) -> None:
    found = parse_selector(f"{NET}[{suffix}]")
    assert (found.protocol, (found.start_port, found.end_port)) == (protocol, ports)
    assert parse_selector(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{NET}[tpc/443]", "no protocol"),
        (f"{NET}[0/443]", "no protocol"),
        (f"{NET}[tcp/443-80]", "no number, or range"),
        (f"{NET}[tcp/70000]", "no number, or range"),
        (f"{NET}[tcp/http]", "no number, or range"),
        (f"{NET}[tcp/80/90]", "has no ports"),
        (f"{NET}[gre/5]", "has no ports"),
        (f"{NET}[icmp/256]", "no number, or range"),
        (f"{NET}[icmp/3-4/1]", "no type and code"),
        (f"{NET}[tcp/opaque]", "OPAQUE"),
        (f"{NET}[icmpv6]", "write icmp"),
        ("fd00::/8[icmp]", "write icmpv6"),
    ],
)
def test_what_cannot_be_is_told_with_a_cure(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_selector(text)


@given(st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(sorted))
def test_blocks_of_ports_cover_the_range_and_nothing_else(ends: list[int]) -> None:
    low, high = ends
    found = blocks(low, high)
    assert len(found) <= 30
    covered = [range(b.value, b.value + 0x10000 - b.mask) for b in found]
    assert all(b.value & ~b.mask & 0xFFFF == 0 for b in found)
    assert sum(map(len, covered)) == high - low + 1
    assert [r.start for r in covered] == [low, *(r.stop for r in covered[:-1])] and covered[-1].stop == high + 1


def test_any_port_is_one_block_and_opaque_is_none() -> None:
    assert blocks(0, 65535) == (ANY,)
    assert blocks(443, 443) == (port(443),)
    assert blocks(65535, 0) == ()


def test_ports_change_sides_with_the_direction_and_types_do_not() -> None:
    (flow,) = flows([parse_selector(f"{NET}[tcp]")], [parse_selector("10.2.0.0/16[tcp/443]")])
    assert (flow.protocol, flow.near, flow.far, flow.back) == (6, ANY, port(443), (port(443), ANY))
    (flow,) = flows([parse_selector(f"{NET}[icmp/3/4]")], [parse_selector("10.2.0.0/16")])
    assert (flow.near, flow.far) == flow.back == (port(3), port(4))
    (flow,) = flows([parse_selector(f"{NET}[icmp/0]")], [parse_selector("10.2.0.0/16")])
    assert (flow.near, flow.far) == (Port(0, 0xFFFF), ANY), "type 0 is an echo reply, not any type"


def test_selectors_of_different_protocols_make_no_pair() -> None:
    assert count([parse_selector(f"{NET}[tcp]")], [parse_selector("10.2.0.0/16[udp]")]) == 0
    assert count([parse_selector(NET)], [parse_selector("fd00::/8")]) == 0


def test_what_it_costs_is_known_before_it_is_made() -> None:
    wide = TrafficSelector(ip_address("10.0.0.1"), ip_address("10.255.255.254"), 6, 1, 65534)
    assert count([wide], [wide]) == (46 * 30) ** 2 > MAX_FLOWS
    narrow = parse_selector("10.1.1.1-10.1.1.6")
    assert count([narrow], [narrow]) == len(list(flows([narrow], [narrow]))) == 16
