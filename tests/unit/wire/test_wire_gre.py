"""GRE keepalives: the packet of a router, there and back, and whatever else comes."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE

from xfrmctl.wire import gre

ENDS = {
    4: (ip_address("192.0.2.1"), ip_address("198.51.100.1")),
    6: (ip_address("2001:db8::1"), ip_address("2001:db8::2")),
}
keys = pytest.mark.parametrize("key", [None, 0, 42, 2**32 - 1])
versions = pytest.mark.parametrize("version", [4, 6])


@keys
@versions
def test_a_keepalive_is_what_scapy_takes_it_for(version: int, key: int | None) -> None:
    local, remote = ENDS[version]
    outer = GRE(gre.request(local, remote, key, 7))
    inner = outer.payload
    assert isinstance(inner, IP if version == 4 else IPv6)
    assert (inner.src, inner.dst) == (str(remote), str(local)), "the answer's addresses: the peer sends it to us"
    within = GRE(bytes(inner.payload))
    assert (within.proto, bytes(within.payload)) == (0, bytes((0, 0, 0, 7)))
    assert (outer.key if outer.key_present else None) == (within.key if within.key_present else None) == key
    if version == 4:
        given_sum = inner.chksum
        del inner.chksum
        assert IP(bytes(inner)).chksum == given_sum


@keys
@versions
def test_there_and_back(version: int, key: int | None) -> None:
    local, remote = ENDS[version]
    asked = gre.parse(gre.request(local, remote, key, 99), remote, local, key)
    assert isinstance(asked, gre.Request)
    assert gre.parse(asked.answer, local, remote, key) == gre.Answer(99)


@versions
def test_a_routers_own_answer_without_our_number_is_nobodys(version: int) -> None:
    assert gre.parse(gre.header(0, None), *ENDS[version], None) == gre.Answer(None)


@versions
def test_what_would_not_come_back_to_the_peer_is_not_answered(version: int) -> None:
    local, remote = ENDS[version]
    stranger = ip_address("203.0.113.9" if version == 4 else "2001:db8::9")
    for source, target in ((stranger, remote), (local, stranger)):
        assert gre.parse(gre.request(target, source, None, 1), local, remote, None) is None
    good = gre.request(remote, local, None, 1)
    assert gre.parse(good, local, remote, None) is not None
    assert gre.parse(good, local, remote, 5) is None, "another key"
    assert gre.parse(good + b"\0", local, remote, None) is None, "more than the inner header says"
    assert gre.parse(good[:-1], local, remote, None) is None
    checksummed = b"\x80" + good[1:]
    assert gre.parse(checksummed, local, remote, None) is None


@versions
def test_much_behind_it_is_not_sent_back(version: int) -> None:
    local, remote = ENDS[version]
    long = gre.header(0, None) + bytes(gre.MAX_TOKEN + 1)
    ends = {"src": str(local), "dst": str(remote)}
    inner = IP(**ends, proto=gre.GRE) / long if version == 4 else IPv6(**ends, nh=gre.GRE) / long
    packet = bytes(GRE() / inner)
    assert gre.parse(packet, local, remote, None) is None


@given(st.binary(max_size=100), st.sampled_from([4, 6]), st.sampled_from([None, 5]))
def test_any_bytes_are_read_without_a_fault(data: bytes, version: int, key: int | None) -> None:
    found = gre.parse(data, *ENDS[version], key)
    assert found is None or isinstance(found, gre.Answer | gre.Request)
