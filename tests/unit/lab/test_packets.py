"""Frames -> what they are."""

import ipaddress
import struct

import pytest

from xfrmctl.lab.packets import MARK_ETHERTYPE, Kind, classify

INNER = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd10::/16"))
ETHERNET = bytes(12)


def ipv4(protocol: int, payload: bytes, src: str = "172.16.1.1", dst: str = "172.16.2.1", fragment: int = 0) -> bytes:
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(payload),
        0,
        fragment,
        64,
        protocol,
        0,
        ipaddress.IPv4Address(src).packed,
        ipaddress.IPv4Address(dst).packed,
    )
    return ETHERNET + b"\x08\x00" + header + payload


def ipv6(next_header: int, payload: bytes, src: str = "fd16:1::1", dst: str = "fd16:2::1") -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    addresses = ipaddress.IPv6Address(src).packed + ipaddress.IPv6Address(dst).packed
    return ETHERNET + b"\x86\xdd" + header + addresses + payload


def udp(sport: int, dport: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def tcp(flags: int, options: bytes) -> bytes:
    return struct.pack("!HHIIBBHHH", 1, 2, 0, 0, (20 + len(options)) // 4 << 4, flags, 0, 0, 0) + options


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (ipv4(50, bytes(60)), Kind.ESP),
        (ipv6(50, bytes(60)), Kind.ESP),
        (ipv4(50, bytes(60), fragment=0x0010), Kind.ESP),
        (ipv4(17, udp(500, 500, bytes(28))), Kind.IKE),
        (ipv4(17, udp(4500, 32001, bytes(4) + bytes(28))), Kind.IKE),
        (ipv4(17, udp(4500, 4500, b"\x12\x34\x56\x78" + bytes(28))), Kind.UDP_ESP),
        (ipv6(17, udp(32001, 4500, b"\x12\x34\x56\x78" + bytes(28))), Kind.UDP_ESP),
        (ipv4(17, udp(4500, 4500, b"\xff")), Kind.KEEPALIVE),
        (ipv4(17, bytes(40), fragment=0x0010), Kind.FRAGMENT),
        (ipv4(17, udp(53, 1234, b"")), Kind.OTHER),
        (ipv4(1, bytes(8)), Kind.ICMP),
        (ipv6(58, b"\x02" + bytes(7)), Kind.ICMP),
        (ipv6(58, b"\x87" + bytes(7)), Kind.NEIGHBOUR),
        (ipv6(0, b"\x3a\x00" + bytes(6) + b"\x8f" + bytes(7)), Kind.NEIGHBOUR),
        (ipv6(44, b"\x32\x00\x00\x01" + bytes(4) + bytes(20)), Kind.ESP),
        (ETHERNET + b"\x08\x06" + bytes(28), Kind.NEIGHBOUR),
        (ETHERNET + MARK_ETHERTYPE.to_bytes(2) + bytes(46), Kind.MARK),
        (ipv4(1, bytes(8), src="10.1.1.10"), Kind.PLAINTEXT),
        (ipv4(50, bytes(8), dst="10.1.2.10"), Kind.PLAINTEXT),
        (ipv6(17, udp(500, 500, bytes(28)), dst="fd10:2::10"), Kind.PLAINTEXT),
    ],
)
def test_kind(frame: bytes, kind: Kind) -> None:
    assert classify(frame, INNER).kind is kind


@pytest.mark.parametrize("frame", [ipv4(17, udp(500, 500, bytes(28))), ipv6(6, tcp(2, b"\x02\x04\x05\xb4"))])
def test_every_truncation_is_survived(frame: bytes) -> None:
    for size in range(len(frame)):
        classify(frame[:size], INNER)


def test_length_and_df_are_those_of_the_ip_packet() -> None:
    packet = classify(ipv4(50, bytes(60), fragment=0x4000) + bytes(10), INNER)
    assert (packet.length, packet.df) == (80, True)
    assert not classify(ipv4(50, bytes(60)), INNER).df
    assert classify(ipv6(50, bytes(60)), INNER).length == 100


@pytest.mark.parametrize(
    ("options", "mss"),
    [
        (b"\x02\x04\x05\xb4", 1460),
        (b"\x01\x01\x01\x01\x02\x04\x05\x00", 1280),
        (b"\x03\x03\x07\x00", None),
        (b"", None),
        (b"\x00\x02\x04\x05", None),
        (b"\x08\x00\x00\x00", None),
    ],
)
def test_mss_option(options: bytes, mss: int | None) -> None:
    syn = classify(ipv4(6, tcp(0x02, options)), INNER).syn
    assert syn is not None
    assert (syn.mss, syn.ack) == (mss, False)


def test_syn_ack_is_told_apart_and_other_segments_are_no_syn() -> None:
    syn = classify(ipv4(6, tcp(0x12, b"\x02\x04\x05\xb4")), INNER).syn
    assert syn is not None and syn.ack
    assert classify(ipv4(6, tcp(0x10, b"")), INNER).syn is None
