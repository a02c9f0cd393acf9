"""What a child wants of devices, routes and DF for packets that do not fit."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.sim.world import ALICE, BOB, child, connection, selectors
from xfrmctl.daemon.intent import of_child, sizes
from xfrmctl.ike.config import ChildConfig
from xfrmctl.kernel.desired import ClearDf, Desired, DfRule, SetDf
from xfrmctl.model.sa import DataPlane, DfPolicy, Oversize


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
