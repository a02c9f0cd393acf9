"""The watch over addresses and routes: one look for a burst, further ones at a distance, one after the last."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from xfrmctl.daemon import network
from xfrmctl.daemon.network import NetworkWatch


class Messages:
    """A netlink socket that says what the test wants."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.matter = True
        self.address_gone = False
        self.closed = False

    def fileno(self) -> int:
        return self.reading

    def say(self) -> None:
        os.write(self.writing, b"x")

    def read(self) -> bool:
        os.read(self.reading, 4096)
        return self.matter

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Messages]:
    found = Messages()
    monkeypatch.setattr(network, "NetworkEvents", lambda: found)
    monkeypatch.setattr(network, "SETTLE_S", 0.01)
    monkeypatch.setattr(network, "DISTANCE_S", 0.05)
    yield found
    os.close(found.reading)
    os.close(found.writing)


def watched(messages: Messages, times: int, *, pause_s: float) -> list[int]:
    """How many messages there had been at each look."""
    looks: list[int] = []

    async def run() -> None:
        count = 0
        watch = NetworkWatch(asyncio.get_running_loop(), lambda _: looks.append(count))
        for _ in range(times):
            messages.say()
            count += 1
            await asyncio.sleep(pause_s)
        await asyncio.sleep(0.2)
        watch.close()
        assert messages.closed

    asyncio.run(run())
    return looks


def test_a_burst_is_one_look(messages: Messages) -> None:
    assert watched(messages, 10, pause_s=0) == [10]


def test_the_last_message_is_never_missed(messages: Messages) -> None:
    looks = watched(messages, 30, pause_s=0.005)
    assert looks[-1] == 30
    assert len(looks) < 30


def test_what_does_not_matter_is_no_reason_to_look(messages: Messages) -> None:
    messages.matter = False
    assert not watched(messages, 3, pause_s=0)


def test_an_address_that_went_in_a_burst_is_told_once(messages: Messages) -> None:
    told: list[bool] = []

    async def run() -> None:
        watch = NetworkWatch(asyncio.get_running_loop(), told.append)
        for gone in (False, True, False):
            messages.address_gone = gone
            messages.say()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        messages.say()
        await asyncio.sleep(0.1)
        watch.close()

    asyncio.run(run())
    assert told[-1] is False and told.count(True) == 1
