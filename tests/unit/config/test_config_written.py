"""Every field of a configuration has a key under which a difference of it is told; secrets are told by no text."""

from dataclasses import fields, replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.unit.config.config_files import GOOD, loaded
from xfrmctl.config import written
from xfrmctl.config.build import GatewaySettings, IcmpPolicy
from xfrmctl.config.spelling import ListenAddress
from xfrmctl.ike.config import (
    ChildConfig,
    Childless,
    ConnectionConfig,
    EngineConfig,
    RetransmitPolicy,
    RetryPolicy,
    Start,
    Unique,
)
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.iana import IdType, ProtocolId
from xfrmctl.model.identity import IdentityPattern, parse_identity
from xfrmctl.model.plane import Mark, Offload, PlaneOptions
from xfrmctl.model.sa import DataPlane, DfPolicy, Lifetime, Mode, Oversize
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.spd import SpdAction, SpdEntry
from xfrmctl.model.suite import parse_proposal
from xfrmctl.model.tunnel import Tunnel, TunnelType
from xfrmctl.pmtu.settings import PathOptions

TUNNEL = Tunnel(type=TunnelType.GRE, interface="gre1")
ENTRY = SpdEntry(
    name="p",
    action=SpdAction.DISCARD,
    local_ts=(parse_selector("10.0.0.0/8"),),
    remote_ts=(parse_selector("10.0.0.0/8"),),
)
PSK = b"a key that is no word in English"

CHILD: dict[str, Any] = {
    "local_ts": (parse_selector("10.7.0.0/16"),),
    "remote_ts": (parse_selector("10.7.0.0/16"),),
    "esp": (parse_proposal("aes128gcm16", ProtocolId.ESP),),
    "mode": Mode.TRANSPORT,
    "tunnel_will_do": True,
    "dataplane": DataPlane.INTERFACE,
    "start": Start.START,
    "mtu": 1400,
    "mss": 1300,
    "df": DfPolicy.CLEAR,
    "oversize": Oversize.FRAGMENT,
    "replay_window": 0,
    "fail_closed": False,
    "reqid": 7,
    "if_id": 7,
    "interface": "ipsec7",
}
OPTIONS: dict[str, Any] = {
    "dscp_out": False,
    "dscp_in": True,
    "ecn": False,
    "mark_in": Mark(1),
    "mark_out": Mark(1),
    "set_mark_in": Mark(1),
    "set_mark_out": Mark(1),
    "offload": Offload.AUTO,
}
TUNNELS: dict[str, Any] = {
    "type": TunnelType.IPIP,
    "interface": "gre2",
    "addresses": (ip_interface("10.255.0.1/30"),),
    "key": 42,
    "ttl": 9,
    "keepalive_s": 10.0,
    "routes": (ip_network("10.8.0.0/16"),),
}
CONNECTION: dict[str, Any] = {
    "local": ip_address("192.0.2.7"),
    "remote": None,
    "local_id": parse_identity("fqdn:x.example.org"),
    "remote_id": None,
    "psk": PSK,
    "psks": {parse_identity("fqdn:x.example.org"): PSK},
    "ike": (parse_proposal("aes128-sha256-ecp256", ProtocolId.IKE),),
    "dpd_s": None,
    "rekey_s": None,
    "reauth_s": 60.0,
    "keepalive_s": 1.0,
    "force_encap": True,
    "sha1": True,
    "fragment_size": None,
    "childless": Childless.FORCE,
    "mobike": False,
    "roams": True,
    "alternates": (ip_address("192.0.2.7"),),
    "unique": Unique.KEEP,
}
GATEWAY: dict[str, Any] = {
    "metrics": ListenAddress("127.0.0.1", 1),
    "status_page": ListenAddress("127.0.0.1", 2),
    "metrics_compat": "ipsec_exporter",
    "metrics_exemplars": True,
    "key_log": Path("/run/keys"),
    "policies": (ENTRY,),
    "control_group": "adm",
    "crash_detection": False,
    "icmp": {4: IcmpPolicy.IGNORE, 6: IcmpPolicy.VALIDATE},
    "firewall": FirewallBackend.NFTABLES,
}
ENGINE: dict[str, Any] = {
    "ike_port": 1,
    "nat_t_port": 1,
    "half_open_limit": 1,
    "half_open_per_source": 1,
    "cookie_threshold": 1,
    "half_open_timeout_s": 1.0,
}
PATH: dict[str, Any] = {"probe": False, "echo": ip_address("10.0.0.9"), "aging_s": None, "confirm_s": None}
PATTERN = IdentityPattern(IdType.FQDN, "*.example.org")
ELSEWHERE: dict[type, set[str]] = {
    ConnectionConfig: {
        *("name", "children", "retry", "retransmit"),  # sections of their own, below
        *("credential", "trust", "remote_keys"),  # test_config_certificates, test_config_raw_keys
        "remote_pattern",  # below, in the place of remote_id
    },
    ChildConfig: {"name", "options", "lifetime", "tunnel"},
    GatewaySettings: {"path_mtu", "path_mtu_of"},
    EngineConfig: {"connections", "retransmit", "qcd_secret"},
}


