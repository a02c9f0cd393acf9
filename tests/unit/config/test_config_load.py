"""Files -> values; numbers, hashes, and what a reload changes."""

from ipaddress import ip_address
from pathlib import Path
from textwrap import dedent

import pytest

from tests.unit.config.config_files import BASE, GOOD, MINIMAL, ROUTED, loaded, minimal, pair
from xfrmctl.config.numbering import assign, is_ours
from xfrmctl.ike.config import RetransmitPolicy, RetryPolicy, Start
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.sa import DataPlane, DfPolicy, Mode
from xfrmctl.model.selector import parse_selector
from xfrmctl.pmtu.settings import PathOptions


def test_the_example_of_the_design(place: Path) -> None:
    found = loaded(place, GOOD)
    connection = found.engine.connections["branch-7"]
    child = connection.children[0]
    assert connection.local == ip_address("172.16.1.1")
    assert connection.remote_id == parse_identity("fqdn:sun.example.org")
    assert connection.psk == b"a long and boring secret"
    assert [str(p) for p in connection.ike] == ["aes256gcm16-prfsha384-x25519"]
    assert (connection.dpd_s, connection.keepalive_s, connection.force_encap) == (30.0, 20.0, False)
    assert child.local_ts == (parse_selector("10.1.1.0/24"),)
    assert [str(p) for p in child.esp] == ["aes256gcm16-x25519-noesn"]
    assert (child.dataplane, child.start, child.mtu, child.mss) == (DataPlane.POLICY, Start.TRAP, None, "auto")
    assert (child.df, child.replay_window, child.fail_closed, child.mode) == (DfPolicy.COPY, 128, True, Mode.TUNNEL)
    assert is_ours(child.reqid) and child.if_id == 0 and child.interface is None
    assert str(found.gateway.metrics) == "127.0.0.1:9877"
    assert str(found.gateway.policies[0].remote_ts[0]) == "10.1.0.0/16"
    assert found.warnings == ()


def test_defaults(place: Path) -> None:
    connection = loaded(place, MINIMAL).engine.connections["c"]
    assert connection.local_id == parse_identity("192.0.2.1")
    assert connection.remote_id == parse_identity("192.0.2.2")
    assert len(connection.ike) == 2 and len(connection.children[0].esp) == 2
    assert connection.children[0].start == Start.TRAP
    assert connection.retry == RetryPolicy() and connection.retransmit == RetransmitPolicy()


@pytest.mark.rfc("7296", "3.3.4")
def test_everything_else_that_can_be_written(place: Path) -> None:
    text = minimal(
        """
        esp: aes256gcm16
        mode: tunnel
        dataplane: interface
        interface: ipsec7
        start: start
        mtu: 1400
        mss: 1300
        df: clear
        replay_window: 1024
        fail: open
        lifetime: {time: 8h, bytes: 10G, packets: 1000000}
        """,
        """
        remote: {address: 192.0.2.2, id: any}
        ike: {dpd: off, encap: always, keepalive: 15s, retransmit: {first: 500ms, factor: 1.5, tries: 3}}
        retry: {tries: 5, first: 1s, max: 1m}
        path_mtu: {aging: off}
        """,
        """
        metrics: "[::1]:9877"
        ports: {ike: 5500, nat_t: 5501}
        limits: {half_open: 10, half_open_per_source: 2, cookies_from: 0, half_open_timeout: 5s}
        control_group: adm
        firewall: nftables
        path_mtu: {probe: off, aging: off, confirm: 5s}
        """,
    )
    found = loaded(place, text)
    connection = found.engine.connections["c"]
    child = connection.children[0]
    assert connection.remote_id is None and connection.dpd_s is None and connection.force_encap
    assert connection.retry == RetryPolicy(tries=5, first_s=1, max_s=60)
    assert connection.retransmit == RetransmitPolicy(first_s=0.5, factor=1.5, tries=3, max_s=64)
    assert (child.interface, child.mtu, child.mss, child.fail_closed) == ("ipsec7", 1400, 1300, False)
    assert (child.lifetime.hard_seconds, child.lifetime.hard_bytes) == (28800, 10**10)
    assert child.lifetime.hard_packets == 10**6 and child.lifetime.soft_seconds == 3600
    assert (child.lifetime.soft_bytes, connection.rekey_s) == (0, 4 * 3600)
    assert is_ours(child.if_id)
    engine = found.engine
    assert (engine.ike_port, engine.nat_t_port, engine.cookie_threshold) == (5500, 5501, 0)
    assert (engine.half_open_limit, engine.half_open_per_source, engine.half_open_timeout_s) == (10, 2, 5.0)
    assert str(found.gateway.metrics) == "[::1]:9877"
    assert found.gateway.firewall is FirewallBackend.NFTABLES
    assert found.gateway.path_mtu == PathOptions(probe=False, aging_s=None, confirm_s=5)
    assert found.gateway.path_mtu_of == {"c": PathOptions(aging_s=None)}


