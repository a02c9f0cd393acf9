"""A tunnel device over a child: what goes without saying, what it does not go with, and the trap of its routes."""

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from tests.unit.config.config_files import loaded, only
from xfrmctl.ike.config import ChildConfig, Start
from xfrmctl.model.sa import Mode
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.tunnel import Tunnel, TunnelType

GRE = 47


def _text(tunnel: str, child: str = "", remote: str = "192.0.2.2", local: str = "192.0.2.1") -> str:
    return f"""\
connections:
  c:
    local: {{address: {local}, id: fqdn:moon}}
    remote: {{address: {remote}, id: fqdn:sun}}
    auth: {{psk: !file k}}
    children:
      net:
        tunnel: {{interface: gre1{", " if tunnel else ""}{tunnel}}}
        {child}
"""


def _child(place: Path, tunnel: str, child: str = "") -> ChildConfig:
    return loaded(place, _text(tunnel, child)).engine.connections["c"].children[0]


def test_a_name_is_enough(place: Path) -> None:
    found = loaded(place, _text(""))
    (child,) = found.engine.connections["c"].children
    assert child.tunnel == Tunnel(type=TunnelType.GRE, interface="gre1")
    assert (child.mode, child.tunnel_will_do, child.start) == (Mode.TRANSPORT, False, Start.START)
    ends = (ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    assert (child.local_ts, child.remote_ts) == tuple((TrafficSelector(e, e, GRE),) for e in ends)
    assert not found.warnings, "its selectors are its own: nothing else is meant to be covered"


def test_everything_of_a_device(place: Path) -> None:
    tunnel = _child(
        place,
        'addresses: [10.255.0.1/30, "fd00:255::1/64"], key: 0, ttl: 255, keepalive: 10s, routes: [10.2.0.0/16]',
    ).tunnel
    assert tunnel is not None
    assert tunnel.addresses == (ip_interface("10.255.0.1/30"), ip_interface("fd00:255::1/64"))
    assert (tunnel.key, tunnel.ttl, tunnel.keepalive_s) == (0, 255, 10.0)
    assert tunnel.routes == (ip_network("10.2.0.0/16"),)


def test_ipip_protects_its_own_protocol(place: Path) -> None:
    child = _child(place, "type: ipip, addresses: 10.255.0.1/30")
    assert [ts.protocol for ts in (*child.local_ts, *child.remote_ts)] == [4, 4]


def test_a_mode_that_is_written_is_kept(place: Path) -> None:
    assert _child(place, "", "mode: tunnel").mode is Mode.TUNNEL
    assert _child(place, "", "mode: transport-or-tunnel").tunnel_will_do


def test_wider_selectors_may_be_written(place: Path) -> None:
    child = _child(place, "", "{local_ts: 192.0.2.1, remote_ts: 192.0.2.2}".strip("{}").replace(", ", "\n        "))
    assert [ts.protocol for ts in (*child.local_ts, *child.remote_ts)] == [0, 0]


@pytest.mark.parametrize(
    ("tunnel", "child", "key", "cause", "cure"),
    [
        ("", "dataplane: interface", "dataplane", "routed into one device", "leave dataplane out"),
        ("", "if_id: 7", "if_id", "pass no xfrm interface", "leave if_id out"),
        ("", "mss: 1300", "mss", "that of its MTU", "write auto or off"),
        ("", "local_ts: 192.0.2.0/32", "local_ts", "would go in clear", "leave local_ts out"),
        ("type: ipip, key: 3", "", "tunnel.key", "has no key", "type: gre"),
        ("type: ipip, keepalive: 10s", "", "tunnel.keepalive", "packets of GRE", "type: gre"),
        ('type: ipip, addresses: "fd00::1/64"', "", "tunnel.addresses", "carries IPv4", "type: gre"),
        ('type: ipip, routes: "fd00::/64"', "", "tunnel.routes", "carries IPv4", "type: gre"),
        ("keepalive: 100ms", "", "tunnel.keepalive", "say nothing about a path", "1s or more"),
        ("keepalive: 5s", "start: trap", "tunnel.keepalive", "down until the far end answers", "start: start"),
        ("routes: [192.0.2.0/24]", "", "tunnel.routes", "recursive routing", "keep the network of 192.0.2.2"),
        ("addresses: 192.0.2.77/25", "", "tunnel.addresses", "recursive routing", "keep the network of 192.0.2.2"),
        ("addresses: 10.0.0.1", "", "tunnel.addresses", "no address of a device", "prefix length"),
        ("addresses: 224.0.0.5/24", "", "tunnel.addresses", "cannot be", "10.255.0.1/30"),
        ("routes: 10.2.0.1/16", "", "tunnel.routes", "host bits", "write 10.2.0.0/16"),
        ("routes: 0.0.0.0/0", "", "tunnel.routes", "default route", "ip route add default"),
        ("key: 4294967296", "", "tunnel.key", "out of range", "42"),
        ("ttl: 0", "", "tunnel.ttl", "out of range", "64"),
    ],
)
def test_what_does_not_work_is_told(place: Path, tunnel: str, child: str, key: str, cause: str, cure: str) -> None:
    problem = only(place, _text(tunnel, child))
    assert problem.key.removeprefix("connections.c.children.net.").startswith(key)
    assert cause in problem.cause and cure in problem.cure
    assert problem.line


@pytest.mark.parametrize("side", ["local", "remote"])
def test_both_ends_must_be_known(place: Path, side: str) -> None:
    text = _text("", "start: none", **{side: "any"})
    problem = only(place, text)
    assert problem.key.endswith("net.tunnel") and f"write {side}.address" in problem.cure


def test_names_that_are_taken(place: Path) -> None:
    assert "the kernel's own" in only(place, _text("").replace("gre1", "gre0")).cause
    text = _text("") + _text("").replace("connections:\n", "").replace("  c:", "  d:").replace("192.0.2", "198.51.100")
    problem = only(place, text)
    assert "connections.d" in problem.key and "child 'net' of connection 'c'" in problem.cause


def test_an_mtu_too_small_for_ipv6_is_warned_of(place: Path) -> None:
    text = _text('addresses: "fd00::1/64"', "mtu: 1300")
    (warning,) = loaded(place, text).warnings
    assert "larger IPv6 packets go as fragments of ESP" in warning.cause
    assert not loaded(place, text.replace("1300", "1400")).warnings
