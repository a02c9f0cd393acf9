"""The host around the tunnel: each rule finds its fault, and nothing a moment before it is one."""

from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from tests.unit.diagnose.gateway_facts import LAN, MAIN, SA, connected, down, facts, ids, lines, only
from tests.unit.diagnose.host_facts import (
    FAR,
    JUMP,
    PEER,
    US,
    busy,
    child_facts,
    clamped,
    counts,
    firewall,
    foreign,
    host,
    interface_child,
    route,
    ruled,
    two,
)
from xfrmctl.diagnose.diagnosis import diagnose
from xfrmctl.diagnose.facts import (
    Answer,
    ChildFacts,
    Facts,
    HostFacts,
    PathProbe,
    PeerProbe,
    TunnelProbe,
)
from xfrmctl.diagnose.netfilter.values import Table
from xfrmctl.ike import failures
from xfrmctl.model.address import Endpoint
from xfrmctl.model.observed import (
    LOCAL,
    NOWHERE,
    ObservedSa,
)
from xfrmctl.model.sa import Direction, Mode
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.snapshot import ChildInfo, ClampInfo, FragmentInfo


def test_a_healthy_host_has_no_finding() -> None:
    usual = firewall(
        "[9:9] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "[9:9] -A INPUT -p udp -m multiport --dports 500,4500 -j ACCEPT",
        "[9:9] -A INPUT -p esp -j ACCEPT",
        "[9:9] -A INPUT -j DROP",
        "[9:9] -A FORWARD -m conntrack --ctstate INVALID -j DROP",
        "[9:9] -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "[9:9] -A FORWARD -i lan -j ACCEPT",
        "[9:9] -A FORWARD -j DROP",
    )
    nat = firewall("[9:9] -A POSTROUTING -o wan -m policy --dir out --pol none -j MASQUERADE", table="nat")
    assert ids(child_facts(at=host(tables=(*usual, *nat)))) == []


# ---- forwarding and routes


def test_forwarding_off_matters_for_networks_only() -> None:
    off = {"net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0"}
    assert only(child_facts(at=host(sysctls=off))).evidence[0] == "net.ipv4.ip_forward = 0"
    own = replace(LAN, local_ts=(parse_selector("10.1.1.1/32"),))
    assert ids(child_facts(own, at=host(sysctls=off))) == []
    six = replace(LAN, local_ts=(parse_selector("fd10:1::/64"),), remote_ts=(parse_selector("fd10:2::/64"),))
    assert ids(child_facts(six, at=host(sysctls=off))) == ["forwarding-off"]
    assert ids(child_facts(six, at=host(sysctls=off | {"net.ipv6.conf.all.forwarding": "1"}))) == []


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", NOWHERE, LOCAL])
def test_no_way_to_the_network(kind: str) -> None:
    found = only(child_facts(at=host(other_routes={FAR[2]: route("", kind)})))
    assert found.id == "no-route-to-network" and kind in found.evidence[0]


def test_a_route_past_the_interface() -> None:
    child, at = interface_child()
    assert ids(child_facts(child, at=at)) == []
    found = only(child_facts(child, at=replace(at, routes={**at.routes, FAR[1]: route("wan")})))
    assert found.id == "route-past-tunnel" and str(FAR[1]) in found.symptom


def test_recursive_routing() -> None:
    child, at = interface_child()
    found = only(child_facts(child, at=replace(at, routes={**at.routes, PEER: route("ipsec0")})))
    assert (found.id, found.child, found.severity) == ("recursive-routing", "lan", "error")
    found = only(child_facts(child, at=replace(at, unguarded={PEER: route("ipsec0")})))
    assert (found.id, found.severity) == ("recursive-routing", "warning"), "our own route to the peer is followed"


@pytest.mark.parametrize(
    ("change", "seen"), [({"up": False}, "is down"), ({"if_id": 7}, "has if_id 0x7"), (None, "no device")]
)
def test_policies_bound_to_an_interface_that_is_not_there(change: dict[str, Any] | None, seen: str) -> None:
    child, at = interface_child()
    devices = dict(at.devices)
    device = devices.pop("ipsec0")
    if change is not None:
        devices["ipsec0"] = replace(device, **change)
    found = only(child_facts(child, at=replace(at, devices=devices)))
    assert found.id == "interface-missing" and seen in found.evidence[1]


