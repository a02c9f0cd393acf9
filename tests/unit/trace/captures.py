"""Captures made with scapy: frames, and files of every kind that is read."""

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import Ether

from xfrmctl.trace.headers import RAW, read
from xfrmctl.trace.packets import Point

CLIENT, SERVER, ROUTER = "10.1.1.10", "10.1.2.10", "172.16.1.254"


def ip(source: str = CLIENT, destination: str = SERVER, ttl: int = 64, **fields: Any) -> Any:
    """An IPv4 header with DF, as Linux sends it."""
    return IP(src=source, dst=destination, ttl=ttl, flags=fields.pop("flags", "DF"), **fields)


def syn(mss: int | None = 1460, *, isn: int = 1000, ttl: int = 64, port: int = 40000, **more: Any) -> Any:
    """A client's SYN with the options of Linux."""
    options = [("MSS", mss)] if mss is not None else []
    options += more.pop("options", [("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)])
    header = ip(more.pop("source", CLIENT), more.pop("destination", SERVER), ttl)
    return header / TCP(sport=port, dport=443, flags="S", seq=isn, options=options, **more)


def syn_ack(
    mss: int | None = 1460, *, isn: int = 9000, ack: int = 1001, ttl: int = 64, port: int = 40000, **more: Any
) -> Any:
    """The server's answer."""
    options = [("MSS", mss)] if mss is not None else []
    options += more.pop("options", [("SAckOK", b""), ("Timestamp", (1, 1)), ("NOP", None), ("WScale", 7)])
    header = ip(more.pop("source", SERVER), more.pop("destination", CLIENT), ttl)
    return header / TCP(sport=443, dport=port, flags="SA", seq=isn, ack=ack, options=options, **more)


def data(size: int, *, seq: int = 1001, ack: int = 9001, ttl: int = 64, port: int = 40000, **more: Any) -> Any:
    """A segment of the client's with ``size`` bytes of payload."""
    header = ip(more.pop("source", CLIENT), more.pop("destination", SERVER), ttl, **more)
    return header / TCP(sport=port, dport=443, flags="A", seq=seq, ack=ack) / bytes(size)


def answer(size: int, *, seq: int = 9001, ack: int = 1001, ttl: int = 64, port: int = 40000, flags: str = "A") -> Any:
    """A segment of the server's."""
    return ip(SERVER, CLIENT, ttl) / TCP(sport=443, dport=port, flags=flags, seq=seq, ack=ack) / bytes(size)


def frag_needed(quoted: Any, mtu: int, *, reporter: str = ROUTER, ttl: int = 64) -> Any:
    """A router's ICMP about a packet."""
    return IP(src=reporter, dst=quoted.src, ttl=ttl) / ICMP(type=3, code=4, nexthopmtu=mtu) / bytes(quoted)[:28]


def raw(
    packets: Iterable[Any], *, link: int = RAW, order: str = "<", magic: int = 0xA1B2C3D4, begin: float = 0.0
) -> bytes:
    """A pcap file; one packet is a hundredth of a second behind the other."""
    found = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    unit = 1_000_000_000 if magic == 0xA1B23C4D else 1_000_000
    for number, packet in enumerate(packets):
        at = begin + number / 100
        frame = bytes(packet)
        found.append(struct.pack(order + "IIII", int(at), int(at % 1 * unit), len(frame), len(frame)) + frame)
    return b"".join(found)


def ethernet(packets: Iterable[Any]) -> bytes:
    """The same with Ethernet headers."""
    return raw([Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / p for p in packets], link=1)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """One block of pcapng."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def pcapng(
    frames: Sequence[tuple[int, bytes]], links: Sequence[int] = (RAW,), order: str = "<", resolution: int = 6
) -> bytes:
    """A section with several interfaces; each frame names its own."""
    found = [block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)]
    tsresol = struct.pack(order + "HHBxxxHH", 9, 1, resolution, 0, 0)
    found += [block(1, struct.pack(order + "HHI", link, 0, 65535) + tsresol, order) for link in links]
    for number, (interface, frame) in enumerate(frames):
        head = struct.pack(order + "IIIII", interface, 0, number * 1000, len(frame), len(frame))
        found.append(block(6, head + frame, order))
    return b"".join(found)


def point(packets: Iterable[Any], name: str = "A", begin: float = 0.0) -> Point:
    """A capture as it is read."""
    return read(name, BytesIO(raw(packets, begin=begin)))
