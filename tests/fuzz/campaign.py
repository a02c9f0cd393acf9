"""Fuzzing of a whole responder for as long as you like: ``make fuzz``, or

    python -m tests.fuzz.campaign --minutes 60 --corpus build/fuzz

Four ways into one engine: anything at all on its ports; nonsense in IKE_AUTH under the keys of a half-open IKE SA, that
is before anybody has proven who he is; nonsense of a peer that *has* authenticated itself; the same in fragments. Some
responders have pre-shared keys, some certificates.

An input that makes the responder react in a way not seen before is kept in the corpus and changed again later; the next
campaign goes on from there. Three things are findings, kept with the input: an exception, a step of more than
SLOW_S seconds of processor time, SAs in the kernel that the engine knows nothing of. Python's collector of cycles is
run between steps, for its time is not the step's. What the machine does in our time (a virtual one is stopped while its
clocks go on) is told from what the input does by giving a slow input to the same responder again.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutate import CHAINS, GENERIC_LEN, HEADER_LEN, SEEDS, Link, change, joined, mangle, mutate
from tests.sim.forge import bare, opened, sent
from tests.sim.test_certificates import leaf, side
from tests.sim.world import Datagram, Node, World, pair, start
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import HALF_OPEN, IkeState
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import DatagramDropped, Event, MessageSent, NegotiationFailed
from xfrmctl.model.iana import ExchangeType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import encode_payloads
from xfrmctl.wire.natt import frame

SLOW_S = 0.010
PROGRESS_S = 10.0
SK, SKF = 46, 53
REPEATS = 10
STEPS_PER_WORLD = 2000
"""What an authenticated peer may do before it meets a new responder: the worlds do not forget what was on the wire."""


class Way(IntEnum):
    """How an input reaches the responder."""

    RAW = 0
    HALF_OPEN = 1
    SEALED = 2
    FRAGMENT = 3


@dataclass(frozen=True, slots=True)
class Input:
    """``data`` is a datagram (RAW); otherwise exchange, type of the first payload, and the payloads to be sealed.

    A FRAGMENT has its number and total, two octets each, in front.
    """

    way: Way
    data: bytes

    def encode(self) -> bytes:
        return bytes((self.way,)) + self.data

    @classmethod
    def decode(cls, raw: bytes) -> Input:
        return cls(Way(raw[0] % len(Way)), raw[1:])

    @property
    def name(self) -> str:
        return hashlib.sha256(self.encode()).hexdigest()[:16]


def _links(first: int, body: bytes) -> list[Link]:
    """As much of a chain as is one."""
    found, kind, at = [], first, 0
    while kind and at + GENERIC_LEN <= len(body):
        size = int.from_bytes(body[at + 2 : at + 4], "big")
        if size < GENERIC_LEN or at + size > len(body):
            break
        found.append((kind, body[at + 1], body[at + GENERIC_LEN : at + size]))
        kind, at = body[at], at + size
    return found


class Target:
    """A responder (Bob) and the keys of one who speaks with him (Alice)."""

    def __init__(self, seed: int, alice: dict[str, Any], bob: dict[str, Any]) -> None:
        self.seed, self.sides = seed, ({"dpd_s": None} | alice, {"dpd_s": None} | bob)
        self.steps = 0
        self.begin()

    def begin(self) -> None:
        """A new world, and Alice about to speak."""
        self.seed += 1
        self.world = World(seed=self.seed)
        self.alice, self.bob = pair(self.world, alice=self.sides[0], bob=self.sides[1])
        start(self.world, self.alice)
        self.steps = 0

    def half_open(self) -> IkeSa:
        """Alice's end of an IKE SA that Bob holds half-open."""
        self.begin()
        self.world.intercept.append(lambda d: d if bare(d.data)[18] == ExchangeType.IKE_SA_INIT else None)
        self.world.run(0.1)
        assert any(s.state in HALF_OPEN for s in self.bob.engine.ike_sas())
        (sa,) = self.alice.engine.ike_sas()
        return sa

    def established(self) -> IkeSa:
        """Alice's end of an IKE SA that Bob believes in."""
        if self.steps >= STEPS_PER_WORLD or not _up(self.bob) or not _up(self.alice):
            self.begin()
            self.world.run(0.2)
        self.steps += 1
        return next(s for s in self.alice.engine.ike_sas() if s.state == IkeState.ESTABLISHED)

    def chains(self) -> list[tuple[int, int, bytes]]:
        """(exchange, first payload, octets) of what an honest Alice says under protection."""
        self.begin()
        self.world.run(0.2)
        self.world.do(self.alice, lambda now: self.alice.engine.rekey("net", "lan", now))
        self.world.run(1)
        theirs = self.bob.engine.ike_sas()[0]
        found = []
        for exchange in (ExchangeType.IKE_AUTH, ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL):
            for datagram in sent(self.world, self.alice, exchange, response=False):
                if bare(datagram.data)[16] == SK:
                    found.append((int(exchange), *encode_payloads(opened(theirs, datagram.data))))
        return found


