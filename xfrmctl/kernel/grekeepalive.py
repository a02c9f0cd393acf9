"""Raw sockets on which GRE keepalives come and go: for the SPD they are packets of the tunnel like all others.

So they leave in ESP or not at all, and what has come in without is dropped before it is read (``raw_rcv``). They need
no device: a keepalive is sent and answered while the device is down, which is how it comes up. A raw socket is offered
every GRE packet of the host, so a filter in the kernel lets pass only what looks like a keepalive.
"""

import socket
from ipaddress import ip_address
from struct import Struct

from xfrmctl.kernel.netlink.filter import attach
from xfrmctl.model.address import IPAddress

IPPROTO_GRE = 47
IP_PKTINFO = 8
IPV6_PKTINFO, IPV6_RECVPKTINFO = 50, 49
RECEIVE_BYTES = 2048
BATCH = 64

_INSTRUCTION = Struct("=HBBI")
_LDX_HEADER, _LDX_ZERO, _LDH_X, _LDB_X = 0xB1, 0x01, 0x48, 0x50
_JEQ, _JSET, _RET = 0x15, 0x45, 0x06
_ALL = 0x40000
_KEY_PRESENT = 0x2000

Packet = tuple[IPAddress, IPAddress, bytes]
"""Destination (ours), source, and the packet from the GRE header on."""


def keepalive_filter(version: int) -> bytes:
    """A classic BPF program: GRE protocol 0, or IP in GRE whose own protocol is GRE, with a key or without."""
    kind, at = (0x0800, 9) if version == 4 else (0x86DD, 6)
    first = (_LDX_HEADER, 0, 0, 0) if version == 4 else (_LDX_ZERO, 0, 0, 0)  # IPv6 raw sockets see no IP header
    program = [
        first,
        (_LDH_X, 0, 0, 2),
        (_JEQ, 7, 0, 0),  # an answer
        (_JEQ, 0, 7, kind),
        (_LDH_X, 0, 0, 0),
        (_JSET, 2, 0, _KEY_PRESENT),
        (_LDB_X, 0, 0, 4 + at),
        (_JEQ, 2, 3, IPPROTO_GRE),
        (_LDB_X, 0, 0, 8 + at),
        (_JEQ, 0, 1, IPPROTO_GRE),
        (_RET, 0, 0, _ALL),
        (_RET, 0, 0, 0),
    ]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


class KeepaliveSocket:
    """The raw socket of one family (4 or 6). Raises OSError where it cannot be had."""

    def __init__(self, version: int) -> None:
        self.version = version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, IPPROTO_GRE)
        try:
            attach(self.sock, keepalive_filter(version))
            if version == 4:
                self.sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            else:
                self.sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        except OSError:
            self.sock.close()
            raise

    def send(self, local: IPAddress, remote: IPAddress, data: bytes) -> None:
        """Send from the GRE header on. Raises OSError: EPERM where a policy blocks it, EAGAIN without an SA."""
        if self.version == 4:
            ancillary = [(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + local.packed + bytes(4))]
        else:
            ancillary = [(socket.IPPROTO_IPV6, IPV6_PKTINFO, local.packed + bytes(4))]
        self.sock.sendmsg([data], ancillary, 0, (str(remote), 0))

    def receive(self) -> list[Packet]:
        """What has come, at most BATCH packets."""
        found: list[Packet] = []
        for _ in range(BATCH):
            try:
                data, ancillary, _, source = self.sock.recvmsg(RECEIVE_BYTES, 64)
            except OSError:
                break
            for _, _, info in ancillary:
                local = ip_address(info[8:12] if self.version == 4 else info[:16])
                skip = (data[0] & 0xF) * 4 if self.version == 4 else 0
                found.append((local, ip_address(source[0].partition("%")[0]), data[skip:]))
        return found

    def close(self) -> None:
        """Close it."""
        self.sock.close()
