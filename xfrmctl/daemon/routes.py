"""What the kernel would send where: asked by connecting a UDP socket, which sends nothing."""

import socket
from ipaddress import ip_address

from xfrmctl.kernel.sockets import bypass_policies, pass_by_peer_routes
from xfrmctl.model.address import IKE_PORT, IPAddress

IP_MTU = 14
IPV6_MTU = 24


def _probe(local: IPAddress | None, remote: IPAddress, *, underlay: bool = False) -> socket.socket:
    family = socket.AF_INET if remote.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        bypass_policies(sock)
        if underlay:
            pass_by_peer_routes(sock)
        if local is not None:
            sock.bind((str(local), 0))
        sock.connect((str(remote), IKE_PORT))
    except OSError:
        sock.close()
        raise
    return sock


def local_address(remote: IPAddress, local: IPAddress | None = None) -> IPAddress | None:
    """The address we would speak to ``remote`` from, our own routes apart; None without a route.

    With ``local`` that one, or None where it is not ours or no route allows it.
    """
    try:
        with _probe(local, remote, underlay=True) as sock:
            return ip_address(sock.getsockname()[0])
    except OSError:
        return None


def outer_mtu(local: IPAddress | None, remote: IPAddress) -> int | None:
    """Bytes of the largest IP packet the route to ``remote`` takes; None without a route.

    It is the link's MTU, or what a route metric (ours as well) or an ICMP error has lowered it to.
    """
    try:
        with _probe(local, remote) as sock:
            if remote.version == 4:
                return sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
            return sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
    except OSError:
        return None
