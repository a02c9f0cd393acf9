"""Which connections and SAs somebody wants to see: the filters of ``show``. Plain values; matching is the daemon's.

Several values of one filter mean any of them, several filters mean all of them.
"""

from dataclasses import dataclass

from xfrmctl.model.address import IPAddress, IPNetwork

CONNECTION_STATES = ("up", "partial", "connecting", "waiting", "trap", "down")
"""What a connection can be; ``not-up`` is short for all but the first."""

NOT_UP = "not-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Everything, unless something is named.

    ``connections``, ``children`` and ``peers`` are patterns of the shell (``branch-*``); a peer is an identity, with
    or without its kind (``fqdn:``). ``states`` are those of connections and of IKE SAs. ``addresses`` are of the outer
    packets, ours or the peer's; ``carries`` are addresses inside of the tunnel, ``spis`` those of ESP, AH or IKE.
    """

    connections: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    addresses: tuple[IPNetwork, ...] = ()
    carries: tuple[IPAddress, ...] = ()
    spis: tuple[int, ...] = ()


EVERYTHING = Selection()

SEVERITIES = ("debug", "info", "warning", "error")
"""Of events, rising."""

MAX_LAST = 1000
"""Events of the past that are kept for who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSelection:
    """Which events somebody follows: of these connections (names or patterns), kinds, and at least this severe.

    ``last`` of those that have been come first, MAX_LAST at most; without ``follow`` nothing comes after them.
    """

    connections: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    severity: str = "debug"
    last: int = 0
    follow: bool = True


ALL_EVENTS = EventSelection()


def is_pattern(name: str) -> bool:
    """Whether a name is a pattern, which may match nothing, and not a name that must exist."""
    return any(character in name for character in "*?[")
