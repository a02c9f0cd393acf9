"""ICMP echoes: of exact sizes to a peer, and through a tunnel. All of it blocks.

What a router says of a packet that is too large is read from the wire (AF_PACKET), before anything of this host (our
own ICMP guard first of all) can drop it.
"""

import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from xfrmctl.daemon.clock import entropy
from xfrmctl.diagnose.facts import PathProbe, TunnelProbe
from xfrmctl.kernel.sockets import bypass_policies, pass_by_peer_routes
from xfrmctl.model.address import IPAddress
from xfrmctl.model.sizes import IP_HEADER

TRIES, WAIT_S = 3, 0.3
TUNNEL_WAIT_S = 1.0
SMALL = 100
"""Bytes of the echo that proves that the peer answers at all."""

_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _DONT, _PROBE = 10, 23, 0, 3
_ETH = {4: 0x0800, 6: 0x86DD}
_HEADER = struct.Struct("!BBHHH")
_KINDS = {4: (8, 0), 6: (128, 129)}


def checksum(data: bytes) -> int:
    """RFC 1071; of ICMPv6 the kernel makes its own."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def request(version: int, tag: bytes, size: int = 0) -> bytes:
    """An echo request whose IP packet has ``size`` bytes; ``tag`` are its identifier and the begin of its payload."""
    fill = max(0, size - IP_HEADER[version] - _HEADER.size - len(tag) + 2)
    number = int.from_bytes(tag[:2], "big")
    message = _HEADER.pack(_KINDS[version][0], 0, 0, number, 1) + tag[2:] + bytes(fill)
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def is_reply(version: int, data: bytes, tag: bytes) -> bool:
    """Whether what a raw socket has read answers the request with this tag."""
    at = (data[0] & 15) * 4 if version == 4 and data else 0
    body = data[at:]
    kind = _KINDS[version][1]
    return len(body) >= 16 and body[0] == kind and body[4:6] == tag[:2] and body[8:].startswith(tag[2:])


def open_icmp(local: IPAddress | None, version: int) -> socket.socket:
    """A raw socket. Raises OSError."""
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    sock = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_RAW, protocol)
    try:
        if local is not None:
            sock.bind((str(local), 0))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def probe_path(local: IPAddress | None, remote: IPAddress, size: int, link: int) -> PathProbe | None:
    """What becomes of large packets to a peer. ``link`` is what our own link carries. None: it answers no echo."""
    version = remote.version
    with ExitStack() as stack:
        try:
            sock, other = (stack.enter_context(closing(open_icmp(local, version))) for _ in range(2))
            for one in (sock, other):
                bypass_policies(one)
            pass_by_peer_routes(sock)  # the other one makes fragments of the size that is believed to pass
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH[version]))
            stack.enter_context(closing(wire))
            wire.setblocking(False)
        except OSError:
            return None
        if not _exchange(sock, wire, remote, SMALL, _PROBE)[0]:
            return None
        fits, told = _exchange(sock, wire, remote, size, _PROBE)
        whole, _ = _exchange(other, wire, remote, link + 400, _DONT)
        wider = fits and size < link and _exchange(sock, wire, remote, link, _PROBE)[0]
        return PathProbe(asked=size, fits=fits, told=told, fragments=whole, carries=link if wider else None)


def _exchange(
    sock: socket.socket, wire: socket.socket, remote: IPAddress, size: int, discover: int
) -> tuple[bool, int | None]:
    """Whether an echo of this size is answered, and which MTU an ICMP error told instead."""
    version = remote.version
    level, option = (socket.IPPROTO_IP, _IP_MTU_DISCOVER) if version == 4 else (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER)
    sock.setsockopt(level, option, discover)
    tag, told = entropy(10), None
    for _ in range(TRIES):
        try:
            sock.sendto(request(version, tag, size), (str(remote), 0))
        except OSError:
            return False, told  # larger than our own link
        until = time.monotonic() + WAIT_S
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([sock, wire], [], [], left)
            if sock in ready and any(is_reply(version, data, tag) for data in _all(sock)):
                return True, told
            if wire in ready:
                told = next((mtu for d in _all(wire) if (mtu := _too_big(version, d, tag))), told)
        if told is not None:
            return False, told
    return False, told


def _all(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(65535)
        except OSError:
            return


def _too_big(version: int, data: bytes, tag: bytes) -> int | None:
    """The MTU of an ICMP error that quotes our echo (RFC 1191, RFC 8201); None for anything else."""
    at = (data[0] & 15) * 4 if version == 4 and data else IP_HEADER[6]
    error = data[at:]
    if len(error) < 8 or (error[0], error[1]) != ((3, 4) if version == 4 else (2, 0)):
        return None
    quoted = error[8:]
    inner = (quoted[0] & 15) * 4 if version == 4 and quoted else IP_HEADER[6]
    if quoted[inner + 4 : inner + 6] != tag[:2]:
        return None
    return int.from_bytes(error[6:8] if version == 4 else error[4:8], "big")


def probe_tunnel(source: IPAddress, targets: Sequence[IPAddress]) -> TunnelProbe | None:
    """Ping addresses behind the peer from an address of ours that the tunnel is for. None: there is no such socket."""
    version = source.version
    tags = {target: entropy(10) for target in targets if target.version == version}
    sent = 0
    try:
        sock = open_icmp(source, version)
    except OSError:
        return None
    with closing(sock):
        for target, tag in tags.items():
            try:
                sock.sendto(request(version, tag), (str(target), 0))
                sent += 1
            except OSError:
                continue
        until = time.monotonic() + TUNNEL_WAIT_S
        while (left := until - time.monotonic()) > 0:
            if not select.select([sock], [], [], left)[0]:
                break
            if any(is_reply(version, data, tag) for data in _all(sock) for tag in tags.values()):
                return TunnelProbe(sent=sent, answered=True)
    return TunnelProbe(sent=sent, answered=False) if sent else None
