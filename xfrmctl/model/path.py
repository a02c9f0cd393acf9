"""A path to a peer, and what is believed of its MTU. Sizes are bytes of outer IP packets."""

from dataclasses import dataclass
from enum import Enum

from xfrmctl.model.address import IPAddress


@dataclass(frozen=True, slots=True)
class Path:
    """One way to one peer, shared by all SAs that go it.

    ``port`` is the peer's UDP port that ESP is encapsulated to (RFC 3948), 0 for plain ESP: two peers behind one NAT
    have one address, but not one path.
    """

    local: IPAddress
    remote: IPAddress
    port: int = 0

    @property
    def version(self) -> int:
        """4 or 6: the outer IP version."""
        return self.remote.version

    def __str__(self) -> str:
        return f"{self.local} -> {self.remote} ({f'udp {self.port}' if self.port else 'esp'})"


class MtuSource(Enum):
    """Who says so."""

    LINK = "link"
    CONFIGURED = "configured"
    PROBE = "probe"
    ICMP = "icmp"

    __hash__ = object.__hash__


class Confidence(Enum):
    """How sure it is: nothing speaks against it; a router says so; a probe of that size was answered."""

    ASSUMED = "assumed"
    HINTED = "hinted"
    CONFIRMED = "confirmed"

    __hash__ = object.__hash__


class ProbeOutcome(Enum):
    """What became of a probe.

    ANSWERED: it got through. LOST: it did not, but a small copy of it did, so the path lives. SILENT: not even the
    small copy was answered. TOO_BIG: our own link does not take it. UNSUPPORTED: the peer does not answer padded
    messages as it answers others. UNAVAILABLE: nothing could carry it just now.
    """

    ANSWERED = "answered"
    LOST = "lost"
    SILENT = "silent"
    TOO_BIG = "too_big"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Belief:
    """What the MTU of a path is taken to be, since when (monotonic seconds), and why."""

    size: int
    source: MtuSource
    confidence: Confidence
    since: float