def test_a_device_without_ipsec() -> None:
    at = host(sysctls={"net.ipv4.conf.wan.disable_xfrm": "1", "net.ipv4.conf.lan.disable_xfrm": "1"})
    found = only(child_facts(at=at))
    assert found.id == "policy-bypassed" and "wan" in found.symptom


def test_a_strict_reverse_path_filter() -> None:
    other = {PEER: route("other")}
    strict = {"net.ipv4.conf.wan.rp_filter": "1", "net.ipv4.conf.all.rp_filter": "0"}
    found = only(child_facts(at=host(other_routes=other, sysctls=strict, moved={"IPReversePathFilter": 9})))
    assert found.id == "rp-filter" and "+9" in found.evidence[2]
    assert ids(child_facts(at=host(sysctls=strict))) == []
    loose = strict | {"net.ipv4.conf.all.rp_filter": "2"}  # the larger of the two counts
    assert ids(child_facts(at=host(other_routes=other, sysctls=loose))) == []


def test_reverse_path_rules_look_at_decrypted_packets() -> None:
    rule = "[1:1] -A PREROUTING -m rpfilter --invert -j DROP"
    at = host(tables=firewall(rule, table="raw"))
    assert ids(child_facts(at=at)) == []  # the way back goes out where they come in
    elsewhere = replace(at, routes={**at.routes, **{a: route("other") for a in FAR}})
    assert ids(child_facts(at=elsewhere)) == ["rp-filter-decrypted"]


# ---- firewall


def test_nat_before_policy_and_its_exemption() -> None:
    rule = "[5:300] -A POSTROUTING -s 10.1.0.0/16 -o wan -j MASQUERADE"
    found = only(ruled(rule, table="nat"))
    assert found.id == "nat-before-policy" and rule.partition("] ")[2] in found.evidence[0]
    assert "shell: iptables-nft -t nat -I POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT" in lines(found, "here")
    assert ids(ruled("[0:0] -A POSTROUTING -d 10.1.2.0/24 -j ACCEPT", rule, table="nat")) == []
    assert ids(ruled("[0:0] -A POSTROUTING -s 10.1.1.0/24 -j SNAT --to-source 10.1.1.9", table="nat")) == []
    child, at = interface_child()
    assert ids(child_facts(child, at=replace(at, tables=firewall(rule, table="nat")))) == []  # not by wan


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        (["-s 10.1.1.0/24 -d 10.1.2.0/24 -j DROP"], ["forward-drop-outbound"]),
        (["-s 10.1.2.0/24 -j REJECT"], ["forward-drop-inbound"]),
        (["-j DROP"], ["forward-drop-outbound", "forward-drop-inbound"]),
        (["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-j DROP"], ["forward-drop-outbound"]),
        (["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-i lan -j ACCEPT", "-j DROP"], []),
        (["-m policy --dir in --pol ipsec -j ACCEPT", "-m policy --dir out --pol ipsec -j ACCEPT", "-j DROP"], []),
        (["-p tcp -m tcp --dport 25 -j DROP"], []),
    ],
)
def test_forward_drops(rules: list[str], wanted: list[str]) -> None:
    assert ids(ruled(*(f"[0:0] -A FORWARD {rule}" for rule in rules))) == wanted


def test_a_rule_about_a_part_matters_when_it_drops() -> None:
    rule = "-A FORWARD -s 10.1.1.7/32 -j DROP"
    assert ids(ruled(f"[5:9] {rule}", before=(f"[5:9] {rule}",))) == []
    assert ids(ruled(f"[8:9] {rule}", before=(f"[5:9] {rule}",))) == ["forward-drop-part"]


