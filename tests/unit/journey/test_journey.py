"""The order of events for one packet, told from the kernel's tables: each fault shows at its step."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.journey.gateways import (
    FAR,
    IF_ID,
    LAN,
    NEAR,
    OUR,
    PEER,
    TUNNEL,
    WAN,
    A,
    B,
    Gateway,
    policies,
    sas,
    syn,
    template,
)
from xfrmctl.journey.lookup import find_policy
from xfrmctl.journey.report import Report, both_ways
from xfrmctl.journey.steps import Journey, Outcome, Step
from xfrmctl.model.flow import Port, port
from xfrmctl.model.observed import Defaults, ObservedDevice, ObservedPolicy, ObservedTunnel
from xfrmctl.model.plane import Mark
from xfrmctl.model.sa import Direction
from xfrmctl.netfilter.nft import NftChain, NftRule, NftRuleSet
from xfrmctl.netfilter.packet import ICMP, Packet


def report(gateway: Gateway, packet: Packet | None = None) -> Report:
    return both_ways(gateway, packet or syn())


def rules(table: str, *lines: str) -> str:
    """One table: chains with their policies, then rules."""
    chains = [f":{line} [0:0]" for line in lines if not line.startswith(("[", "-A"))]
    return "\n".join([f"*{table}", *chains, *(line for line in lines if line.startswith(("[", "-A"))), "COMMIT", ""])


def wheres(journey: Journey) -> list[str]:
    return [step.where for step in journey.steps]


def step(journey: Journey, where: str) -> Step:
    return next(s for s in journey.steps if s.where.startswith(where))


# ---- a healthy tunnel --------------------------------------------------------------------------------------------


def test_the_order_of_events_through_a_tunnel() -> None:
    found = report(Gateway(), syn(length=60, mss=1406))
    there, back = found.there.journey, found.back.journey
    assert not found.dropped and there.depends == () == back.depends
    assert wheres(there) == [
        "arrival",
        "PREROUTING",
        "route",
        "policy check (fwd)",
        "policy lookup (out)",
        "MTU",
        "FORWARD",
        "POSTROUTING",
        "MSS",
        "SA lookup",
        "encapsulation",
        "route of the ESP packet",
        "OUTPUT (the ESP packet)",
        "POSTROUTING (the ESP packet)",
        "wire",
        "at the peer",
    ]
    assert wheres(back) == [
        "arrival",
        "wire",
        "PREROUTING (the ESP packet)",
        "route of the ESP packet",
        "INPUT (the ESP packet)",
        "SA lookup (in)",
        "PREROUTING",
        "route",
        "policy check (fwd)",
        "policy lookup (out)",
        "MTU",
        "FORWARD",
        "POSTROUTING",
        "wire",
    ]
    assert there.end == "leaves by wan as 172.16.1.1 > 172.16.2.1, protocol 50, 116 bytes"
    assert back.end == "leaves by lan in clear"


def test_sizes() -> None:
    there = report(Gateway(), syn(length=60)).there.journey
    assert "packets of up to 1446 bytes go on" in step(there, "MTU").text
    assert "MSS of 1406" in step(there, "MTU").text
    assert "60 bytes become 116; at most 1446 fit the path of 1500 uncut, MSS 1406" in step(there, "encapsulation").text
    udp = report(Gateway(sas=sas(encap=True), mtus={str(PEER): 1400}), syn(length=60)).there.journey
    assert (
        "ESP in UDP" in step(udp, "encapsulation").text and "at most 1338 fit the path of 1400" in step(udp, "enc").text
    )
    large = report(Gateway(), syn(length=1500)).there.journey
    assert "1500 bytes are more than 1446: frag-needed" in step(large, "MTU").text


def test_an_mss_that_is_too_large_for_the_tunnel_is_unsure() -> None:
    there = report(Gateway()).there.journey
    assert step(there, "MSS").outcome is Outcome.UNSURE and "1460 is told" in step(there, "MSS").text
    clamp = rules(
        "mangle",
        "FORWARD ACCEPT",
        "[3:180] -A FORWARD -p tcp -m policy --dir out --pol ipsec -j TCPMSS --set-mss 1406",
    )
    clamped = report(Gateway(iptables=clamp)).there.journey
    assert step(clamped, "MSS").outcome is Outcome.PASS
    assert step(clamped, "FORWARD, mangle").outcome is Outcome.CHANGE
    assert "[3:180] -t mangle -A FORWARD" in step(clamped, "FORWARD, mangle").evidence[0]


def test_every_step_about_the_kernel_has_its_answer() -> None:
    there = report(Gateway()).there.journey
    assert step(there, "arrival").evidence == ("ip route get 10.1.1.10: unicast dev lan",)
    assert step(there, "route").evidence == ("ip route get 10.1.2.10 from 10.1.1.10 iif lan: unicast dev wan",)
    assert (
        "src 10.1.1.0/24 dst 10.1.2.0/24 dir out priority 100 tmpl src 172.16.1.1"
        in step(there, "policy lookup").evidence[0]
    )
    assert "spi 0x00001001" in step(there, "SA lookup").evidence[0]
    assert step(there, "at the peer").evidence[0].startswith("there: dir fwd (or in) src 10.1.1.10 dst 10.1.2.10")


# ---- policies and SAs --------------------------------------------------------------------------------------------


def test_no_policy_means_in_clear_and_names_those_that_nearly_fit() -> None:
    there = report(Gateway(), syn(A, ip_address("10.1.3.1"))).there.journey
    assert there.end == "leaves by wan in clear"
    assert step(there, "policy lookup (out)").evidence[0].startswith("misses it: src 10.1.1.0/24 dst 10.1.2.0/24")


def test_no_sa_is_an_acquire_and_names_those_that_nearly_fit() -> None:
    other = [replace(sa, reqid=7) for sa in sas()]
    there = report(Gateway(sas=other)).there.journey
    assert there.dropped and "asks IKE for one (acquire)" in there.end
    assert any(e.startswith("does not fit: src 172.16.1.1") for e in step(there, "SA lookup").evidence)


def test_the_newest_sa_carries_it() -> None:
    fresh = replace(sas()[0], spi=0x2002, added_at=5)
    assert "SPI 0x00002002" in step(report(Gateway(sas=[*sas(), fresh])).there.journey, "SA lookup").text


def test_a_block_policy_of_the_better_priority() -> None:
    block = ObservedPolicy(direction=Direction.OUT, source=NEAR, destination=FAR, priority=1, block=True)
    there = report(Gateway(policies=[*policies(), block])).there.journey
    assert there.dropped and "XfrmOutPolBlock" in there.end


def test_the_lowest_priority_wins_and_then_the_oldest() -> None:
    one, two = policies()[0], replace(policies()[0], priority=50, place=9)
    same = replace(two, place=3, index=77)
    assert find_policy([one, two, same], Direction.OUT, syn()) == (same, ())


def test_selectors_with_ports_and_marks() -> None:
    narrow = replace(policies()[0], priority=1, protocol=6, destination_port=port(443))
    assert find_policy([narrow], Direction.OUT, syn())[0] is narrow
    assert find_policy([narrow], Direction.OUT, syn(destination_port=80))[0] is None
    blind, depends = find_policy([narrow, policies()[0]], Direction.OUT, syn(destination_port=None))
    assert blind == policies()[0] and "ports or mark were not given" in depends[0]
    marked = replace(policies()[0], mark=Mark(5, 0xFF))
    assert find_policy([marked], Direction.OUT, syn(mark=0x105))[0] is marked
    assert find_policy([marked], Direction.OUT, syn())[0] is None
    echo = replace(policies()[0], protocol=ICMP, source_port=Port(8, 0xFFFF), destination_port=Port())
    assert find_policy([echo], Direction.OUT, syn(protocol=ICMP, icmp_type=8, icmp_code=0))[0] is echo
    assert find_policy([echo], Direction.OUT, syn(protocol=ICMP, icmp_type=0, icmp_code=0))[0] is None


def test_what_must_come_encrypted_and_came_in_clear() -> None:
    """A host behind the gateway that speaks in the peer's name: the route says lan, the policy wants ESP."""
    spoofed = replace(syn(ip_address("10.1.2.10"), A))
    there = report(Gateway(sas=[]), spoofed).there.journey
    assert there.dropped and "no inbound SA fits the policy" in there.end


