"""Packets of one link, captured completely or not at all.

A claim like "nothing crossed in clear" is worth what the capture behind it is worth. So: the capture is running
before ``start`` returns; ``stop`` sends a mark over the captured link and waits until the mark is in the file,
which shows that everything before it is there too; and packets that the kernel dropped for want of buffer are
counted and make ``problems`` speak up.
"""

import contextlib
import ipaddress
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from xfrmctl.lab import pcap
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.packets import MARK_ETHERTYPE, Kind, Network, Packet, Syn, classify
from xfrmctl.lab.topology import INNER_A, INNER_B

#: All inner networks of the topology.
INNER: tuple[Network, ...] = tuple(ipaddress.ip_network(net) for net in (*INNER_A, *INNER_B))

#: Headers are enough; keeps the reader faster than the link.
_SNAP_BYTES = 192
_BUFFER_KIB = 32768
_MARK = b"xfrmctl capture mark"
_WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """What crossed the link."""

    counts: Counter[Kind]
    #: Size in bytes of the largest IP packet.
    largest: int
    dropped: int
    plaintext: Sequence[Packet] = field(default_factory=tuple)
    others: Sequence[Packet] = field(default_factory=tuple)
    syns: Sequence[Syn] = field(default_factory=tuple)
    #: How many of the ESP packets (also inside UDP) may be fragmented by a router.
    esp_without_df: int = 0

    @property
    def esp(self) -> int:
        """ESP packets, bare and inside UDP."""
        return self.counts[Kind.ESP] + self.counts[Kind.UDP_ESP]

    @property
    def packets(self) -> int:
        """All packets but the capture's own mark."""
        return self.counts.total() - self.counts[Kind.MARK]

    def problems(self, *, esp_expected: bool = True) -> list[str]:
        """Why this capture does not prove "only ESP crossed"; empty when it does."""
        found = []
        if self.dropped:
            found.append(f"the capture is incomplete: {self.dropped} packets dropped for want of buffer")
        if plain := self.counts[Kind.PLAINTEXT]:
            found.append(f"{plain} packets in clear, the first: {self.plaintext[0]}")
        if esp_expected and not self.esp:
            found.append("no ESP packet at all")
        return found


def report(data: bytes, dropped: int = 0, inner: Sequence[Network] = INNER) -> CaptureReport:
    """Classify all packets of a capture file."""
    counts: Counter[Kind] = Counter()
    plaintext: list[Packet] = []
    others: list[Packet] = []
    syns: list[Syn] = []
    largest = without_df = 0
    for frame in pcap.frames(data):
        packet = classify(frame, inner)
        counts[packet.kind] += 1
        largest = max(largest, packet.length)
        if packet.syn:
            syns.append(packet.syn)
        if packet.kind in (Kind.ESP, Kind.UDP_ESP):
            without_df += not packet.df
        elif packet.kind is Kind.PLAINTEXT:
            plaintext.append(packet)
        elif packet.kind is Kind.OTHER:
            others.append(packet)
    return CaptureReport(counts, largest, dropped, plaintext, others, syns, without_df)


class Capture:
    """Capture on one device of one namespace; a context manager, or ``start`` and ``stop``."""

    def __init__(self, namespace: Namespace, dev: str, *, inner: Sequence[Network] = INNER, keep: Path | None = None):
        self.namespace, self.dev, self.inner = namespace, dev, inner
        fd, name = tempfile.mkstemp(suffix=".pcap", prefix=f"{namespace.name}-{dev}-")
        os.close(fd)
        self.file = keep or Path(name)
        self._scratch = Path(name)
        self._process: subprocess.Popen[bytes] | None = None
        self._report: CaptureReport | None = None

    def __enter__(self) -> "Capture":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.stop()
        else:
            self._end()
        self._scratch.unlink(missing_ok=True)

    @property
    def report(self) -> CaptureReport:
        """What crossed, once the capture has been stopped."""
        if self._report is None:
            raise LabError("the capture has not been stopped yet")
        return self._report

    def start(self) -> None:
        """Begin; returns when packets are being taken."""
        argv = ["tcpdump", "-i", self.dev, "-w", str(self.file), "-U", "-n", "-Z", "root", "--immediate-mode"]
        argv += ["-B", str(_BUFFER_KIB), "-s", str(_SNAP_BYTES)]
        self._process = self.namespace.popen(argv, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        said = b""
        while b"listening on" not in said:
            line = self._process.stderr.readline()
            if not line:
                self._process.wait()
                raise LabError(f"tcpdump on {self.namespace.name}/{self.dev}: {said.decode(errors='replace').strip()}")
            said += line

    def stop(self) -> CaptureReport:
        """End when everything sent so far is in the file; harmless the second time."""
        if self._report is not None:
            return self._report
        self._mark()
        said = self._end()
        dropped = re.search(rb"(\d+) packets? dropped by kernel", said)
        if dropped is None:
            raise LabError(f"tcpdump did not say what it dropped: {said.decode(errors='replace').strip()}")
        self._report = report(self.file.read_bytes(), int(dropped[1]), self.inner)
        return self._report

    def _mark(self) -> None:
        frame = b"\xff" * 6 + bytes(6) + MARK_ETHERTYPE.to_bytes(2) + _MARK.ljust(46, b"\0")
        deadline = time.monotonic() + _WAIT_S
        with self.namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind((self.dev, 0))
            out.send(frame)
            while _MARK not in _tail(self.file):
                if time.monotonic() > deadline:
                    self._end()
                    raise LabError(f"the capture on {self.namespace.name}/{self.dev} does not see its own mark")
                time.sleep(0.02)

    def _end(self) -> bytes:
        process, self._process = self._process, None
        if process is None:
            return b""
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=_WAIT_S)[1] or b""
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[1] or b""


def _tail(path: Path, size: int = 65536) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read()
