"""Log lines: their shape, their level, and when they are written."""

import asyncio
import io
import logging
from ipaddress import ip_address

import pytest
import structlog

from xfrmctl.daemon import logs
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import (
    CookieDemanded,
    KernelDisturbed,
    KernelTrouble,
    MessageSent,
    PathMtuChanged,
    PathMtuHinted,
    PathProbed,
)
from xfrmctl.model.iana import ExchangeType
from xfrmctl.model.path import Confidence, MtuSource, Path, ProbeOutcome

PEER = Endpoint(ip_address("172.16.2.1"), 500)
EMPTY = MessageSent(
    connection="net",
    ike="net#1",
    exchange=ExchangeType.INFORMATIONAL,
    response=False,
    message_id=2,
    payloads=(),
    remote=PEER,
    size=57,
)


class Counting(io.StringIO):
    writes = 0

    def write(self, text: str, /) -> int:
        self.writes += 1
        return super().write(text)


def test_outside_the_event_loop_a_line_goes_out_at_once() -> None:
    file = io.StringIO()
    logs.Lines(file).msg("one")
    assert file.getvalue() == "one\n"


def test_lines_of_one_turn_of_the_event_loop_are_one_write() -> None:
    file = Counting()

    async def turns() -> None:
        lines = logs.Lines(file)
        for text in ("one", "two", "three"):
            lines.msg(text)
        assert file.getvalue() == ""
        await asyncio.sleep(0)
        assert (file.getvalue(), file.writes) == ("one\ntwo\nthree\n", 1)
        lines.msg("four")
        await asyncio.sleep(0)
        assert file.getvalue().endswith("four\n")

    asyncio.run(turns())


@pytest.mark.parametrize("value", ["abc", "two words", "10.0.0.1", 3, None, 'a"b', "line\nbreak"])
def test_the_plain_line_is_what_structlog_would_print(value: object) -> None:
    members = {"timestamp": "T", "level": "info", "event": "reloaded", "changes": value}
    ours = logs.plain(None, "info", dict(members))
    theirs = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)(None, "info", dict(members))
    assert ours == theirs


def test_levels() -> None:
    assert logs.level_of(EMPTY) == logging.DEBUG
    assert logs.level_of(CookieDemanded(remote=PEER)) == logging.DEBUG
    assert logs.level_of(KernelTrouble(problem="x")) == logging.ERROR
    assert logs.level_of(KernelDisturbed(disturbance="x")) == logging.WARNING
    assert "put back" in logs.tell(KernelDisturbed(disturbance="x"))
    assert logs.tell(EMPTY) == "net#1 > 172.16.2.1:500 INFORMATIONAL request 2: nothing (57 bytes)"


def test_what_becomes_of_a_path_is_told_in_a_sentence() -> None:
    path = Path(ip_address("172.16.1.1"), PEER.address, 4500)
    changed = PathMtuChanged(
        path=path,
        old=1500,
        new=1400,
        source=MtuSource.PROBE,
        confidence=Confidence.CONFIRMED,
        reason="black hole",
    )
    assert logs.tell(changed) == "path 172.16.1.1 -> 172.16.2.1 (udp 4500): MTU 1400 (was 1500) by probe, black hole"
    hinted = PathMtuHinted(path=path, mtu=600, verdict="held")
    assert logs.tell(hinted).endswith("a router reports 600: held")
    probed = PathProbed(path=path, size=1450, outcome=ProbeOutcome.LOST)
    assert logs.tell(probed).endswith("probe of 1450 bytes lost")
    assert [logs.level_of(e) for e in (changed, hinted, probed)] == [logging.INFO, logging.INFO, logging.DEBUG]
