"""What changed between two points: each fault made with scapy, and no finding where nothing was changed."""

from collections.abc import Iterable
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, fragment
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6

from tests.unit.trace.captures import CLIENT, SERVER, answer, data, frag_needed, ip, point, syn, syn_ack
from xfrmctl.pmtu.overhead import packet_size
from xfrmctl.pmtu.spelling import parse_suite
from xfrmctl.trace.comparison import Comparison, compare
from xfrmctl.trace.findings import Finding, Severity
from xfrmctl.trace.pairs import Side, pair_up


def between(a: Iterable[Any], b: Iterable[Any], suite: str = "", begin: float = 500.0) -> Comparison:
    """Two points, whose clocks are minutes apart."""
    return compare(point(a, "A", 9.0), point(b, "B", begin), parse_suite(suite) if suite else None)


def only(found: Comparison, code: str) -> Finding:
    (finding,) = (f for f in found.findings if f.code == code)
    return finding


def codes(found: Comparison) -> list[str]:
    return [f.code for f in found.findings if f.severity is not Severity.NOTE]


def hops(packets: Iterable[Any], number: int) -> list[Any]:
    """The packets as they are that many routers further on."""
    found = []
    for packet in packets:
        moved = packet.copy()
        moved.ttl -= number
        del moved.chksum
        found.append(moved)
    return found


HANDSHAKE = [syn(), syn_ack(), data(0)]
TRANSFER = [*HANDSHAKE, data(1400, seq=1001), answer(0, ack=2401), data(1400, seq=2401), answer(900, ack=3801)]


def moved(packets: list[Any]) -> list[Any]:
    """The other point: what the client sends has passed one router more, what the server sends one less."""
    return [hops([p], 1 if p.src == CLIENT else -1)[0] for p in packets]


AT_A = [hops([p], 2)[0] if p.src == SERVER else p for p in TRANSFER]


# ---- healthy -----------------------------------------------------------------------------------------------------


def test_nothing_changed_is_no_finding_but_the_routers_between() -> None:
    found = between(AT_A, moved(AT_A))
    assert not found.changed and found.pairs == 1
    (note,) = found.findings
    assert note.code == "routers-between" and note.values == {"there": 1, "back": 1}
    assert "A is nearer to the clients" in note.details[0]


def test_the_order_of_the_points_does_not_matter() -> None:
    found = between(moved(AT_A), AT_A)
    assert not found.changed and "B is nearer to the clients" in found.findings[0].details[0]


def test_a_capture_that_ends_early_has_lost_nothing() -> None:
    assert not between(AT_A, moved(AT_A)[:4]).changed
    assert not between(AT_A, moved(AT_A)[3:]).changed, "nor one that begins late"


def test_empty_captures() -> None:
    assert between([], []).findings == ()


def test_ports_that_are_used_again_are_another_connection() -> None:
    again = [syn(isn=77), syn_ack(isn=88, ack=78)]
    found = pair_up(point([*TRANSFER, *again]), point([*again]))
    assert len(found.pairs) == 1 and len(found.alone[Side.A]) == 1
    assert found.pairs[0].isns(True) == (77, 77)


# ---- MSS ---------------------------------------------------------------------------------------------------------


def clamped(to: int | None, *, both: bool = False) -> list[Any]:
    return [syn(to, ttl=63), syn_ack(to if both else 1460, ttl=63), *moved(AT_A)[2:]]


def test_a_lowered_mss_and_whose_arithmetic_it_is() -> None:
    found = between([syn(), *AT_A[1:]], clamped(1406))
    mss = only(found, "mss-rewritten")
    assert mss.title == "MSS of the SYN lowered between A and B: 1460 becomes 1406"
    assert mss.values == {"version": 4, "from": 1460, "to": 1406, "opening": "SYN"}
    assert mss.fits[0].text == "ESP aes256gcm16, outer IPv4, path MTU 1500 (Ethernet)"
    assert [(e.side, e.number) for e in mss.evidence] == [(Side.A, 1), (Side.B, 1)]
    assert any("1 router between the points, and that one wrote it" in d for d in mss.details)
    assert any("SYN-ACK keeps 1460: only one direction is clamped" in d for d in mss.details)
    assert found.changed and codes(found) == ["mss-rewritten"]