def test_defaults_that_block() -> None:
    gateway = Gateway(policies=[], defaults=Defaults(block_out=True))
    assert "the default is to block" in report(gateway).there.journey.end
    gateway = Gateway(policies=[], defaults=Defaults(block_forward=True))
    assert "XfrmInNoPols" in report(gateway).there.journey.end


def test_a_decrypted_packet_without_a_fwd_policy() -> None:
    without = [p for p in policies() if p.direction is not Direction.FWD]
    back = report(Gateway(policies=without)).back.journey
    assert back.dropped and "XfrmInNoPols" in back.end


def test_transport_mode_to_the_peer_itself() -> None:
    near, far = ip_network("172.16.1.1/32"), ip_network("172.16.2.1/32")
    held = [
        replace(
            p, templates=(template(*((OUR, PEER) if p.direction is Direction.OUT else (PEER, OUR)), mode="transport"),)
        )
        for p in policies(near, far)
    ]
    found = report(Gateway(policies=held, sas=[replace(sa, mode="transport") for sa in sas()]), syn(OUR, PEER))
    assert not found.dropped
    assert wheres(found.there.journey)[:4] == ["origin", "route", "policy lookup (out)", "OUTPUT"]
    assert wheres(found.back.journey)[-3:] == ["INPUT", "policy check (in)", "delivery"]


