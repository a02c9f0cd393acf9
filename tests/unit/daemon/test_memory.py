"""Beliefs about paths over a restart: what is written is read, and nothing else is."""

import json
from ipaddress import ip_address
from pathlib import Path as File

import pytest

from xfrmctl.daemon import memory
from xfrmctl.model.path import Belief, Confidence, MtuSource, Path
from xfrmctl.pmtu.inputs import Memory

PATHS = [
    Path(ip_address("172.16.1.1"), ip_address("172.16.2.1"), 4500),
    Path(ip_address("fd16:1::1"), ip_address("fd16:2::1")),
]
WALL = 1_800_000_000.0


def some() -> list[Memory]:
    return [Memory(p, Belief(1400, MtuSource.PROBE, Confidence.CONFIRMED, 7.0), 60.0) for p in PATHS]


def test_what_is_written_is_read_an_hour_later(tmp_path: File) -> None:
    directory = tmp_path / "state"
    memory.write(directory, some(), WALL)
    found = memory.read(directory, WALL + 3600)
    assert [m.path for m in found] == PATHS
    assert {(m.belief.size, m.belief.source, m.age_s) for m in found} == {(1400, MtuSource.PROBE, 3660.0)}
    assert {m.belief.confidence for m in found} == {Confidence.ASSUMED}, "it must be confirmed again"
    assert directory.stat().st_mode & 0o077 == 0
    memory.write(directory, [], WALL)
    assert memory.read(directory, WALL) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '{"version": 2, "paths": []}', '{"version": 1}', "\x00"])
def test_a_damaged_file_is_no_memory_and_no_error(tmp_path: File, text: str) -> None:
    (tmp_path / memory.NAME).write_text(text)
    assert memory.read(tmp_path, WALL) == []


@pytest.mark.parametrize(
    "change",
    [
        {"mtu": 67},
        {"mtu": 65536},
        {"mtu": "1400"},
        {"mtu": True},
        {"port": None},
        {"since": "yesterday"},
        {"source": "oracle"},
        {"local": "fd16:1::1"},
        {"remote": "nowhere"},
    ],
)
def test_a_row_that_makes_no_sense_is_left_out(tmp_path: File, change: dict[str, object]) -> None:
    memory.write(tmp_path, some(), WALL)
    file = tmp_path / memory.NAME
    content = json.loads(file.read_text())
    content["paths"][0] |= change
    file.write_text(json.dumps(content))
    assert [m.path for m in memory.read(tmp_path, WALL)] == PATHS[1:]


def test_a_clock_that_went_back_makes_nothing_younger_than_now(tmp_path: File) -> None:
    memory.write(tmp_path, some(), WALL)
    assert {m.age_s for m in memory.read(tmp_path, WALL - 10_000)} == {0.0}


def test_a_missing_directory_is_no_memory(tmp_path: File) -> None:
    assert memory.read(tmp_path / "nowhere", WALL) == []
