"""What a kernel has learned of paths, and having it forget that."""

import socket
import struct
from pathlib import Path

from tests.lab.kernel_gateway import inside
from xfrmctl.lab.namespace import Namespace

_SOL_NETLINK, _GET_STRICT_CHK = 270, 12
_REQUEST, _DUMP = 0x1, 0x300
_DONE, _NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 3, 24, 25, 26
_CLONED = 0x200
_HEADER, _ROUTE = struct.Struct("=IHHII"), struct.Struct("=8BI")


def forget(namespace: Namespace) -> None:
    """Have a kernel forget what it has learned, as `ip route flush cache` does: without a process, which costs more."""
    with inside(namespace):
        Path("/proc/sys/net/ipv4/route/flush").write_text("1")
    # IPv6 has a file of the same name, but it ends only what has run out by itself. What is learned is listed where
    # it is asked for alone (net/ipv6/ip6_fib.c, inet6_dump_fib), and deleted one by one.
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.setsockopt(_SOL_NETLINK, _GET_STRICT_CHK, 1)
        for route in _learned(sock):
            sock.send(_HEADER.pack(_HEADER.size + len(route), _DELETE_ROUTE, _REQUEST, 0, 0) + route)


def _learned(sock: socket.socket) -> list[bytes]:
    ask = _ROUTE.pack(socket.AF_INET6, 0, 0, 0, 0, 0, 0, 0, _CLONED)
    sock.send(_HEADER.pack(_HEADER.size + len(ask), _GET_ROUTE, _REQUEST | _DUMP, 0, 0) + ask)
    found: list[bytes] = []
    while True:
        rest = sock.recv(1 << 16)
        while rest:
            length, kind, *_ = _HEADER.unpack_from(rest)
            if kind == _DONE:
                return found
            assert kind == _NEW_ROUTE, f"netlink answers {kind}"
            found.append(rest[_HEADER.size : length])
            rest = rest[(length + 3) & ~3 :]