def test_a_clamp_in_both_directions_is_two_findings_each_in_its_direction() -> None:
    a = [syn(1460), syn_ack(1360, ttl=62), *AT_A[2:]]
    b = [syn(1360, ttl=63), syn_ack(1460, ttl=63), *moved(AT_A)[2:]]
    found = between(a, b)
    titles = [f.title for f in found.findings if f.code == "mss-rewritten"]
    assert titles == [
        "MSS of the SYN lowered between A and B: 1460 becomes 1360",
        "MSS of the SYN-ACK lowered between B and A: 1460 becomes 1360",
    ]
    assert not any("only one direction" in d for f in found.findings for d in f.details)


@pytest.mark.parametrize(
    ("mss", "said"),
    [
        (1380, "Cisco ASA"),
        (1380, "WireGuard"),
        (1360, "Cisco IOS"),
        (1452, "PPPoE"),
        (1436, "GRE tunnel over a path of 1500"),
        (1398, "ESP aes256gcm16, outer IPv4, in UDP (NAT traversal), path MTU 1500"),
        (1386, "ESP aes256gcm16, outer IPv6, path MTU 1500"),
        (1306, "ESP aes256gcm16, outer IPv4, path MTU 1400"),
        (1382, "ESP aes256-sha512, outer IPv4, path MTU 1500"),
        (536, "missing option"),
    ],
)
def test_what_an_mss_comes_from(mss: int, said: str) -> None:
    fits = only(between([syn(), *AT_A[1:]], clamped(mss)), "mss-rewritten").fits
    assert any(said in fit.text for fit in fits)


def test_a_known_suite_names_every_path_that_gives_the_mss() -> None:
    fits = only(between([syn(), *AT_A[1:]], clamped(1326), suite="aes256gcm16"), "mss-rewritten").fits
    assert fits[0].text == "ESP aes256gcm16, outer IPv4, path MTU 1420-1423"
    nobody = only(between([syn(), *AT_A[1:]], clamped(1327), suite="aes256gcm16"), "mss-rewritten").fits
    assert nobody == (), "no multiple of four bytes leaves this"


def test_removed_added_and_raised() -> None:
    removed = only(between([syn(), *AT_A[1:]], clamped(None)), "mss-rewritten")
    assert "removed" in removed.title and any("536" in d for d in removed.details)
    added = only(between([syn(None), *AT_A[1:]], clamped(536)), "mss-rewritten")
    assert "added" in added.title and added.values["to"] == 536
    raised = only(between([syn(1300), *AT_A[1:]], clamped(1460)), "mss-rewritten")
    assert "raised" in raised.title and any("No clamp raises" in d for d in raised.details)


def test_many_connections_with_one_change_are_one_finding() -> None:
    a = [syn(port=40000 + n, isn=n) for n in range(20)]
    b = [syn(1360, port=40000 + n, isn=n, ttl=63) for n in range(20)]
    assert only(between(a, b), "mss-rewritten").count == 20


# ---- who writes anew ---------------------------------------------------------------------------------------------


def test_a_transparent_proxy() -> None:
    proxied = [
        syn(isn=70000, ttl=64, options=[("WScale", 9)]),
        syn_ack(ack=70001, ttl=60),
        data(0, seq=70001),
        data(700, seq=70001),
        data(700, seq=70701),
    ]
    found = between([syn(), syn_ack(isn=5), *AT_A[2:]], proxied)
    proxy = only(found, "tcp-proxy")
    assert any("options of the SYN are others" in d for d in proxy.details)
    assert any("cut into other segments" in d for d in proxy.details)
    assert any("begins with 70000" in e.text for e in proxy.evidence)


def test_a_firewall_that_randomises_sequence_numbers_is_no_proxy() -> None:
    b = moved(AT_A)
    for packet in b:
        field = "seq" if packet.src == CLIENT else "ack"
        if packet[TCP].flags != "S" or field == "seq":
            setattr(packet[TCP], field, getattr(packet[TCP], field) + 0x10000)
    found = between(AT_A, b)
    assert codes(found) == ["sequence-numbers-rewritten"]
    assert any("Cisco ASA" in d for d in only(found, "sequence-numbers-rewritten").details)


def test_nat_is_found_by_the_sequence_number() -> None:
    outside = [syn(source="172.16.1.1", port=61000, ttl=63), syn_ack(destination="172.16.1.1", port=61000, ttl=63)]
    nat = only(between(AT_A[:2], outside), "address-translated")
    assert nat.values == {"role": "source", "from": "10.1.1.10:40000", "to": "172.16.1.1:61000"}


def test_options_that_a_firewall_strips() -> None:
    b = [syn(options=[("SAckOK", b"")], ttl=63), *moved(AT_A)[1:]]
    stripped = only(between(AT_A, b), "options-changed")
    assert "timestamps, window scale removed" in stripped.title


