"""The C structures of ``include/uapi/linux/xfrm.h`` as precompiled :mod:`struct` layouts, for the hot paths.

An SA is installed within a handshake and 20,000 SAs are dumped for one scrape of the metrics, so these paths do
not go through pyroute2's field-by-field coder. :mod:`xfrmctl.kernel.netlink.tables` says the same in full, and a
test proves that both give the same bytes.

Layouts are unaligned (``=``) with the C compiler's padding written out. Numbers that the kernel keeps in network
order (ports, SPIs) are swapped by the caller.
"""

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6
from struct import Struct
from typing import Final

from xfrmctl.kernel.netlink.constants import XFRMA_MARK
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.plane import Mark

SELECTOR: Final = "16s16sHHHHHBBB3xiI"
"""daddr saddr dport dport_mask sport sport_mask family prefixlen_d prefixlen_s proto ifindex user: 56 bytes."""

ID: Final = "16sIB3x"
"""daddr spi proto: 24 bytes."""

USERSA_INFO: Final = Struct("=" + SELECTOR + ID + "16s" + "8Q" + "32x" + "12x" + "IIHBBB7x")
"""sel id saddr lft | curlft stats | seq reqid family mode replay_window flags: 224 bytes."""

USERSA_COUNTERS: Final = Struct("=56x" + ID + "16x64x" + "4Q" + "3I" + "4xIH")
"""What a dump tells: id | bytes packets add_time use_time | replay_window replay integrity_failed | reqid family."""

USERSA_ID: Final = Struct("=16sIHBx")
"""daddr spi family proto: 24 bytes."""

USERPOLICY_INFO: Final = Struct("=" + SELECTOR + "8Q" + "32x" + "IIBBBB4x")
"""sel lft | curlft | priority index dir action flags share: 168 bytes."""

USERPOLICY_ID: Final = Struct("=" + SELECTOR + "IB3x")
"""sel index dir: 64 bytes."""

USER_TMPL: Final = Struct("=" + ID + "H2x16sIBBBxIII")
"""id family saddr reqid mode share optional aalgos ealgos calgos: 64 bytes."""

USERSA_REQID: Final = Struct("=208xI")
"""The reqid of ``USERSA_INFO``."""

USERPOLICY_INDEX: Final = Struct("=156xI")
"""The index of ``USERPOLICY_INFO``."""

U32: Final = Struct("=I")
U64: Final = Struct("=Q")
MARK: Final = Struct("=II")
NLATTR: Final = Struct("=HH")
ATTR_U32: Final = Struct("=HHI")
USER_OFFLOAD: Final = Struct("=iB3x")
"""xfrm_user_offload: ifindex flags."""
ATTR_MARK: Final = Struct("=HHII")
"""xfrm_mark: v m."""
ATTR_ALGO: Final = Struct("=HH64sI")
"""xfrm_algo: alg_name alg_key_len; the key follows."""
ATTR_ALGO_SIZED: Final = Struct("=HH64sII")
"""xfrm_algo_aead and xfrm_algo_auth: alg_name alg_key_len alg_icv_len; the key follows."""
ATTR_ENCAP: Final = Struct("=HHHHH2x16s")
"""xfrm_encap_tmpl: encap_type encap_sport encap_dport encap_oa."""
ATTR_REPLAY_ESN: Final = Struct("=HH6I")
"""xfrm_replay_state_esn: bmp_len oseq seq oseq_hi seq_hi replay_window; the kernel clears the bitmap itself."""

Selector = tuple[bytes, bytes, *tuple[int, ...]]
"""Values for ``SELECTOR``."""

ANY_SELECTOR: Final[Selector] = (b"", b"", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def attribute(kind: int, payload: bytes) -> bytes:
    """One netlink attribute, padded to four bytes."""
    return NLATTR.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def mark_attribute(mark: Mark | None) -> bytes:
    """XFRMA_MARK; nothing for no mark."""
    return ATTR_MARK.pack(ATTR_MARK.size, XFRMA_MARK, mark.value, mark.mask) if mark is not None else b""


def mark_from(payload: memoryview, offset: int) -> Mark | None:
    """The XFRMA_MARK among the attributes; a mask of 0 is no mark."""
    raw = find_attribute(payload, offset, XFRMA_MARK)
    value, mask = MARK.unpack(raw) if raw is not None else (0, 0)
    return Mark(value, mask) if mask else None


def family_of(address: IPAddress | IPNetwork) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET if address.version == 4 else AF_INET6


@lru_cache(maxsize=1 << 14)
def address_from(raw: bytes, family: int) -> IPAddress:
    """Read an ``xfrm_address_t``. Raises ValueError for a family that is neither AF_INET nor AF_INET6."""
    if family == AF_INET:
        return IPv4Address(raw[:4])
    if family == AF_INET6:
        return IPv6Address(raw)
    raise ValueError(f"address family {family}")


@lru_cache(maxsize=1 << 16)
def network_from(raw: bytes, prefixlen: int, family: int) -> IPNetwork:
    """Read an address and a prefix length of a selector; host bits are cleared."""
    if family == AF_INET:
        return IPv4Network((raw[:4], prefixlen), strict=False)
    if family == AF_INET6:
        return IPv6Network((raw, prefixlen), strict=False)
    raise ValueError(f"address family {family}")


def attributes(payload: memoryview, offset: int) -> Iterator[tuple[int, memoryview]]:
    """All attributes as (type, payload), up to where the chain ends or is broken."""
    end = len(payload)
    while offset + 4 <= end:
        length, kind = NLATTR.unpack_from(payload, offset)
        if length < 4 or offset + length > end:
            return
        yield kind, payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def find_attribute(payload: memoryview, offset: int, kind: int) -> memoryview | None:
    """The payload of the first attribute of this type; None where it is absent or the chain is broken."""
    end = len(payload)
    while offset + 4 <= end:
        length, found = NLATTR.unpack_from(payload, offset)
        if length < 4 or offset + length > end:
            return None
        if found == kind:
            return payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return None
