"""The stream of events: what is kept, what somebody wants of it, and that nothing falls between past and present."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.sim.world import ALICE, BOB, child, connection
from xfrmctl.control.events import kinds
from xfrmctl.control.schema import RequestError
from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.story import STREAM_LIMIT, Story
from xfrmctl.ike.config import EngineConfig, Start
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import (
    DatagramDropped,
    Event,
    IcmpErrorJudged,
    KernelTrouble,
    MessageSent,
    PathMtuChanged,
    PeerSilent,
    RetryScheduled,
)
from xfrmctl.model.iana import ExchangeType
from xfrmctl.model.path import Confidence, MtuSource, Path
from xfrmctl.model.selection import MAX_LAST, EventSelection

PEER = Endpoint(ip_address(BOB), 500)
OTHER = Endpoint(ip_address("172.16.3.1"), 500)
RETRY = RetryScheduled(connection="net", attempt=1, delay_s=2.0)
SILENT = PeerSilent(connection="far", ike="far#1", remote=OTHER, exchange=ExchangeType.IKE_AUTH, attempts=4)
DROPPED = DatagramDropped(remote=PEER, reason="integrity")
MTU = PathMtuChanged(
    path=Path(ip_address(ALICE), ip_address(BOB)),
    old=1500,
    new=1400,
    source=MtuSource.PROBE,
    confidence=Confidence.CONFIRMED,
    reason="probe",
)
ICMP = IcmpErrorJudged(
    accepted=False, reason="unknown_spi", family=4, reporter=None, peer=OTHER.address, path=None, mtu=1300, quoted=0
)
SENT = MessageSent(
    connection="net",
    ike="net#1",
    exchange=ExchangeType.INFORMATIONAL,
    response=False,
    message_id=3,
    payloads=("D",),
    remote=PEER,
    size=80,
)
TROUBLE = KernelTrouble(problem="policy is missing")
EVERY = (RETRY, SILENT, DROPPED, MTU, ICMP, SENT, TROUBLE)


def story() -> tuple[Story, Bus]:
    far = child("far", "10.1.1.0/24", "10.3.0.0/24", start=Start.NONE, reqid=0x58000002)
    known = {
        "net": connection(ALICE, BOB, child(start=Start.NONE)),
        "far": connection(ALICE, str(OTHER.address), far, name="far"),
    }
    bus = Bus()
    found = Story(IkeEngine(EngineConfig(connections=known), DeterministicEntropy(b"a")), bus, lambda: 7.0)
    bus.subscribe(found.observe)
    return found, bus


async def take(stream: AsyncIterator[dict[str, Any]], count: int) -> list[str]:
    return [(await asyncio.wait_for(anext(stream), 10))["event"] for _ in range(count)]


def present(wanted: EventSelection, *events: Event) -> list[str]:
    """What a follower gets of what happens while it follows; a last event that everybody wants ends it."""

    async def play() -> list[str]:
        found, bus = story()
        stream = found.follow(wanted)
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for event in events:
            bus.publish(event)
        bus.publish(RetryScheduled(connection="net", attempt=99, delay_s=0.0))
        got = [await first]
        while got[-1].get("attempt") != 99:
            got.append(await anext(stream))
        await stream.aclose()  # type: ignore[attr-defined]
        return [event["event"] for event in got[:-1]]

    return asyncio.run(play())


def test_an_event_is_a_sentence_with_its_severity() -> None:
    found, _ = story()
    told = found.told(TROUBLE, 7.0)
    assert told == {
        "event": "kernel_trouble",
        "at": 7.0,
        "severity": "error",
        "text": "kernel: policy is missing",
        "problem": "policy is missing",
    }
    assert found.told(DROPPED, 7.0)["severity"] == "debug"


def test_severity_is_a_floor() -> None:
    assert len(present(EventSelection(), *EVERY)) == len(EVERY)
    assert "datagram_dropped" not in present(EventSelection(severity="info"), *EVERY)


def test_a_connection_is_its_events_its_peers_and_its_paths() -> None:
    assert present(EventSelection(connections=("net",)), *EVERY) == [
        "retry_scheduled",
        "datagram_dropped",
        "path_mtu_changed",
        "message_sent",
    ]
    assert present(EventSelection(connections=("f*", "net")), SILENT, ICMP, TROUBLE) == [
        "peer_silent",
        "icmp_error_judged",
    ]


def test_kinds_and_groups() -> None:
    wanted = EventSelection(kinds=kinds()["path"] | {"peer_silent", "retry_scheduled"})
    assert present(wanted, *EVERY) == ["retry_scheduled", "peer_silent", "path_mtu_changed", "icmp_error_judged"]


def test_the_past_comes_first_and_nothing_is_lost_between() -> None:
    async def play() -> None:
        found, bus = story()
        for number in range(MAX_LAST + 5):
            bus.publish(RetryScheduled(connection="net", attempt=number, delay_s=1.0))
        for noise in (SENT, DROPPED):
            bus.publish(noise)
        bus.publish(SILENT)
        stream = found.follow(EventSelection(connections=("net",), last=2))
        first = await anext(stream)
        bus.publish(MTU)
        assert first["attempt"] == MAX_LAST + 3 and first["at"] == 7.0
        assert (await anext(stream))["attempt"] == MAX_LAST + 4
        assert await take(stream, 1) == ["path_mtu_changed"]
        await stream.aclose()  # type: ignore[attr-defined]
        every = [e["event"] async for e in found.follow(EventSelection(last=MAX_LAST, follow=False))]
        assert len(every) == MAX_LAST and every[-2:] == ["peer_silent", "path_mtu_changed"]

    asyncio.run(play())


def test_a_follower_that_sleeps_loses_the_oldest_and_who_leaves_is_forgotten() -> None:
    async def play() -> None:
        found, bus = story()
        stream = found.follow(EventSelection())
        waits = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for number in range(STREAM_LIMIT + 10):
            bus.publish(RetryScheduled(connection="net", attempt=number, delay_s=1.0))
        assert (await waits)["attempt"] >= 9
        await stream.aclose()  # type: ignore[attr-defined]
        assert len(bus._listeners) == 1

    asyncio.run(play())


def test_an_unknown_connection_is_told_at_once() -> None:
    found, _ = story()
    found.check(EventSelection(connections=("net", "x*")))
    with pytest.raises(RequestError, match="did you mean 'net'"):
        found.check(EventSelection(connections=("nett",)))