def _up(node: Node) -> bool:
    return any(s.state == IkeState.ESTABLISHED for s in node.engine.ike_sas())


@dataclass
class Campaign:
    """``clock`` is the processor time of this process, ``said`` takes lines for a human."""

    home: Path
    seed: int = 7296
    clock: Callable[[], float] = time.process_time
    said: Callable[[str], None] = print
    steps: int = 0
    slowest_s: float = 0.0
    hiccups: list[float] = field(default_factory=list)
    findings: dict[str, int] = field(default_factory=dict)
    corpus: list[Input] = field(default_factory=list)
    by_way: dict[Way, int] = field(default_factory=lambda: dict.fromkeys(Way, 0))

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.seen: set[object] = set()
        certificates = (side(leaf("alice")), side(leaf("bob")))
        self.targets = [Target(self.seed, {}, {}), Target(self.seed + 10**6, *certificates)]
        self.open_door = Target(self.seed + 2 * 10**6, {}, {})
        self.open_door.world.run(1)
        for target in self.targets:
            for exchange, first, body in target.chains():
                way = Way.HALF_OPEN if exchange == ExchangeType.IKE_AUTH else Way.SEALED
                self.corpus.append(Input(way, bytes((exchange, first)) + body))
        self.corpus += [Input(Way.RAW, b"\0" + seed) for seed in SEEDS]
        kept = self.home / "corpus"
        kept.mkdir(parents=True, exist_ok=True)
        self.resumed = 0
        for path in sorted(kept.iterdir()):
            self.corpus.append(Input.decode(path.read_bytes()))
            self.resumed += 1

    # -- inputs

    def invent(self) -> Input:
        """The next input: something of the corpus, changed."""
        rng = self.random
        old = rng.choice(self.corpus[-200:] if rng.random() < 0.3 else self.corpus)
        if old.way == Way.RAW:
            if rng.random() < 0.3:
                return Input(Way.RAW, bytes((rng.randrange(4),)) + mutate(rng))
            raw = bytearray(old.data)
            for _ in range(rng.randint(1, 4)):
                change(rng, raw, rng.choice((1, 18, 29)))
            if len(raw) > HEADER_LEN and rng.random() < 0.7:
                raw[25:29] = (len(raw) - 1).to_bytes(4, "big")
            return Input(Way.RAW, bytes((rng.randrange(4),)) + bytes(raw[1:]))
        return self._invent_sealed(old)

    def _invent_sealed(self, old: Input) -> Input:
        rng = self.random
        skip = 4 if old.way == Way.FRAGMENT else 0
        content = old.data[skip:].ljust(2, b"\0")
        exchange, first, body = content[0], content[1], content[2:]
        chain = _links(first, body)
        if rng.random() < 0.2:
            chain = [*chain, *rng.choice(CHAINS)][:40]
        if rng.random() < 0.7:
            chain = mangle(rng, chain)
            first, body = (chain[0][0] if chain else 0), joined(chain)
        if rng.random() < 0.5:
            damaged = bytearray(body)
            for _ in range(rng.randint(1, 3)):
                change(rng, damaged, 0)
            body = bytes(damaged)
        way = old.way if rng.random() < 0.8 else rng.choice((Way.HALF_OPEN, Way.SEALED, Way.FRAGMENT))
        if way == Way.HALF_OPEN:
            exchange = ExchangeType.IKE_AUTH if rng.random() < 0.95 else rng.choice((34, 36, 37, 43, 240))
        elif rng.random() < 0.2:
            exchange = rng.choice((34, 35, 36, 36, 37, 37, 38, 240))
        made = bytes((exchange, first)) + body[:60000]
        if way == Way.FRAGMENT:
            total = rng.choice((1, 1, 2, 2, 3, 128, 129, 65535))
            made = rng.randint(0, min(total + 1, 65535)).to_bytes(2, "big") + total.to_bytes(2, "big") + made
        return Input(way, made)

    # -- steps

    def run(self, seconds: float, steps: int | None = None) -> None:
        """Go on until the time (of the wall) or the steps are over."""
        began = told = time.monotonic()
        target = None if steps is None else self.steps + steps
        gc.collect()
        gc.disable()
        try:
            while target is None or self.steps < target:
                self.step(self.invent())
                if self.steps % 500 == 0:
                    gc.collect()
                now = time.monotonic()
                if now - told >= PROGRESS_S:
                    told = now
                    self.said(f"{now - began:6.0f} s  {self.progress()}")
                if target is None and now - began >= seconds:
                    break
        finally:
            gc.enable()

    def progress(self) -> str:
        """One line on how it stands."""
        found = ", ".join(f"{n} {kind}" for kind, n in sorted(self.findings.items())) or "none"
        ways = ", ".join(f"{way.name.lower()} {n}" for way, n in self.by_way.items())
        most = max(self.hiccups, default=0.0) * 1000
        hiccups = f" (and {len(self.hiccups)} slow only once, up to {most:.1f} ms)" if self.hiccups else ""
        return (
            f"{self.steps} steps ({ways}), corpus {len(self.corpus)}, "
            f"slowest step {self.slowest_s * 1000:.1f} ms{hiccups}, "
            f"memory {peak_mb():.0f} MB, findings: {found}"
        )

    def step(self, item: Input) -> None:
        """One input; what it does is judged."""
        target = self.open_door if item.way == Way.RAW else self.random.choice(self.targets)
        self.steps += 1
        self.by_way[item.way] += 1
        took = self._take(target, item)
        if took <= SLOW_S:
            self.slowest_s = max(self.slowest_s, took)
        elif (again := max(self._take(target, item) for _ in range(REPEATS))) > SLOW_S:
            self.slowest_s = max(self.slowest_s, took, again)
            self._found("slow", item, f"{took * 1000:.1f} ms of processor time, then {again * 1000:.1f}\n")
        else:
            self.hiccups.append(took)

    def _take(self, target: Target, item: Input) -> float:
        """Seconds of processor time that the responder took; 0 where it broke."""
        datagram = self._datagram(target, item)
        world, bob = target.world, target.bob
        bob.events.clear()
        world.wire.clear()
        began = self.clock()
        try:
            world.do(bob, lambda now: bob.engine.handle_datagram(datagram.target, datagram.source, datagram.data, now))
            took = self.clock() - began
            reaction = (item.way, *_reaction(bob.events), len(world.wire))
            world.run(0.05 if item.way == Way.RAW else 0.001)
        except Exception:
            self._found("crashes", item, traceback.format_exc())
            target.begin()
            return 0.0
        stray = bob.sad.keys() - _known(bob)
        if stray:
            self._found("stray", item, f"in the kernel and not in the engine: {sorted(map(str, stray))}\n")
            target.begin()
        if reaction not in self.seen:
            self.seen.add(reaction)
            kept = self.home / "corpus" / item.name
            if not kept.exists():
                self.corpus.append(item)
                kept.write_bytes(item.encode())
        return took

    def _datagram(self, target: Target, item: Input) -> Datagram:
        if item.way == Way.RAW:
            port = 4500 if item.data[:1] and item.data[0] & 1 else 500
            data = item.data[1:]
            local = Endpoint(target.bob.address, port)
            their_port = port if self.random.random() < 0.9 else self.random.randrange(1, 65536)
            source = Endpoint(target.alice.address, their_port)
            return Datagram(source, local, frame(data) if port == 4500 and not item.data[0] & 2 else data)
        sa = target.half_open() if item.way == Way.HALF_OPEN else target.established()
        theirs = next(s for s in target.bob.engine.ike_sas() if s.spi_i == sa.spi_i)
        assert sa.protect_out is not None
        skip = 4 if item.way == Way.FRAGMENT else 0
        content = item.data[skip:].ljust(2, b"\0")
        exchange, first, body = ExchangeType(content[0]), content[1], content[2:]
        kind = SKF if item.way == Way.FRAGMENT else SK
        header = Header(sa.spi_i, sa.spi_r, kind, exchange, True, False, theirs.expected_id, 0)
        fragment = item.data[:4].ljust(4, b"\0") if item.way == Way.FRAGMENT else b""
        data = sa.protect_out.seal(header.encode(0), first, body, target.alice.engine._core.entropy, fragment)
        return Datagram(sa.local, sa.remote, frame(data) if sa.remote.port == 4500 else data)

    def _found(self, kind: str, item: Input, text: str) -> None:
        self.findings[kind] = self.findings.get(kind, 0) + 1
        place = self.home / kind
        place.mkdir(exist_ok=True)
        (place / item.name).write_bytes(item.encode())
        (place / f"{item.name}.txt").write_text(f"step {self.steps}, {item.way.name}, seed {self.seed}\n{text}")
        if self.findings[kind] <= 10:
            self.said(f"FOUND {kind}: {place / item.name}: {text.strip().splitlines()[-1]}")


