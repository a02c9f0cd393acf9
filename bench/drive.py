"""The initiator's process: N handshakes, so many at a time, over one UDP socket. Run by :mod:`bench.handshakes`.

It prepares all first requests, prints ``ready``, waits for a line on standard input, drives, and prints one line of
JSON. Source addresses need not be configured: ``ip route add local NET dev lo`` is enough.
"""

import argparse
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address

from bench.initiator import ESP_SUITE, IKE_SUITE, Handshake, HandshakeError, Settings, sources
from xfrmctl.crypto.entropy import Entropy
from xfrmctl.daemon.udp import IP_PKTINFO
from xfrmctl.model.address import Endpoint

AGAIN_S = 2.0
"""A request that is unanswered for so long is sent again."""

TRIES = 5
BATCH = 32
_IP_FREEBIND = 15
_PKTINFO = struct.Struct("=i4s4s")


@dataclass(slots=True)
class Outcome:
    """What one run gave; ``cpu_s`` is the initiator's own."""

    handshakes: int
    failed: int
    retransmissions: int
    seconds: float
    cpu_s: float
    latency_ms: float
    first_error: str = ""


class Driver:
    """A window of handshakes. One thread, one socket, no timers but the poll's."""

    def __init__(self, waiting: deque[Handshake], window: int, entropy: Entropy) -> None:
        self._waiting, self._window, self._entropy = waiting, window, entropy
        self._running: dict[bytes, Handshake] = {}
        self._sent_at: dict[bytes, tuple[float, float, int]] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("0.0.0.0", 500))
        self.outcome = Outcome(0, 0, 0, 0.0, 0.0, 0.0)
        self._latency_s = 0.0
        self._verified = False

    def run(self) -> Outcome:
        """All of them."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        began, cpu = time.monotonic(), time.process_time()
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._window:
                shake = self._waiting.popleft()
                self._running[shake.spi_i] = shake
                self._send(shake, time.monotonic())
            if poll.poll(AGAIN_S * 500):
                self._receive()
            else:
                self._again()
        outcome = self.outcome
        outcome.seconds, outcome.cpu_s = time.monotonic() - began, time.process_time() - cpu
        outcome.latency_ms = 1000 * self._latency_s / max(1, outcome.handshakes)
        self._socket.close()
        return outcome

    def _send(self, shake: Handshake, began: float, tries: int = 1) -> None:
        self._sent_at[shake.spi_i] = (time.monotonic(), began, tries)
        info = _PKTINFO.pack(0, shake.local.address.packed, b"")
        target = (str(shake.remote.address), shake.remote.port)
        self._socket.sendmsg([shake.request], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, target)

    def _receive(self) -> None:
        for _ in range(BATCH):
            try:
                data = self._socket.recv(65535)
            except BlockingIOError:
                return
            shake = self._running.get(data[:8])
            if shake is None or (data[18] == 34) != (not any(shake.spi_r)):  # the second answer to one request
                continue
            try:
                if data[18] == 34:
                    shake.auth(data, self._entropy)
                    self._send(shake, self._sent_at[shake.spi_i][1])
                    continue
                shake.finish(data, verify=not self._verified)
                self._verified = True
            except HandshakeError as error:
                self._end(shake, str(error))
            else:
                self._end(shake)

    def _end(self, shake: Handshake, error: str = "") -> None:
        del self._running[shake.spi_i]
        _, began, _ = self._sent_at.pop(shake.spi_i)
        if error:
            self.outcome.failed += 1
            self.outcome.first_error = self.outcome.first_error or error
            return
        self.outcome.handshakes += 1
        self._latency_s += time.monotonic() - began

    def _again(self) -> None:
        now = time.monotonic()
        for spi, (at, began, tries) in tuple(self._sent_at.items()):
            if now - at < AGAIN_S:
                continue
            shake = self._running[spi]
            if tries >= TRIES:
                self._end(shake, "no answer")
                continue
            self.outcome.retransmissions += 1
            self._send(shake, began, tries + 1)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.drive")
    parser.add_argument("--target", type=IPv4Address, required=True)
    parser.add_argument("--source", required=True, help="first source address")
    parser.add_argument("--sources", type=int, default=1, help="how many source addresses")
    parser.add_argument("--first", type=int, default=0, help="number of the first handshake")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--ike", default=IKE_SUITE)
    parser.add_argument("--esp", default=ESP_SUITE)
    options = parser.parse_args()
    entropy: Entropy = os.urandom
    settings = Settings.of(options.ike, options.esp, entropy)
    remote = Endpoint(options.target, 500)
    locals_ = [Endpoint(a, 500) for a in sources(options.source, options.sources)]
    waiting = deque(
        Handshake(settings, number, locals_[number % len(locals_)], remote, entropy)
        for number in range(options.first, options.first + options.count)
    )
    driver = Driver(waiting, options.window, entropy)
    print("ready", flush=True)
    if not sys.stdin.readline():
        return 1
    print(json.dumps(asdict(driver.run())), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
