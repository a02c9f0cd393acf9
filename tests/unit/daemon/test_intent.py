"""Configuration and negotiated children -> policies, routes, clamps; above all: nothing is ever left uncovered."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.sim.world import ALICE, BOB, child, connection, selectors
from xfrmctl.daemon.intent import Established, has_route_to_peer, of_child, of_gateway, sizes, to_peer
from xfrmctl.daemon.union import Union
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, Start
from xfrmctl.kernel.desired import Action, Desired
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.kernel.ports import Underlay
from xfrmctl.model.flow import ANY, Port, port
from xfrmctl.model.iana import Encr, ProtocolId
from xfrmctl.model.plane import Mark, PlaneOptions
from xfrmctl.model.sa import DataPlane, Direction, Mode
from xfrmctl.model.spd import Precedence, SpdAction, SpdEntry
from xfrmctl.model.suite import Suite

GCM = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 256)


def established(
    local: str = "10.1.1.0/24", remote: str = "10.1.2.0/24", *, encap: bool = False, mode: Mode = Mode.TUNNEL
) -> Established:
    ends = ip_address(ALICE), ip_address(BOB)
    return Established(0x58000001, GCM, *ends, encap, mode, selectors(local), selectors(remote))


def part(
    config: ChildConfig, sa: Established | None = None, *, remote: str | None = BOB, stopping: bool = False
) -> Desired:
    conn: ConnectionConfig = connection(ALICE, remote, config)
    return of_child(conn, config, sa, sizes(conn, config, sa, 1500), stopping=stopping)


@pytest.mark.parametrize("start", list(Start))
@pytest.mark.parametrize("remote", [BOB, None])
@pytest.mark.parametrize("sa", [None, established(), established("10.1.1.0/25", "10.1.2.128/25")])
@pytest.mark.parametrize("stopping", [False, True])
def test_configured_selectors_have_a_closed_policy_in_every_direction_at_all_times(
    start: Start, remote: str | None, sa: Established | None, stopping: bool
) -> None:
    desired = part(child(start=start), sa, remote=remote, stopping=stopping)
    for direction, source, target in (
        (Direction.OUT, "10.1.1.0/24", "10.1.2.0/24"),
        (Direction.IN, "10.1.2.0/24", "10.1.1.0/24"),
        (Direction.FWD, "10.1.2.0/24", "10.1.1.0/24"),
    ):
        (policy,) = [
            p
            for k, p in desired.policies.items()
            if (k.direction, k.source, k.destination) == (direction, ip_network(source), ip_network(target))
        ]
        assert policy.action is Action.BLOCK or policy.template is not None


def test_full_selectors_are_one_entry_whose_content_changes() -> None:
    trap, up, stopped = part(child()), part(child(), established()), part(child(), stopping=True)
    assert trap.policies.keys() == up.policies.keys() == stopped.policies.keys()
    assert trap.policies == up.policies
    assert all(p.action is Action.BLOCK for p in stopped.policies.values())


def test_what_the_peer_narrowed_away_is_blocked_below_the_narrowed_policy() -> None:
    desired = part(child(), established("10.1.1.0/25", "10.1.2.0/24"))
    out = {k.source: p for k, p in desired.policies.items() if k.direction == Direction.OUT}
    wide, narrow = out[ip_network("10.1.1.0/24")], out[ip_network("10.1.1.0/25")]
    assert wide.action is Action.BLOCK
    assert narrow.template is not None
    assert narrow.priority < wide.priority


def test_a_more_specific_child_wins() -> None:
    wide = part(child(local="10.0.0.0/8", remote="10.0.0.0/8"))
    narrow = part(child(local="10.1.0.0/16", remote="10.2.0.0/16"))
    assert max(p.priority for p in narrow.policies.values()) < min(p.priority for p in wide.policies.values())


def entry(
    action: str, local: str, remote: str, precedence: Precedence = Precedence.SPECIFIC, name: str = "p"
) -> SpdEntry:
    return SpdEntry(
        name=name,
        action=SpdAction(action),
        local_ts=selectors(local),
        remote_ts=selectors(remote),
        precedence=precedence,
    )


def packet(desired: Desired, local: str, remote: str) -> str:
    """What happens to a packet that goes out."""
    here, there = ip_address(local), ip_address(remote)
    found = [
        p
        for k, p in desired.policies.items()
        if k.direction == Direction.OUT and here in k.source and there in k.destination
    ]
    first = min(found, key=lambda p: p.priority)
    assert sum(p.priority == first.priority for p in found) == 1, "no tie"
    return "protect" if first.template is not None else "discard" if first.action is Action.BLOCK else "bypass"


@pytest.mark.rfc("4301", "4.4.1")
@pytest.mark.parametrize("narrowed", [False, True])
def test_bypass_and_discard_stand_among_the_children_by_how_specific_they_are(narrowed: bool) -> None:
    sa = established("10.1.0.0/17", "10.2.0.0/16") if narrowed else established("10.1.0.0/16", "10.2.0.0/16")
    tunnel = part(child(local="10.1.0.0/16", remote="10.2.0.0/16"), sa)
    policies = of_gateway(
        [
            entry("discard", "10.0.0.0/8", "10.0.0.0/8"),
            entry("bypass", "10.1.0.0/16", "10.2.7.0/24"),
            entry("discard", "10.1.1.1/32", "10.2.7.0/24"),
            entry("discard", "10.1.9.0/24", "0.0.0.0/0", Precedence.FIRST),
            entry("bypass", "10.0.0.0/8", "0.0.0.0/0", Precedence.LAST),
            entry("discard", "0.0.0.0/0", "0.0.0.0/0", Precedence.LAST),
        ]
    )
    spd = Union({0: policies, 1: tunnel}).whole()
    found = {
        (here, there): packet(spd, here, there)
        for here, there in (
            ("10.1.2.2", "10.2.1.1"),
            ("10.1.200.2", "10.2.1.1"),
            ("10.1.2.2", "10.2.7.1"),
            ("10.1.1.1", "10.2.7.1"),
            ("10.1.9.1", "10.2.1.1"),
            ("10.5.0.1", "10.6.0.1"),
            ("10.5.0.1", "192.0.2.1"),
            ("192.0.2.9", "192.0.2.1"),
        )
    }
    assert list(found.values()) == [
        "protect",
        "discard" if narrowed else "protect",
        "bypass",
        "discard",
        "discard",
        "discard",
        "bypass",
        "discard",
    ]


def test_what_drops_all_of_ipv6_lets_neighbours_find_each_other() -> None:
    found = of_gateway([entry("discard", "::/0", "::/0", Precedence.LAST)]).policies
    passing = {(k.protocol, k.source_port.value) for k, p in found.items() if p.action is Action.ALLOW}
    assert passing == {(58, 135), (58, 136)}


@pytest.mark.rfc("3948", "5.2")
def test_bypass_goes_before_everything() -> None:
    bypass = of_gateway([entry("bypass", "0.0.0.0/0", "0.0.0.0/0", Precedence.FIRST)])
    tunnel = part(child(local="10.1.1.1/32", remote="10.1.2.1/32"))
    assert max(p.priority for p in bypass.policies.values()) < min(p.priority for p in tunnel.policies.values())
    assert all(p.template is None and p.action is Action.ALLOW for p in bypass.policies.values())


def test_fail_open_leaves_nothing_behind() -> None:
    config = child(fail_closed=False, start=Start.NONE)
    assert part(config) == Desired(clamps=part(config).clamps)
    assert part(config, stopping=True) == Desired()


def interface_child(**more: object) -> ChildConfig:
    return child(dataplane=DataPlane.INTERFACE, if_id=0x58000007, interface="xfc-7", **more)  # type: ignore[arg-type]


def test_the_interface_plane_has_a_blackhole_beside_each_route_and_keeps_it_at_stop() -> None:
    up, stopped = part(interface_child(), established()), part(interface_child(), stopping=True)
    through = {r.destination: r for r in up.routes if r.device == "xfc-7"}
    holes = {r.destination: r for r in up.routes if r.device is None}
    assert through.keys() == holes.keys() == {ip_network("10.1.2.0/24")}
    assert all(through[n].metric < holes[n].metric for n in through)
    assert stopped.routes == frozenset(holes.values())
    assert not stopped.interfaces
    assert all(k.if_id == 0x58000007 for k in up.policies)


def test_each_tunnel_that_shares_an_interface_has_its_own_mtu_and_the_device_the_largest() -> None:
    one, two = part(interface_child(), established()), part(interface_child(), established(encap=True))
    assert one.interfaces["xfc-7"].mtu == 1446
    assert two.interfaces["xfc-7"].mtu == 1438
    assert {r.mtu for r in one.routes} == {1446, None} and {r.mtu for r in two.routes} == {1438, None}
    assert Union({1: one, 2: two}).whole().interfaces["xfc-7"].mtu == 1446
    both = Union({1: one, 2: two}).whole().routes
    assert {r.mtu for r in both if r.device} == {1438}, (
        "both lead to the same network: the smaller one is safe for both"
    )
    bare = part(interface_child(remote="10.1.2.0/24,0.0.0.0/0"), established(remote="0.0.0.0/0", encap=True))
    assert {r.mtu for r in bare.routes} <= {None}, "the operator's own routes lead there as well"
    assert Union({1: one, 2: bare}).whole().interfaces["xfc-7"].mtu == 1438


def test_a_default_route_is_never_taken_over() -> None:
    assert not part(interface_child(remote="0.0.0.0/0"), established(remote="0.0.0.0/0")).routes


def test_the_clamp_is_exact_with_an_sa_and_safe_without() -> None:
    (exact,) = part(child(esp=("aes256gcm16", "aes256-sha512")), established()).clamps
    (safe,) = part(child(esp=("aes256gcm16", "aes256-sha512"))).clamps
    assert exact.mss == 1446 - 40
    assert safe.mss == 1406 - 40, "AES-CBC with SHA2-512 in UDP is the largest that may come"


@pytest.mark.parametrize(("setting", "expected"), [("off", {}), (1200, {4: 1200}), ("auto", {4: 1406})])
def test_mss_settings(setting: object, expected: dict[int, int]) -> None:
    config = child(mss=setting)
    assert sizes(connection(ALICE, BOB, config), config, established(), 1500).mss == expected


def test_the_configured_mtu_wins_over_the_route() -> None:
    config = child(mtu=1400)
    found = sizes(connection(ALICE, BOB, config), config, established(), 1500)
    assert (found.outer_mtu, found.source, found.inner_mtu) == (1400, "configured", 1346)


def test_suites_of_a_proposal_are_all_its_combinations() -> None:
    (proposal,) = child(esp=("aes256-aes128-sha256-sha512",)).esp
    assert len(set(proposal.suites())) == 4


def transport_child(local: str = ALICE, remote: str = BOB, **more: object) -> ChildConfig:
    return child(local=local, remote=remote, mode=Mode.TRANSPORT, **more)  # type: ignore[arg-type]


def test_transport_mode_has_templates_of_its_mode_and_nothing_to_forward() -> None:
    sa = established(ALICE, BOB, mode=Mode.TRANSPORT)
    trap, up = part(transport_child()), part(transport_child(), sa)
    assert {k.direction for k in trap.policies} == {Direction.IN, Direction.OUT}
    assert {p.template.mode for p in trap.policies.values() if p.template} == {Mode.TRANSPORT}
    assert trap.policies == up.policies
    stopped = part(transport_child(), stopping=True)
    assert stopped.policies.keys() == up.policies.keys()
    assert all(p.action is Action.BLOCK for p in stopped.policies.values())


def test_a_tunnel_that_the_peer_has_insisted_on_changes_the_template_in_place() -> None:
    config = transport_child(tunnel_will_do=True)
    trap, up = part(config), part(config, established(ALICE, BOB))
    assert trap.policies.keys() == up.policies.keys()
    assert {p.template.mode for p in up.policies.values() if p.template} == {Mode.TUNNEL}


def test_neighbour_discovery_passes_beside_transport_mode_over_ipv6_and_nothing_else_does() -> None:
    """Otherwise neighbours could never send the first packet, which would ask for the address under ESP."""
    for stopping in (False, True):
        policies = part(transport_child("fd16::1", "fd16::2"), stopping=stopping).policies
        bypass = {k: p for k, p in policies.items() if p.template is None and p.action is Action.ALLOW}
        wanted = {(d, 58, port(t), ANY) for d in (Direction.IN, Direction.OUT) for t in (135, 136)}
        assert {(k.direction, k.protocol, k.source_port, k.destination_port) for k in bypass} == wanted
        others = [p.priority for k, p in policies.items() if k not in bypass]
        assert max(p.priority for p in bypass.values()) < min(others)


def test_sizes_of_transport_mode_count_no_second_header() -> None:
    config = transport_child(esp=("aes256gcm16",))
    sa = established(ALICE, BOB, mode=Mode.TRANSPORT)
    found = sizes(connection(ALICE, BOB, config), config, sa, 1500)
    assert (found.inner_mtu, found.mss) == (1466, {4: 1426})
    assert part(transport_child(), sa).clamps


MARKED = PlaneOptions(mark_out=Mark(0x2A, 0xFF), mark_in=Mark(0x2A, 0xFF))


@pytest.mark.parametrize("sa", [None, established(), established("10.1.1.0/25")])
@pytest.mark.parametrize("stopping", [False, True])
def test_what_has_not_the_mark_of_a_child_is_blocked_behind_it(sa: Established | None, stopping: bool) -> None:
    found = part(child(options=MARKED), sa, stopping=stopping).policies
    bare = {key: policy for key, policy in found.items() if key.mark is None}
    marked = {key: policy for key, policy in found.items() if key.mark is not None}
    assert {key.direction for key in bare} == {key.direction for key in marked} == set(Direction)
    assert all(policy.action is Action.BLOCK for policy in bare.values())
    assert max(p.priority for p in marked.values()) < min(p.priority for p in bare.values())
    assert not part(child(options=MARKED, fail_closed=False, start=Start.NONE), sa, stopping=True).policies


def test_two_children_with_the_same_selectors_are_told_apart_by_their_marks() -> None:
    other = PlaneOptions(mark_out=Mark(0x2B, 0xFF), mark_in=Mark(0x2B, 0xFF))
    one, two = part(child(options=MARKED), established()), part(child(options=other), established())
    both = Union({1: one, 2: two}).whole()
    assert len(both.policies) == 9, "three each, and the blocks of the unmarked in common"


def test_an_if_id_of_the_operators_has_neither_device_nor_routes_of_ours() -> None:
    found = part(child(if_id=7), established())
    assert {key.if_id for key in found.policies} == {7}
    assert not found.interfaces and not found.routes


def test_ports_and_types_are_entries_of_their_own_and_the_more_specific_wins() -> None:
    web = part(child(remote="10.1.2.0/24[tcp/443]"), established(remote="10.1.2.0/24[tcp/443]")).policies
    assert {(k.direction, k.protocol, k.source_port, k.destination_port) for k in web} == {
        (Direction.OUT, 6, ANY, port(443)),
        (Direction.IN, 6, port(443), ANY),
        (Direction.FWD, 6, port(443), ANY),
    }
    wide = part(child(remote="10.1.2.0/24[tcp/256-511]")).policies
    everything = part(child()).policies
    assert max(p.priority for p in web.values()) < min(p.priority for p in wide.values())
    assert max(p.priority for p in wide.values()) < min(p.priority for p in everything.values())


def test_a_range_of_ports_is_covered_exactly_and_not_widened() -> None:
    policies = part(child(remote="10.1.2.0/24[udp/1000-1003]")).policies
    assert {k.destination_port for k in policies if k.direction is Direction.OUT} == {Port(1000, 0xFFFC)}
    assert not part(child(remote="10.1.2.0/24[udp/1000-1003]")).clamps, "UDP has no MSS"


WAY = Underlay("wan", ip_address("172.16.1.254"), None, 1500)


def test_the_route_to_a_peer_carries_the_paths_mtu_and_the_smallest_of_several() -> None:
    one, two = (Desired(routes=frozenset({to_peer(ip_address(BOB), WAY, mtu)})) for mtu in (1400, 1300))
    for parts in ((one, two), (two, one), (one, two, two)):
        (route,) = Union(dict(enumerate(parts))).whole().routes
        assert (str(route.destination), route.mtu, route.device, route.via) == (f"{BOB}/32", 1300, "wan", WAY.via)
        assert route.table == PEER_TABLE


def test_traffic_for_the_peers_own_address_is_never_routed_past_its_tunnel() -> None:
    tunnel = child(remote="172.16.0.0/16", dataplane=DataPlane.INTERFACE, interface="ipsec1", if_id=0x58000001)
    assert not has_route_to_peer(tunnel, ip_address(BOB))
    assert has_route_to_peer(child(remote="172.16.0.0/16"), ip_address(BOB)), "policies do not ask the routes"
    assert has_route_to_peer(replace(tunnel, remote_ts=selectors("0.0.0.0/0")), ip_address(BOB)), "makes no routes"


def test_sizes_follow_the_path_by_its_source_unless_a_figure_is_written_down() -> None:
    conn = connection(ALICE, BOB, child())
    found = sizes(conn, child(), established(), 1400, "probe")
    assert (found.outer_mtu, found.source, found.inner_mtu, found.mss) == (1400, "probe", 1346, {4: 1306})
    assert sizes(conn, child(mtu=1444), established(), 1400, "probe").source == "configured"


def test_a_change_of_one_part_knows_what_the_others_want_of_the_same_route() -> None:
    wide, narrow = (Desired(routes=frozenset({to_peer(ip_address(BOB), WAY, mtu)})) for mtu in (1400, 1300))
    union = Union({1: wide, 2: narrow})
    assert union.replace({1: None}) == (narrow, narrow), "the other still needs it"
    assert union.replace({2: None}) == (narrow, Desired())
    assert union.replace({1: wide}) == (Desired(), wide)
    assert union.replace({2: narrow}) == (wide, narrow)
    assert union.replace({2: None}) == (narrow, wide)
    assert union.whole() == wide
