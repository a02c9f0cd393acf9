"""A captured frame -> :class:`~xfrmctl.trace.packets.Seen`. dpkt reads the headers; only what is compared is kept.

The first IP packet of a frame counts, behind VLAN tags, PPPoE or a cooked header; what it carries inside (GRE, ESP) is
not opened. Sizes come from the headers, so a short snapshot length does no harm; TCP options must be within it.
"""

from ipaddress import ip_address
from typing import Any, BinaryIO

import dpkt

from xfrmctl.trace.files import CaptureError, Record, records
from xfrmctl.trace.packets import ESP, ICMP, ICMPV6, TCP, UDP, Fragment, Point, Seen, Tcp, TooBig

ETHERNET, RAW, COOKED, COOKED_2, IPV4, IPV6, NULL, LOOP = 1, 101, 113, 276, 228, 229, 0, 108
_RAW = {RAW, 12, 14, IPV4, IPV6}
"""LINKTYPE_RAW; 12 and 14 are what some systems write for it."""

_LINKS = {
    ETHERNET: dpkt.ethernet.Ethernet,
    COOKED: dpkt.sll.SLL,
    COOKED_2: dpkt.sll2.SLL2,
    NULL: dpkt.loopback.Loopback,
    LOOP: dpkt.loopback.Loopback,
}
MAX_LAYERS = 6
MAX_PACKETS = 1_000_000
NAT_T_PORT = 4500
_MSS = 2
_NOP = 1


def read(name: str, stream: BinaryIO, limit: int = MAX_PACKETS) -> Point:
    """Everything of a capture file that can be compared, at most ``limit`` frames.

    A file that is damaged behind its first packet is used up to there, and says so. Raises CaptureError where nothing
    can be read, and for a link type that is not known.
    """
    point = Point(name)
    number = 0
    try:
        for number, record in enumerate(records(name, stream), 1):
            if number > limit:
                point.limited = True
                break
            if record.link not in _LINKS and record.link not in _RAW:
                raise CaptureError(name, 0, f"link type {record.link} is not known here: capture on an Ethernet device")
            seen = _seen(number, record)
            if seen is None:
                point.unread += 1
            else:
                point.packets.append(seen)
    except CaptureError as error:
        if not point.packets:
            raise
        point.damage = str(error)
    return point


def _seen(number: int, record: Record) -> Seen | None:
    try:
        packet = _ip(record)
        return None if packet is None else _packet(number, record.at, packet)
    except Exception:
        # The library raises what it stumbles over; one frame that a stranger wrote is not worth more than a count.
        return None


def _ip(record: Record) -> Any:
    """The first IP packet of the frame; None where there is none."""
    if record.link in _RAW:
        version = record.frame[0] >> 4
        return dpkt.ip.IP(record.frame) if version == 4 else dpkt.ip6.IP6(record.frame) if version == 6 else None
    layer = _LINKS[record.link](record.frame)
    for _ in range(MAX_LAYERS):
        if isinstance(layer, dpkt.ip.IP | dpkt.ip6.IP6):
            return layer
        layer = getattr(layer, "data", None)
    return None


def _packet(number: int, at: float, ip: Any) -> Seen:
    # A length of 0 is what segmentation offload leaves to the device: the captured bytes are then all there is.
    common: dict[str, Any] = {
        "number": number,
        "at": at,
        "source": ip_address(ip.src),
        "destination": ip_address(ip.dst),
    }
    if isinstance(ip, dpkt.ip.IP):
        header = ip.hl * 4
        fragment = Fragment(ip.offset * 8, bool(ip.mf)) if ip.offset or ip.mf else None
        common |= {
            "length": ip.len or len(ip),
            "ttl": ip.ttl,
            "df": bool(ip.df),
            "identification": ip.id,
            "fragment": fragment,
        }
    else:
        header = 40 + sum(extension.length for extension in ip.all_extension_headers)
        part = ip.extension_hdrs.get(dpkt.ip.IP_PROTO_FRAGMENT)
        common |= {"length": ip.plen + 40 if ip.plen else len(ip), "ttl": ip.hlim}
        if part is not None:
            common |= {"identification": part.id, "fragment": Fragment(part.frag_off * 8, bool(part.m_flag))}
    return Seen(**common, protocol=ip.p, **_inside(ip, common["length"] - header, common.get("fragment")))


def _inside(ip: Any, room: int, fragment: Fragment | None) -> dict[str, Any]:
    data = ip.data
    if fragment is not None and fragment.offset:
        return {}
    if ip.p == TCP and isinstance(data, dpkt.tcp.TCP):
        return {"tcp": _tcp(data, room), "source_port": data.sport, "destination_port": data.dport}
    if ip.p == UDP and isinstance(data, dpkt.udp.UDP):
        return {"source_port": data.sport, "destination_port": data.dport, **_encapsulated(data)}
    if ip.p == ESP and isinstance(data, dpkt.esp.ESP):
        return {"spi": data.spi}
    if ip.p == ICMP and isinstance(data, dpkt.icmp.ICMP) and (data.type, data.code) == (3, 4):
        return {"too_big": _too_big(data.data.mtu, data.data.ip)}
    if ip.p == ICMPV6 and isinstance(data, dpkt.icmp6.ICMP6) and data.type == 2:
        return {"too_big": _too_big(data.data.mtu, data.data.ip6)}
    return {}


def _encapsulated(udp: Any) -> dict[str, Any]:
    """ESP in UDP (RFC 3948 2.1): four bytes of zero in the place of the SPI are IKE, one byte is a keepalive."""
    payload = bytes(udp.data)
    if NAT_T_PORT not in (udp.sport, udp.dport) or udp.ulen < 8 + 8 or len(payload) < 4 or not any(payload[:4]):
        return {}
    return {"spi": int.from_bytes(payload[:4]), "encapsulated": True}


def _tcp(tcp: Any, room: int) -> Tcp:
    options = [option for option in dpkt.tcp.parse_opts(tcp.opts) if option is not None and option[0] > _NOP]
    mss = next((int.from_bytes(value) for kind, value in options if kind == _MSS and len(value) == 2), None)
    return Tcp(
        source_port=tcp.sport,
        destination_port=tcp.dport,
        sequence=tcp.seq,
        acknowledgement=tcp.ack,
        syn=bool(tcp.flags & dpkt.tcp.TH_SYN),
        ack=bool(tcp.flags & dpkt.tcp.TH_ACK),
        fin=bool(tcp.flags & dpkt.tcp.TH_FIN),
        rst=bool(tcp.flags & dpkt.tcp.TH_RST),
        payload=max(0, room - tcp.off * 4),
        window=tcp.win,
        mss=mss,
        options=tuple(kind for kind, _ in options),
    )


def _too_big(mtu: int, quoted: Any) -> TooBig:
    """The quoted packet is cut off (RFC 792: 8 bytes of it are certain), so its headers are read by hand."""
    head = bytes(quoted.data)[:8]
    first, second = (int.from_bytes(head[at : at + 2]) for at in (0, 2))
    length = quoted.len if isinstance(quoted, dpkt.ip.IP) else quoted.plen + 40
    with_ports = quoted.p in (TCP, UDP) and len(head) >= 8
    return TooBig(
        mtu=mtu,
        source=ip_address(quoted.src),
        destination=ip_address(quoted.dst),
        protocol=quoted.p,
        length=length,
        source_port=first if with_ports else None,
        destination_port=second if with_ports else None,
        sequence=int.from_bytes(head[4:8]) if quoted.p == TCP and len(head) >= 8 else None,
        spi=int.from_bytes(head[:4]) if quoted.p == ESP and len(head) >= 4 else None,
    )
