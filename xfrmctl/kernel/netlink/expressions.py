"""What the rules of nf_tables are made of (``include/uapi/linux/netfilter/nf_tables.h``).

A rule is a list of expressions that work on registers: sixteen of four octets, of which a value takes as many as it is
long, and one for the verdict. An expression that does not hold, or that cannot be computed of a packet as short as
this one, ends the rule.
"""

import struct

from xfrmctl.kernel.netlink import netfilter as nf
from xfrmctl.kernel.netlink.structs import attribute, attributes

R0 = 8
"""NFT_REG32_00; R0 + n is the register n."""

NETWORK, TRANSPORT = 1, 2
"""Headers that an offset may count from."""

EQ, GT = 0, 4
DROP, JUMP, GOTO = 0, -3, -4
NFPROTO, L4PROTO = 15, 16
"""Keys of ``meta``."""

_VERDICT = 0
_LIST_ELEM = 1
_TCP_OPTION, _MAXSEG, _FRAGMENT = 1, 2, 44


def _expression(name: str, data: bytes = b"") -> bytes:
    return nf.nest(_LIST_ELEM, nf.text(1, name) + (nf.nest(2, data) if data else b""))


def _value(kind: int, value: bytes) -> bytes:
    return nf.nest(kind, attribute(1, value))


def payload(header: int, offset: int, length: int, to: int = R0) -> bytes:
    """Load octets of the packet."""
    return _expression("payload", nf.u32(1, to) + nf.u32(2, header) + nf.u32(3, offset) + nf.u32(4, length))


def meta(key: int, to: int = R0) -> bytes:
    """Load a fact about the packet."""
    return _expression("meta", nf.u32(1, to) + nf.u32(2, key))


def masked(mask: bytes, at: int = R0) -> bytes:
    """Keep the bits of a mask."""
    facts = nf.u32(1, at) + nf.u32(2, at) + nf.u32(3, len(mask))
    return _expression("bitwise", facts + _value(4, mask) + _value(5, bytes(len(mask))))


def compare(value: bytes, how: int = EQ, at: int = R0) -> bytes:
    """Go on if a register compares so with a value."""
    return _expression("cmp", nf.u32(1, at) + nf.u32(2, how) + _value(3, value))


def member(name: str, at: int = R0) -> bytes:
    """Go on if a set has what is in a register."""
    return _expression("lookup", nf.text(1, name) + nf.u32(2, at))


def verdict_of(name: str, at: int = R0) -> bytes:
    """Do what a map of verdicts has for a register."""
    return _expression("lookup", nf.text(1, name) + nf.u32(2, at) + nf.u32(3, _VERDICT))


def within(name: str, per_second: int, burst: int, at: int = R0) -> bytes:
    """Go on while what is in a register is within its rate; ``name`` is a set with room for the rates."""
    rate = nf.nest(7, nf.text(1, "limit") + nf.nest(2, _rate(per_second, burst)))
    return _expression("dynset", nf.text(1, name) + nf.u32(3, 1) + nf.u32(4, at) + rate)


def limit(per_second: int, burst: int) -> bytes:
    """Go on while all packets that come here are within a rate."""
    return _expression("limit", _rate(per_second, burst))


def _rate(per_second: int, burst: int) -> bytes:
    return nf.u64(1, per_second) + nf.u64(2, 1) + nf.u32(3, burst) + nf.u32(4, 0) + nf.u32(5, 0)


def counter(packets: int = 0, size: int = 0) -> bytes:
    """Count packets and octets, from these numbers on."""
    return _expression("counter", nf.u64(1, size) + nf.u64(2, packets))


def queue(number: int) -> bytes:
    """Hand the packet to user space; it is dropped while nobody listens."""
    return _expression("queue", attribute(1, struct.pack(">H", number)) + attribute(2, struct.pack(">H", 1)))


def load_mss(to: int = R0) -> bytes:
    """Load the MSS option of a SYN."""
    return _expression("exthdr", nf.u32(1, to) + _mss_field())


def is_fragment() -> bytes:
    """Go on if an IPv6 packet has a fragment header."""
    facts = nf.u32(1, R0) + attribute(2, bytes([_FRAGMENT])) + nf.u32(3, 0) + nf.u32(4, 1) + nf.u32(5, 1)
    return _expression("exthdr", facts) + compare(b"\1")


def store_mss(mss: int) -> bytes:
    """Write the MSS option of a SYN; the kernel never raises it (``nft_exthdr_tcp_set_eval``)."""
    immediate = _expression("immediate", nf.u32(1, R0) + _value(2, struct.pack(">H", mss)))
    return immediate + _expression("exthdr", nf.u32(7, R0) + _mss_field())


def _mss_field() -> bytes:
    option = attribute(2, bytes([_MAXSEG])) + nf.u32(3, 2) + nf.u32(4, 2)
    return option + nf.u32(6, _TCP_OPTION)


def jump(chain: str, how: int = JUMP) -> bytes:
    """Go to a chain, with or without coming back."""
    return _expression("immediate", nf.u32(1, _VERDICT) + nf.nest(2, verdict(how, chain)))


def drop() -> bytes:
    """Drop the packet."""
    return _expression("immediate", nf.u32(1, _VERDICT) + nf.nest(2, verdict(DROP)))


def verdict(code: int, chain: str = "") -> bytes:
    """A verdict as data."""
    return nf.nest(2, nf.u32(1, code & 0xFFFFFFFF) + (nf.text(2, chain) if chain else b""))


def counted(expressions: memoryview) -> tuple[int, int]:
    """Packets and octets of the first counter of a rule; zeros where there is none."""
    for _, expression in attributes(expressions, 0):
        found = nf.inner(expression)
        if nf.words(found.get(1)) == "counter":
            data = nf.inner(found[2])
            return nf.number(data.get(2)), nf.number(data.get(1))
    return 0, 0