def test_invalid_packets_matter_when_they_are_dropped() -> None:
    rule = "-A FORWARD -m conntrack --ctstate INVALID -j DROP"
    assert ids(ruled(f"[5:9] {rule}", before=(f"[5:9] {rule}",))) == []
    quiet = ruled(f"[8:9] {rule}", before=(f"[5:9] {rule}",))
    assert ids(quiet) == [], "the tunnel carries nothing: they are of somebody else"
    found = only(busy(quiet))
    assert found.id == "conntrack-invalid" and "+3 packets" in found.evidence[1]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("-A INPUT -p esp -j DROP", ["firewall-drops-esp"]),
        ("-A OUTPUT -p esp -j DROP", ["firewall-drops-esp"]),
        ("-A INPUT -p udp -m udp --dport 500 -j DROP", ["firewall-drops-ike"]),
        ("-A INPUT -p udp -m udp --dport 4500 -j DROP", []),
        ("-A INPUT -s 172.16.0.0/16 -j DROP", ["firewall-drops-ike", "firewall-drops-esp"]),
        ("-A INPUT -f -j DROP", ["firewall-drops-fragments"]),
        ("-A INPUT -f -m conntrack --ctstate NEW -j DROP", []),
        ("-A OUTPUT -p icmp -j DROP", ["icmp-to-hosts-dropped"]),
    ],
)
def test_what_the_gateways_say_to_each_other_is_dropped(rule: str, wanted: list[str]) -> None:
    assert ids(ruled(f"[0:0] {rule}")) == wanted


def test_esp_in_udp_goes_another_way() -> None:
    info = connected(replace(SA, encap="udp 4500 -> 4500"))
    state = facts(info).after
    rule = "[0:0] -A INPUT -p udp -m udp --dport 4500 -j DROP"
    assert ids(ruled(rule, before=(), after=state)) == ["firewall-drops-esp-in-udp"]


def test_a_rule_explains_why_nobody_answers() -> None:
    silent = failures.no_response(Endpoint(PEER, 4500), 5, "IKE_AUTH")
    answers = {"main": PeerProbe(ike=Answer.ANSWERED, nat_t=Answer.SILENT, echo=Answer.ANSWERED)}
    state = facts(down(silent)).after
    assert ids(child_facts(before=state, after=state, probes=answers)) == ["udp-4500-blocked"]
    found = ruled("[0:0] -A INPUT -p udp -m udp --dport 4500 -j DROP", after=state, probes=answers)
    assert ids(found) == ["firewall-drops-esp-in-udp"]


def test_a_rule_of_ours_explains_what_looks_like_the_path() -> None:
    silent = connected(replace(SA, inbound=replace(SA.inbound, packets=0), outbound=replace(SA.outbound, packets=50)))
    assert ids(child_facts(before=facts(silent).after, after=facts(silent).after)) == ["esp-blocked"]
    blocked = ruled("[0:0] -A INPUT -p esp -j DROP", after=facts(silent).after)
    assert ids(replace(blocked, before=blocked.after)) == ["firewall-drops-esp"]


# ---- SAs


@pytest.mark.parametrize(
    ("before", "after", "probe", "wanted"),
    [
        ((0, 5), (0, 9), None, ["esp-blocked"]),
        ((0, 5), (0, 9), TunnelProbe(sent=3, answered=True), []),
        ((0, 1), (0, 4), TunnelProbe(sent=3, answered=False), []),  # only our own pings
        ((0, 0), (0, 0), None, []),
        ((7, 5), (7, 5), None, []),
        ((7, 5), (7, 9), None, ["esp-blocked"]),
        ((7, 5), (8, 9), None, []),
    ],
)
def test_one_way(before: Any, after: Any, probe: TunnelProbe | None, wanted: list[str]) -> None:
    tunnels = {("main", "lan"): probe} if probe is not None else {}
    assert ids(two(counts(*before), counts(*after), tunnels=tunnels)) == wanted


def test_esp_in_udp_is_not_blocked_where_ike_passes() -> None:
    encap = {"encap": "udp 4500 -> 4500"}
    assert ids(two(counts(0, 5, **encap), counts(0, 9, **encap))) == ["no-answers"]


def test_duplicates_stay_rekeying_does_not() -> None:
    other = replace(SA, inbound=replace(SA.inbound, spi="0xc0000009"))
    both = connected(SA, other)
    state = facts(both).after
    assert ids(child_facts(before=state, after=state)) == ["duplicate-sas"]
    young = facts(connected(SA, replace(other, established_s=2.0))).after
    assert ids(child_facts(before=young, after=young)) == []
    others = facts(connected(SA, replace(other, remote_ts=["10.1.2.0/25"]))).after
    assert ids(child_facts(before=others, after=others)) == []


