"""Selectors as the kernel holds them: prefixes, one protocol, and for each port a value under a mask.

``struct xfrm_selector`` (include/uapi/linux/xfrm.h) knows no ranges. A range of addresses is cut into the fewest
prefixes, a range of ports into the fewest aligned blocks, so a pair of selectors may become many entries of the SPD:
:func:`count` tells how many, before anybody makes them.

ICMP, ICMPv6 and mobility headers have no ports. Their selectors carry type and code in the place of *one* port
(RFC 4301 4.4.1.1), the type in the upper eight bits; the kernel takes the type for the source port and the code for the
destination port, whichever way the packet goes (``xfrm_flowi_sport``, ``xfrm_flowi_dport``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from xfrmctl.model.address import IPNetwork
from xfrmctl.model.selector import ICMP, ICMPV6, MOBILITY, TrafficSelector

MAX_FLOWS = 1024
"""Entries of the SPD, in one direction, that a peer's ranges may be cut into, unless the operator's take more.

A hostile peer could ask for millions.
"""

MAX_CONFIGURED = 65536
"""Entries that an operator may ask for: as many as two full TS payloads of networks."""

TYPED = frozenset({ICMP, ICMPV6, MOBILITY})
"""Protocols with a type in the place of ports."""


class Port(NamedTuple):
    """Ports that equal ``value`` under ``mask``; the default is any."""

    value: int = 0
    mask: int = 0

    def __str__(self) -> str:
        return "" if not self.mask else f":{self.value}" + ("" if self.mask == 0xFFFF else f"/{self.mask:#x}")


ANY = Port()


def port(number: int) -> Port:
    """One port and no other."""
    return Port(number, 0xFFFF)


@dataclass(frozen=True, slots=True)
class Flow:
    """What one entry of the SPD can say. ``near`` and ``far`` are ports, or type and code where there are such."""

    local: IPNetwork
    remote: IPNetwork
    protocol: int = 0
    near: Port = ANY
    far: Port = ANY

    @property
    def back(self) -> tuple[Port, Port]:
        """Source and destination port of packets that come in."""
        return (self.near, self.far) if self.protocol in TYPED else (self.far, self.near)


def flows(local_ts: Iterable[TrafficSelector], remote_ts: Iterable[TrafficSelector]) -> Iterator[Flow]:
    """Every pair of the selectors' parts; selectors of different families or protocols make no pair."""
    remotes = tuple(remote_ts)
    for local in local_ts:
        for remote in remotes:
            pairs = _ports(local, remote)
            protocol = local.protocol or remote.protocol
            for mine in local.networks() if pairs else ():
                for theirs in remote.networks():
                    for near, far in pairs:
                        yield Flow(mine, theirs, protocol, near, far)


def count(local_ts: Iterable[TrafficSelector], remote_ts: Iterable[TrafficSelector]) -> int:
    """How many :func:`flows` there are."""
    remotes = tuple(remote_ts)
    return sum(
        len(local.networks()) * len(remote.networks()) * len(_ports(local, remote))
        for local in local_ts
        for remote in remotes
    )


def _ports(local: TrafficSelector, remote: TrafficSelector) -> tuple[tuple[Port, Port], ...]:
    """Pairs of ports, or of type and code; none where no packet is of both selectors."""
    if local.version != remote.version or (local.protocol and remote.protocol and local.protocol != remote.protocol):
        return ()
    if (local.protocol or remote.protocol) in TYPED:
        low, high = max(local.start_port, remote.start_port), min(local.end_port, remote.end_port)
        return tuple(_type_and_code(block) for block in blocks(low, high))
    nears, fars = blocks(local.start_port, local.end_port), blocks(remote.start_port, remote.end_port)
    return tuple((near, far) for near in nears for far in fars)


def _type_and_code(block: Port) -> tuple[Port, Port]:
    kind, code = Port(block.value >> 8, block.mask >> 8), Port(block.value & 0xFF, block.mask & 0xFF)
    return tuple(Port(p.value, p.mask | 0xFF00 if p.mask else 0) for p in (kind, code))  # type: ignore[return-value]


@lru_cache(maxsize=256)
def blocks(low: int, high: int) -> tuple[Port, ...]:
    """The fewest aligned blocks that make up a range of ports; none where it is empty (or OPAQUE)."""
    found = []
    while low <= high:
        size = (low & -low) or 0x10000
        while size > high - low + 1:
            size >>= 1
        found.append(Port(low, 0x10000 - size))
        low += size
    return tuple(found)
