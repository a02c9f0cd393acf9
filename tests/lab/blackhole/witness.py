"""The traffic that tells whether a path is a black hole: TCP that trickles, and datagrams of exact sizes."""

import contextlib
import itertools
import selectors
import socket
import threading
import time

from xfrmctl.lab.namespace import Namespace

_EVERY_S, _CHUNK = 0.02, 16384
"""Some 0.8 MB/s in segments of full size: enough to be hit by a narrow path at once, and cheap."""
_ports = itertools.count(20000)
_COPIES = 3
#: IP_MTU_DISCOVER and IP_MTU of include/uapi/linux/in.h and in6.h.
_IP_MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
_IP_MTU = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}
_DONT, _DO, _PROBE, _INTERFACE = 0, 2, 3, 4
_HEADERS = {4: 28, 6: 48}


class Trickle:
    """One TCP connection that never says much and never stops; a context manager."""

    def __init__(self, source: Namespace, sink: Namespace, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sent = self.received = 0
        self._stop = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._listener = sink.socket(family, socket.SOCK_STREAM)
        port = next(_ports)
        self._listener.bind((address, port))
        self._listener.listen(1)
        self._sender = source.socket(family, socket.SOCK_STREAM)
        self._sender.setblocking(False)
        self._sender.connect_ex((address, port))
        self._open = [self._listener, self._sender]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Trickle":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for sock in self._open:
            # An orderly end would send for minutes what a black hole has swallowed.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        self._selector.close()

    def carried(self, position: int, within_s: float) -> float | None:
        """Seconds until what was sent from ``position`` on has arrived, at least a chunk of it; None for not."""
        began = time.monotonic()
        while self.received < position + _CHUNK:
            if time.monotonic() - began > within_s:
                return None
            time.sleep(0.01)
        return time.monotonic() - began

    def _run(self) -> None:
        chunk, buffer, due = bytes(_CHUNK), bytearray(1 << 20), 0.0
        while not self._stop.is_set():
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                self._read(key.fileobj, buffer)
            if time.monotonic() >= due:
                due = time.monotonic() + _EVERY_S
                with contextlib.suppress(OSError):
                    self.sent += self._sender.send(chunk)

    def _read(self, sock: object, buffer: bytearray) -> None:
        assert isinstance(sock, socket.socket)
        if sock is self._listener:
            accepted, _ = sock.accept()
            accepted.setblocking(False)
            self._open.append(accepted)
            self._selector.register(accepted, selectors.EVENT_READ)
            return
        try:
            size = sock.recv_into(buffer)
        except OSError:
            size = 0
        self.received += size
        if not size:
            self._selector.unregister(sock)


class Datagrams:
    """UDP from one host to another; a context manager."""

    def __init__(self, source: Namespace, sink: Namespace, address: str) -> None:
        self._version = 6 if ":" in address else 4
        family = socket.AF_INET6 if self._version == 6 else socket.AF_INET
        self._to = (address, next(_ports))
        self._sink = sink.socket(family, socket.SOCK_DGRAM)
        self._sink.bind(self._to)
        self._source = source
        self._family = family

    def __enter__(self) -> "Datagrams":
        return self

    def __exit__(self, *_: object) -> None:
        self._sink.close()

    def with_df(self, size: int, *, and_no_more: bool) -> str | None:
        """Whether packets of this size arrive with DF, and perhaps none of one byte more; None, or what is wrong."""
        found: list[int] = []
        for wait_s in (0.3, 1.0):
            with self._sender(_PROBE) as sock:
                self._send(sock, *([size + 1] * and_no_more), *([size] * _COPIES))
                found = self._arrived(wait_s)
            if size + 1 in found:
                return f"{size + 1} bytes arrive"
            if found.count(size) >= _COPIES:
                return None
        return f"{found.count(size)} of {_COPIES} arrive"

    def without_df(self, size: int) -> str | None:
        """Whether packets of this size arrive without DF; IPv6: in fragments, once the host has been told."""
        found: list[int] = []
        with self._sender(_INTERFACE if self._version == 4 else _DONT) as sock:
            for wait_s in (0.3, 0.3, 1.0):
                self._send(sock, *([size] * _COPIES))
                found = self._arrived(wait_s)
                if found.count(size) >= _COPIES:
                    return None
        return f"{found.count(size)} of {_COPIES} arrive"

    def told(self, size: int, expected: int) -> str | None:
        """Whether the host takes the path to carry that much after a packet of this size with DF; or what is wrong."""
        found = size
        with self._sender(_DO) as sock:
            for wait_s in (0.05, 0.2, 0.5):
                self._send(sock, size)
                self._arrived(wait_s)
                if (found := sock.getsockopt(*_IP_MTU[self._version])) < size:
                    break
        return None if found == expected else f"{found}, not {expected}"

    def _sender(self, discovery: int) -> socket.socket:
        sock = self._source.socket(self._family, socket.SOCK_DGRAM)
        level, option = _IP_MTU_DISCOVER[self._version]
        sock.setsockopt(level, option, discovery)
        sock.connect(self._to)
        return sock

    def _send(self, sock: socket.socket, *sizes: int) -> None:
        for size in sizes:
            for _ in range(2):  # the first try may be told of an error about an earlier packet
                with contextlib.suppress(OSError):  # what the kernel refuses does not arrive either
                    sock.send(bytes(size - _HEADERS[self._version]))
                    break

    def _arrived(self, wait_s: float) -> list[int]:
        """Sizes of what has come: all copies, or what there is after ``wait_s``."""
        found: list[int] = []
        deadline = time.monotonic() + wait_s
        while len(found) < _COPIES and (left := deadline - time.monotonic()) > 0:
            self._sink.settimeout(left)
            try:
                found.append(len(self._sink.recv(65535)) + _HEADERS[self._version])
            except TimeoutError:
                break
        return found
