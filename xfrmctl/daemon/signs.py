"""Signs that large packets get lost on a path: in what its SAs have carried, and in IKE's own messages.

========== =======================================================================================================
silence    packets go out, and none come back for longer than an answer takes: answers may be missing because they
           were too large, or what they would answer was
collapse   far fewer bytes go out than a moment ago, but some do: that is a sender who repeats himself, in ever
           longer intervals, while small packets (of others, or a keepalive) are answered as ever
repetition a request of IKE's own that is larger than any path must carry goes out again
========== =======================================================================================================

None of them proves anything: each asks for a probe, and one that probes refute is heeded less and less
(:mod:`xfrmctl.pmtu.path`). What large packets a kernel refuses to send is no sign: it says so to whoever sends them.
"""

from dataclasses import dataclass, field
from enum import Enum

from xfrmctl.ike.exchanges.probe import IS_PROBE
from xfrmctl.model.events import MessageSent
from xfrmctl.pmtu.settings import FLOOR

BULK_BYTES_S = 25_000.0
"""Less than this, bytes a second, may stop at any time: it is no bulk transfer. Two calls of voice."""

COLLAPSE = 8.0
"""A flow that goes this many times slower than it lately did has collapsed."""

FORGETS = 0.25
"""What a new rate counts in the one that is usual. After a collapse it is given up in half a minute."""

WINDOW_S = 1.0
"""Rates are taken over no less: what goes out in bursts is no collapse between two of them."""

LEAST_SILENCE_S = 0.2
"""The first repetition of a TCP segment comes then (Linux's TCP_RTO_MIN): silence is a sign from there on."""


class Sign(Enum):
    """What a look at the counters says: nothing went out; packets flow; packets get lost, it seems."""

    NONE = "none"
    TRAFFIC = "traffic"
    LOSS = "loss"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Flow:
    """What the SAs of a path have carried up to the last look, and how many bytes a second usually go out.

    ``silent_from`` is when packets began to go out that nobody has answered yet. ``window`` is the moment from which
    the next rate is taken, with the packets and bytes that had gone out by then.
    ``since`` are packets that have gone out since somebody has set it back.
    """

    came: int
    went: int
    octets: int
    at: float
    usual: float = 0.0
    silent_from: float | None = None
    window: tuple[float, int, int] = field(init=False)
    since: int = 0

    def __post_init__(self) -> None:
        self.window = (self.at, self.went, self.octets)

    def look(self, came: int, went: int, octets: int, now: float, *, patience_s: float = 0.0) -> Sign:
        """Packets in, packets and bytes out so far, by the counters of the SAs that there are now.

        ``patience_s`` is how long an answer may take, seconds.
        """
        before = (self.came, self.went, self.octets, self.at)
        self.came, self.went, self.octets, self.at = came, went, octets, now
        if came < before[0] or went < before[1] or octets < before[2]:
            self.silent_from, self.window = None, (now, went, octets)
            return Sign.NONE  # SAs were replaced
        self.since += went - before[1]
        collapsed = self._collapsed(now)
        if came > before[0]:
            self.silent_from = None
        elif went > before[1] and self.silent_from is None:
            self.silent_from = before[3]
        if went == before[1]:
            return Sign.LOSS if collapsed else Sign.NONE
        silent = self.silent_from is not None and now - self.silent_from >= max(LEAST_SILENCE_S, patience_s)
        return Sign.LOSS if silent or collapsed else Sign.TRAFFIC

    def _collapsed(self, now: float) -> bool:
        began, went, octets = self.window
        if now - began < WINDOW_S:
            return False
        rate, usual = (self.octets - octets) / (now - began), self.usual
        self.usual += FORGETS * (rate - usual)
        self.window = (now, self.went, self.octets)
        return self.went > went and usual >= BULK_BYTES_S and rate * COLLAPSE < usual


def is_repetition(event: MessageSent) -> bool:
    """Whether a request goes out again that a path might be too narrow for. Probes are no sign: they ask themselves."""
    each = event.size // event.fragments
    return event.attempt > 1 and each > FLOOR[event.remote.address.version] and IS_PROBE not in event.payloads
