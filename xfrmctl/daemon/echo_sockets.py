"""Raw ICMP sockets for echoes through tunnels, each open only as long as its question (needs CAP_NET_RAW).

A socket is bound to our inner address and connected to the peer's, so the kernel hands it no other packets; that they
have come through the tunnel is the matter of the SPD, which lets none of them pass in clear. What it sends goes by the
SA or not at all, also where the SPD has nothing to say any more: by a policy of its own, or into the xfrm interface.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from struct import Struct, pack, unpack

from xfrmctl.daemon.echo import SECRET, Leg
from xfrmctl.kernel.sockets import demand_sa
from xfrmctl.model.path import Path
from xfrmctl.model.sizes import IP_HEADER

ICMP_HEADER = Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number (RFC 792, RFC 4443 4.1)."""

REQUEST, REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}

IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3
SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1

Heard = Callable[[Path, bytes, int], None]


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def request(version: int, length: int, secret: bytes) -> bytes:
    """The ICMP message of an echo request whose IP packet has ``length`` bytes; IPv6's checksum is the kernel's."""
    ident = int.from_bytes(secret[:2], "big")
    data = secret + bytes(max(0, length - IP_HEADER[version] - ICMP_HEADER.size - len(secret)))
    head = ICMP_HEADER.pack(REQUEST[version], 0, 0, ident, 0)
    return ICMP_HEADER.pack(REQUEST[version], 0, checksum(head + data) if version == 4 else 0, ident, 0) + data


def reply(version: int, packet: bytes) -> tuple[bytes, int] | None:
    """The first bytes of an echo reply's data, and the size of its IP packet; None for anything else."""
    at = (packet[0] & 0x0F) * 4 if version == 4 and packet else 0
    message = packet[at:]
    if len(message) < ICMP_HEADER.size + SECRET or message[0] != REPLY[version]:
        return None
    return message[ICMP_HEADER.size : ICMP_HEADER.size + SECRET], len(message) + IP_HEADER[version]


class EchoSockets:
    """The sockets of all questions that are open; ``heard`` is called with each answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, heard: Heard) -> None:
        self._loop = loop
        self._heard = heard
        self._sockets: dict[Path, socket.socket] = {}

    def send(self, path: Path, leg: Leg, length: int, secret: bytes) -> bool:
        """See :class:`xfrmctl.daemon.echo.EchoPort`."""
        try:
            sock = self._sockets.get(path) or self._open(path, leg)
            sock.send(request(leg.target.version, length, secret))
        except OSError:  # larger than what is in force, no route, no right, no buffer: it cannot be asked so
            return False
        return True

    def close(self, path: Path) -> None:
        """See there."""
        sock = self._sockets.pop(path, None)
        if sock is not None:
            self._loop.remove_reader(sock)
            sock.close()

    def stop(self) -> None:
        """Close all."""
        for path in tuple(self._sockets):
            self.close(path)

    def _open(self, path: Path, leg: Leg) -> socket.socket:
        four = leg.target.version == 4
        family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if four else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        try:
            if four:
                sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
                sock.setsockopt(SOL_RAW, ICMP_FILTER, pack("=I", ~(1 << REPLY[4]) & 0xFFFFFFFF))
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
                blocked = [0xFFFFFFFF] * 8
                blocked[REPLY[6] // 32] &= ~(1 << REPLY[6] % 32)
                sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, pack("=8I", *blocked))
            if leg.device is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, leg.device.encode() + b"\0")
            else:
                demand_sa(sock, leg.template)
            sock.bind((str(leg.source), 0))
            sock.connect((str(leg.target), 0))
        except OSError:
            sock.close()
            raise
        self._sockets[path] = sock
        self._loop.add_reader(sock, self._readable, path, sock, leg.target.version)
        return sock

    def _readable(self, path: Path, sock: socket.socket, version: int) -> None:
        with suppress(OSError):  # nothing there, or an ICMP error: not what we wait for
            found = reply(version, sock.recv(65536))
            if found is not None:
                self._heard(path, *found)
