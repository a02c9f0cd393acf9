"""The path-MTU engine: inputs with a time stamp in, effects and events out; sans-IO like the IKE engine.

    engine.open(path, link, settings, now)      the first SA goes this way; ``close`` when the last one has gone
    engine.handle_link(path, link, now)         the route to the peer takes another link, or its MTU has changed
    engine.handle_icmp(report, now)             a validated error of a router
    engine.handle_loss(path, now)               large packets seem to get lost
    engine.handle_traffic(path, now)            packets flow: a belief that matters is confirmed now and then
    engine.handle_probe(token, outcome, size, now)   what became of a SendProbe, in any case exactly once
    engine.handle_timer(now)                    harmless when early or late

then ``drain()`` and ``deadline()``. One path per (local, remote, port) is shared by all SAs to that peer. Each input
costs O(log n) of n paths. At most one probe a path is under way; all together are paced, those that repair something
apart from those that only look whether all is well.
"""

import heapq
from collections.abc import Iterable, Iterator

from xfrmctl.model.effects import Effect
from xfrmctl.model.events import Event, PathMtuChanged, PathMtuHinted, PathProbed
from xfrmctl.model.path import Belief, Confidence, MtuSource, Path, ProbeOutcome
from xfrmctl.pmtu.inputs import IcmpReport, Memory, ProbeToken, SendProbe, SetPathMtu
from xfrmctl.pmtu.path import PathState, Phase
from xfrmctl.pmtu.settings import EngineSettings, PathSettings

MAX_MEMORY_AGE_S = 7 * 86400.0
"""What was believed longer ago is no better than a guess."""

DEAF_S = 3600.0
"""A peer that does not answer padded messages is not asked again within this time: the asking may cost an IKE SA."""

_MAX_MEMORIES = 100_000


