"""One path: what is believed of it, and which probe would tell more. Pure; knows neither timers nor tokens.

=========== ================================================ ======================================
phase       a probe wanted                                   ends with
=========== ================================================ ======================================
SETTLED     none                                             age, traffic, a sign of loss, an error
CONFIRMING  of the size that is believed                     answered: settled, or SEARCHING above it
                                                             (where an error has just lowered it);
                                                             refuted: SEARCHING below it
SEARCHING   of the next candidate                            nothing left to try
=========== ================================================ ======================================

Rules. An answered probe is authoritative. An error of a router lowers the belief at once, never below the floor, and
is then confirmed; where a probe refutes it, later ones must wait for their confirmation. While a search goes on below
a refuted belief each size that passes is in force at once (``relief``): a smaller packet that arrives is better than
none. So it is above a size that nobody has confirmed; above a belief that holds only the outcome of the search is.
"""

from dataclasses import dataclass, field
from enum import Enum

from xfrmctl.model.path import Belief, Confidence, MtuSource, Path
from xfrmctl.pmtu.search import Search, plateau_below
from xfrmctl.pmtu.settings import FLOOR, EngineSettings, PathSettings


class Phase(Enum):
    """See above."""

    SETTLED = "settled"
    CONFIRMING = "confirming"
    SEARCHING = "searching"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Counts:
    """Probes of one path."""

    sent: int = 0
    answered: int = 0
    lost: int = 0


