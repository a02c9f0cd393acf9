"""Ping, TCP and UDP through the topology, with what came of it as numbers.

TCP and UDP use sockets of this process that live in the namespaces: no helper programs to install or to wait
for, and the sender's TCP counters are at hand.
"""

import re
import socket
import struct
import threading
import time
from dataclasses import dataclass

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import virtual_time
from xfrmctl.lab.namespace import Namespace

_CHUNK = 65536
# include/uapi/asm-generic/socket.h
_SO_MAX_PACING_RATE = 47
_PACE = 1_000_000
"""Bytes per second of a flow without end in virtual time. Where computing takes no time, one at full speed would never
wait, so no time would pass."""
# Offsets in struct tcp_info (include/uapi/linux/tcp.h), stable since Linux 2.6.
_TCPI_SND_MSS, _TCPI_PMTU, _TCPI_TOTAL_RETRANS = 16, 60, 100


@dataclass(frozen=True, slots=True)
class PingResult:
    """What ``ping`` counted; times in milliseconds, None without an answer."""

    sent: int
    received: int
    rtt_avg_ms: float | None
    #: The path MTU that an ICMP error told ("Frag needed and DF set (mtu = N)"), if one came.
    told_mtu: int | None
    text: str

    @property
    def loss(self) -> float:
        """Share of lost packets, 0 to 1."""
        return 1 - self.received / self.sent if self.sent else 1.0


def ping(
    source: Namespace,
    address: str,
    *,
    count: int = 3,
    interval_s: float = 0.2,
    packet_bytes: int | None = None,
    df: bool = False,
    wait_s: float = 2,
) -> PingResult:
    """Ping ``address``; ``packet_bytes`` is the size of the whole IP packet, so that it compares with MTUs."""
    argv = ["ping", "-n", "-c", str(count), "-i", str(interval_s), "-W", str(wait_s)]
    if packet_bytes is not None:
        argv += ["-s", str(packet_bytes - (48 if ":" in address else 28))]
    if df:
        argv += ["-M", "do"]
    done = source.run([*argv, address], check=False, timeout_s=30 + count * (interval_s + wait_s))
    return parse_ping(done.stdout + done.stderr)


def parse_ping(text: str) -> PingResult:
    """Read the summary of iputils' ping."""
    summary = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    if not summary and "unreachable" in text:  # no route: ping does not even begin
        return PingResult(0, 0, None, None, text)
    if not summary:
        raise LabError(f"ping did not run: {text.strip()}")
    rtt = re.search(r"rtt min/avg/max/mdev = [\d.]+/([\d.]+)/", text)
    told = re.findall(r"\(?mtu ?= ?(\d+)\)?", text)
    return PingResult(
        int(summary[1]), int(summary[2]), float(rtt[1]) if rtt else None, int(told[-1]) if told else None, text
    )


@dataclass(frozen=True, slots=True)
class Transfer:
    """One TCP transfer as the receiver saw it, and the sender's own view of the path."""

    received_bytes: int
    seconds: float
    retransmits: int
    #: The sender's segment size in bytes and the path MTU that its kernel assumed at the end.
    send_mss: int
    path_mtu: int
    complete: bool

    @property
    def mbit_s(self) -> float:
        """Million bits of payload per second."""
        return self.received_bytes * 8 / self.seconds / 1e6 if self.seconds > 0 else 0.0


class Flow:
    """A TCP flow from one host to another that runs in the background, by bytes or until it is stopped.

    At full speed, except that one without end has 8 Mbit/s in virtual time.
    """

    def __init__(
        self, source: Namespace, sink: Namespace, address: str, *, size: int | None = None, port: int = 5201
    ) -> None:
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._address, self._port, self._size = address, port, size
        self.received = 0
        self._finished = threading.Event()
        self._listener = sink.socket(self._family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._family == socket.AF_INET6:
            self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self._listener.bind(("", port))  # behind a NAT the sink does not know itself by ``address``
        self._listener.listen(1)
        self._listener.settimeout(30)
        self._sender = source.socket(self._family, socket.SOCK_STREAM)
        self._sender.settimeout(1)
        if size is None and virtual_time():
            self._sender.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, _PACE)
        self._stop = threading.Event()
        self._began = self._ended = 0.0
        self._threads = [threading.Thread(target=part, daemon=True) for part in (self._receive, self._send)]

    def start(self) -> "Flow":
        """Connect and begin to send."""
        self._began = self._ended = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def wait(self, timeout_s: float) -> Transfer:
        """The result when all bytes have arrived, or what has arrived after ``timeout_s``."""
        self._finished.wait(timeout_s)
        return self.stop()

    def stop(self) -> Transfer:
        """End the flow now."""
        complete = self._size is not None and self.received >= self._size
        self._stop.set()
        info = self._sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        for sock in (self._sender, self._listener):
            sock.close()
        for thread in self._threads:
            thread.join(timeout=5)
        mss, mtu, retransmits = (
            struct.unpack_from("=I", info, at)[0] for at in (_TCPI_SND_MSS, _TCPI_PMTU, _TCPI_TOTAL_RETRANS)
        )
        return Transfer(self.received, self._ended - self._began, retransmits, mss, mtu, complete)

    def moves(self, within_s: float) -> bool:
        """Whether at least one more byte arrives within this time: the flow is alive."""
        before, deadline = self.received, time.monotonic() + within_s
        while self.received == before and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.received > before

    def _send(self) -> None:
        chunk = bytes(_CHUNK)
        left = self._size
        try:
            self._sender.settimeout(30)
            self._sender.connect((self._address, self._port))
            self._sender.settimeout(1)
            while not self._stop.is_set() and left != 0:
                part = chunk if left is None else chunk[:left]
                try:
                    sent = self._sender.send(part)
                except TimeoutError:
                    continue
                left = None if left is None else left - sent
        except OSError:
            return  # the receiver's count tells how far it came

    def _receive(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(1)
            buffer = bytearray(1 << 20)
            while not self._stop.is_set():
                try:
                    size = connection.recv_into(buffer)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not size:
                    return
                self.received += size
                self._ended = time.monotonic()
                if self._size is not None and self.received >= self._size:
                    self._finished.set()
                    return


def transfer(
    source: Namespace, sink: Namespace, address: str, *, size: int = 20_000_000, timeout_s: float = 30, port: int = 5201
) -> Transfer:
    """Send ``size`` bytes over TCP to ``address`` in ``sink``."""
    return Flow(source, sink, address, size=size, port=port).start().wait(timeout_s)


def udp(
    source: Namespace, sink: Namespace, address: str, *, count: int = 10, payload_bytes: int = 100, port: int = 5202
) -> int:
    """Send datagrams and return how many arrived; ``payload_bytes`` is without UDP and IP headers."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with sink.socket(family, socket.SOCK_DGRAM) as receiver, source.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.bind((address, port))
        receiver.settimeout(1)
        arrived = 0
        for _ in range(count):
            sender.sendto(bytes(payload_bytes), (address, port))
        while arrived < count:
            try:
                receiver.recv(65535)
            except TimeoutError:
                break
            arrived += 1
        return arrived
