"""What the engine is told while it runs, and what it wants done. Times are monotonic seconds, sizes bytes."""

from dataclasses import dataclass

from xfrmctl.model.effects import Effect
from xfrmctl.model.path import Belief, Path

ProbeToken = int


@dataclass(frozen=True, slots=True)
class IcmpReport:
    """A validated frag-needed or Packet Too Big for a packet of ours on this path.

    ``mtu`` is the next-hop MTU it reports, 0 where the router is older than RFC 1191; ``quoted`` is the size of the
    packet that it complains of, 0 where that is not known.
    """

    path: Path
    mtu: int
    quoted: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """A belief as it is written down; ``age_s`` is its age at that time."""

    path: Path
    belief: Belief
    age_s: float


@dataclass(frozen=True, slots=True)
class SendProbe(Effect):
    """Send a packet of exactly ``size`` bytes with DF; answered by ``handle_probe(token, …)`` in any case."""

    path: Path
    size: int
    token: ProbeToken


@dataclass(frozen=True, slots=True)
class SetPathMtu(Effect):
    """From now on nothing larger than ``mtu`` may be sent on this path."""

    path: Path
    mtu: int