# ---- routes ------------------------------------------------------------------------------------------------------


def test_forwarding_that_is_off() -> None:
    there = report(Gateway(sysctls={"net.ipv4.conf.lan.forwarding": "0"})).there.journey
    assert there.dropped and "lan does not forward: net.ipv4.conf.lan.forwarding is 0" in there.end


def test_no_route() -> None:
    there = report(Gateway(routes={"10.1.1.0/24": "lan"})).there.journey
    assert there.dropped and "there is no way: ENETUNREACH" in there.end


def test_rp_filter_drops_what_came_by_another_device_and_never_what_was_decrypted() -> None:
    gateway = Gateway(
        routes={"10.1.1.0/24": "lan", "172.16.0.0/12": "wan", "10.1.2.0/24": "lan"},
        sysctls={"net.ipv4.conf.wan.rp_filter": "1"},
    )
    back = report(gateway, syn()).back.journey
    assert not back.dropped and "not asked of packets that were decrypted" in step(back, "rp_filter").text


def test_a_way_to_the_peer_through_its_own_tunnel() -> None:
    gateway = Gateway(
        devices={"lan": LAN, "wan": WAN, "ipsec0": TUNNEL},
        policies=policies(if_id=IF_ID),
        sas=sas(if_id=IF_ID),
        routes={"10.1.1.0/24": "lan", "10.1.2.0/24": "ipsec0", "172.16.0.0/12": "ipsec0"},
    )
    there = report(gateway).there.journey
    assert there.dropped and "round in circles" in there.end


def test_an_xfrm_interface() -> None:
    gateway = Gateway(
        devices={"lan": LAN, "wan": WAN, "ipsec0": TUNNEL},
        policies=policies(if_id=IF_ID),
        sas=sas(if_id=IF_ID),
        routes={"10.1.1.0/24": "lan", "10.1.2.0/24": "ipsec0", "0.0.0.0/0": "wan"},
    )
    found = report(gateway)
    there, back = found.there.journey, found.back.journey
    assert not found.dropped and "ipsec0 (xfrm interface)" in wheres(there)
    assert "POSTROUTING (again, behind the interface)" in wheres(there)
    assert "arrives by wan" in step(back, "wire").text
    assert "sends nothing in clear" in report(replace(gateway, policies=[])).there.journey.end


# ---- netfilter ---------------------------------------------------------------------------------------------------

MASQUERADE = (
    "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n[9:540] -A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n"
)


def test_nat_before_the_policy_takes_a_packet_out_of_its_tunnel() -> None:
    found = report(Gateway(iptables=MASQUERADE))
    there = found.there.journey
    assert there.end == "leaves by wan in clear"
    assert "source 10.1.1.10 becomes 172.16.1.1" in step(there, "POSTROUTING, nat").text
    assert any("the translation has taken it from the policy" in s.text for s in there.steps)
    assert found.there.packet is not None and found.there.packet.source == OUR
    back = found.back.journey
    assert "the translation is taken back" in step(back, "PREROUTING, connection tracking").text
    assert back.end == "leaves by lan in clear"


