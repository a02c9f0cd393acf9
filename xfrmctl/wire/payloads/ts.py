"""The Traffic Selector payloads TSi and TSr, RFC 7296 3.13.

Ports are taken as they stand: for ICMP and ICMPv6 the two fields carry type and code (RFC 7296 3.13.1), for
MIPv6 the mobility header type. The pair 65535-0 is OPAQUE ("the port is not visible", RFC 4301 4.4.1.1). It
is kept as it is: a selector whose start lies above its end intersects with nothing, so that it is shown but
never narrowed to, and never widened to all ports. Types other than 7 and 8 are skipped, as RFC 7296 2.9
lets a responder do.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from xfrmctl.model.iana import PayloadType, TsType
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.wire.errors import WireError

_HEAD = Struct(">BBHHH").unpack_from
_RANGE4 = Struct(">II").unpack_from
_RANGE6 = Struct(">16s16s").unpack_from
_pack = Struct(">BBHHH").pack

_OPAQUE = (65535, 0)
_IPV4 = int(TsType.IPV4_ADDR_RANGE)
_IPV6 = int(TsType.IPV6_ADDR_RANGE)
_SIZE4 = 16
_SIZE6 = 40
_SMALLEST = 4
_MOST = 255


@dataclass(frozen=True, slots=True)
class TrafficSelectors:
    """What one end of the CHILD SA may send or receive. ``kind`` is PayloadType.TSI or PayloadType.TSR."""

    kind: PayloadType
    selectors: tuple[TrafficSelector, ...]

    @property
    def payload_type(self) -> PayloadType:
        """TSI or TSR."""
        return self.kind

    @property
    def name(self) -> str:
        """``TSi`` or ``TSr``."""
        return "TSi" if self.kind is PayloadType.TSI else "TSr"

    @classmethod
    def parse(cls, kind: PayloadType, data: bytes, start: int, end: int) -> "TrafficSelectors":
        """Read a body: a count, three reserved octets, that many selectors and nothing else."""
        if end - start < 4:
            raise WireError("short", "TS")
        found = []
        at = start + 4
        for _ in range(data[start]):
            if end - at < _SMALLEST:
                raise WireError("bad_count", f"TS: {data[start]} selectors promised")
            size = data[at + 2] << 8 | data[at + 3]
            if size < _SMALLEST or size > end - at:
                raise WireError("bad_length", f"TS: a selector of {size} octets")
            number = data[at]
            if number == _IPV4:
                found.append(_parse4(data, at, size))
            elif number == _IPV6:
                found.append(_parse6(data, at, size))
            at += size
        if at != end:
            raise WireError("trailing", "TS")
        return cls(kind, tuple(found))

    def encode(self) -> bytes:
        """The body. More than 255 selectors are our own fault."""
        if len(self.selectors) > _MOST:
            raise ValueError(f"{len(self.selectors)} traffic selectors do not fit one payload")
        parts = [bytes((len(self.selectors), 0, 0, 0))]
        for s in self.selectors:
            number, size = (_IPV4, _SIZE4) if s.version == 4 else (_IPV6, _SIZE6)
            parts.append(_pack(number, s.protocol, size, s.start_port, s.end_port))
            parts.append(s.start.packed)
            parts.append(s.end.packed)
        return b"".join(parts)


def _parse4(data: bytes, at: int, size: int) -> TrafficSelector:
    if size != _SIZE4:
        raise WireError("bad_length", f"TS: an IPv4 range of {size} octets")
    _, protocol, _, low_port, high_port = _HEAD(data, at)
    low, high = _RANGE4(data, at + 8)
    _check(low <= high, low_port, high_port)
    return TrafficSelector(IPv4Address(low), IPv4Address(high), protocol, low_port, high_port)


def _parse6(data: bytes, at: int, size: int) -> TrafficSelector:
    if size != _SIZE6:
        raise WireError("bad_length", f"TS: an IPv6 range of {size} octets")
    _, protocol, _, low_port, high_port = _HEAD(data, at)
    low, high = _RANGE6(data, at + 8)
    _check(low <= high, low_port, high_port)
    return TrafficSelector(IPv6Address(low), IPv6Address(high), protocol, low_port, high_port)


def _check(ordered: bool, low_port: int, high_port: int) -> None:
    if not ordered:
        raise WireError("bad_value", "TS: a range that ends before it starts")
    if low_port > high_port and (low_port, high_port) != _OPAQUE:
        raise WireError("bad_value", f"TS: ports {low_port}-{high_port}")


def parse_tsi(data: bytes, start: int, end: int) -> TrafficSelectors:
    """Read the body of TSi."""
    return TrafficSelectors.parse(PayloadType.TSI, data, start, end)


def parse_tsr(data: bytes, start: int, end: int) -> TrafficSelectors:
    """Read the body of TSr."""
    return TrafficSelectors.parse(PayloadType.TSR, data, start, end)
