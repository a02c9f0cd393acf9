"""Which peer holds which inner addresses, so that none takes another's.

The kernel sends a packet to whichever policy fits best; of two peers that claim the same address behind them, one would
get the other's packets. So a claim is looked up before it is made, and whoever comes second is refused.
"""

from dataclasses import dataclass

from xfrmctl.model.overlap import Pairs
from xfrmctl.model.selector import TrafficSelector


@dataclass(frozen=True, slots=True)
class Claim:
    """What a CHILD SA carries, and for whom. Two owners never hold the same packet; one owner may hold it twice.

    ``if_id`` other than 0 is an SPD of its own: claims of two different ones never meet.
    """

    owner: int
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    if_id: int = 0

    def meets(self, other: "Claim") -> bool:
        """Whether some packet belongs to both, and both are not one owner's."""
        if self.owner == other.owner or (self.if_id and other.if_id and self.if_id != other.if_id):
            return False
        return any(
            here.intersect(other_here) is not None and there.intersect(other_there) is not None
            for here in self.local_ts
            for other_here in other.local_ts
            for there in self.remote_ts
            for other_there in other.remote_ts
        )


class Claims:
    """The claims of one connection's peers. What an operation costs does not grow with the number of peers."""

    def __init__(self) -> None:
        self._pairs: Pairs[Claim] = Pairs()

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def rival(self, wanted: Claim) -> Claim | None:
        """A claim of somebody else to packets that ``wanted`` wants, or None."""
        near = self._pairs.overlapping(wanted.local_ts, wanted.remote_ts)
        return next((claim for claim in near if claim.meets(wanted)), None)

    def add(self, claim: Claim) -> None:
        """Take it down; whether it meets another is the caller's question."""
        self._pairs.add(claim.local_ts, claim.remote_ts, claim)

    def remove(self, claim: Claim) -> None:
        """Forget it, once for each time that it was added."""
        self._pairs.remove(claim.local_ts, claim.remote_ts, claim)
