"""The frame of every netfilter message (``include/uapi/linux/netfilter/nfnetlink.h``).

Numbers in attributes are big-endian here, unlike those of routes and XFRM.
"""

import socket
import struct

from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import attribute, attributes

NFPROTO_UNSPEC, NFPROTO_INET = 0, 1
IPSET, NFTABLES = 6, 10
"""Subsystems."""

NFGENMSG = struct.Struct("=BBH")
_NESTED, _NET_BYTEORDER = 0x8000, 0x4000
_KIND = 0x3FFF
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


def message(
    subsystem: int, command: int, payload: bytes = b"", *, family: int = NFPROTO_INET, flags: int = 0
) -> Request:
    """A request to a subsystem of netfilter."""
    return Request(subsystem << 8 | command, flags, NFGENMSG.pack(family, 0, 0) + payload)


def batch(subsystem: int) -> tuple[Request, Request]:
    """What stands around the messages of one transaction."""
    frame = NFGENMSG.pack(NFPROTO_UNSPEC, 0, socket.htons(subsystem))
    return Request(_BATCH_BEGIN, 0, frame), Request(_BATCH_END, 0, frame)


def nest(kind: int, payload: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind | _NESTED, payload)


def text(kind: int, value: str) -> bytes:
    """A string that ends with a zero."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """A number of 32 bits."""
    return attribute(kind, _U32.pack(value))


def u64(kind: int, value: int) -> bytes:
    """A number of 64 bits."""
    return attribute(kind, _U64.pack(value))


def in_network_order(kind: int, value: bytes) -> bytes:
    """An attribute that says of itself that it is big-endian, as ipset asks for."""
    return attribute(kind | _NET_BYTEORDER, value)


def body(payload: memoryview) -> dict[int, memoryview]:
    """The attributes of a message by type; of several with one type, the last."""
    return inner(payload, NFGENMSG.size)


def inner(payload: memoryview, offset: int = 0) -> dict[int, memoryview]:
    """The attributes of a nest by type; of several with one type, the last."""
    return {kind & _KIND: value for kind, value in attributes(payload, offset)}


def number(value: memoryview | None) -> int:
    """A big-endian number of whatever size; 0 for none."""
    return int.from_bytes(value or b"", "big")


def words(value: memoryview | None) -> str:
    """A string up to its zero; "" for none."""
    return bytes(value or b"").split(b"\0", 1)[0].decode(errors="replace")