def test_df_cleared() -> None:
    b = moved(AT_A)
    for packet in b[3:6:2]:
        packet.flags = ""
    cleared = only(between(AT_A, b), "df-cleared")
    assert cleared.count == 2 and cleared.evidence[0].text.endswith("with DF")


def test_a_reset_that_its_sender_did_not_send() -> None:
    forged = answer(0, flags="RA", ttl=63)
    reset = only(between([*AT_A, forged], moved(AT_A)), "foreign-reset")
    assert str(SERVER) in reset.title and "1 router away from A" in reset.details[1]
    assert reset.evidence[0].number == len(AT_A) + 1


def test_one_capture_of_both_sides_of_a_router_shows_no_foreign_reset() -> None:
    """As tcpdump -i any does: every packet twice, before and behind the router."""
    reset = answer(0, flags="RA", ttl=62)
    both = [twice for p in [*AT_A, reset] for twice in (p, hops([p], 1)[0])]
    assert not [f for f in between(both, moved(AT_A)).findings if f.code == "foreign-reset"]


# ---- loss, ICMP, fragments ---------------------------------------------------------------------------------------


def test_a_black_hole_and_the_path_mtu_in_it() -> None:
    large = [data(1460, seq=1301), data(1460, seq=1301), data(1460, seq=1301)]
    a = [*AT_A[:3], data(300, seq=1001), *large]
    hole = only(between(a, moved(a)[:4]), "large-packets-lost")
    assert hole.severity is Severity.FAULT and hole.count == 3
    assert hole.values == {"smallest_lost": 1500, "largest_arrived": 340}
    assert "the path MTU is from 340 to 1499 bytes" in hole.details[1]


def test_losses_of_every_size_are_no_black_hole() -> None:
    a = [*AT_A[:3], data(100, seq=1001), data(1400, seq=1101), data(1400, seq=2501)]
    b = moved(a)
    found = between(a, b[:3] + b[4:])
    assert codes(found) == ["packets-lost"] and only(found, "packets-lost").values["smallest_lost"] == 140


def test_a_host_with_offload_has_lost_nothing() -> None:
    a = [*AT_A[:3], data(2800, seq=1001)]
    found = between(a, [*moved(a)[:3], data(1400, seq=1001, ttl=63), data(1400, seq=2401, ttl=63)])
    assert codes(found) == []
    offload = only(found, "offload")
    assert offload.values["largest"] == 2840 and "A shows segments larger than the MSS" in offload.title
    assert any("ethtool -K" in d for d in offload.details)


def test_a_segment_just_above_the_mss_is_no_offload() -> None:
    found = between([syn(), syn_ack(1300, ttl=62), data(1400)], [])
    assert only(found, "mss-exceeded").severity is Severity.NOTE


@pytest.mark.rfc("1191", "4")
def test_frag_needed_who_sent_it_and_what_it_implies() -> None:
    large = data(1460)
    a = [*AT_A[:3], large, frag_needed(large, 1446, ttl=63)]
    message = only(between(a, moved(a)[:3]), "frag-needed")
    assert message.severity is Severity.NOTE and message.values["mtu"] == 1446
    assert any(
        "1 router away from that point, router 2 of the 2 from there to 10.1.2.10." in d for d in message.details
    )
    assert message.fits[0].text == "ESP aes256gcm16, outer IPv4, path MTU 1500 (Ethernet)"
    assert not any("forged" in d for d in message.details)


def test_frag_needed_that_never_comes_back_to_its_host() -> None:
    large = data(1460, ttl=63)
    a = [*AT_A[:3], data(1460), data(1460)]
    b = [*moved(a)[:3], large, frag_needed(large, 1400, ttl=64), large]
    lost = only(between(a, b), "frag-needed-lost")
    assert lost.severity is Severity.FAULT and "seen at B and never at A" in lost.title
    assert any("drops ICMP" in d for d in lost.details)


def test_frag_needed_that_its_host_does_not_heed() -> None:
    large = data(1460)
    later = [data(1460) for _ in range(150)]
    found = between([*AT_A[:3], large, frag_needed(large, 1400, ttl=63), *later], [])
    assert only(found, "frag-needed-ignored").severity is Severity.FAULT
    at_once = between([*AT_A[:3], large, frag_needed(large, 1400, ttl=63), data(1460)], [])
    assert only(at_once, "frag-needed"), "what was under way is forgiven"