@pytest.mark.parametrize(
    ("counter", "wanted", "line"),
    [("late_drops", "late-drops", "replay_window: 1024"), ("replay_drops", "replay-drops", "sequence number twice")],
)
def test_drops_of_the_replay_check_that_go_on_or_are_many(counter: str, wanted: str, line: str) -> None:
    def dropped(number: int) -> Any:
        change: dict[str, Any] = {counter: number}
        return replace(SA, inbound=replace(SA.inbound, **change))

    assert ids(two(dropped(3), dropped(3))) == []  # 3 of 1200, long ago
    assert ids(two(dropped(3), dropped(4))) == [wanted]
    found = only(two(dropped(40), dropped(40)))
    assert found.id == wanted and any(line in text for text in lines(found, "here"))


@pytest.mark.parametrize(
    ("sent", "esn", "wanted"),
    [(2**32 - 9, False, ["sequence-numbers-end"]), (2**32 - 9, True, []), (2**31, False, [])],
)
def test_sequence_numbers_that_end(sent: int, esn: bool, wanted: list[str]) -> None:
    sa = ObservedSa(
        source=US, destination=PEER, protocol=50, spi=0xC0000002, reqid=1, mode="tunnel", ours=True, sent=sent, esn=esn
    )
    assert ids(child_facts(at=host(sas=(sa,)))) == wanted


def test_an_sa_that_is_gone() -> None:
    gone = facts(connected(replace(SA, inbound=replace(SA.inbound, missing=True)))).after
    assert ids(child_facts(before=gone, after=gone)) == ["sa-missing"]


# ---- selectors


def test_a_narrow_child_that_is_down_takes_the_packets_of_a_wide_one() -> None:
    narrow = replace(LAN, connection="other", name="part", remote_ts=(parse_selector("10.1.2.128/25"),))
    other = replace(MAIN, name="other", children=(narrow,))
    info = replace(down(None, state="down"), name="other")
    found = only(facts(connected(), info, connections=(MAIN, other), host=host()))
    assert found.id == "selectors-overlap" and "10.1.2.128/25" in found.symptom and found.connection == "other"
    named = facts(connected(), info, connections=(MAIN,), others=(other,), host=host())
    assert ids(named) == ["selectors-overlap"]  # also where only the loser is asked about
    assert ids(replace(named, connections=(replace(MAIN, name="third", children=()),), others=(MAIN, other))) == []
    marked = replace(other, children=(replace(narrow, marked=True),))
    assert ids(facts(connected(), info, connections=(MAIN, marked), host=host())) == []


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, ["foreign-policy"]),
        ({"priority": 400_000}, []),
        ({"if_id": 3}, []),
        ({"destination": IPv4Network("10.9.0.0/16")}, []),
        ({"direction": Direction.IN}, []),
        ({"direction": Direction.FWD, "source": IPv4Network("10.1.2.0/24"), "destination": IPv4Network("10.1.1.0/24")},
         ["foreign-policy"]),
    ],
)  # fmt: skip
def test_policies_of_others(change: dict[str, Any], wanted: list[str]) -> None:
    assert ids(child_facts(at=host(foreign_policies=(foreign(**change),)))) == wanted


# ---- sizes


@pytest.mark.parametrize(
    ("probe", "wanted"),
    [
        (PathProbe(asked=1500, fits=False, told=None, fragments=True), ["path-mtu-black-hole"]),
        (PathProbe(asked=1500, fits=False, told=1400, fragments=True), []),
        (PathProbe(asked=1500, fits=False, told=None, fragments=False), ["fragments-dropped"]),
        (PathProbe(asked=1500, fits=True, told=None, fragments=True), []),
        (PathProbe(asked=1500, fits=True, told=None, fragments=False), ["fragments-dropped"]),
    ],
)
def test_large_packets_on_the_path(probe: PathProbe, wanted: list[str]) -> None:
    assert ids(child_facts(paths={"main": probe})) == wanted


