"""Addresses, endpoints and networks; thin names over :mod:`ipaddress`."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

IKE_PORT = 500
NAT_T_PORT = 4500


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A UDP endpoint."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"
