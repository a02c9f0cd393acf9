"""When a device is up: keepalives against a peer that answers, one that does not, and one that asks too much."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import cast

import pytest

from tests.sim.world import ALICE, BOB, connection
from tests.unit.daemon.test_tunnels import GCM, GRE, config
from xfrmctl.daemon.intent import Established
from xfrmctl.daemon.keepalive import LOST, RATE, Ends, Keepalives
from xfrmctl.ike.config import EngineConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.kernel.grekeepalive import KeepaliveSocket, Packet
from xfrmctl.model.events import Event, TunnelAlive
from xfrmctl.model.sa import Mode
from xfrmctl.wire import gre

ENDS: Ends = (ip_address(ALICE), ip_address(BOB))
CHILD = config(replace(GRE, keepalive_s=10.0, key=5))


class Loop:
    """A clock by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, what: Callable[[], None]) -> "Loop.Handle":
        entry = (self.now + seconds, what)
        self._due.append(entry)
        return Loop.Handle(self, entry)

    def add_reader(self, *_: object) -> None:
        """Tests call the reader themselves."""

    remove_reader = add_reader

    class Handle:
        def __init__(self, loop: "Loop", entry: tuple[float, Callable[[], None]]) -> None:
            self._loop, self._entry = loop, entry

        def cancel(self) -> None:
            if self._entry in self._loop._due:
                self._loop._due.remove(self._entry)

    def run(self, seconds: float) -> None:
        self.now += seconds
        for entry in [e for e in self._due if e[0] <= self.now]:
            self._due.remove(entry)
            entry[1]()


class Wire:
    """A raw socket whose far end answers, or not."""

    sock = None

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.waiting: list[Packet] = []
        self.answers = True

    def send(self, local: object, remote: object, data: bytes) -> None:
        self.sent.append(data)
        asked = gre.parse(data, ENDS[1], ENDS[0], 5)
        if self.answers and isinstance(asked, gre.Request):
            self.waiting.append((*ENDS, asked.answer))

    def receive(self) -> list[Packet]:
        found, self.waiting = self.waiting, []
        return found

    def close(self) -> None:
        """Nothing is open."""


class Stage:
    def __init__(self) -> None:
        self.loop, self.wire = Loop(), Wire()
        self.told: list[Event] = []
        self.changed: list[set[int]] = []
        self.sa: Established | None = None
        engine = IkeEngine(EngineConfig(connections={"c": connection(ALICE, BOB, CHILD)}), bytes, lambda: 0.0)
        self.pulses = Keepalives(
            engine,
            cast(asyncio.AbstractEventLoop, self.loop),
            lambda _: self.sa,
            self.changed.append,
            self.told.append,
            lambda _: cast(KeepaliveSocket, self.wire),
        )

    def up(self) -> None:
        """The SA is there."""
        self.sa = Established(CHILD.reqid, GCM, *ENDS, False, Mode.TRANSPORT, CHILD.local_ts, CHILD.remote_ts)
        self.pulses.configure()
        self.hear()

    def hear(self) -> None:
        self.pulses.readable(cast(KeepaliveSocket, self.wire))

    def beat(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.run(10.0)
            self.hear()


def test_the_device_waits_for_the_first_answer() -> None:
    stage = Stage()
    stage.pulses.configure()
    assert not stage.pulses.up(CHILD) and not stage.wire.sent, "nothing is sent without an SA"
    assert stage.pulses.state(CHILD)[0] == "no SA"
    stage = Stage()
    stage.up()
    assert stage.pulses.up(CHILD) and stage.changed == [{CHILD.reqid}]
    assert stage.pulses.state(CHILD) == ("answered", 1, 1)
    assert stage.pulses.up(config()), "a child without keepalive is always up"


def test_three_in_a_row_take_it_down_and_the_first_answer_brings_it_back() -> None:
    stage = Stage()
    stage.up()
    stage.wire.answers = False
    stage.beat(LOST)
    assert stage.pulses.up(CHILD), f"{LOST - 1} are lost, and one is under way"
    stage.beat()
    assert not stage.pulses.up(CHILD) and stage.told[-1] == TunnelAlive(device="gre1", alive=False, lost=LOST)
    stage.beat(5)
    assert len(stage.told) == 2, "told once"
    stage.wire.answers = True
    stage.beat()
    assert stage.pulses.up(CHILD) and stage.told[-1] == TunnelAlive(device="gre1", alive=True, lost=0)
    stage.wire.answers = False
    stage.beat(LOST - 1)
    stage.wire.answers = True
    stage.beat(3)
    assert stage.pulses.up(CHILD), "one answer, and it counts from the beginning"


def test_the_end_of_the_sa_takes_it_down_and_stops_them() -> None:
    stage = Stage()
    stage.up()
    stage.sa = None
    stage.pulses.refresh(CHILD.reqid)
    assert not stage.pulses.up(CHILD) and stage.told[-1] == TunnelAlive(device="gre1", alive=False, lost=0)
    before = len(stage.wire.sent)
    stage.beat(3)
    assert len(stage.wire.sent) == before


@pytest.mark.parametrize("token", [None, 0, 7, 2**31])
def test_an_answer_that_nobody_has_asked_for_is_none(token: int | None) -> None:
    stage = Stage()
    stage.wire.answers = False
    stage.up()
    data = gre.header(0, 5) + (token.to_bytes(4) if token is not None else b"")
    stage.wire.waiting = [(*ENDS, data)]
    stage.hear()
    assert not stage.pulses.up(CHILD)
    strange = (ENDS[0], ip_address("203.0.113.1"), gre.header(0, 5) + (1).to_bytes(4))
    stage.wire.waiting = [strange]
    stage.hear()
    assert not stage.pulses.up(CHILD)


def test_the_peers_keepalives_are_answered_and_not_without_end() -> None:
    stage = Stage()
    stage.up()
    stage.wire.sent.clear()
    stage.wire.waiting = [(*ENDS, gre.request(ENDS[1], ENDS[0], 5, number)) for number in range(3 * RATE)]
    stage.hear()
    assert stage.wire.sent == [gre.header(0, 5) + number.to_bytes(4) for number in range(RATE)]
    stage.loop.now += 1
    stage.wire.waiting = [(*ENDS, gre.request(ENDS[1], ENDS[0], 5, 77))]
    stage.hear()
    assert len(stage.wire.sent) == RATE + 1


def test_a_socket_that_cannot_be_had_is_named() -> None:
    stage = Stage()

    def refused(_: int) -> KeepaliveSocket:
        raise PermissionError(1, "Operation not permitted")

    stage.pulses.open = refused
    stage.up()
    assert "CAP_NET_RAW" in str(stage.told[-1]) and not stage.pulses.up(CHILD)
    stage.pulses.close()
