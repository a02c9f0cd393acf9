"""``xfrmctl top``: rates from two looks, whatever becomes of the SAs in between, and the table on any terminal."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from tests.unit.cli.test_cli import Run
from tests.unit.control.gateway_values import ROW, TRAFFIC, serving
from xfrmctl.cli.rates import SORTS, Rate, in_order, rates
from xfrmctl.cli.top import Sort, table
from xfrmctl.model.traffic import TrafficRow


def after(seconds: float, *rows: TrafficRow) -> list[Rate]:
    """What ``rows`` come to that many seconds after ROW."""
    return rates(TRAFFIC, replace(TRAFFIC, clock_s=TRAFFIC.clock_s + seconds, rows=list(rows))).children


def test_rates_are_differences_by_a_clock_that_does_not_jump() -> None:
    now = replace(ROW, bytes_in=ROW.bytes_in + 1000, bytes_out=ROW.bytes_out + 500, packets_in=ROW.packets_in + 10)
    (found,) = after(2.0, replace(now, replay=7))
    assert (found.bits_in, found.bits_out, found.packets_in, found.packets_out) == (4000, 2000, 5, 0)
    assert (found.errors, found.new_errors, found.rekeys, found.new_rekeys) == (8, 2, 3, 0)


def test_a_rekey_loses_nothing_and_makes_nothing_up() -> None:
    """The old SA goes on for a moment beside its successor, whose counters begin at 0."""
    old = replace(ROW, bytes_in=ROW.bytes_in + 100, age_s=900.0, rekeys=4)
    new = replace(ROW, spi_in="0xc0000011", spi_out="0xc0000012", bytes_in=700, age_s=1.0, rekeys=4, inner_mtu=1400)
    (found,) = after(1.0, old, replace(new, integrity=0, replay=0))
    assert found.bits_in == 8 * 800 and (found.new_rekeys, found.inner_mtu, found.age_s) == (1, 1400, 1.0)
    (found,) = after(1.0, replace(new, integrity=0, replay=0))
    assert found.bits_in == 8 * 700 and found.new_errors == 0


def test_a_child_that_went_down_has_no_rates() -> None:
    (found,) = after(1.0, replace(ROW, state="down", spi_in="", spi_out="", bytes_in=0, age_s=None))
    assert (found.state, found.bits_in, found.age_s) == ("down", 0, None)


def test_peers_of_one_connection_are_apart() -> None:
    assert len(after(1.0, ROW, replace(ROW, peer="fqdn:other", spi_in="0xc1", spi_out="0xc2"))) == 2


def test_orders() -> None:
    base = after(1.0, ROW)[0]
    busy = replace(base, child="busy", bits_in=9.0, packets_out=1.0, rekeys=9, inner_mtu=1200, age_s=5.0)
    bad = replace(base, child="bad", bits_out=5.0, new_errors=2, state="down", inner_mtu=None, age_s=None)
    first = {by: in_order([base, bad, busy], by)[0].child for by in SORTS}
    assert first == {
        "traffic": "busy", "in": "busy", "out": "bad", "packets": "busy", "errors": "bad", "rekeys": "busy",
        "mtu": "busy", "age": "busy", "state": "bad", "name": "bad",
    }  # fmt: skip
    assert in_order([base, bad, busy], "mtu", backwards=True)[0].child == "bad"
    assert {*get_args(Sort)} == {*SORTS} and len({key for key, _ in SORTS.values()}) == len(SORTS)
    assert not {"q", "r"} & {key for key, _ in SORTS.values()}


@pytest.fixture
def sock(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "s"):
        yield str(tmp_path / "s")


def test_once_is_two_looks_and_a_table(sock: str) -> None:
    run = Run("--control", sock, "top", "--once", "--interval", "0.1")
    assert run.code == 0
    head, sums, more, empty, titles, first, *rest = run.out.splitlines()
    assert "1 of 2 connections up, 1 IKE SA" in head and empty == ""
    assert "in 0 bit/s, 0 packets/s; out 8.0 Mbit/s, 700 packets/s" in sums
    assert more == "failures 4, IKE rekeys 4, xfrm errors 3; children 3, by traffic"
    assert titles.split()[:4] == ["child", "state", "in", "out"]
    assert first.split() == ["branch-7/lan", "up", "0", "8.0", "Mbit/s", "700", "6", "1338", "1298", "3"]
    assert [line.split()[0] for line in rest] == ["branch-7/idle", "branch-8/office"]


def test_sorted_and_limited(sock: str) -> None:
    run = Run("--control", sock, "top", "--once", "-i", "0.1", "--sort", "rekeys", "-n", "1", "--json")
    found = json.loads(run.out)
    assert [c["child"] for c in found["children"]] == ["idle"] and found["interval_s"] == 1.0
    assert Run("--control", sock, "top", "--sort", "speed").code == 2


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_the_table_keeps_to_the_terminal(width: int) -> None:
    found = rates(TRAFFIC, replace(TRAFFIC, clock_s=101.0, rows=[replace(ROW, connection="c" * 50)]))
    lines = [*table(found, found.children, "traffic", width)]
    assert max(map(len, lines[4:])) <= width and ("1338" in lines[5]) is (width > 40)


def test_live_on_a_terminal(sock: str) -> None:
    """A real pseudo terminal: it draws, takes keys, and gives the terminal back."""
    main, other = pty.openpty()
    command = [sys.executable, "-m", "xfrmctl", "--control", sock, "top", "-i", "0.2"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "20"}
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=env)
    os.close(other)
    seen = b""

    def until(wanted: bytes) -> None:
        nonlocal seen
        ends = time.monotonic() + 30
        while wanted not in seen and time.monotonic() < ends:
            if select.select([main], [], [], 1)[0]:
                seen += os.read(main, 65536)
        assert wanted in seen, seen[-2000:]

    until(b"8.0 Mbit/s")
    os.write(main, b"k")
    until(b"by rekeys")
    os.write(main, b"r")
    until(b"turned round")
    os.write(main, b"q")
    assert process.wait(30) == 0
    os.close(main)
    assert b"Traceback" not in seen