def test_a_frag_needed_that_cannot_be_true_is_called_so() -> None:
    small = data(500)
    fits = only(between([*AT_A[:3], small, frag_needed(small, 1400)], []), "frag-needed")
    assert any("which fit 1400: forged" in d for d in fits.details)
    never = only(between([*AT_A[:3], frag_needed(data(1460, port=1), 552)], []), "frag-needed")
    assert any("is not at A" in d for d in never.details)
    zero = only(between([data(1460), frag_needed(data(1460), 0)], []), "frag-needed")
    assert any("before RFC 1191" in d for d in zero.details)
    stranger = frag_needed(data(1460, source="10.9.9.9"), 1400)
    stranger.dst = CLIENT
    odd = only(between([stranger], []), "frag-needed")
    assert any("is sent to 10.1.1.10: forged" in d for d in odd.details)


def test_frag_needed_about_esp_is_about_the_outside() -> None:
    esp = IP(src="172.16.1.1", dst="172.16.2.1", proto=50, flags="DF") / bytes.fromhex("0000100100000007") / bytes(1400)
    found = only(between([esp, frag_needed(esp, 1400)], []), "frag-needed")
    assert found.fits == () and any("outside the tunnel" in d for d in found.details)


@pytest.mark.rfc("4443", "3.2")
def test_packet_too_big() -> None:
    quoted = IPv6(src="fd01::1", dst="fd02::1") / TCP(sport=1, dport=2) / bytes(1400)
    message = IPv6(src="fd09::1", dst="fd01::1", hlim=63) / ICMPv6PacketTooBig(mtu=1426) / bytes(quoted)[:1200]
    found = only(between([quoted, message], []), "frag-needed")
    assert found.values["mtu"] == 1426 and any("outer IPv6, path MTU 1500" in f.text for f in found.fits)


def parts(identification: int = 7) -> list[Any]:
    whole = ip(flags="", id=identification) / TCP(sport=40000, dport=443, seq=1001) / bytes(2000)
    return list(fragment(whole, 1400))


def test_packets_that_are_cut_between_the_points() -> None:
    whole = ip(flags="", id=7) / TCP(sport=40000, dport=443, seq=1001, flags="A") / bytes(2000)
    found = between([whole], hops(parts(), 1))
    cut = only(found, "fragmented-between")
    assert "between A and B" in cut.title and cut.values["largest"] == 1420 and "1420 to 1427" in cut.details[0]
    sender = only(between(parts(), hops(parts(), 1)), "fragments")
    assert sender.severity is Severity.NOTE


def test_later_fragments_that_a_firewall_drops() -> None:
    lost = only(between([*parts(7), *parts(8)], hops([parts(7)[0], parts(8)[0]], 1)), "fragments-lost")
    assert lost.count == 2 and "the first parts arrive" in lost.details[0] and "between A and B" in lost.title


# ---- tunnels -----------------------------------------------------------------------------------------------------


def encrypted(packets: Iterable[Any], suite: str) -> list[Any]:
    """ESP of the sizes that a suite makes."""
    found = []
    for packet in packets:
        size = packet_size(len(bytes(packet)), parse_suite(suite), 4, False)
        header = IP(src="172.16.1.1", dst="172.16.2.1", proto=50, flags="DF")
        found.append(header / bytes.fromhex("0000100100000007") / bytes(size - 28))
    return found


@pytest.mark.parametrize("suite", ["aes256gcm16", "aes256-sha256", "aes128-sha1"])
def test_a_suite_is_known_by_the_sizes_that_it_makes(suite: str) -> None:
    plain = [*AT_A[:3], *(data(size, seq=1001) for size in (1, 30, 77, 140, 1000, 1317))]
    tunnel = only(between(plain, encrypted(plain, suite)), "encrypted")
    assert tunnel.values["suites"] == suite and not between(plain, encrypted(plain, suite)).changed


def test_connections_that_never_arrive() -> None:
    missing = only(between([syn(), syn()], []), "connection-missing")
    assert missing.severity is Severity.FAULT and "1 of them has no answer" in missing.details[0]
    assert only(between(AT_A, []), "connection-missing").severity is Severity.NOTE


def test_a_flood_of_forged_messages_is_bounded() -> None:
    flood = [frag_needed(data(1460), mtu) for mtu in range(1000, 1120)]
    found = between(flood, flood)
    assert sum(f.code == "frag-needed" for f in found.findings) == 50
    assert only(found, "more").title == "More of the kind frag-needed than 50: left out"


def test_many_connections_take_linear_time() -> None:
    """Each of a thousand SYNs on the same ports is another connection; none of them has a partner of its number."""
    a = [syn(isn=n) for n in range(1000)]
    b = [syn(isn=100_000 + n, ttl=63) for n in range(1000)]
    assert between(a, b).pairs == 1000
