"""A packet as rules see it, and the host that is asked about what the packet does not say."""

from dataclasses import dataclass
from typing import Protocol

from xfrmctl.model.address import IPAddress

ICMP, TCP, UDP, ESP, AH, ICMPV6, SCTP, UDPLITE = 1, 6, 17, 50, 51, 58, 132, 136
PROTOCOLS = {
    "icmp": ICMP,
    "igmp": 2,
    "ipencap": 4,
    "ipip": 4,
    "tcp": TCP,
    "udp": UDP,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": ESP,
    "ah": AH,
    "ipv6-icmp": ICMPV6,
    "icmpv6": ICMPV6,
    "ospf": 89,
    "vrrp": 112,
    "sctp": SCTP,
    "udplite": UDPLITE,
    "mh": 135,
}
"""Names of /etc/protocols that iptables-save writes, and usual spellings."""

SYN = frozenset({"SYN"})
SYN_ACK = frozenset({"SYN", "ACK"})


@dataclass(frozen=True, slots=True)
class Applied:
    """One transform of XFRM that a packet has come through, or will go through. ``spi`` 0: not known yet."""

    reqid: int
    spi: int
    protocol: int
    mode: str
    source: IPAddress
    destination: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """None stands for "not known" everywhere; ports and ICMP type are None too where the protocol has none.

    ``iif`` and ``oif`` are "" where a hook has no such device. ``state`` is an assumption: NEW for the first packet
    of a connection, ESTABLISHED for the answer, UNTRACKED behind NOTRACK. ``came_through`` is what XFRM has decrypted
    the packet with, ``goes_through`` what it will encrypt it with, innermost first; both empty for plain packets.
    ``path_mtu`` is what ``--clamp-mss-to-pmtu`` goes by, ``reverse_path`` what ``-m rpfilter`` asks.
    """

    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    tcp_flags: frozenset[str] | None = None
    mss: int | None = None
    length: int | None = None
    spi: int | None = None
    mark: int | None = 0
    connection_mark: int | None = 0
    state: str = "NEW"
    translated: frozenset[str] = frozenset()
    iif: str = ""
    oif: str = ""
    came_through: tuple[Applied, ...] | None = ()
    goes_through: tuple[Applied, ...] | None = ()
    path_mtu: int | None = None
    reverse_path: bool | None = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.source.version


class Host(Protocol):
    """Who knows what the packet does not say. None stands for "not known"."""

    def in_set(self, name: str, flags: tuple[str, ...], packet: Packet) -> bool | None:
        """Whether the set ``name`` has the packet's ``flags`` (src, dst in order) as a member."""

    def is_local(self, address: IPAddress) -> bool | None:
        """Whether the address is one of this host's."""

    def address_of(self, device: str, version: int) -> IPAddress | None:
        """The address that MASQUERADE takes on a device."""


class Stranger:
    """A host about which nothing is known."""

    def in_set(self, name: str, flags: tuple[str, ...], packet: Packet) -> bool | None:
        """Not known."""
        return None

    def is_local(self, address: IPAddress) -> bool | None:
        """Not known."""
        return None

    def address_of(self, device: str, version: int) -> IPAddress | None:
        """Not known."""
        return None