def test_an_exception_before_the_masquerade_keeps_it_in_the_tunnel() -> None:
    spared = MASQUERADE.replace("[9:540]", "[0:0] -A POSTROUTING -m policy --dir out --pol ipsec -j ACCEPT\n[9:540]")
    there = report(Gateway(iptables=spared)).there.journey
    assert there.end.startswith("leaves by wan as 172.16.1.1 > 172.16.2.1, protocol 50")


def test_a_rule_of_forward_that_drops_is_quoted_with_its_counters() -> None:
    text = rules(
        "filter",
        "FORWARD ACCEPT",
        "[42:2520] -A FORWARD -d 10.1.2.0/24 -j DROP",
    )
    there = report(Gateway(iptables=text)).there.journey
    assert there.dropped and there.steps[-1].where == "FORWARD, filter"
    assert there.steps[-1].evidence == ("iptables: [42:2520] -t filter -A FORWARD -d 10.1.2.0/24 -j DROP — DROP",)


def test_a_policy_of_drop_with_the_usual_rules_lets_the_answer_pass_only() -> None:
    text = rules(
        "filter",
        "FORWARD DROP",
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    )
    found = report(Gateway(iptables=text))
    assert found.there.journey.dropped and "the policy of FORWARD is DROP" in found.there.journey.end
    assert not found.back.journey.dropped


def test_input_that_drops_esp() -> None:
    text = rules(
        "filter",
        "INPUT DROP",
        "-A INPUT -p udp -m multiport --dports 500,4500 -j ACCEPT",
    )
    assert "INPUT (the ESP packet), filter" in report(Gateway(iptables=text)).back.journey.end
    assert not report(Gateway(iptables=text, sas=sas(encap=True))).back.journey.dropped, "in UDP it passes"


def test_what_depends_is_told() -> None:
    text = rules(
        "filter",
        "FORWARD DROP",
        "-A FORWARD -m limit --limit 5/sec -j ACCEPT",
    )
    there = report(Gateway(iptables=text)).there.journey
    assert there.dropped and any("--limit 5/sec" in d for d in there.depends)


def test_sets_are_asked() -> None:
    text = rules(
        "filter",
        "FORWARD ACCEPT",
        "-A FORWARD -m set --match-set bad src,dst -j DROP",
    )
    gateway = Gateway(iptables=text, sets={"bad": {"10.1.1.10,10.1.2.10"}})
    assert report(gateway).there.journey.dropped and gateway.asked == ["bad", "bad"]
    assert not report(Gateway(iptables=text, sets={"bad": set()})).there.journey.dropped


def test_a_destination_that_is_translated_is_routed_anew() -> None:
    text = rules(
        "nat",
        "PREROUTING ACCEPT",
        "-A PREROUTING -d 10.1.1.1/32 -p tcp -m tcp --dport 443 -j DNAT --to-destination 10.1.2.10:8443",
    )
    found = report(Gateway(iptables=text), syn(destination=ip_address("10.1.1.1")))
    assert found.there.packet is not None and (found.there.packet.destination, found.there.packet.destination_port) == (
        B,
        8443,
    )
    assert found.there.journey.end.startswith("leaves by wan as 172.16.1.1")
    back = step(found.back.journey, "POSTROUTING, connection tracking").text
    assert "source 10.1.2.10:8443 becomes 10.1.1.1:443" in back


def test_a_mark_changes_the_way_of_the_gateways_own_packets() -> None:
    text = rules(
        "mangle",
        "OUTPUT ACCEPT",
        "-A OUTPUT -p tcp -j MARK --set-xmark 0x7/0xffffffff",
    )
    there = report(Gateway(iptables=text), syn(ip_address("10.1.1.1"))).there.journey
    assert "netfilter has changed the packet" in [s.text for s in there.steps if s.where == "route"][1]


