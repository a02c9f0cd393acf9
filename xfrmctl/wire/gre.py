"""GRE keepalives as routers send them: a GRE packet that holds the answer to itself.

::

    outer IP  us -> peer | GRE, protocol IP | inner IP  peer -> us | GRE, protocol 0 | our four bytes
                                            └────────── the answer, as the peer sends it ───────────┘

A peer that forwards what comes out of its tunnel returns the inner packet without knowing what it is. Both GRE headers
have the tunnel's key, if it has one. No standard describes them; the four bytes are ours, and come back as they are.
What is here are packets from the outer GRE header on, for raw sockets: the outer IP header is the kernel's.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from xfrmctl.model.address import IPAddress

GRE = 47
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
"""Protocol types (RFC 2784 2.4, RFC 7676 3.2)."""

_KEY_PRESENT = 0x2000
_GRE = Struct("!HH")
_U32 = Struct("!I")
_IPV4 = Struct("!BBHHHBBH4s4s")
_IPV6 = Struct("!IHBB16s16s")
HOPS = 64
MAX_TOKEN = 64
"""Bytes behind the inner GRE header that are returned to a peer: routers put little there, or nothing."""


@dataclass(frozen=True, slots=True)
class Request:
    """The peer wants ``answer``, from the GRE header on, back."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One of ours has come back; ``token`` is what we have put in, None where it is nothing of the kind."""

    token: int | None


def header(protocol: int, key: int | None) -> bytes:
    """A GRE header (RFC 2784 2, RFC 2890 2)."""
    if key is None:
        return _GRE.pack(0, protocol)
    return _GRE.pack(_KEY_PRESENT, protocol) + _U32.pack(key)


def request(local: IPAddress, remote: IPAddress, key: int | None, token: int) -> bytes:
    """A keepalive from ``local`` to ``remote``; ``token`` is any 32-bit number."""
    answer = header(0, key) + _U32.pack(token)
    kind = ETH_P_IP if local.version == 4 else ETH_P_IPV6
    return header(kind, key) + _ip(remote, local, len(answer)) + answer


def parse(data: bytes, local: IPAddress, remote: IPAddress, key: int | None) -> Request | Answer | None:
    """What a GRE packet from ``remote`` to ``local`` is to keepalives; None for anything but them, however broken."""
    kind, body = _gre(data, key)
    if kind == 0:
        return Answer(_U32.unpack(body)[0] if len(body) == _U32.size else None)
    if kind != (ETH_P_IP if local.version == 4 else ETH_P_IPV6):
        return None
    size = _IPV4.size if local.version == 4 else _IPV6.size
    inner, answer = body[:size], body[size:]
    if len(inner) < size or not _returns(inner, len(answer), local, remote):
        return None
    kind, token = _gre(answer, key)
    return Request(answer) if kind == 0 and len(token) <= MAX_TOKEN else None


def _gre(data: bytes, key: int | None) -> tuple[int, bytes]:
    """Protocol type and what follows; -1 where it is no GRE packet with this key and without other options."""
    wanted = header(0, key)
    if len(data) < len(wanted) or data[:2] != wanted[:2] or data[4 : len(wanted)] != wanted[4:]:
        return -1, b""
    return int.from_bytes(data[2:4]), data[len(wanted) :]


def _returns(inner: bytes, size: int, local: IPAddress, remote: IPAddress) -> bool:
    """Whether an inner IP header, without options, leads ``size`` bytes of GRE from us back to the peer."""
    if local.version == 4:
        first, _, total, _, fragment, _, protocol, _, source, target = _IPV4.unpack(inner)
        whole = first == 0x45 and total == _IPV4.size + size and not fragment & 0x3FFF
    else:
        first, total, protocol, _, source, target = _IPV6.unpack(inner)
        whole = first >> 28 == 6 and total == size
    return whole and protocol == GRE and (source, target) == (local.packed, remote.packed)


def _ip(source: IPAddress, target: IPAddress, size: int) -> bytes:
    """An IP header before ``size`` bytes of GRE."""
    if isinstance(source, IPv6Address):
        return _IPV6.pack(6 << 28, size, GRE, HOPS, source.packed, target.packed)
    assert isinstance(target, IPv4Address)
    plain = _IPV4.pack(0x45, 0, _IPV4.size + size, 0, 0, HOPS, GRE, 0, source.packed, target.packed)
    total = sum(int.from_bytes(plain[i : i + 2]) for i in range(0, _IPV4.size, 2))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return plain[:10] + (~total & 0xFFFF).to_bytes(2) + plain[12:]