class Pacer:
    """When the next probe may go: ``rate`` a second in the long run, ``burst`` of them at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._step = 1.0 / rate
        self._slack = burst * self._step
        self._next = 0.0

    def slot(self, now: float) -> float:
        """Take a turn; when it is."""
        self._next = max(self._next, now - self._slack) + self._step
        return max(now, self._next - self._step)


class PmtuEngine:
    """What all paths of one gateway carry."""

    def __init__(self, settings: EngineSettings | None = None) -> None:
        self.settings = settings if settings is not None else EngineSettings()
        self._paths: dict[Path, PathState] = {}
        self._memories: dict[Path, tuple[Belief, float]] = {}
        self._deaf: dict[Path, float] = {}
        self._outbox: list[Effect | Event] = []
        self._under_way: dict[ProbeToken, tuple[Path, int, int]] = {}
        self._busy: dict[Path, ProbeToken] = {}
        self._turns: dict[Path, tuple[float, bool]] = {}
        self._wake: dict[Path, float] = {}
        self._heap: list[tuple[float, int, Path]] = []
        self._count = 0
        self._token = 0
        rate, burst = self.settings.probes_per_s, self.settings.burst
        self._pacers = {True: Pacer(rate, burst), False: Pacer(rate, burst)}

    # -- getters

    def state(self, path: Path) -> PathState | None:
        """What is known of a path; to be read only."""
        return self._paths.get(path)

    def states(self) -> Iterator[PathState]:
        """Everything that is known; to be read only."""
        return iter(self._paths.values())

    def mtu(self, path: Path) -> int | None:
        """The size in force, bytes of outer packet; None for a path nobody has opened."""
        state = self._paths.get(path)
        return state.belief.size if state is not None else None

    def drain(self) -> list[Effect | Event]:
        """Take everything out of the outbox, in order."""
        items, self._outbox = self._outbox, []
        return items

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` wants to be called, monotonic seconds; None for not at all."""
        while self._heap and self._wake.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    # -- paths

    def open(self, path: Path, link: int, settings: PathSettings, now: float) -> None:
        """Watch over a path whose first link takes ``link`` bytes. A path that is open takes the new settings."""
        known = self._paths.get(path)
        if known is not None:
            self._adjust(known, link, settings, now)
            return
        memory = self._memories.pop(path, None)
        first = Belief(link, MtuSource.LINK, Confidence.ASSUMED, now)
        if memory is not None and memory[0].size <= link and now - memory[0].since < MAX_MEMORY_AGE_S:
            first = memory[0]
        state = PathState(path, settings, self.settings, link, first)
        if settings.aging_s is not None and first.size < link and now - first.since >= settings.aging_s:
            state.recheck = link
        self._paths[path] = state
        self._outbox.append(SetPathMtu(path, settings.configured or first.size))
        state.begin(now)
        if now < self._deaf.get(path, now) and not state.fixed:
            state.unsupported(now)
        self._after(state, None, "opened", now)

    def close(self, path: Path, now: float) -> None:
        """No SA goes this way any more; what was believed is kept for the next one, unless it is in question."""
        state = self._paths.pop(path, None)
        if state is None:
            return
        self._busy.pop(path, None)
        self._wake.pop(path, None)
        self._turns.pop(path, None)
        if not state.fixed and state.phase != Phase.SEARCHING:
            self._keep(path, state.belief, now)

    def _remember_deaf(self, path: Path, now: float) -> None:
        self._deaf.pop(path, None)
        self._deaf[path] = now + DEAF_S
        while len(self._deaf) > _MAX_MEMORIES or next(iter(self._deaf.values())) <= now:
            del self._deaf[next(iter(self._deaf))]

    def _keep(self, path: Path, belief: Belief, now: float) -> None:
        self._memories.pop(path, None)
        self._memories[path] = (belief, now)
        while len(self._memories) > _MAX_MEMORIES:
            del self._memories[next(iter(self._memories))]

    def _adjust(self, state: PathState, link: int, settings: PathSettings, now: float) -> None:
        if settings == state.settings:
            self.handle_link(state.path, link, now)
            return
        before, was_fixed = state.belief, state.fixed
        state.settings = settings
        if was_fixed and not state.fixed:
            state.belief = Belief(min(before.size, link), MtuSource.LINK, Confidence.ASSUMED, now)
        state.link_changed(link, now)
        if state.fixed:
            state.begin(now)
        self._after(state, before, "configuration", now)

    # -- what is heard

    def handle_link(self, path: Path, link: int, now: float, *, rerouted: bool = False) -> None:
        """The first link takes ``link`` bytes now; with ``rerouted`` the route takes another way."""
        state = self._paths.get(path)
        if state is None or (state.link == link and not rerouted):
            return
        before = state.belief
        state.link_changed(link, now)
        self._after(state, before, "route", now)

    def handle_icmp(self, report: IcmpReport, now: float) -> None:
        """A validated error of a router; whoever validates it has checked that it is about a packet of ours."""
        state = self._paths.get(report.path)
        if state is None:
            return
        before = state.belief
        verdict = state.hinted(report.mtu, report.quoted, now)
        self._outbox.append(PathMtuHinted(path=report.path, mtu=report.mtu, verdict=verdict))
        self._after(state, before, "icmp", now)

    def handle_loss(self, path: Path, now: float) -> None:
        """Signs that large packets get lost: requests repeated, ESP that goes out and none that comes back."""
        state = self._paths.get(path)
        if state is not None and state.suspected(now):
            self._after(state, state.belief, "loss", now)

    def handle_traffic(self, path: Path, now: float) -> bool:
        """Packets go this way; whether that has the belief confirmed now."""
        state = self._paths.get(path)
        if state is None:
            return False
        every, last = state.settings.confirm_s, state.confirmed_at
        due = every is not None and (last is None or now - last >= every)
        return due and self.handle_question(path, now)

    def handle_question(self, path: Path, now: float) -> bool:
        """Somebody wants the belief confirmed, though nothing speaks against it; whether that is begun now."""
        state = self._paths.get(path)
        if state is None or state.phase != Phase.SETTLED or state.blind or state.fixed:
            return False
        state.confirm(now)
        self._after(state, state.belief, "traffic", now)
        return True

    def handle_probe(
        self, token: ProbeToken, outcome: ProbeOutcome, size: int, now: float, *, carrier: str = ""
    ) -> None:
        """What became of a probe. ``size`` is what was really sent; it may be less than what was asked for.

        ``carrier`` is who has carried it, for whoever is told.
        """
        path, asked, epoch = self._under_way.pop(token)
        if outcome == ProbeOutcome.UNSUPPORTED:
            self._remember_deaf(path, now)
        state = self._paths.get(path)
        if state is None or self._busy.get(path) != token:
            return
        del self._busy[path]
        state.counts.answered += outcome == ProbeOutcome.ANSWERED
        state.counts.lost += outcome in (ProbeOutcome.LOST, ProbeOutcome.SILENT)
        self._outbox.append(PathProbed(path=path, size=size, outcome=outcome, carrier=carrier))
        before = state.belief
        if outcome in (ProbeOutcome.SILENT, ProbeOutcome.UNAVAILABLE):
            state.not_before = now + self.settings.retry_s
        elif outcome == ProbeOutcome.UNSUPPORTED:
            state.unsupported(now)
        elif epoch == state.epoch:
            if outcome == ProbeOutcome.ANSWERED:
                state.carrier = carrier
                state.answered(size, now)
            elif outcome == ProbeOutcome.TOO_BIG:
                state.too_big(asked, now)
            else:
                state.lost(size, now)
        # What fits is known by a smaller probe that passes, long after the larger ones were lost.
        fell = state.silent and state.belief.size < before.size
        self._after(state, before, "black hole" if fell else "probe", now)

    def handle_timer(self, now: float) -> None:
        """Send the probes that are due, look at beliefs that have aged."""
        while (at := self.deadline()) is not None and at <= now:
            _, _, path = heapq.heappop(self._heap)
            del self._wake[path]
            state = self._paths[path]
            before = state.belief
            if state.age_at is not None and state.age_at <= now:
                state.aged(now)
                self._after(state, before, "aged", now)
            elif (size := state.wanted()) is not None and path not in self._busy and state.not_before <= now:
                self._probe(state, size, now)
            else:
                self._arm(state, now)

    def _probe(self, state: PathState, size: int, now: float) -> None:
        self._token += 1
        self._under_way[self._token] = (state.path, size, state.epoch)
        self._busy[state.path] = self._token
        self._turns.pop(state.path, None)
        state.not_before = now + self.settings.gap_s
        state.counts.sent += 1
        self._outbox.append(SendProbe(state.path, size, self._token))

    # -- what follows

    def _after(self, state: PathState, before: Belief | None, reason: str, now: float) -> None:
        """Say what has changed, and see to the next probe or to the next timer."""
        belief = state.belief
        if before is not None and before.size != belief.size:
            self._outbox.append(SetPathMtu(state.path, belief.size))
        if before is None or (before.size, before.source) != (belief.size, belief.source):
            self._outbox.append(
                PathMtuChanged(
                    path=state.path,
                    old=before.size if before is not None else None,
                    new=belief.size,
                    source=belief.source,
                    confidence=belief.confidence,
                    reason=reason,
                    carrier=state.carrier if belief.source == MtuSource.PROBE else "",
                )
            )
        self._arm(state, now)

    def _arm(self, state: PathState, now: float) -> None:
        """One timer a path: its next probe if one is wanted, its ageing otherwise."""
        path, due = state.path, state.age_at
        if state.wanted() is not None:
            if path in self._busy:
                return
            turn = max(self._turn(state, now), state.not_before)
            due = turn if due is None else min(due, turn)
        if due is None:
            self._wake.pop(path, None)
            return
        if self._wake.get(path) != due:
            self._wake[path] = due
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, path))
            self._sweep()

    def _turn(self, state: PathState, now: float) -> float:
        """When this path may probe; it keeps its turn, unless it has become urgent meanwhile."""
        held = self._turns.get(state.path)
        if held is None or (state.urgent and not held[1]):
            held = self._turns[state.path] = (self._pacers[state.urgent].slot(now), state.urgent)
        return held[0]

    def _sweep(self) -> None:
        """Throw cancelled entries away when they are the most: the heap stays as large as there are paths."""
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._wake):
            self._heap = [entry for entry in self._heap if self._wake.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    # -- over a restart

    def remember(self, now: float) -> list[Memory]:
        """What is worth knowing after a restart, oldest first."""
        kept = [Memory(path, belief, now - belief.since) for path, (belief, _) in self._memories.items()]
        return kept + [Memory(s.path, s.belief, now - s.belief.since) for s in self._paths.values() if not s.fixed]

    def recall(self, memories: Iterable[Memory], now: float) -> None:
        """Take what another run has remembered, for paths that will be opened. It is confirmed before it counts."""
        for memory in memories:
            belief = memory.belief
            since = now - memory.age_s
            self._keep(memory.path, Belief(belief.size, belief.source, Confidence.ASSUMED, since), now)
