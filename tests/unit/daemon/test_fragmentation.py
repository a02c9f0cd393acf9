"""What a child wants of devices, routes and DF for packets that do not fit."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.sim.world import ALICE, BOB, child, connection, selectors
from xfrmctl.daemon.fragmentation import Squeeze, squeezed
from xfrmctl.daemon.intent import of_child, sizes
from xfrmctl.daemon.narrow import NarrowPaths
from xfrmctl.ike.config import ChildConfig
from xfrmctl.kernel.desired import ClearDf, Desired, DfRule, SetDf
from xfrmctl.model.iana import Encr, ProtocolId
from xfrmctl.model.path import Path
from xfrmctl.model.sa import DataPlane, DfPolicy, Mode, Oversize
from xfrmctl.model.suite import Suite
from xfrmctl.model.tunnel import Tunnel, TunnelType
from xfrmctl.pmtu.overhead import inner_mtu


def config(local: str = "10.1.1.0/24", remote: str = "10.1.2.0/24", **more: object) -> ChildConfig:
    plane = {"dataplane": DataPlane.INTERFACE, "interface": "xfc-1", "if_id": 7}
    return replace(child(local=local, remote=remote), **(plane | more))  # type: ignore[arg-type]


def wanted(conf: ChildConfig, outer: int, *, stopping: bool = False) -> Desired:
    conn = connection(ALICE, BOB, conf)
    return of_child(conn, conf, None, sizes(conn, conf, None, outer), stopping=stopping)


def test_a_child_wants_what_its_configuration_says_and_nothing_when_the_daemon_stops() -> None:
    both = config(df=DfPolicy.SET, oversize=Oversize.FRAGMENT)
    conn = connection(ALICE, BOB, both)
    rules: set[DfRule] = {SetDf(ip_address(BOB)), ClearDf("xfc-1", sizes(conn, both, None, 1400).inner_mtu)}
    assert wanted(both, 1400).df == frozenset(rules)
    assert wanted(config(), 1400).df == frozenset()
    assert wanted(both, 1400, stopping=True).df == frozenset()


@pytest.mark.parametrize("outer", [1500, 1300])
def test_a_device_that_carries_ipv6_has_at_least_1280_and_its_ipv4_routes_have_what_fits(outer: int) -> None:
    conf = replace(
        config(),
        local_ts=(*selectors("10.1.1.0/24"), *selectors("fd01::/64")),
        remote_ts=(*selectors("10.1.2.0/24"), *selectors("fd02::/64")),
    )
    conn = connection(ALICE, BOB, conf)
    inner = sizes(conn, conf, None, outer).inner_mtu
    desired = wanted(conf, outer)
    assert desired.interfaces["xfc-1"].mtu == max(1280, inner)
    routes = {r.destination: r.mtu for r in desired.routes if r.device}
    assert routes == {ip_network("10.1.2.0/24"): inner, ip_network("fd02::/64"): max(1280, inner)}
    only4 = wanted(config(), outer)
    assert only4.interfaces["xfc-1"].mtu == inner
    assert {r.mtu for r in only4.routes if r.device} == {inner}


NETS4, NETS6 = ("10.1.1.0/24", "10.1.2.0/24"), ("fd01::/64", "fd02::/64")
GCM = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 256)


def both(**more: object) -> ChildConfig:
    sides = [(*selectors(NETS4[n]), *selectors(NETS6[n])) for n in (0, 1)]
    return replace(child(), local_ts=sides[0], remote_ts=sides[1], **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "inner", "version", "mode", "link", "lost", "words"),
    [
        ({}, 1280, 4, Mode.TUNNEL, 1500, None, ""),
        ({}, 1279, 4, Mode.TRANSPORT, 1500, None, ""),
        ({}, 1246, 4, Mode.TUNNEL, 1500, False, "routers fragment it"),
        ({}, 1246, 4, Mode.TUNNEL, None, False, "routers fragment it"),
        ({"df": DfPolicy.CLEAR}, 1246, 4, Mode.TUNNEL, 1500, False, "routers fragment it"),
        ({"df": DfPolicy.SET}, 1246, 4, Mode.TUNNEL, 1500, True, "write df: copy"),
        ({}, 1246, 4, Mode.TUNNEL, 1300, True, "raise its MTU to 1336"),
        ({}, 1226, 6, Mode.TUNNEL, 1500, True, "have the path carry 1356 bytes, or give the gateways IPv4"),
    ],
)
def test_too_little_room_for_ipv6(
    more: dict[str, object], inner: int, version: int, mode: Mode, link: int | None, lost: bool | None, words: str
) -> None:
    found = squeezed(both(**more), inner, GCM, version, mode, encap=False, link_mtu=link)
    assert (found.lost if found is not None else None) is lost
    assert words in str(found or "")
    assert squeezed(child(), inner, GCM, version, mode, encap=False, link_mtu=link) is None, "IPv4 only"


@pytest.mark.parametrize(
    ("outer", "version", "lost", "words"),
    [
        (1340, 4, None, ""),
        (1336, 4, False, "only 1278 bytes fit, so larger ESP goes without DF, and this gateway fragments it"),
        (1280, 6, True, "have the path carry 1360 bytes, or give the gateways IPv4"),
    ],
)
def test_too_little_room_for_ipv6_in_a_tunnel_device(outer: int, version: int, lost: bool | None, words: str) -> None:
    gre = Tunnel(type=TunnelType.GRE, interface="gre1", routes=(ip_network("fd00:2::/64"),))
    of_gre, of_ipv4 = (replace(child(), tunnel=t) for t in (gre, replace(gre, routes=())))
    fits = inner_mtu(outer, GCM, version, False, Mode.TRANSPORT, gre)
    found = squeezed(of_gre, fits, GCM, version, Mode.TRANSPORT, encap=False, link_mtu=1300)
    assert (found.lost if found is not None else None) is lost
    assert words in str(found or "")
    if found is not None:
        assert inner_mtu(found.need, GCM, version, False, Mode.TRANSPORT, gre) >= 1280 > fits
        assert inner_mtu(found.need - 1, GCM, version, False, Mode.TRANSPORT, gre) < 1280
    assert squeezed(of_ipv4, fits, GCM, version, Mode.TRANSPORT, encap=False, link_mtu=1300) is None


def test_all_who_go_a_narrow_path_clear_df_until_nobody_needs_it() -> None:
    one, other = (Path(ip_address(ALICE), ip_address(peer), 0) for peer in (BOB, "192.0.2.99"))
    narrow = NarrowPaths()

    def after(reqid: int, path: Path | None, need: int | None) -> tuple[set[int], set[int]]:
        narrow.note(reqid, path, need)
        return narrow.changed(), set(narrow.clear)

    nobody: set[int] = set()
    assert after(1, one, None) == after(2, one, None) == after(3, other, None) == (nobody, nobody)
    assert after(2, one, 1336) == ({1, 2}, {1, 2})
    assert (narrow.need(one), narrow.need(other)) == (1336, None)
    assert after(1, one, 1350) == ({1, 2}, {1, 2})
    assert narrow.need(one) == 1350
    assert after(1, other, None) == ({2}, {2})
    assert narrow.need(one) == 1336
    assert after(2, None, None) == (nobody, nobody)
    assert narrow.need(one) is None


def test_news_are_told_once() -> None:
    narrow, squeeze = NarrowPaths(), Squeeze(1246, 1336)
    assert narrow.news(1, None) is None
    assert "only 1246 bytes fit" in (narrow.news(1, squeeze) or "")
    assert narrow.news(1, squeeze) is None
    assert narrow.news(1, None) == "IPv6 inside: there is room again"
