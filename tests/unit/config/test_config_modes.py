"""Tunnel or transport mode: what goes without saying, and what either does not go with."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.unit.config.config_files import loaded, only
from xfrmctl.ike.config import ChildConfig
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.sa import Mode
from xfrmctl.model.selector import TrafficSelector, parse_selector


def _text(child: str, remote: str = "192.0.2.2") -> str:
    return f"""\
connections:
  c:
    local: {{address: 192.0.2.1}}
    remote: {{address: {remote}, id: fqdn:sun}}
    auth: {{psk: !file k}}
    children: {{lan: {{{child}}}}}
"""


def _child(place: Path, child: str) -> ChildConfig:
    return loaded(place, _text(child)).engine.connections["c"].children[0]


def _host(text: str) -> tuple[TrafficSelector, ...]:
    return (TrafficSelector(ip_address(text), ip_address(text)),)


@pytest.mark.rfc("7296", "2.23.1")
def test_selectors_of_transport_mode_are_the_two_addresses(place: Path) -> None:
    child = _child(place, "mode: transport")
    assert (child.local_ts, child.remote_ts) == (_host("192.0.2.1"), _host("192.0.2.2"))
    assert (child.mode, child.tunnel_will_do) == (Mode.TRANSPORT, False)
    child = _child(place, "mode: transport-or-tunnel")
    assert (child.mode, child.tunnel_will_do) == (Mode.TRANSPORT, True)


def test_ah_is_taken_with_a_warning(place: Path) -> None:
    found = loaded(place, _text("mode: transport, ah: [sha512, sha256-x25519]"))
    (child,) = found.engine.connections["c"].children
    assert child.protocol == ProtocolId.AH
    assert [str(p) for p in child.esp] == ["sha512-noesn", "sha256-x25519-noesn"]
    (warning,) = [w for w in found.warnings if w.key.endswith("ah")]
    assert "encrypts nothing" in warning.cause


def test_what_protocol_and_ports_leave_uncovered_is_said(place: Path) -> None:
    web = "local_ts: 10.1.0.0/16, remote_ts: '10.2.0.0/16[tcp/443]'"
    found = loaded(place, _text(web))
    (child,) = found.engine.connections["c"].children
    assert child.remote_ts == (parse_selector("10.2.0.0/16[tcp/443]"),)
    (warning,) = [w for w in found.warnings if w.key.endswith("remote_ts")]
    assert "only [tcp/443] is covered" in warning.cause and "in clear" in warning.cause
    assert not [w for w in loaded(place, _text(web + ", dataplane: interface")).warnings if "ts" in w.key]


def test_a_tunnel_needs_selectors(place: Path) -> None:
    problem = only(place, _text("mode: tunnel, local_ts: 10.1.0.0/16"))
    assert (problem.key, problem.cause) == ("connections.c.children.lan.remote_ts", "missing")


def test_transport_mode_with_any_peer_says_whom_it_may_serve(place: Path) -> None:
    problem = only(place, _text("mode: transport, start: none", "any"))
    assert "remote.address is any" in problem.cause
    text = _text("mode: transport, start: none, remote_ts: 192.0.2.0/24", "any")
    (child,) = loaded(place, text).engine.connections["c"].children
    assert child.remote_ts == (parse_selector("192.0.2.0/24"),)