@dataclass(slots=True)
class PathState:
    """Run-time side of a path.

    ``link`` is the MTU of the link that the route to the peer takes. ``losses`` counts the lost probes of the size
    that is believed; ``signs`` of them were no probe but the sign that has made us ask. ``epoch`` changes with every
    change of mind: the outcome of an older probe tells nothing. ``recheck`` is the size that was believed before an
    error lowered it to ``hinted_size``. ``refuted`` is set while a belief that does not hold is still in force;
    ``silent`` says that what was last refuted got lost without a word: a black hole.
    ``blind``: probes tell nothing here. ``not_before`` is when the next probe may go. ``carrier`` has carried the last
    probe that was answered. Signs of loss are heeded again from ``doubt_at``, errors from ``hold_until`` on.
    """

    path: Path
    settings: PathSettings
    limits: EngineSettings
    link: int
    belief: Belief
    phase: Phase = Phase.SETTLED
    search: Search | None = None
    losses: int = 0
    signs: int = 0
    epoch: int = 0
    carrier: str = ""
    recheck: int = 0
    hinted_size: int = 0
    refuted: bool = False
    silent: bool = False
    urgent: bool = False
    blind: bool = False
    not_before: float = 0.0
    confirmed_at: float | None = None
    age_at: float | None = None
    doubt_at: float = 0.0
    doubts: int = 0
    hold_until: float = 0.0
    holds: int = 0
    counts: Counts = field(default_factory=Counts)

    @property
    def floor(self) -> int:
        """No report is believed below."""
        return min(FLOOR[self.path.version], self.link)

    @property
    def fixed(self) -> bool:
        """Whether the operator has the last word."""
        return self.settings.configured is not None

    def wanted(self) -> int | None:
        """The size of the probe that would tell more now."""
        if self.blind or self.fixed:
            return None
        if self.phase == Phase.CONFIRMING:
            return self.settings.grid.down(self.belief.size)
        return self.search.candidate() if self.search is not None else None

    # -- what happens to it

    def begin(self, now: float) -> None:
        """Start from what the link says, or the operator."""
        configured = self.settings.configured
        if configured is not None:
            self._settle(Belief(configured, MtuSource.CONFIGURED, Confidence.ASSUMED, now), now)
        elif not self.settings.probes:
            self.unsupported(now)
        else:
            self.confirm(now, urgent=True)
            self.losses, self.signs = 1, 1  # nothing speaks for the link's word yet

    def confirm(self, now: float, *, urgent: bool = False) -> None:
        """See whether what is believed holds."""
        self._change(Phase.CONFIRMING)
        self.silent = False
        self.urgent = urgent

    def link_changed(self, link: int, now: float) -> None:
        """The route to the peer takes another link, or its MTU has changed: all that was learned is void.

        The size in force stays until a probe has answered, for the new way may be narrower, too.
        """
        self.link = link
        self._forget_doubts()
        self.blind = not self.settings.probes
        if self.fixed:
            return
        if self.blind:
            self.belief = Belief(link, MtuSource.LINK, Confidence.ASSUMED, now)
            return
        if link < self.belief.size:
            self.belief = Belief(link, MtuSource.LINK, Confidence.ASSUMED, now)
        self.recheck = link
        self.confirm(now, urgent=True)

    def hinted(self, mtu: int, quoted: int, now: float) -> str:
        """A router complains. What came of it: ``lowered``, or why it did not lower anything."""
        if self.fixed:
            return "configured"
        if mtu == 0 and quoted > self.belief.size:
            return "not_below"  # about a packet of before it was lowered
        too_big = 0 if mtu else quoted or self.belief.size
        mtu = mtu or plateau_below(too_big)
        if mtu >= self.belief.size:
            return "not_below"
        if self.blind:
            mtu = max(mtu, self.floor)
        elif mtu < self.floor:
            self._doubt(now)
            return "below_floor"
        elif now < self.hold_until:
            self._doubt(now)
            return "held"
        if self.phase != Phase.SEARCHING or not self.refuted:
            self.recheck = max(self.recheck, self.belief.size)
        self.belief = Belief(mtu, MtuSource.ICMP, Confidence.HINTED, now)
        self._ages_from(now)
        if too_big and not self.blind:  # nobody has named the size in force: there is nothing to confirm
            self._refute(self._search_below(too_big, self.limits.max_probes - 1), now)
            return "lowered"
        self.refuted = False
        self.hinted_size = mtu
        self.confirm(now, urgent=True)
        return "lowered"

    def suspected(self, now: float) -> bool:
        """Large packets seem to get lost; whether that is looked into now. The sign counts as the first lost probe."""
        if self.fixed or self.blind or not self._doubt(now):
            return False
        self.losses, self.signs = 1, 1
        return True

    def aged(self, now: float) -> None:
        """The belief is old: see whether more fits by now."""
        self.age_at = None
        if self.belief.size >= self.link or self.fixed:
            return
        if self.blind:
            self.belief = Belief(self.link, MtuSource.LINK, Confidence.ASSUMED, now)
            return
        if self.phase == Phase.SETTLED:
            self._search_above(self.link)
        else:
            self.age_at = now + self.limits.retry_s

    # -- what probes tell

    def answered(self, size: int, now: float) -> None:
        """A probe of this size got through."""
        self.losses = 0
        self.confirmed_at = now
        if self.phase == Phase.CONFIRMING:
            self._holds(size, now)
        elif self.search is not None:
            self.search.passed(size)
            below = self.refuted and size < self.belief.size
            above = self.belief.source == MtuSource.ICMP and size > self.belief.size
            if (below or above) and self.settings.relief:
                self.refuted = False
                self._believe(self.search.low, now)
            self._look_on(now)

    def lost(self, size: int, now: float) -> None:
        """A probe of this size did not get through, a small copy of it did."""
        if self.search is not None:
            self.search.lost(size, self.limits.max_probes)
            self._look_on(now)
            return
        self.losses += 1
        if self.losses >= self.limits.max_probes:
            self._refute(self._search_below(size, self.losses - self.signs), now, silent=True)

    def too_big(self, size: int, now: float) -> None:
        """Our own link does not take packets of this size."""
        self.losses = 0
        if self.phase == Phase.CONFIRMING:
            self._refute(Search(min(self.floor, size - 1), size, self.settings.grid), now)
        elif self.search is not None:
            self.search.failed(size)
            self._look_on(now)

    def unsupported(self, now: float) -> None:
        """Probes tell nothing here: what is left are errors of routers, and the operator."""
        self.blind = True
        self.refuted = False
        self._change(Phase.SETTLED)
        self._ages_from(now)

    # -- how it thinks

    def _refute(self, search: Search, now: float, *, silent: bool = False) -> None:
        """What is in force does not pass."""
        self.silent = silent
        self._forget_doubts()
        self.losses = 0
        self.recheck = 0
        self.refuted = True
        self._search(search)
        self._look_on(now)

    def _search_below(self, size: int, losses: int) -> Search:
        """For what passes below a size that counts as lost so often; at the end it is tried again, if not too often."""
        search = Search(min(self.floor, size - 1), self.settings.grid.up(size + 1), self.settings.grid)
        for _ in range(losses):
            search.lost(size, self.limits.max_probes)
        return search

    def _change(self, phase: Phase) -> None:
        self.phase = phase
        self.epoch += 1
        self.losses = self.signs = 0
        self.search = None
        self.urgent = False

    def _doubt(self, now: float) -> bool:
        """Something speaks against the belief: confirm it, and the next time only after a longer while."""
        if self.phase != Phase.SETTLED or now < self.doubt_at:
            return False
        if now > self.doubt_at + self.limits.max_suspicion_s:
            self.doubts = 0
        wait = min(self.limits.max_suspicion_s, self.limits.suspicion_s * 2.0 ** min(self.doubts, 30))
        self.doubts += 1
        self.doubt_at = now + wait
        self.confirm(now, urgent=True)
        return True

    def _forget_doubts(self) -> None:
        self.doubts = 0
        self.doubt_at = 0.0

    def _holds(self, size: int, now: float) -> None:
        """The belief holds, as far as the carrier can tell: ``size`` is the largest it can send that is not above."""
        if size >= self.belief.size:
            self._believe(size, now)
        elif self.doubts > 1:
            self._believe(size, now)  # something gets lost again and again, and it is not packets of this size
        else:
            self.belief = Belief(self.belief.size, self.belief.source, Confidence.CONFIRMED, now)
        above, self.recheck = min(self.recheck, self.link), 0
        if above > self.belief.size:
            self._search_above(above)
            self.urgent = True
        else:
            self._settle(self.belief, now, searched=False)

    def _believe(self, size: int, now: float) -> None:
        self.belief = Belief(size, MtuSource.PROBE, Confidence.CONFIRMED, now)

    def _search_above(self, top: int) -> None:
        grid = self.settings.grid
        self._search(Search(self.belief.size, max(top, self.link) + 1, grid, [top, self.link], {self.belief.size}))

    def _search(self, search: Search) -> None:
        self._change(Phase.SEARCHING)
        self.search = search
        self.urgent = self.refuted

    def _look_on(self, now: float) -> None:
        """End the search when nothing is left to try."""
        assert self.search is not None
        if self.search.candidate() is not None:
            return
        found = self.search.low
        if found > self.hinted_size > 0:
            self.hold_until = now + min(self.limits.max_hold_s, self.limits.hold_s * 2.0 ** min(self.holds, 30))
            self.holds += 1
        if found > self.belief.size or self.refuted:
            confidence = Confidence.CONFIRMED if self.search.proven else Confidence.ASSUMED
            self._settle(Belief(found, MtuSource.PROBE, confidence, now), now)
        else:
            self._settle(self.belief, now)

    def _settle(self, belief: Belief, now: float, *, searched: bool = True) -> None:
        """Nothing is left to ask. That a belief was confirmed does not make it younger: only a search does."""
        self.belief = belief
        self.refuted = False
        self.hinted_size = 0
        self._change(Phase.SETTLED)
        if searched or self.age_at is None:
            self._ages_from(now)

    def _ages_from(self, now: float) -> None:
        aging = self.settings.aging_s
        self.age_at = now + aging if aging is not None and self.belief.size < self.link and not self.fixed else None