def test_yaml_words_stay_words(place: Path) -> None:
    """YAML 1.1 would read off as False and 0x12 as 18."""
    found = loaded(place, minimal("mss: off"))
    assert found.engine.connections["c"].children[0].mss == "off"


def test_anchors_and_merge_keys(place: Path) -> None:
    text = """\
    connections:
      a: &common
        local: {address: 192.0.2.1}
        remote: {address: 192.0.2.2}
        auth: {psk: !file k}
        children:
          lan: {local_ts: 10.1.0.0/16, remote_ts: 10.2.0.0/16}
      b:
        <<: *common
        remote: {address: 192.0.2.3}
        children:
          lan: {local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16}
    """
    found = loaded(place, dedent(text)).engine.connections
    assert found["b"].remote == ip_address("192.0.2.3") and found["b"].local == found["a"].local


def test_numbers_are_stable(place: Path) -> None:
    one = loaded(place, pair(BASE, "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16" + ROUTED))
    alone = loaded(place, MINIMAL.replace("  c:", "  a:"))
    assert alone.engine.connections["a"].children[0].reqid == one.engine.connections["a"].children[0].reqid
    child = one.engine.connections["b"].children[0]
    assert child.interface == f"xfc-{child.if_id & 0xFFFFFF:06x}" and len(child.interface) <= 15
    again = loaded(place, pair(BASE, "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16" + ROUTED), one)
    assert again.engine == one.engine and again.hash == one.hash


def test_children_share_a_named_interface(place: Path) -> None:
    shared = ROUTED + ", interface: i1"
    other = "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"
    found = loaded(place, pair(BASE + shared, other + shared)).engine.connections
    assert found["a"].children[0].if_id == found["b"].children[0].if_id != 0
    assert found["a"].children[0].reqid != found["b"].children[0].reqid


def test_colliding_names_get_neighbours_and_keep_what_they_have() -> None:
    names = [f"n{i}" for i in range(30000)]
    found = assign(names)
    assert len(set(found.values())) == 30000 and all(is_ours(n) for n in found.values())
    half = assign(names[::2])
    kept = assign(names, half)
    assert all(kept[name] == number for name, number in half.items())
    assert len(set(kept.values())) == 30000


def test_what_a_reload_changes(place: Path) -> None:
    other = "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"
    old = loaded(place, pair(BASE, other))
    new = loaded(place, pair(BASE + ", mtu: 1400", other).replace("  b:", "  z:"), old)
    changes = old.changes(new)
    assert (changes.added, changes.changed, changes.removed) == (("z",), ("a",), ("b",))
    assert old.hash != new.hash


def test_a_new_secret_changes_hash_and_digest(place: Path) -> None:
    old = loaded(place, MINIMAL)
    (place / "k").write_text("another long and boring secret\n")
    new = loaded(place, MINIMAL)
    assert old.changes(new).changed == ("c",) and old.hash != new.hash


def test_many_connections(place: Path) -> None:
    text = "connections:\n" + "".join(
        f"""\
  c{i}:
    local: {{address: 192.0.2.1}}
    remote: {{address: 10.{i >> 8}.{i & 255}.1}}
    auth: {{psk: !file k}}
    children: {{lan: {{local_ts: 10.250.0.0/16, remote_ts: 172.{16 + (i >> 8) % 16}.{i & 255}.{(i >> 12) * 64}/26}}}}
"""
        for i in range(2000)
    )
    assert len(loaded(place, text).engine.connections) == 2000
