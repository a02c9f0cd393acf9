"""Traffic selectors (RFC 7296 3.13) and their set arithmetic.

A selector is an address range, a protocol (0 = any) and a port range. Narrowing (RFC 7296 2.9) is set
intersection; the kernel wants prefixes, so a range is cut into the fewest that cover it exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass
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

ANY_PORT = (0, 65535)


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
        if self.protocol or (self.start_port, self.end_port) != ANY_PORT:
            ports = (
                f":{self.start_port}"
                if self.start_port == self.end_port
                else ("" if (self.start_port, self.end_port) == ANY_PORT else f":{self.start_port}-{self.end_port}")
            )
            text += f"[{self.protocol}{ports}]"
        return text

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
        raise ValueError(f"mixed families in {self.start}-{self.end}")

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
    """Read ``10.1.0.0/16``, ``10.1.1.1-10.1.1.9``, ``fd00::/8``.

    Raises ValueError with cause and cure.
    """
    text = text.strip()
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
