"""The native protocol of systemd's journal: lines with fields, for ``journalctl XFRMCTL_CONNECTION=branch-7``.

One datagram is one entry: ``NAME=value`` lines, or, for values with line breaks, the name, the length in 64 bits
little-endian, and the bytes (systemd's docs/JOURNAL_NATIVE_PROTOCOL). Fields of ours begin with XFRMCTL_; what a
failure is made of has fields of its own, such as XFRMCTL_FAILURE_CURE.
"""

import json
import logging
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

SOCKET = Path("/run/systemd/journal/socket")
MAX_FIELD = 32768
"""Bytes of one value. An entry has to fit a datagram, and nobody reads more."""

ROOM = 8 << 20
"""Bytes that may wait for a slow journal, as sd-journal asks for; what comes then is dropped and counted."""

_PRIORITY = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
_NOT_A_NAME = re.compile(r"[^A-Z0-9_]")


def connected(descriptor: int, stream: str) -> bool:
    """Whether ``descriptor`` leads to the journal, whose device and inode are $JOURNAL_STREAM (systemd.exec(5))."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def render(_logger: object, method: str, members: MutableMapping[str, Any]) -> bytes:
    """The last of structlog's processors: one entry."""
    level = logging.getLevelNamesMapping().get(str(members.pop("level", method)).upper(), logging.INFO)
    members.pop("timestamp", None)  # the journal has its own
    message = str(members.pop("event", ""))
    exception = members.pop("exception", "")
    if "kind" not in members:  # a line, not an event: what it says beside its text is for readers too
        message += "".join(f" {name}={value}" for name, value in members.items())
    fields = {
        "MESSAGE": f"{message}\n{exception}" if exception else message,
        "PRIORITY": str(_PRIORITY.get(level, 6)),
        "SYSLOG_IDENTIFIER": "xfrmctl",
        **dict(_flat("XFRMCTL", members)),
    }
    return b"".join(_field(name, value) for name, value in fields.items())


def _flat(stem: str, members: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in members.items():
        name = f"{stem}_{_NOT_A_NAME.sub('_', str(key).upper())}"[:64]
        if isinstance(value, Mapping):
            yield from _flat(name, value)
        elif value not in (None, "", []):
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _field(name: str, value: str) -> bytes:
    content = value.encode(errors="replace")[:MAX_FIELD]
    if b"\n" in content:
        return name.encode() + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"
    return name.encode() + b"=" + content + b"\n"


class Journal:
    """The last link of structlog's chain: each entry is one datagram.

    Never waits: a journal that hangs stops no gateway. What it does not take is lost, and counted.
    """

    def __init__(self, path: Path = SOCKET) -> None:
        """Raises OSError where there is no journal."""
        self._lost = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._path = str(path)

    def msg(self, entry: bytes) -> None:
        """Send one entry."""
        if self._lost:
            lost = {"level": "warning", "event": f"{self._lost} lines are lost: the journal did not take them"}
            if not self._sent(render(None, "warning", lost)):
                self._lost += 1
                return
            self._lost = 0
        if not self._sent(entry):
            self._lost += 1

    debug = info = warning = error = critical = exception = msg

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _sent(self, entry: bytes) -> bool:
        for _ in range(2):
            try:
                self._socket.send(entry)
                return True
            except BlockingIOError:
                return False
            except OSError:  # journald was started again: its socket is another one
                try:
                    self._socket.connect(self._path)
                except OSError:
                    return False
        return False
