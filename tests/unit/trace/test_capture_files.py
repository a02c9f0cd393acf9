"""Capture files of every kind are read; damaged ones are named with their offset and never end in a traceback."""

import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE

from tests.unit.trace.captures import CLIENT, SERVER, answer, block, data, ethernet, frag_needed, pcapng, raw, syn
from xfrmctl.trace.files import CaptureError, records
from xfrmctl.trace.headers import COOKED, COOKED_2, ETHERNET, IPV6, RAW, read
from xfrmctl.trace.packets import Fragment, Point, Seen


def reading(content: bytes, **options: int) -> Point:
    return read("a.pcap", BytesIO(content), **options)


def only(content: bytes) -> Seen:
    point = reading(content)
    assert point.damage == ""
    (found,) = point.packets
    return found


# ---- formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_pcap_in_both_byte_orders_and_resolutions(order: str, magic: int) -> None:
    point = reading(raw([syn(), data(10)], order=order, magic=magic, begin=5.0))
    assert [p.number for p in point.packets] == [1, 2]
    assert [round(p.at, 3) for p in point.packets] == [5.0, 5.01]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_several_interfaces_with_link_types_of_their_own(order: str) -> None:
    frames = [(1, bytes(Ether() / syn())), (0, bytes(data(10))), (1, bytes(Ether() / answer(20)))]
    point = reading(pcapng(frames, (RAW, ETHERNET), order, resolution=3))
    assert [(p.number, p.tcp.payload) for p in point.packets if p.tcp] == [(1, 0), (2, 10), (3, 20)]
    assert [p.at for p in point.packets] == [0.0, 1.0, 2.0], "thousandths of a second"


def test_a_second_section_has_its_own_byte_order_and_interfaces() -> None:
    point = reading(pcapng([(0, bytes(syn()))]) + pcapng([(0, bytes(Ether() / syn()))], (ETHERNET,), ">"))
    assert [p.number for p in point.packets] == [1, 2] and point.unread == 0


def test_simple_and_old_packet_blocks() -> None:
    frame = bytes(syn())
    simple = block(3, struct.pack("<I", len(frame)) + frame)
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 0, len(frame), len(frame)) + frame)
    assert len(reading(pcapng([]) + simple + block(5, bytes(20)) + old).packets) == 2


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (ETHERNET, Ether() / syn()),
        (ETHERNET, Ether() / Dot1Q(vlan=7) / syn()),
        (ETHERNET, Ether() / Dot1Q(vlan=7) / Dot1Q(vlan=8) / syn()),
        (ETHERNET, Ether() / PPPoE(sessionid=1) / PPP() / syn()),
        (COOKED, CookedLinux(proto=0x0800) / syn()),
        (COOKED_2, CookedLinuxV2(proto=0x0800) / syn()),
        (RAW, syn()),
        (12, syn()),
        (228, syn()),
        (0, struct.pack("<I", 2) + bytes(syn())),
    ],
)
def test_link_types(link: int, frame: object) -> None:
    found = only(raw([frame], link=link))
    assert found.tcp is not None and found.tcp.syn and found.tcp.mss == 1460 and str(found.source) == CLIENT


def test_ipv6_behind_extension_headers_and_in_fragments() -> None:
    plain = IPv6(src="fd01::1", dst="fd02::1", hlim=60) / IPv6ExtHdrHopByHop() / TCP(flags="S", options=[("MSS", 1440)])
    found = only(raw([plain], link=IPV6))
    assert found.tcp is not None and found.tcp.mss == 1440 and found.hops == 4 and found.length == 40 + 8 + 24
    part = IPv6(src="fd01::1", dst="fd02::1") / IPv6ExtHdrFragment(offset=181, m=0, id=77, nh=6) / bytes(80)
    later = only(raw([part]))
    assert later.fragment == Fragment(1448, False) and later.identification == 77 and later.tcp is None


# ---- headers -----------------------------------------------------------------------------------------------------


def test_a_segment() -> None:
    found = only(ethernet([data(1000, seq=7, ttl=61)]))
    assert (found.length, found.hops, found.df) == (1040, 3, True)
    assert found.tcp is not None and (found.tcp.payload, found.tcp.sequence, found.tcp.mss) == (1000, 7, None)


def test_sizes_are_those_of_the_packet_not_of_the_snapshot() -> None:
    frame = bytes(Ether() / data(1400))[:80]
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 80, 1)
    found = only(head + struct.pack("<IIII", 0, 0, len(frame), 1454) + frame)
    assert found.tcp is not None and (found.length, found.tcp.payload) == (1440, 1400)


def test_a_length_of_zero_is_what_offload_leaves_behind() -> None:
    packet = data(4000)
    packet.len = 0
    found = only(raw([packet]))
    assert found.tcp is not None and (found.length, found.tcp.payload) == (4040, 4000)


@pytest.mark.rfc("1191", "4")
def test_frag_needed_and_what_it_quotes() -> None:
    found = only(raw([frag_needed(data(1460, seq=555), 1400, ttl=254)]))
    quoted = found.too_big
    assert quoted is not None and found.hops == 1 and found.initial_ttl == 255
    assert (quoted.mtu, quoted.length, quoted.source_port, quoted.destination_port) == (1400, 1500, 40000, 443)
    assert (str(quoted.source), str(quoted.destination), quoted.sequence) == (CLIENT, SERVER, 555)