def test_chains_of_nf_tables_are_judged_between_those_of_iptables() -> None:
    fw = ("inet", "fw", "fwd")
    drop = NftRule(
        fw, 4, ({"match": {"left": {"meta": {"key": "mark"}}, "right": 7}}, {"drop": None}), "meta mark 7 drop"
    )
    limit = NftRule(fw, 5, ({"limit": {"rate": 5}}, {"accept": None}), "limit rate 5/second accept")
    marks = rules("mangle", "FORWARD ACCEPT", "-A FORWARD -j MARK --set-xmark 0x7/0xffffffff")
    for priority, dropped in ((-200, False), (-100, True)):
        native = NftRuleSet({fw: NftChain(fw, "forward", priority, "filter", "accept", [drop])})
        there = report(Gateway(native=native, iptables=marks)).there.journey
        assert there.dropped is dropped, "the mark is set at -150"
    assert there.end == "dropped at FORWARD, fw fwd: the rule meta mark 7 drop: drop"
    native = NftRuleSet({fw: NftChain(fw, "forward", 0, "filter", "drop", [limit])})
    unsure = report(Gateway(native=native)).there.journey
    assert unsure.dropped and any("limit rate 5/second" in d for d in unsure.depends)


@pytest.mark.parametrize("protocol", [ICMP, 47])
def test_other_protocols(protocol: int) -> None:
    ping = syn(
        protocol=protocol, destination_port=None, tcp_flags=None, mss=None, icmp_type=8 if protocol == ICMP else None
    )
    found = report(Gateway(), ping)
    assert not found.dropped and found.back.packet is not None
    assert found.back.packet.icmp_type == (0 if protocol == ICMP else None)


GRE = ObservedDevice(
    name="gre1", index=5, mtu=1400, up=True, kind="gre", tunnel=ObservedTunnel(OUR, PEER, 47, 8)
)  # fmt: skip


def said(journey: Journey) -> str:
    return "\n".join(f"{step.where}: {step.text}" for step in journey.steps)


def over_gre(**more: Any) -> Gateway:
    """10.1.2.0/24 is behind a GRE device with a key, over transport mode."""
    transport = template(mode="transport")
    out = ObservedPolicy(
        direction=Direction.OUT, source=ip_network(OUR), destination=ip_network(PEER), protocol=47, priority=9,
        templates=(transport,),
    )  # fmt: skip
    back = replace(out, direction=Direction.IN, source=out.destination, destination=out.source,
                   templates=(template(PEER, OUR, mode="transport"),))  # fmt: skip
    usual: dict[str, Any] = {
        "policies": [out, back],
        "sas": [replace(sa, mode="transport") for sa in sas()],
        "devices": {"lan": LAN, "wan": WAN, "gre1": GRE},
        "routes": {"10.1.1.0/24": "lan", "10.1.2.0/24": "gre1", "0.0.0.0/0": "wan"},
    }
    return Gateway(**usual | more)


def test_a_gre_device_puts_a_packet_into_one_of_the_gateways_own() -> None:
    found = both_ways(over_gre(), syn(length=60))
    order = wheres(found.there.journey)
    for earlier, later in pairwise(("policy lookup (out)", "gre1", "SA lookup", "wire")):
        assert order.index(earlier) < order.index(later)
    assert order.count("policy lookup (out)") == 2, "once for the packet itself, once for GRE"
    text = said(found.there.journey)
    assert "60 bytes become 88" in text and "1360 fit the MTU of gre1" in text
    assert not found.dropped and "protocol 50" in found.there.journey.end
    back = said(found.back.journey)
    assert "policy check (in)" in back and "taken out of GRE" in back and "comes in by gre1" in back


def test_gre_that_must_come_encrypted_and_has_no_sa() -> None:
    found = both_ways(over_gre(sas=[]), syn())
    assert found.there.journey.dropped and "SA lookup" in found.there.journey.end
    assert found.back.journey.dropped and "SA lookup (in)" in found.back.journey.end


def test_a_gre_device_whose_peer_is_behind_itself() -> None:
    routes = {"10.1.1.0/24": "lan", "10.1.2.0/24": "gre1", "172.16.2.1/32": "gre1", "0.0.0.0/0": "wan"}
    found = both_ways(over_gre(routes=routes), syn())
    assert "round in circles" in found.there.journey.end


def test_gre_without_policies_is_in_clear() -> None:
    found = both_ways(over_gre(policies=[]), syn())
    assert "in clear" in found.there.journey.end
    assert "in GRE, in clear" in said(found.back.journey)
