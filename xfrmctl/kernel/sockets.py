"""What sockets of ours need of the kernel: ESP taken out of UDP, no IPsec policy in the way of IKE, none but an SA.

A tunnel whose selectors cover the peer's address would swallow IKE itself (KERNEL-FACTS 9): a policy on the socket
goes before the SPD and dies with the socket. It is not an entry of the SPD, so it needs no mark.
"""

import socket

from xfrmctl.kernel.desired import Template
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.policy import encode_template
from xfrmctl.kernel.netlink.structs import USERPOLICY_INFO
from xfrmctl.kernel.ownership import UNDERLAY_MARK
from xfrmctl.model.sa import Direction

UDP_ENCAP = 100
IP_XFRM_POLICY = 17
IPV6_XFRM_POLICY = 35

_IN, _OUT = c.XFRM_POLICY[Direction.IN], c.XFRM_POLICY[Direction.OUT]


def decapsulate_esp(sock: socket.socket) -> None:
    """Let the kernel take ESP packets (RFC 3948) off this socket; IKE's, behind the marker, still come up.

    For IPv6 sockets this needs Linux 5.8. Raises OSError.
    """
    sock.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, c.UDP_ENCAP_ESPINUDP)


def pass_by_peer_routes(sock: socket.socket) -> None:
    """Let this socket go where packets go without our routes to peers, which may be a moment behind the network's.

    Raises OSError.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, UNDERLAY_MARK)


def bypass_policies(sock: socket.socket) -> None:
    """Let what this socket sends and receives pass in clear, whatever the SPD says. Raises OSError."""
    for direction in (_IN, _OUT):
        _set_policy(sock, direction)


def demand_sa(sock: socket.socket, template: Template) -> None:
    """Let what this socket sends leave by an SA of the template or not at all, whatever the SPD says. Raises OSError.

    It finds no SA that belongs to an xfrm interface: a policy of a socket has no if_id (``xfrm_sk_policy_lookup``).
    """
    _set_policy(sock, _OUT, encode_template(template))


def _set_policy(sock: socket.socket, direction: int, template: bytes = b"") -> None:
    level, option = (
        (socket.IPPROTO_IP, IP_XFRM_POLICY)
        if sock.family == socket.AF_INET
        else (socket.IPPROTO_IPV6, IPV6_XFRM_POLICY)
    )
    selector = (b"", b"", 0, 0, 0, 0, int(sock.family), 0, 0, 0, 0, 0)
    limits = (c.XFRM_INF,) * 4 + (0,) * 4
    policy = USERPOLICY_INFO.pack(*selector, *limits, 0, 0, direction, c.XFRM_POLICY_ALLOW, 0, 0)
    sock.setsockopt(level, option, policy + template)
