"""What a captured frame is, told from its headers alone.

Ethernet (14 bytes), then IPv4 or IPv6. ESP inside UDP is told from IKE on port 4500 by the four zero bytes that
precede IKE there (RFC 3948 2.2); one byte 0xff is a NAT keepalive (RFC 3948 2.3). A packet whose outer source or
destination belongs to an inner network is plaintext, whatever it carries: on the underlay no such address may
ever show.
"""

import enum
import functools
import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: EtherType for local experiments (IEEE 802): the mark a capture sends to itself.
MARK_ETHERTYPE = 0x88B5

_ESP, _AH, _UDP, _TCP, _ICMP, _ICMP6 = 50, 51, 17, 6, 1, 58
_V6_EXTENSIONS = {0, 43, 60}
_V6_FRAGMENT = 44
#: Multicast listener and neighbour discovery (RFC 2710, 4861, 3810): what every link says to itself.
_LINK_LOCAL_ICMP6 = {*range(130, 138), 143}
_TCP_SYN, _TCP_ACK = 0x02, 0x10


class Kind(enum.StrEnum):
    """What a frame is."""

    ESP = "esp"
    AH = "ah"
    UDP_ESP = "udp_encap_esp"
    KEEPALIVE = "nat_keepalive"
    IKE = "ike"
    ICMP = "icmp"
    NEIGHBOUR = "arp_nd"
    PLAINTEXT = "plaintext"
    FRAGMENT = "fragment"
    MARK = "mark"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Syn:
    """A TCP SYN or SYN-ACK and the MSS it offers; None when it has no such option."""

    src: Address
    dst: Address
    ack: bool
    mss: int | None


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame, classified; ``length`` is the size of the IP packet in bytes, 0 for what is not IP."""

    kind: Kind
    length: int = 0
    src: Address | None = None
    dst: Address | None = None
    protocol: int = 0
    #: IPv4: the don't-fragment bit; IPv6 packets always read True.
    df: bool = True
    syn: Syn | None = None

    def __str__(self) -> str:
        return f"{self.kind.value} {self.src} > {self.dst} protocol {self.protocol}, {self.length} bytes"


def classify(frame: bytes, inner: Sequence[Network] = ()) -> Packet:
    """What ``frame`` is; addresses within ``inner`` are those that must not show outside ESP."""
    try:
        (ethertype,) = struct.unpack_from("!H", frame, 12)
        if ethertype == 0x0800:
            return _ipv4(frame, inner)
        if ethertype == 0x86DD:
            return _ipv6(frame, inner)
    except struct.error:
        return Packet(Kind.OTHER)
    if ethertype == 0x0806:
        return Packet(Kind.NEIGHBOUR)
    return Packet(Kind.MARK if ethertype == MARK_ETHERTYPE else Kind.OTHER)


# A capture has many packets and few addresses.
@functools.lru_cache(4096)
def _address(raw: bytes) -> Address:
    return ipaddress.ip_address(raw)


@functools.lru_cache(4096)
def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _ipv4(frame: bytes, inner: Sequence[Network]) -> Packet:
    version, length, fragment, protocol, src_raw, dst_raw = struct.unpack_from("!BxH2xHxB2x4s4s", frame, 14)
    src, dst = _address(src_raw), _address(dst_raw)
    payload = 14 + (version & 0x0F) * 4
    later = bool(fragment & 0x1FFF)
    return _inside(frame, payload, (length, src, dst, protocol, bool(fragment & 0x4000)), later, inner)


def _ipv6(frame: bytes, inner: Sequence[Network]) -> Packet:
    payload_length, protocol, src_raw, dst_raw = struct.unpack_from("!4xHBx16s16s", frame, 14)
    src, dst = _address(src_raw), _address(dst_raw)
    payload, later = 54, False
    while protocol in _V6_EXTENSIONS or protocol == _V6_FRAGMENT:
        following, size, offset = struct.unpack_from("!BBH", frame, payload)
        if protocol == _V6_FRAGMENT:
            later = bool(offset >> 3)
            payload += 8
        else:
            payload += 8 * (size + 1)
        protocol = following
        if later:
            break
    return _inside(frame, payload, (payload_length + 40, src, dst, protocol, True), later, inner)


def _inside(
    frame: bytes, at: int, header: tuple[int, Address, Address, int, bool], later: bool, inner: Sequence[Network]
) -> Packet:
    length, src, dst, protocol, df = header
    networks = tuple(inner)
    plain = _within(src, networks) or _within(dst, networks)
    syn = _syn(frame, at, src, dst) if protocol == _TCP and not later else None
    kind = Kind.PLAINTEXT if plain else _kind(frame, at, protocol, later)
    return Packet(kind, length, src, dst, protocol, df, syn)


def _kind(frame: bytes, at: int, protocol: int, later: bool) -> Kind:
    if protocol == _AH:
        return Kind.AH
    if protocol == _ESP:
        return Kind.ESP
    if later:
        return Kind.FRAGMENT
    if protocol == _UDP:
        return _udp(frame, at)
    if protocol == _ICMP6 and len(frame) > at and frame[at] in _LINK_LOCAL_ICMP6:
        return Kind.NEIGHBOUR
    return Kind.ICMP if protocol in (_ICMP, _ICMP6) else Kind.OTHER


def _udp(frame: bytes, at: int) -> Kind:
    sport, dport, size = struct.unpack_from("!HHH", frame, at)
    if 500 in (sport, dport):
        return Kind.IKE
    if 4500 not in (sport, dport):
        return Kind.OTHER
    if size == 9 and frame[at + 8 : at + 9] == b"\xff":
        return Kind.KEEPALIVE
    return Kind.IKE if frame[at + 8 : at + 12] == bytes(4) else Kind.UDP_ESP


def _syn(frame: bytes, at: int, src: Address, dst: Address) -> Syn | None:
    offset, flags = struct.unpack_from("!BB", frame, at + 12)
    if not flags & _TCP_SYN:
        return None
    options = frame[at + 20 : at + (offset >> 4) * 4]
    return Syn(src, dst, bool(flags & _TCP_ACK), _mss(options))


def _mss(options: bytes) -> int | None:
    at = 0
    while at < len(options) and options[at] != 0:  # 0: end of options
        if options[at] == 1:  # no operation, one byte
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2:
            return None
        if options[at] == 2 and options[at + 1] == 4 and at + 4 <= len(options):
            return int.from_bytes(options[at + 2 : at + 4])
        at += options[at + 1]
    return None
