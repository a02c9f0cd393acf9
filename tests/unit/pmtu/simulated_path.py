"""A path with an MTU, a round trip and losses, and the engine at its end; the clock is virtual."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field
from ipaddress import ip_address

from xfrmctl.model.events import Event, PathMtuChanged
from xfrmctl.model.path import Path, ProbeOutcome
from xfrmctl.pmtu.engine import PmtuEngine
from xfrmctl.pmtu.inputs import IcmpReport, ProbeToken, SendProbe, SetPathMtu
from xfrmctl.pmtu.search import EVERY_SIZE, Grid
from xfrmctl.pmtu.settings import PathSettings

PATH = Path(ip_address("172.16.1.1"), ip_address("172.16.2.1"))
PATH6 = Path(ip_address("fd16:1::1"), ip_address("fd16:2::1"))
RTT_S = 0.05
TIMEOUT_S = 0.4


def path(number: int) -> Path:
    return Path(PATH.local, ip_address(0x0A000000 + number))


@dataclass
class Underlay:
    """What a path really does. ``loss`` hits probes; ``dead`` lets nothing pass; ``answers`` is False for odd peers."""

    mtu: int
    link: int = 1500
    loss: float = 0.0
    dead: bool = False
    answers: bool = True
    grid: Grid = EVERY_SIZE


@dataclass
class Lab:
    """The engine, its paths, and everything that has happened."""

    engine: PmtuEngine = field(default_factory=PmtuEngine)
    seed: int = 1
    now: float = 0.0
    paths: dict[Path, Underlay] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    probes: list[tuple[float, Path, int]] = field(default_factory=list)
    in_force: dict[Path, int] = field(default_factory=dict)
    history: list[tuple[float, Path, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._queue: list[tuple[float, int, ProbeToken, ProbeOutcome, int]] = []
        self._count = itertools.count()
        self._flying: set[Path] = set()

    def open(self, where: Path, underlay: Underlay, **settings: object) -> None:
        self.paths[where] = underlay
        given: dict[str, object] = {"grid": underlay.grid} | settings
        self.engine.open(where, underlay.link, PathSettings(**given), self.now)  # type: ignore[arg-type]
        self.settle()

    def settle(self) -> None:
        """Carry out what the engine wants."""
        while items := self.engine.drain():
            for item in items:
                if isinstance(item, SendProbe):
                    self._send(item)
                elif isinstance(item, SetPathMtu):
                    self.in_force[item.path] = item.mtu
                    self.history.append((self.now, item.path, item.mtu))
                elif isinstance(item, Event):
                    self.events.append(item)

    def _send(self, probe: SendProbe) -> None:
        assert probe.path not in self._flying, "two probes of one path at a time"
        self._flying.add(probe.path)
        underlay = self.paths[probe.path]
        size = underlay.grid.down(probe.size)
        self.probes.append((self.now, probe.path, size))
        outcome, after = ProbeOutcome.ANSWERED, RTT_S
        if size > underlay.link:
            outcome, after = ProbeOutcome.TOO_BIG, 0.0
        elif not underlay.answers:
            outcome, after = ProbeOutcome.UNSUPPORTED, TIMEOUT_S
        elif underlay.dead:
            outcome, after = ProbeOutcome.SILENT, 60.0
        elif size > underlay.mtu or self.random.random() < underlay.loss:
            outcome, after = ProbeOutcome.LOST, TIMEOUT_S + RTT_S
        heapq.heappush(self._queue, (self.now + after, next(self._count), probe.token, outcome, size))

    def run(self, seconds: float) -> None:
        """Let virtual seconds pass."""
        end = self.now + seconds
        while True:
            deadline = self.engine.deadline()
            answer = self._queue[0][0] if self._queue else None
            due = min((t for t in (deadline, answer) if t is not None), default=None)
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            if answer is not None and answer <= self.now:
                _, _, token, outcome, size = heapq.heappop(self._queue)
                self._flying.discard(self.engine._under_way[token][0])
                self.engine.handle_probe(token, outcome, size, self.now)
            else:
                self.engine.handle_timer(self.now)
            self.settle()
        self.now = end

    def icmp(self, where: Path, mtu: int, quoted: int = 0) -> None:
        self.engine.handle_icmp(IcmpReport(where, mtu, quoted), self.now)
        self.settle()

    def loss(self, where: Path = PATH) -> None:
        self.engine.handle_loss(where, self.now)
        self.settle()

    def traffic(self, seconds: float, where: Path = PATH) -> None:
        """Let virtual seconds pass in which packets go this way; the engine hears of them every five."""
        end = self.now + seconds
        while self.now < end:
            self.engine.handle_traffic(where, self.now)
            self.settle()
            self.run(min(5.0, end - self.now))

    def changes(self) -> list[tuple[int | None, int, str]]:
        return [(e.old, e.new, e.reason) for e in self.events if isinstance(e, PathMtuChanged)]


def one(mtu: int, **underlay: object) -> tuple[Lab, Underlay]:
    """A lab with one path that has been open for a minute."""
    lab = Lab()
    real = Underlay(mtu, **underlay)  # type: ignore[arg-type]
    lab.open(PATH, real)
    lab.run(60)
    return lab, real
