"""Entries of the SPD that are not a child's: BYPASS and DISCARD (RFC 4301 4.4.1); and how entries are ordered."""

from dataclasses import dataclass
from enum import Enum

from xfrmctl.model.address import IPNetwork
from xfrmctl.model.flow import Port
from xfrmctl.model.selector import TrafficSelector


class Precedence(Enum):
    """Where an entry stands among the children. FIRST: before all. LAST: after all.

    SPECIFIC: among them, and whoever is more specific comes first (see :func:`vagueness`).
    """

    FIRST = "first"
    SPECIFIC = "specific"
    LAST = "last"


class SpdAction(Enum):
    """What happens to a packet that no SA is for."""

    BYPASS = "bypass"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpdEntry:
    """What passes in clear, or not at all, in both directions."""

    name: str
    action: SpdAction
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    precedence: Precedence = Precedence.SPECIFIC


def vagueness(one: IPNetwork, other: IPNetwork, protocol: int, ports: tuple[Port, Port], *, marked: bool) -> int:
    """0 for one packet between two addresses up to 32865: the smaller is the more specific selector and comes first.

    The sizes of the two networks count most, taken together; then a mark, then protocol and ports.
    """
    bits = one.max_prefixlen - one.prefixlen + other.max_prefixlen - other.prefixlen
    open_bits = 32 - ports[0].mask.bit_count() - ports[1].mask.bit_count() if protocol else 33
    return 128 * bits + (0 if marked else 64) + open_bits
