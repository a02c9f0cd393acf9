"""Signs that large packets get lost on a path: in what its SAs have carried, and in IKE's own messages.

========== =======================================================================================================
silence    packets go out and none come back: their answers may be missing because they were too large
collapse   far fewer bytes go out than a moment ago, but some do: that is a sender who repeats himself, in ever
           longer intervals, while small packets (of others, or a keepalive) are answered as ever
repetition a request of IKE's own that is larger than any path must carry goes out again
========== =======================================================================================================

None of them proves anything: each asks for a probe, and one that probes refute is heeded less and less
(:mod:`xfrmctl.pmtu.path`). What large packets a kernel refuses to send is no sign: it says so to whoever sends them.
"""

from dataclasses import dataclass
from enum import Enum

from xfrmctl.ike.exchanges.probe import IS_PROBE
from xfrmctl.model.events import MessageSent
from xfrmctl.pmtu.settings import FLOOR

BULK_BYTES_S = 25_000.0
"""Less than this, bytes a second, may stop at any time: it is no bulk transfer. Two calls of voice."""

COLLAPSE = 8.0
"""A flow that goes this many times slower than it lately did has collapsed."""

FORGETS = 0.25
"""What a new look counts in the rate that is usual. After a collapse it is given up in half a minute."""


class Sign(Enum):
    """What a look at the counters says: nothing went out; packets flow; packets get lost, it seems."""

    NONE = "none"
    TRAFFIC = "traffic"
    LOSS = "loss"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Flow:
    """What the SAs of a path have carried up to the last look, and how many bytes a second usually go out."""

    came: int
    went: int
    octets: int
    at: float
    usual: float = 0.0

    def look(self, came: int, went: int, octets: int, now: float) -> Sign:
        """Packets in, packets and bytes out so far, by the counters of the SAs that there are now."""
        before = (self.came, self.went, self.octets, self.at)
        self.came, self.went, self.octets, self.at = came, went, octets, now
        if came < before[0] or went < before[1] or octets < before[2]:
            return Sign.NONE  # SAs were replaced
        rate = (octets - before[2]) / max(now - before[3], 1e-3)
        usual = self.usual
        self.usual += FORGETS * (rate - usual)
        if went == before[1]:
            return Sign.NONE
        collapsed = usual >= BULK_BYTES_S and rate * COLLAPSE < usual
        return Sign.LOSS if came == before[0] or collapsed else Sign.TRAFFIC


def is_repetition(event: MessageSent) -> bool:
    """Whether a request goes out again that a path might be too narrow for. Probes are no sign: they ask themselves."""
    each = event.size // event.fragments
    return event.attempt > 1 and each > FLOOR[event.remote.address.version] and IS_PROBE not in event.payloads
