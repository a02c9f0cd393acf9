"""Traffic selectors (RFC 7296 3.13) and their set arithmetic.

A selector is an address range, a protocol (0 = any) and a port range. Narrowing (RFC 7296 2.9) is set
intersection; the kernel wants prefixes, so a range is cut into the fewest that cover it exactly.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)

from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.nearest import nearest

ANY_PORT = (0, 65535)
OPAQUE = (65535, 0)
"""RFC 4301 4.4.1.1: the port is not visible, as in a later fragment. Linux has no selector for it."""

ICMP, ICMPV6, MOBILITY = 1, 58, 135
PROTOCOLS = {
    "icmp": ICMP,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "icmpv6": ICMPV6,
    "ospf": 89,
    "sctp": 132,
    "mobility": MOBILITY,
}
"""Names an operator may write; any other protocol is written as its number."""

_NAMES = {number: name for name, number in PROTOCOLS.items()}
_WITH_PORTS = {6, 17, 33, 132, 136}
_SUFFIX = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """``start`` and ``end`` are inclusive and of one family; ports are inclusive, 0-65535 for any."""

    start: IPAddress
    end: IPAddress
    protocol: int = 0
    start_port: int = 0
    end_port: int = 65535

    @classmethod
    def of_network(cls, network: IPNetwork, protocol: int = 0, ports: tuple[int, int] = ANY_PORT) -> "TrafficSelector":
        """The selector that covers a network."""
        return cls(network.network_address, network.broadcast_address, protocol, *ports)

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.start.version

    def __str__(self) -> str:
        networks = self.networks()
        text = str(networks[0]) if len(networks) == 1 else f"{self.start}-{self.end}"
        return text + self.suffix

    @property
    def suffix(self) -> str:
        """Protocol and ports as they are spelled, "" for any."""
        if not self.protocol and (self.start_port, self.end_port) == ANY_PORT:
            return ""
        name = _NAMES.get(self.protocol, str(self.protocol)) if self.protocol else "any"
        return f"[{name}{self._ports_spelled()}]"

    def _ports_spelled(self) -> str:
        low, high = self.start_port, self.end_port
        if (low, high) == ANY_PORT:
            return ""
        if (low, high) == OPAQUE:
            return "/opaque"
        if self.protocol in (ICMP, ICMPV6, MOBILITY):
            (kind, code), (last_kind, last_code) = divmod(low, 256), divmod(high, 256)
            if (code, last_code) == (0, 255):
                return f"/{kind}" if kind == last_kind else f"/{kind}-{last_kind}"
            return f"/{kind}/{code}" if low == high else f"/{kind}/{code}-{last_kind}/{last_code}"
        return f"/{low}" if low == high else f"/{low}-{high}"

    def networks(self) -> tuple[IPNetwork, ...]:
        """The fewest prefixes that cover the range exactly."""
        low, size = int(self.start), int(self.end) - int(self.start) + 1
        if size > 0 and size & (size - 1) == 0 and low & (size - 1) == 0 and self.end.version == self.start.version:
            prefixlen = self.start.max_prefixlen - size.bit_length() + 1  # one prefix, as nearly always
            return (IPv4Network((low, prefixlen)) if self.start.version == 4 else IPv6Network((low, prefixlen)),)
        if isinstance(self.start, IPv4Address) and isinstance(self.end, IPv4Address):
            return tuple(summarize_address_range(self.start, self.end))
        if isinstance(self.start, IPv6Address) and isinstance(self.end, IPv6Address):
            return tuple(summarize_address_range(self.start, self.end))
        raise ValueError(f"mixed families in {self.start}-{self.end}: write two addresses of one family")

    def intersect(self, other: "TrafficSelector") -> "TrafficSelector | None":
        """What both cover, or None."""
        if other.covers(self):
            return self
        if self.covers(other):
            return other
        if self.version != other.version:
            return None
        if self.protocol and other.protocol and self.protocol != other.protocol:
            return None
        start = max(int(self.start), int(other.start))
        end = min(int(self.end), int(other.end))
        start_port = max(self.start_port, other.start_port)
        end_port = min(self.end_port, other.end_port)
        if start > end or start_port > end_port:
            return None
        kind = type(self.start)
        return TrafficSelector(kind(start), kind(end), self.protocol or other.protocol, start_port, end_port)

    def covers(self, other: "TrafficSelector") -> bool:
        """Whether every packet of ``other`` is one of ours; a selector without any packet is covered by none."""
        return (
            self.start_port <= other.start_port <= other.end_port <= self.end_port
            and (self.protocol == other.protocol or not self.protocol)
            and self.version == other.version
            and int(self.start) <= int(other.start) <= int(other.end) <= int(self.end)
        )

    def contains(self, address: IPAddress) -> bool:
        """Whether the address lies in the range."""
        return address.version == self.version and int(self.start) <= int(address) <= int(self.end)


def narrow(offered: Iterable[TrafficSelector], allowed: Iterable[TrafficSelector]) -> tuple[TrafficSelector, ...]:
    """What of ``offered`` our policy allows (RFC 7296 2.9), in the order offered, without duplicates.

    A selector that another one of the result covers is left out.
    """
    permitted = tuple(allowed)
    found: list[TrafficSelector] = []
    for theirs in offered:
        for ours in permitted:
            common = theirs.intersect(ours)
            if common is None or any(f.covers(common) for f in found):
                continue
            found = [f for f in found if not common.covers(f)]
            found.append(common)
    return tuple(found)


def parse_selector(text: str) -> TrafficSelector:
    """Read ``10.1.0.0/16``, ``10.1.1.1-10.1.1.9``, ``fd00::/8``, and with protocol and ports ``10.1.0.0/16[tcp/443]``.

    Ports are one or a range; of ICMP they are a type (``icmp/8``), or type and code (``icmp/3/4``).
    Raises ValueError with cause and cure.
    """
    text = text.strip()
    with_suffix = _SUFFIX.fullmatch(text)
    if with_suffix is not None:
        plain = _parse_addresses(with_suffix[1].strip())
        protocol, (low, high) = _parse_suffix(with_suffix[2], plain.version)
        return replace(plain, protocol=protocol, start_port=low, end_port=high)
    return _parse_addresses(text)


def _parse_suffix(text: str, version: int) -> tuple[int, tuple[int, int]]:
    """``tcp/443`` -> protocol and ports as TS payloads carry them."""
    name, *rest = (part.strip().lower() for part in text.split("/"))
    protocol = PROTOCOLS.get(name) or (int(name) if name.isascii() and name.isdecimal() else 0)
    if not 0 < protocol < 256:
        near = nearest(name, PROTOCOLS)
        hint = f"did you mean {near!r}? " if near else ""
        known = ", ".join(PROTOCOLS)
        raise ValueError(f"{name!r} is no protocol: {hint}write a number from 1 to 255, or one of {known}")
    if protocol == (ICMPV6 if version == 4 else ICMP):
        right = "icmp" if version == 4 else "icmpv6"
        raise ValueError(f"{name} is not the ICMP of IPv{version}: write {right}")
    if not rest:
        return protocol, ANY_PORT
    if rest == ["opaque"]:
        raise ValueError("Linux has no selector for packets without ports (OPAQUE): leave the ports out")
    if protocol in (ICMP, ICMPV6, MOBILITY):
        return protocol, _parse_type(rest, text)
    if protocol not in _WITH_PORTS or len(rest) > 1:
        raise ValueError(f"{name} has no ports: write [{name}]")
    low, _, high = rest[0].partition("-")
    return protocol, _number_range(low, high or low, 65535, text)


def _parse_type(rest: list[str], text: str) -> tuple[int, int]:
    low, _, high = rest[0].partition("-")
    first, last = _number_range(low, high or low, 255, text)
    if len(rest) == 1:
        return first << 8, last << 8 | 255
    if len(rest) > 2 or first != last:
        raise ValueError(f"{text!r} is no type and code: write such as icmp/3/4")
    low, _, high = rest[1].partition("-")
    code, last_code = _number_range(low, high or low, 255, text)
    return first << 8 | code, first << 8 | last_code


def _number_range(low: str, high: str, most: int, text: str) -> tuple[int, int]:
    if all(part.isascii() and part.isdecimal() and len(part) <= 5 for part in (low, high)):
        first, last = int(low), int(high)
        if first <= last <= most:
            return first, last
    raise ValueError(f"{text!r} has no number, or range, up to {most}: write such as tcp/443, tcp/1024-65535 or icmp/8")


def _parse_addresses(text: str) -> TrafficSelector:
    if "-" in text:
        low, high = (ip_address(part.strip()) for part in text.split("-", 1))
        if low.version != high.version or int(low) > int(high):
            raise ValueError(f"{text!r} is not a range: the first address must be the smaller, of one family")
        return TrafficSelector(low, high)
    try:
        return TrafficSelector.of_network(ip_network(text))
    except ValueError as error:
        if "has host bits set" in str(error):
            raise ValueError(f"{text!r} has host bits set: write {ip_network(text, strict=False)}") from None
        raise ValueError(f"{text!r} is neither a network nor a range: write 10.1.0.0/16") from None
