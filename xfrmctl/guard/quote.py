"""An ICMP frag-needed (RFC 792, RFC 1191 4) or ICMPv6 Packet Too Big (RFC 4443 3.2): what it says and what it quotes.

Everything here was written by a stranger, the quoted packet included. All lengths are checked against the octets that
are there, extension headers are walked a bounded number of times, and nothing is raised: what cannot be read is None.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from xfrmctl.model.address import IPAddress

FRAGMENTATION_NEEDED = (3, 4)
PACKET_TOO_BIG = (2, 0)
"""Type and code."""

ICMP, UDP, ESP, AH, ICMPV6 = 1, 17, 50, 51, 58
"""IANA protocol numbers."""

_EXTENSIONS = {0, 43, 60}
"""Hop-by-hop, routing and destination options (RFC 8200 4): type, length in 8 octets without the first."""

_FRAGMENT = 44
MAX_EXTENSIONS = 8
IPV4_HEADER, IPV6_HEADER, ICMP_HEADER = 20, 40, 8


@dataclass(frozen=True, slots=True)
class Quote:
    """One error and the packet of ours that it claims to be about.

    ``reporter`` is who sent the error, ``mtu`` the next-hop MTU that it reports. ``local``, ``remote``, ``protocol``
    and ``length`` (of the whole packet) are those of the quoted header; ``payload`` is what is quoted behind it.
    ``plain`` says that the quoted header has neither options nor extension headers, ``dont_fragment`` that the packet
    asked not to be fragmented (IPv6 always does), ``fragment`` that it is a part of a packet.
    """

    reporter: IPAddress
    mtu: int
    local: IPAddress
    remote: IPAddress
    protocol: int
    length: int
    payload: bytes
    plain: bool = True
    dont_fragment: bool = True
    fragment: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.remote.version


def read(packet: bytes) -> Quote | None:
    """Read an IP packet, from its IP header on; None for what is no such error or breaks its format."""
    if not packet:
        return None
    return _read4(packet) if packet[0] >> 4 == 4 else _read6(packet) if packet[0] >> 4 == 6 else None


def _read4(packet: bytes) -> Quote | None:
    if len(packet) < IPV4_HEADER:
        return None
    start, total = (packet[0] & 15) * 4, _word(packet, 2)
    if start < IPV4_HEADER or total > len(packet) or packet[9] != ICMP or _word(packet, 6) & 0x3FFF:
        return None
    body = packet[start:total]
    if len(body) < ICMP_HEADER or (body[0], body[1]) != FRAGMENTATION_NEEDED:
        return None
    inner = body[ICMP_HEADER:]
    if len(inner) < IPV4_HEADER or inner[0] >> 4 != 4:
        return None
    header, flags = (inner[0] & 15) * 4, _word(inner, 6)
    if header < IPV4_HEADER or header > len(inner):
        return None
    return Quote(
        reporter=IPv4Address(packet[12:16]),
        mtu=_word(body, 6),
        local=IPv4Address(inner[12:16]),
        remote=IPv4Address(inner[16:20]),
        protocol=inner[9],
        length=_word(inner, 2),
        payload=inner[header:],
        plain=header == IPV4_HEADER,
        dont_fragment=bool(flags & 0x4000),
        fragment=bool(flags & 0x3FFF),
    )


def _read6(packet: bytes) -> Quote | None:
    if len(packet) < IPV6_HEADER:
        return None
    end = IPV6_HEADER + _word(packet, 4)
    start = _upper_layer(packet, end) if end <= len(packet) else None
    if start is None:
        return None
    body = packet[start:end]
    if len(body) < ICMP_HEADER or (body[0], body[1]) != PACKET_TOO_BIG:
        return None
    inner = body[ICMP_HEADER:]
    if len(inner) < IPV6_HEADER or inner[0] >> 4 != 6:
        return None
    return Quote(
        reporter=IPv6Address(packet[8:24]),
        mtu=int.from_bytes(body[4:8], "big"),
        local=IPv6Address(inner[8:24]),
        remote=IPv6Address(inner[24:40]),
        protocol=inner[6],
        length=IPV6_HEADER + _word(inner, 4),
        payload=inner[IPV6_HEADER:],
        plain=inner[6] not in _EXTENSIONS,
        fragment=inner[6] == _FRAGMENT,
    )


def _upper_layer(packet: bytes, end: int) -> int | None:
    """Where the ICMPv6 message of a whole packet begins, behind its extension headers; None where there is none."""
    kind, at = packet[6], IPV6_HEADER
    for _ in range(MAX_EXTENSIONS):
        if kind == ICMPV6:
            return at
        if kind not in _EXTENSIONS or at + 8 > end:
            return None
        kind, at = packet[at], at + 8 * (packet[at + 1] + 1)
    return None


def _word(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
