"""A tunnel device over a CHILD SA: GRE or IP in IP between the two gateways, and what it adds to a packet."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Interface, IPv6Interface

from xfrmctl.model.address import IPAddress, IPNetwork

IPInterface = IPv4Interface | IPv6Interface
"""An address of a device, with its prefix length."""

GRE_HEADER = 4
"""Flags, version and protocol type (RFC 2784 2)."""

GRE_KEY = 4
"""RFC 2890 2.1."""

DEFAULT_TTL = 64


class TunnelType(Enum):
    """What is put around an inner packet: GRE (RFC 2784), or nothing but another IP header (RFC 2003, RFC 2473)."""

    GRE = "gre"
    IPIP = "ipip"

    __hash__ = object.__hash__

    @property
    def protocol(self) -> int:
        """IANA's number of the protocol in the outer IP header."""
        return {TunnelType.GRE: 47, TunnelType.IPIP: 4}[self]

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that go inside."""
        return {TunnelType.GRE: (4, 6), TunnelType.IPIP: (4,)}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """A tunnel device as it is configured.

    ``addresses`` are those of our end. ``key`` is GRE's (RFC 2890), None for none. ``ttl`` is that of the outer header.
    ``keepalive_s`` is how often the far end is asked to send something back, seconds; None: never. ``routes`` lead into
    the device.
    """

    type: TunnelType
    interface: str
    addresses: tuple[IPInterface, ...] = ()
    key: int | None = None
    ttl: int = DEFAULT_TTL
    keepalive_s: float | None = None
    routes: tuple[IPNetwork, ...] = ()

    @property
    def header(self) -> int:
        """Bytes between outer IP header and inner packet."""
        if self.type is TunnelType.IPIP:
            return 0
        return GRE_HEADER + (GRE_KEY if self.key is not None else 0)

    @property
    def has_ipv6(self) -> bool:
        """Whether IPv6 is configured on it."""
        return any(item.version == 6 for item in (*self.addresses, *self.routes))


def recursion(device: str, peer: IPAddress) -> str:
    """What is wrong, and the cure, where a route leads packets for a tunnel's far end into the tunnel itself."""
    return (
        f"the route to {peer}, the far end of {device}, leads into {device} itself (recursive routing): no packet"
        f" could ever leave by it; keep the network of {peer} out of what is routed into {device} or learned over it"
    )
