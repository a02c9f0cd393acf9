"""Multicast messages of NETLINK_ROUTE: something about addresses, links or routes of this host has changed.

What exactly does not matter to anybody: whoever is concerned asks the routes (``daemon.routes``). A link that goes
down takes its IPv4 routes along without a message for each, so links are listened to, too. Routes of our own are no
news, neither is what the kernel learns of single paths (RTM_F_CLONED).
"""

from typing import Final

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.route import RTMSG
from xfrmctl.kernel.netlink.socket import MulticastSocket
from xfrmctl.kernel.ownership import ROUTE_PROTOCOL

RTM_F_CLONED: Final = 0x200
GROUPS: Final = (1, 5, 7, 8, 9, 11, 19)
"""RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE (linux/rtnetlink.h)."""

_ROUTES = (c.RTM_NEWROUTE, c.RTM_DELROUTE)
_ALWAYS = (c.RTM_NEWLINK, c.RTM_DELLINK, c.RTM_NEWADDR, c.RTM_DELADDR, c.RTM_NEWRULE, c.RTM_DELRULE)


def matters(kind: int, payload: memoryview) -> bool:
    """Whether after this message packets may take another way than before."""
    if kind in _ROUTES and len(payload) >= RTMSG.size:
        _, _, _, _, _, protocol, _, _, flags = RTMSG.unpack_from(payload)
        return protocol != ROUTE_PROTOCOL and not flags & RTM_F_CLONED
    return kind in _ALWAYS


class NetworkEvents:
    """A socket that tells when addresses, links or routes change."""

    def __init__(self) -> None:
        self._socket = MulticastSocket(c.NETLINK_ROUTE, GROUPS)
        self.address_gone = False
        """Whether in the last ``read`` an address has gone, and with it the routes that name it as their source."""

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._socket.fileno()

    def read(self) -> bool:
        """Take everything that has arrived; whether any of it matters, or was lost. Never blocks."""
        messages, lost = self._socket.read()
        self.address_gone = lost or any(kind == c.RTM_DELADDR for kind, _ in messages)
        return lost or any(matters(kind, payload) for kind, payload in messages)

    def close(self) -> None:
        """Leave the groups."""
        self._socket.close()
