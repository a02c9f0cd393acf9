"""Which messages of NETLINK_ROUTE mean that packets may take another way."""

from struct import Struct

import pytest

from xfrmctl.kernel.netlink.network import matters
from xfrmctl.kernel.ownership import ROUTE_PROTOCOL

RTMSG = Struct("=BBBBBBBBI")
NEWLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, NEWNEIGH, NEWRULE = 16, 20, 21, 24, 25, 28, 32
STATIC, CLONED = 4, 0x200


def route(protocol: int, flags: int = 0) -> memoryview:
    return memoryview(RTMSG.pack(2, 24, 0, 0, 254, protocol, 0, 1, flags))


@pytest.mark.parametrize("kind", [NEWLINK, NEWADDR, DELADDR, NEWRULE])
def test_links_addresses_and_rules_matter(kind: int) -> None:
    assert matters(kind, memoryview(b""))


@pytest.mark.parametrize("kind", [NEWROUTE, DELROUTE])
def test_routes_matter_unless_they_are_ours_or_a_cache_entry(kind: int) -> None:
    assert matters(kind, route(STATIC))
    assert not matters(kind, route(ROUTE_PROTOCOL))
    assert not matters(kind, route(STATIC, CLONED))
    assert not matters(kind, memoryview(b"\x02"))


def test_neighbours_do_not_matter() -> None:
    assert not matters(NEWNEIGH, memoryview(b""))