def test_a_written_mtu_that_is_too_large() -> None:
    child = replace(LAN, mtu=1450)
    probe = PathProbe(asked=1450, fits=False, told=1400, fragments=True)
    assert "a router on the way says 1400" in only(child_facts(child, paths={"main": probe})).evidence[1]
    assert ids(child_facts(child, paths={"main": replace(probe, fits=True)})) == []
    assert ids(child_facts(replace(LAN, mtu=1600))) == ["static-mtu-too-large"]  # our own link has 1500


def test_a_written_mtu_that_is_too_small() -> None:
    probe = PathProbe(asked=1400, fits=True, told=None, fragments=True, carries=1500)
    sa = replace(SA, mtu=replace(SA.mtu, outer_mtu=1400) if SA.mtu else None, fragments=None)

    def written(mtu: int, probe: PathProbe, sa: ChildInfo = sa) -> Facts:
        state = facts(connected(sa)).after
        return child_facts(replace(LAN, mtu=mtu), before=state, after=state, paths={"main": probe})

    found = only(written(1400, probe))
    assert (found.id, found.severity) == ("static-mtu-too-small", "warning") and "1500 bytes" in found.evidence[1]
    assert ids(written(1400, replace(probe, carries=None))) == []
    assert ids(written(1400, replace(probe, carries=1450))) == []  # somebody is careful
    assert ids(child_facts(LAN, paths={"main": probe})) == []  # found, not written
    squeezed = FragmentInfo(df="copy", oversize="icmp", outer="", ipv4_with_df="", ipv4_without_df="", ipv6="",
                            ipv6_lost=True)  # fmt: skip
    lost = only(written(1400, replace(probe, carries=1450), replace(sa, fragments=squeezed)))
    assert (lost.id, lost.severity) == ("static-mtu-too-small", "error")


def test_a_clamp_that_is_shadowed() -> None:
    assert ids(clamped(JUMP)) == []
    found = only(clamped("[0:0] -A POSTROUTING -o wan -j ACCEPT", JUMP))
    assert found.id == "mss-clamp-shadowed" and "-o wan -j ACCEPT" in found.evidence[0]
    assert ids(clamped("[0:0] -A POSTROUTING -d 10.9.0.0/16 -j ACCEPT", JUMP)) == []
    state = facts().after
    assert state is not None
    not_in_force = replace(state, clamps=[])
    shadowed = replace(clamped("[0:0] -A POSTROUTING -j ACCEPT", JUMP), before=not_in_force, after=not_in_force)
    assert ids(shadowed) == ["mss-clamp-shadowed"]


def test_a_clamp_that_is_gone() -> None:
    state = facts().after
    assert state is not None
    gone = replace(state, clamps=[ClampInfo(family=4, mss=1298, pairs=1, packets=0, bytes=0, standing=False)])
    assert ids(child_facts(before=gone, after=gone)) == ["mss-clamp-missing"]
    assert ids(child_facts(before=state, after=gone)) == []  # it changes just now


def test_tcp_through_a_tunnel_device_is_clamped_by_a_table_of_its_own() -> None:
    over = replace(LAN, tunnel="gre1", mode=Mode.TRANSPORT)
    state = facts().after
    assert state is not None
    none = replace(state, clamps=[])
    table = Table(source="nft", version=0, name="xfrmctl-tunnels", chains={})
    assert ids(child_facts(over, before=none, after=none, at=host(tables=(table,)))) == []
    gone = only(child_facts(over, before=none, after=none, at=host(tables=(replace(table, name="other"),))))
    assert gone.id == "mss-clamp-missing" and "through gre1" in gone.symptom


def test_rules_in_both_variants() -> None:
    ours = clamped(JUMP).host.tables
    other = tuple(replace(t, source="iptables-legacy") for t in firewall("[0:0] -A INPUT -p tcp -j ACCEPT"))
    assert ids(child_facts(at=host(tables=(*ours, *other)))) == ["iptables-variants-mixed"]
    twice = tuple(replace(t, source="iptables-legacy") for t in ours)
    found = only(child_facts(at=host(tables=(*ours, *twice))))
    assert found.id == "iptables-variants-mixed" and "in both" in found.symptom
    empty = tuple(replace(t, source="iptables-legacy") for t in firewall())
    assert ids(child_facts(at=host(tables=(*ours, *empty)))) == []