@pytest.mark.rfc("4443", "3.2")
def test_packet_too_big() -> None:
    quoted = IPv6(src="fd01::1", dst="fd02::1") / TCP(sport=1, dport=2, seq=3) / bytes(1400)
    message = IPv6(src="fd09::1", dst="fd01::1") / ICMPv6PacketTooBig(mtu=1380) / bytes(quoted)[:1200]
    found = only(raw([message])).too_big
    assert found is not None and (found.mtu, found.length, found.sequence) == (1380, 1460, 3)


def test_frag_needed_about_esp_names_the_spi() -> None:
    esp = IP(src="172.16.1.1", dst="172.16.2.1", proto=50) / bytes.fromhex("00001001 00000007") / bytes(100)
    found = only(raw([frag_needed(esp, 1400)])).too_big
    assert found is not None and found.spi == 0x1001 and found.source_port is None


def test_esp_in_udp_and_ike_beside_it() -> None:
    def udp(payload: bytes) -> Seen:
        return only(raw([IP(src=CLIENT, dst=SERVER) / UDP(sport=4500, dport=4500) / payload]))

    esp = udp(bytes.fromhex("00001001 00000007") + bytes(40))
    assert esp.spi == 0x1001 and esp.encapsulated
    assert udp(bytes(4) + bytes(40)).spi is None and udp(b"\xff").spi is None


def test_what_is_not_ip_is_counted() -> None:
    point = reading(ethernet([]) + raw([Ether() / ARP(), Ether() / syn(), b"short"], link=1)[24:])
    assert (len(point.packets), point.unread) == (1, 2) and point.packets[0].number == 2


def test_a_limit_is_kept_and_told() -> None:
    point = reading(raw([data(1)] * 9), limit=4)
    assert len(point.packets) == 4 and point.limited


# ---- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "offset", "said"),
    [
        (b"", 0, "the file is cut off"),
        (b"GIF89a" + bytes(40), 0, "this is no pcap or pcapng file: it begins with 47494638"),
        (raw([])[:20], 4, "the file header takes 20 bytes, 16 are there"),
        (raw([], link=147) + raw([syn()])[24:], 0, "link type 147 is not known here"),
        (raw([]) + struct.pack("<IIII", 0, 0, 0x7FFFFFFF, 60), 24, "claims to be 2147483647 bytes"),
        (block(0x0A0D0D0A, b"abcd" + bytes(12)), 0, "byte order"),
        (pcapng([]) + struct.pack("<II", 6, 7), len(pcapng([])), "a block claims to be 7 bytes"),
        (pcapng([]) + struct.pack("<II", 6, 0xFFFFFFFC), len(pcapng([])), "a block claims to be 4294967292 bytes"),
        (pcapng([(5, bytes(60))]), len(pcapng([])), "names interface 5, and there are 1"),
        (pcapng([]) + block(6, struct.pack("<IIIII", 0, 0, 0, 9999, 9999)), len(pcapng([])), "damaged"),
        (pcapng([]) + block(6, bytes(4)), len(pcapng([])), "damaged"),
    ],
)
def test_damage_before_the_first_packet_is_an_error_with_its_offset(content: bytes, offset: int, said: str) -> None:
    with pytest.raises(CaptureError) as error:
        reading(content)
    assert error.value.offset == offset and said in str(error.value) and str(error.value).startswith("a.pcap: byte ")


@pytest.mark.parametrize("content", [raw([syn(), data(100)]), pcapng([(0, bytes(syn())), (0, bytes(data(100)))])])
def test_what_comes_before_the_damage_is_used(content: bytes) -> None:
    whole = len(reading(content).packets)
    for cut in range(1, 60):
        point = reading(content[:-cut])
        assert len(point.packets) == whole - 1 and "cut off" in point.damage and "a.pcap: byte " in point.damage


@given(st.binary(max_size=300), st.sampled_from([raw([syn()])[:24], pcapng([]), b""]))
def test_a_hostile_file_is_refused_and_nothing_else(noise: bytes, before: bytes) -> None:
    try:
        point = reading(before + noise)
    except CaptureError as error:
        assert 0 <= error.offset <= len(before + noise)
    else:
        assert len(point.packets) + point.unread <= len(noise)


@given(st.binary(max_size=120), st.sampled_from([ETHERNET, RAW, COOKED, COOKED_2, 0, 108]))
def test_a_hostile_frame_is_read_or_counted(noise: bytes, link: int) -> None:
    for start in (b"", bytes(data(0)), bytes(Ether() / IP() / ICMP(type=3, code=4))):
        point = reading(raw([start + noise, noise], link=link))
        assert len(point.packets) + point.unread == 2


def test_records_are_read_one_by_one() -> None:
    content = raw([syn()] * 3)
    stream = BytesIO(content)
    next(records("a", stream))
    assert stream.tell() < len(content)
