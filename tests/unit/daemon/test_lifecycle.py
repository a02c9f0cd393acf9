"""What the service manager hears: readiness, reloads with the time, signs of life from the loop."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from xfrmctl.control.schema import ReloadResult
from xfrmctl.daemon import lifecycle


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield sock


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_a_manager_that_is_not_there_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for where in ("", "relative", str(tmp_path / "nobody")):
        monkeypatch.setenv("NOTIFY_SOCKET", where)
        lifecycle.notify("READY=1")


class Refusing:
    def __init__(self, result: ReloadResult | Exception) -> None:
        self.result = result

    @lifecycle.reloading
    async def reload(self) -> ReloadResult:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (ReloadResult(ok=True, message="1 added"), "reloaded: 1 added"),
        (ReloadResult(ok=False, message="a.yaml:1: no"), "reload refused, the old configuration is in force"),
    ],
)
def test_a_reload_is_announced_with_the_monotonic_time_and_ended(
    manager: socket.socket, result: ReloadResult, status: str
) -> None:
    assert asyncio.run(Refusing(result).reload()) == result
    began, ended = heard(manager)
    first, second = began.split("\n")
    name, microseconds = second.split("=")
    assert (first, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert int(microseconds) > 0
    assert ended == f"READY=1\nSTATUS={status}"


def test_a_reload_that_breaks_does_not_leave_the_manager_waiting(manager: socket.socket) -> None:
    with pytest.raises(RuntimeError):
        asyncio.run(Refusing(RuntimeError("broken")).reload())
    assert heard(manager)[-1] == "READY=1\nSTATUS=the reload has failed"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_signs_of_life_come_three_times_in_the_time_allowed(environment: dict[str, str], seconds: float | None) -> None:
    assert lifecycle.interval(environment) == seconds


def test_it_is_the_loop_that_gives_signs_of_life(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000")

    async def turn() -> list[str]:
        loop, second = asyncio.get_running_loop(), asyncio.Event()
        lifecycle.live(loop)
        first = heard(manager)
        loop.add_reader(manager.fileno(), second.set)
        await second.wait()
        loop.remove_reader(manager.fileno())
        return first + heard(manager)[:1]

    assert asyncio.run(turn()) == ["WATCHDOG=1", "WATCHDOG=1"]


def test_without_a_watchdog_nothing_is_sent(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    loop = asyncio.new_event_loop()
    lifecycle.live(loop)
    loop.close()
    assert heard(manager) == []
