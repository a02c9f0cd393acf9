"""The IKE sockets: UDP 500 and 4500, IPv4 and IPv6, bound to the wildcard address.

Each socket bypasses the SPD by a policy of its own (IP_XFRM_POLICY, ``net/xfrm/xfrm_state.c``), so that IKE is never
caught by a tunnel that covers the peer. The sockets of the NAT traversal port take ESP in UDP (UDP_ENCAP, RFC 3948):
the kernel decrypts it and hands us the rest. Path-MTU discovery is off on them: IKE may be fragmented by the path.
A probe of the path's MTU is the exception: for that one datagram it is set to PROBE, so that it goes out whole with DF
whatever the kernel believes of the path (``ip_sk_use_pmtu``, ``ip6_sk_ignore_df``); only the link's MTU limits it.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from xfrmctl.kernel.sockets import bypass_policies, decapsulate_esp, pass_by_peer_routes
from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.sizes import IPV6_FLOOR

IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
IPV6_MTU = 24
PMTUDISC_DONT = 0
PMTUDISC_PROBE = 3
BATCH = 64
"""Datagrams taken from one socket before others get their turn."""

MAX_DATAGRAM = 65535

Receiver = Callable[[Endpoint, Endpoint, bytes], None]


class SocketError(XfrmctlError):
    """A socket cannot be had; the message says which, why, and what to do."""


@lru_cache(maxsize=4096)
def _remote(host: str, port: int) -> Endpoint:
    return Endpoint(ip_address(host.partition("%")[0]), port)


@lru_cache(maxsize=256)
def _here(packed: bytes, port: int) -> Endpoint:
    return Endpoint(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed), port)


class UdpPort:
    """One socket: a family and a port."""

    def __init__(self, family: int, port: int, *, encap: bool) -> None:
        self._family = family
        self.port = port
        self.version = 4 if family == socket.AF_INET else 6
        self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            self._prepare(encap)
        except OSError as error:
            self.sock.close()
            raise SocketError(
                f"UDP port {port} (IPv{self.version}): {error.strerror}. Is another IKE daemon running here? "
                f"`ss -ulpn sport = :{port}` names it; CAP_NET_ADMIN and CAP_NET_BIND_SERVICE are needed"
            ) from None

    def _prepare(self, encap: bool) -> None:
        sock = self.sock
        if self._family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self._discover(PMTUDISC_DONT)
            sock.bind(("0.0.0.0", self.port))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
            self._discover(PMTUDISC_DONT)
            sock.bind(("::", self.port))
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        bypass_policies(sock)
        pass_by_peer_routes(sock)
        if encap:
            with suppress(OSError):  # a kernel without ESP over IPv6 in UDP still does IKE
                decapsulate_esp(sock)

    def _discover(self, how: int) -> None:
        if self._family == socket.AF_INET:
            self.sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, how)
        else:
            self.sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, how)
            # Without DF we fragment to what every link carries, since no router of IPv6 does.
            self.sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU, IPV6_FLOOR if how == PMTUDISC_DONT else 0)

    def receive(self) -> list[tuple[Endpoint, Endpoint, bytes]]:
        """Up to BATCH datagrams as (local, remote, data); errors of the network show up as silence."""
        found = []
        for _ in range(BATCH):
            try:
                data, ancillary, _, source = self.sock.recvmsg(MAX_DATAGRAM, 64)
            except BlockingIOError:
                break
            except OSError:
                continue
            local = self._local(ancillary, self.port)
            if local is not None:
                found.append((local, _remote(source[0], source[1]), data))
        return found

    @staticmethod
    def _local(ancillary: list[tuple[int, int, bytes]], port: int) -> Endpoint | None:
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                return _here(data[8:12], port)  # ipi_addr: the header's destination
            if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
                return _here(data[:16], port)
        return None

    def send(self, local: Endpoint, remote: Endpoint, data: bytes, *, by_our_route: bool = False) -> None:
        """Send from the given address; the kernel's refusal (no route, no address) is the caller's to report.

        ``by_our_route``: as all other packets to the peer go, and not as routes lead without ours. Raises OSError.
        """
        if self._family == socket.AF_INET:
            info = struct.pack("=i4s4s", 0, local.address.packed, bytes(4))
            ancillary = [(socket.IPPROTO_IP, IP_PKTINFO, info)]
        else:
            ancillary = [(socket.IPPROTO_IPV6, IPV6_PKTINFO, local.address.packed + bytes(4))]
        if by_our_route:
            ancillary.append((socket.SOL_SOCKET, socket.SO_MARK, struct.pack("=I", 0)))
        self.sock.sendmsg([data], ancillary, 0, (str(remote.address), remote.port))

    def probe(self, local: Endpoint, remote: Endpoint, data: bytes, *, by_our_route: bool = False) -> None:
        """Send in one packet with DF; OSError (EMSGSIZE) where the link does not take it."""
        self._discover(PMTUDISC_PROBE)
        try:
            self.send(local, remote, data, by_our_route=by_our_route)
        finally:
            self._discover(PMTUDISC_DONT)


class UdpPorts:
    """All IKE sockets; ``receiver`` gets each datagram.

    ``astray``: whether routes of others lead packets from here to there into the tunnel to that very peer, so that IKE,
    too, has to go by our own route (:mod:`xfrmctl.daemon.underlay`).
    """

    def __init__(
        self,
        ike_port: int,
        nat_t_port: int,
        receiver: Receiver,
        astray: Callable[[IPAddress, IPAddress], bool] = lambda *_: False,
    ) -> None:
        self._receiver = receiver
        self._astray = astray
        self._ports: dict[tuple[int, int], UdpPort] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for port in (ike_port, nat_t_port):
                try:
                    opened = UdpPort(family, port, encap=port == nat_t_port)
                except SocketError:
                    self.close()
                    raise
                except OSError:
                    if family == socket.AF_INET6:
                        continue  # IPv6 is switched off on this host
                    raise
                self._ports[opened.version, port] = opened

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver datagrams from now on."""
        for port in self._ports.values():
            loop.add_reader(port.sock, self._readable, port)

    def _readable(self, port: UdpPort) -> None:
        for local, remote, data in port.receive():
            self._receiver(local, remote, data)

    def send(self, local: Endpoint, remote: Endpoint, data: bytes, *, whole: bool = False) -> str | None:
        """Send, with ``whole`` in one packet with DF; returns the kernel's complaint, if any."""
        port = self._ports.get((local.address.version, local.port))
        if port is None:
            return f"no socket for {local}"
        try:
            astray = self._astray(local.address, remote.address)
            (port.probe if whole else port.send)(local, remote, data, by_our_route=astray)
        except OSError as error:
            return f"{local} to {remote}: {error.strerror}"
        return None

    def close(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Close all sockets."""
        for port in self._ports.values():
            if loop is not None:
                loop.remove_reader(port.sock)
            port.sock.close()
        self._ports.clear()
