"""Messages about the addresses of this host (``net/ipv4/devinet.c``, ``net/ipv6/addrconf.c``)."""

from collections.abc import Sequence
from ipaddress import ip_address
from struct import Struct

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import find_attribute
from xfrmctl.model.address import IPAddress

IFADDRMSG = Struct("=BBBBI")
"""``struct ifaddrmsg``: family prefixlen flags scope index."""

IFA_ADDRESS, IFA_LOCAL = 1, 2
RT_SCOPE_UNIVERSE = 0
IFA_F_SECONDARY, IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x01, 0x08, 0x20, 0x40
UNFIT = IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE
"""Not, or not for long, a source of packets (RFC 4862 5.4, 5.5.4)."""


def dump_addresses(family: int) -> Request:
    """All addresses of a family."""
    return Request(c.RTM_GETADDR, 0, IFADDRMSG.pack(family, 0, 0, 0, 0))


def addresses_from(messages: Sequence[tuple[int, memoryview]]) -> list[IPAddress]:
    """Read a dump: global addresses that may be a source, in its order; temporary and secondary ones come last."""
    first: list[IPAddress] = []
    second: list[IPAddress] = []
    for kind, payload in messages:
        if kind != c.RTM_NEWADDR:
            continue
        _, _, flags, scope, _ = IFADDRMSG.unpack_from(payload)
        local = find_attribute(payload, IFADDRMSG.size, IFA_LOCAL)
        found = local if local is not None else find_attribute(payload, IFADDRMSG.size, IFA_ADDRESS)
        if found is None or scope != RT_SCOPE_UNIVERSE or flags & UNFIT:
            continue
        (second if flags & IFA_F_SECONDARY else first).append(ip_address(bytes(found)))
    return first + second
