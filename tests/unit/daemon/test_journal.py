"""Entries of the journal: fields that can be searched, whatever a peer has put into them."""

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import structlog

from xfrmctl.daemon import journal, logs
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import PeerSilent
from xfrmctl.model.iana import ExchangeType

PEER = Endpoint(ip_address("172.16.2.1"), 500)


def fields(entry: bytes) -> dict[str, str]:
    """An entry as journald takes it apart."""
    found = {}
    while entry:
        line, _, rest = entry.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
            entry = rest
        else:
            name, (length,) = line, struct.unpack("<Q", rest[:8])
            value, entry = rest[8 : 8 + length], rest[9 + length :]
        assert name.decode() not in found
        found[name.decode()] = value.decode()
    return found


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "socket")
    monkeypatch.setattr(journal.Journal.__init__, "__defaults__", (journal.SOCKET,))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(journal.SOCKET))
        sock.setblocking(False)
        yield sock


def test_an_event_has_its_members_as_fields(journald: socket.socket) -> None:
    before = structlog.get_config()
    logs.configure("journal", "info")
    try:
        logs.Storyteller("journal").observe(
            PeerSilent(
                connection="branch-7", ike="branch-7#1", remote=PEER, exchange=ExchangeType.INFORMATIONAL, attempts=5
            )
        )
    finally:
        structlog.get_config()["logger_factory"]().close()
        structlog.configure(**before)
    found = fields(journald.recv(65536))
    assert found["MESSAGE"] == "branch-7#1: 172.16.2.1:500 silent: 5 attempts at INFORMATIONAL"
    assert found["PRIORITY"] == "4"
    assert found["SYSLOG_IDENTIFIER"] == "xfrmctl"
    assert found["XFRMCTL_KIND"] == "peer_silent"
    assert found["XFRMCTL_CONNECTION"] == "branch-7"
    assert found["XFRMCTL_REMOTE"] == "172.16.2.1:500"
    assert found["XFRMCTL_ATTEMPTS"] == "5"


def test_a_failure_has_its_cause_and_its_cure_in_fields_of_their_own() -> None:
    members = {
        "level": "warning",
        "event": "text",
        "kind": "x",
        "failure": {"cause": "theirs", "cure": "ours", "ours": []},
    }
    found = fields(journal.render(None, "warning", members))
    assert found["XFRMCTL_FAILURE_CAUSE"] == "theirs"
    assert found["XFRMCTL_FAILURE_CURE"] == "ours"
    assert "XFRMCTL_FAILURE_OURS" not in found


@pytest.mark.parametrize("hostile", ["a\nPRIORITY=0", "a\nPRIORITY\n\x01", "=\n=", "x" * 100_000, "\udcff", "a\rb"])
def test_no_value_can_become_a_field(hostile: str) -> None:
    found = fields(journal.render(None, "info", {"event": hostile, "kind": "k", "remote": hostile, hostile: "value"}))
    assert found["PRIORITY"] == "6"
    assert set(found) >= {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "XFRMCTL_KIND", "XFRMCTL_REMOTE"}
    assert all(name.isascii() and name == name.upper() and len(name) <= 64 for name in found)
    assert all(len(value) <= journal.MAX_FIELD for value in found.values())


def test_what_a_plain_line_says_beside_its_text_is_read_in_the_text_too() -> None:
    found = fields(journal.render(None, "error", {"event": "reload refused", "problems": "a.yaml:1", "timestamp": "t"}))
    assert found["MESSAGE"] == "reload refused problems=a.yaml:1"
    assert found["XFRMCTL_PROBLEMS"] == "a.yaml:1"
    assert "XFRMCTL_TIMESTAMP" not in found


def test_a_journal_that_hangs_is_not_waited_for_and_what_is_lost_is_counted(journald: socket.socket) -> None:
    told = journal.Journal()
    entry = journal.render(None, "info", {"event": "one"})
    taken = 0
    while not told._lost:
        told.msg(entry)
        taken += 1
    told.msg(entry)
    for _ in range(taken - 1):
        journald.recv(4096)
    told.msg(entry)
    assert fields(journald.recv(4096))["MESSAGE"].startswith("2 lines are lost")
    assert fields(journald.recv(4096))["MESSAGE"] == "one"
    told.close()


def test_a_journal_that_was_started_again_is_found_again(journald: socket.socket) -> None:
    told = journal.Journal()
    journal.SOCKET.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(journal.SOCKET))
        journald.close()
        told.msg(b"MESSAGE=one\n")
        assert again.recv(100) == b"MESSAGE=one\n"
    told.close()


def test_only_the_stream_that_systemd_names_is_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        found = os.fstat(file.fileno())
        assert journal.connected(file.fileno(), f"{found.st_dev}:{found.st_ino}")
        assert not journal.connected(file.fileno(), "")
        assert not journal.connected(file.fileno(), f"{found.st_dev}:{found.st_ino + 1}")