# ---- tunnel devices


def gre(routed: str = "gre1", **more: Any) -> tuple[ChildFacts, HostFacts]:
    """A child that carries 10.1.2.0/24 by a GRE device, and where the host routes that."""
    child = replace(LAN, mode=Mode.TRANSPORT, tunnel="gre1", carries=(IPv4Network("10.1.2.0/24"),), local_ts=(),
                    remote_ts=())  # fmt: skip
    at = host(other_routes={a: route(routed) for a in FAR}, **more)
    return child, at


def test_what_is_behind_a_tunnel_device_is_routed_into_it() -> None:
    assert ids(child_facts(gre()[0], at=gre()[1])) == []
    child, at = gre("wan")
    found = only(child_facts(child, at=at))
    assert found.id == "route-past-tunnel" and "through gre1" in found.evidence[1]
    nowhere = replace(at, routes={**at.routes, FAR[0]: route("", "blackhole")})
    assert ids(child_facts(child, at=nowhere)) == ["no-route-to-network"]


def test_a_strict_tunnel_device_drops_what_would_not_go_back_by_it() -> None:
    strict = {"net.ipv4.conf.gre1.rp_filter": "1", "net.ipv4.conf.all.rp_filter": "0", "net.ipv4.ip_forward": "1"}
    child, at = gre("wan", sysctls=strict, moved={"IPReversePathFilter": 4})
    found = only(child_facts(child, at=at))
    assert found.id == "rp-filter-decrypted" and "+4" in found.evidence[2]
    assert ids(child_facts(child, at=gre(sysctls=strict)[1])) == []


def test_rules_in_the_way_of_a_tunnel_device() -> None:
    child, at = gre()
    clamp = Table(source="nft", version=0, name="xfrmctl-tunnels", chains={})
    dropping = replace(at, tables=(clamp, *firewall("[0:0] -A FORWARD -o gre1 -j DROP")))
    found = only(child_facts(child, at=dropping))
    assert found.id == "forward-drop-outbound" and "-d 10.1.2.0/24 -j ACCEPT" in found.lines[0].text
    other = replace(at, tables=(clamp, *firewall("[0:0] -A FORWARD -s 10.9.0.0/16 -d 10.1.2.0/24 -j DROP")))
    assert ids(child_facts(child, at=other)) == []
    masquerade = replace(at, tables=(clamp, *firewall("[0:0] -A POSTROUTING -o gre1 -j MASQUERADE", table="nat")))
    assert ids(child_facts(child, at=masquerade)) == [], "no policy looks at what goes into the device"


def test_forwarding_that_is_off_for_one_device() -> None:
    on = {"net.ipv4.ip_forward": "1", "net.ipv4.conf.lan.forwarding": "0", "net.ipv4.conf.wan.forwarding": "0"}
    found = only(child_facts(at=host(sysctls=on)))
    assert (found.id, found.evidence[0]) == ("forwarding-off", "net.ipv4.conf.lan.forwarding = 0")
    child, at = gre(sysctls={"net.ipv4.ip_forward": "1", "net.ipv4.conf.gre1.forwarding": "0"})
    assert "by gre1" in only(child_facts(child, at=at)).symptom
    assert ids(child_facts(child, at=host(sysctls=on, other_routes={a: route("gre1") for a in FAR}))) == []


def test_an_exemption_goes_into_the_chain_that_took_the_packets() -> None:
    legacy = tuple(replace(t, source="iptables-legacy") for t in firewall("[0:0] -A FORWARD -j DROP"))
    found = diagnose(child_facts(at=host(tables=legacy)))
    assert found[0].lines[0].text == "iptables-legacy -I FORWARD -s 10.1.1.0/24 -d 10.1.2.0/24 -j ACCEPT"
    native = Table(source="nft", version=0, name="fw", chains={"f": replace(legacy[0].chains["FORWARD"], name="f")})
    found = diagnose(child_facts(at=host(tables=(native,))))
    assert found[0].lines[0].text == "nft insert rule inet fw f ip saddr 10.1.1.0/24 ip daddr 10.1.2.0/24 accept"
