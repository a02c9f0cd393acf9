"""What the operator wants of one connection, how often it was tried, and why the last try failed."""

from dataclasses import dataclass, field

from xfrmctl.ike.config import RetryPolicy
from xfrmctl.model.failure import Failure
from xfrmctl.model.selector import TrafficSelector


@dataclass(frozen=True, slots=True)
class Acquired:
    """A packet that the kernel could not send without an SA: its number for that, and the packet's own selectors.

    ``packet`` is (local, remote), None where it is not known; ``seq`` is 0 where the kernel has not asked.
    """

    seq: int = 0
    packet: tuple[TrafficSelector, TrafficSelector] | None = None


UNASKED = Acquired()
"""An operator, a peer or the configuration wants it, not a packet."""


@dataclass(slots=True)
class Connection:
    """Run-time side of one configured connection.

    ``wanted`` are children that should be up (``start: start``, ``xfrmctl up``): they are tried again until they are
    up or nobody wants them. ``acquires`` are children that the kernel asked for, and for which packet: one try,
    the kernel asks again. ``held`` are children that ``xfrmctl down`` keeps down. ``serials`` are its IKE SAs, oldest
    first (the keys are an ordered set).
    """

    name: str
    wanted: set[str] = field(default_factory=set)
    acquires: dict[str, Acquired] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    serials: dict[int, None] = field(default_factory=dict)
    attempts: int = 0
    retry_at: float | None = None
    last_failure: Failure | None = None
    failed_at: float = 0.0

    @property
    def demanded(self) -> list[str]:
        """Children to be negotiated now, in a stable order."""
        return sorted(self.wanted | self.acquires.keys())

    def child_up(self, child: str) -> None:
        """A child is up: its troubles are over."""
        self.wanted.discard(child)
        self.acquires.pop(child, None)
        if not self.wanted:
            self.attempts = 0
            self.retry_at = None
            self.last_failure = None

    def backoff(self, policy: RetryPolicy) -> float | None:
        """Seconds until the next try, doubling up to the maximum; None when the tries are used up."""
        if policy.tries is not None and self.attempts >= policy.tries:
            return None
        delay = min(policy.max_s, policy.first_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return delay