def _reaction(events: list[Event]) -> tuple[str, ...]:
    """What makes one reaction different from another."""
    found = set()
    for event in events:
        match event:
            case DatagramDropped():
                found.add(event.reason)
            case NegotiationFailed():
                found.add(f"{event.failure.code} {event.failure.notify}")
            case MessageSent():
                found.add(" ".join(event.payloads))
            case _:
                found.add(type(event).__name__)
    return tuple(sorted(found))


def _known(node: Node) -> set[object]:
    """The kernel SAs that the engine answers for."""
    found: set[object] = set()
    for sa in node.engine.ike_sas():
        for child in sa.children:
            found |= {child.inbound, child.outbound}
        found |= {sa_id for _, sa_id in sa.retired}
    return found


def peak_mb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="Fuzz a whole responder.")
    parser.add_argument("--minutes", type=float, default=60, help="how long (default: an hour)")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="where it lives (default: build/fuzz)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of everything random (default: the time)")
    parser.add_argument("--replay", type=Path, help="one kept input, ten times, in place of a campaign")
    options = parser.parse_args()
    campaign = Campaign(options.corpus, options.seed, said=lambda line: print(line, flush=True))
    if options.replay is not None:
        for _ in range(10):
            campaign.slowest_s = 0.0
            campaign.step(Input.decode(options.replay.read_bytes()))
            print(f"{campaign.slowest_s * 1000:.1f} ms", campaign.findings or "")
        return 0
    print(f"seed {options.seed}, {campaign.resumed} inputs of earlier campaigns", flush=True)
    for item in tuple(campaign.corpus):
        campaign.step(item)
    campaign.run(60, steps=2000)
    begun_with = peak_mb()
    campaign.run(options.minutes * 60)
    print(
        f"done: {campaign.progress()}; memory has grown by {peak_mb() - begun_with:.0f} MB since step 2000", flush=True
    )
    return 1 if campaign.findings else 0


if __name__ == "__main__":
    sys.exit(main())