@pytest.mark.parametrize(
    ("kind", "samples"),
    [
        (ChildConfig, CHILD),
        (PlaneOptions, OPTIONS),
        (Tunnel, TUNNELS),
        (ConnectionConfig, CONNECTION),
        (GatewaySettings, GATEWAY),
        (EngineConfig, ENGINE),
        (PathOptions, PATH),
    ],
)
def test_no_field_is_forgotten(kind: type, samples: dict[str, Any]) -> None:
    assert {field.name for field in fields(kind)} == samples.keys() | ELSEWHERE.get(kind, set())


def only(old: written.Keys, new: written.Keys) -> list[str]:
    return [difference.key for difference in written.differences(old, new)]


@pytest.mark.parametrize("field", CHILD)
def test_a_child(place: Path, field: str) -> None:
    child = loaded(place, GOOD).engine.connections["branch-7"].children[0]
    assert only(written.of_child(child), written.of_child(replace(child, **{field: CHILD[field]})))


@pytest.mark.parametrize("field", OPTIONS)
def test_what_a_child_does_with_headers_and_marks(place: Path, field: str) -> None:
    child = loaded(place, GOOD).engine.connections["branch-7"].children[0]
    changed = replace(child, options=replace(child.options, **{field: OPTIONS[field]}))
    assert len(only(written.of_child(child), written.of_child(changed))) == 1


@pytest.mark.parametrize("field", TUNNELS)
def test_a_tunnel_device(place: Path, field: str) -> None:
    child = replace(loaded(place, GOOD).engine.connections["branch-7"].children[0], tunnel=TUNNEL)
    changed = replace(child, tunnel=replace(TUNNEL, **{field: TUNNELS[field]}))
    assert len(only(written.of_child(child), written.of_child(changed))) == 1


@pytest.mark.parametrize("field", [field.name for field in fields(Lifetime)])
def test_lifetimes(place: Path, field: str) -> None:
    child = loaded(place, GOOD).engine.connections["branch-7"].children[0]
    changed = replace(child, lifetime=replace(child.lifetime, **{field: 77}))
    assert len(only(written.of_child(child), written.of_child(changed))) == 1


@pytest.mark.parametrize("field", CONNECTION)
def test_a_connection(place: Path, field: str) -> None:
    connection = loaded(place, GOOD).engine.connections["branch-7"]
    changed = replace(connection, **{field: CONNECTION[field]})
    assert len(only(written.of_connection(connection, None), written.of_connection(changed, None))) == 1


def test_its_sections(place: Path) -> None:
    connection = loaded(place, GOOD).engine.connections["branch-7"]
    before = written.of_connection(connection, None)

    def changed(**new: Any) -> list[str]:
        return only(before, written.of_connection(replace(connection, **new), None))

    assert changed(remote_id=None, remote_pattern=PATTERN) == ["remote.id"]
    for name in ("tries", "first_s", "max_s"):
        assert changed(retry=RetryPolicy(**{name: 7})) == [f"retry.{name.removesuffix('_s')}"]
    for name in ("tries", "first_s", "max_s", "factor"):
        assert changed(retransmit=RetransmitPolicy(**{name: 9})) == [f"ike.retransmit.{name.removesuffix('_s')}"]
    own = written.of_connection(connection, PathOptions())
    assert only(before, own) == ["path_mtu.probe", "path_mtu.aging", "path_mtu.confirm", "path_mtu.echo"]
    for name, value in PATH.items():
        options = PathOptions(**{name: value})
        assert only(own, written.of_connection(connection, options)) == [f"path_mtu.{name.removesuffix('_s')}"]


def test_the_gateway(place: Path) -> None:
    found = loaded(place, GOOD)
    before = written.of_gateway(found.gateway, found.engine)
    for name, value in GATEWAY.items():
        assert only(before, written.of_gateway(replace(found.gateway, **{name: value}), found.engine)), name
    for name, value in ENGINE.items():
        assert len(only(before, written.of_gateway(found.gateway, replace(found.engine, **{name: value})))) == 1, name


def test_secrets_have_no_text(place: Path) -> None:
    connection = loaded(place, GOOD).engine.connections["branch-7"]
    before = written.of_connection(connection, None)
    after = written.of_connection(replace(connection, psk=PSK, psks=CONNECTION["psks"]), None)
    assert "boring" not in repr(before) and "English" not in repr(after)
    assert written.differences(before, after) == [
        written.Difference("auth.psk", "", "", secret=True),
        written.Difference("auth.psks.fqdn:x.example.org", None, "", secret=True),
    ]
    assert written.differences(after, before)[1] == written.Difference(
        "auth.psks.fqdn:x.example.org", "", None, secret=True
    )
