"""A netlink socket: batches of requests with their errors, dumps, multicast.

The kernel works through everything that one ``sendmsg`` carries before the call returns
(``netlink_rcv_skb``), and it answers an error whether or not an acknowledgement was asked for. So only the last
message of a batch asks for one: it marks the end, errors speak for themselves, and a batch of a hundred costs two
system calls.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from errno import EINTR, ENOBUFS
from types import TracebackType
from typing import NamedTuple, Self

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.filter import attach
from xfrmctl.kernel.netlink.structs import find_attribute

BATCH_MESSAGES = 128
BATCH_BYTES = 128 * 1024
"""Well under the default send buffer (212,992 bytes), and under the receive buffer if every message fails."""

RECEIVE_BYTES = 64 * 1024
"""The kernel fills a dump's buffer to at most 32 KiB (``netlink_dump``)."""

EVENT_BUFFER_BYTES = 4 * 1024 * 1024
ANSWER_TIMEOUT_S = 10
DUMP_ATTEMPTS = 5

_NLMSGHDR = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")
_TIMEVAL = struct.Struct("@ll")


class Request(NamedTuple):
    """One message without its sequence number."""

    type: int
    flags: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class NetlinkError:
    """The kernel's no: a positive errno and what it says in words (extended ack), if anything."""

    code: int
    message: str = ""

    def __str__(self) -> str:
        text = os.strerror(self.code)
        return f"{text}: {self.message}" if self.message else text


class NetlinkSocket:
    """One socket of one family. Not for use by two threads at once."""

    def __init__(self, family: int, *, strict: bool = False) -> None:
        """``strict``: the kernel honours filters in dump requests (NETLINK_ROUTE, since Linux 4.20)."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        try:
            self._socket.setsockopt(c.SOL_NETLINK, c.NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(c.SOL_NETLINK, c.NETLINK_CAP_ACK, 1)
            if strict:
                self._socket.setsockopt(c.SOL_NETLINK, c.NETLINK_GET_STRICT_CHK, 1)
            # a kernel that does not answer must not hang the daemon
            timeout = _TIMEVAL.pack(ANSWER_TIMEOUT_S, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
            self._socket.bind((0, 0))
        except OSError:
            self._socket.close()
            raise
        self._sequence = 0
        # Notifications of a change repeat the request's nlmsg_pid (``struct km_event``): so we know our own again.
        self.port: int = self._socket.getsockname()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def transact(self, requests: Sequence[Request]) -> dict[int, NetlinkError]:
        """Send all, in order, and give the errors by position; an empty answer means all went well.

        An error does not stop the requests behind it. Raises OSError where the socket itself fails.
        """
        errors: dict[int, NetlinkError] = {}
        start = 0
        while start < len(requests):
            start = self._transact_batch(requests, start, errors)
        return errors

    def _transact_batch(self, requests: Sequence[Request], start: int, errors: dict[int, NetlinkError]) -> int:
        stop, size = start, 0
        while stop < len(requests) and stop - start < BATCH_MESSAGES and size < BATCH_BYTES:
            size += len(requests[stop].payload) + _NLMSGHDR.size
            stop += 1
        first = self._sequence + 1
        parts: list[bytes] = []
        for sequence, position in enumerate(range(start, stop), first):
            kind, flags, payload = requests[position]
            flags |= c.NLM_F_REQUEST | (c.NLM_F_ACK if position == stop - 1 else 0)
            parts.append(_NLMSGHDR.pack(_NLMSGHDR.size + len(payload), kind, flags, sequence, self.port))
            parts.append(payload)
        last = self._sequence = first + stop - start - 1
        self._socket.send(b"".join(parts))
        while True:
            for kind, flags, sequence, answer in _messages(self._receive()):
                if kind != c.NLMSG_ERROR or not first <= sequence <= last:
                    continue  # a late answer to a batch that was given up
                error = _error_of(flags, answer)
                if error is not None:
                    errors[start + sequence - first] = error
                if sequence == last:
                    return stop

    def commit(self, begin: Request, requests: Sequence[Request], end: Request) -> dict[int, NetlinkError]:
        """Carry out all or nothing (``nfnetlink_rcv_batch``) in one datagram; gives the errors by position.

        Position -1 stands for the transaction as a whole. Raises OSError where the socket itself fails.
        """
        first = self._sequence + 1
        parts: list[bytes] = []
        for sequence, (kind, flags, payload) in enumerate((begin, *requests, end), first):
            more = c.NLM_F_REQUEST | (c.NLM_F_ACK if sequence - first == len(requests) else 0)
            parts.append(_NLMSGHDR.pack(_NLMSGHDR.size + len(payload), kind, flags | more, sequence, self.port))
            parts.append(payload)
        last = first + len(requests)
        self._sequence = last + 1
        data = b"".join(parts)
        if len(data) > BATCH_BYTES:
            self._socket.setsockopt(socket.SOL_SOCKET, c.SO_SNDBUFFORCE, 2 * len(data))
        self._socket.send(data)
        errors: dict[int, NetlinkError] = {}
        while True:
            for kind, flags, sequence, answer in _messages(self._receive()):
                if kind != c.NLMSG_ERROR or not first <= sequence <= last:
                    continue
                error = _error_of(flags, answer)
                if error is not None:
                    errors[sequence - first - 1] = error
                if sequence == last or (sequence == first and error is not None):
                    return errors

    def get(self, request: Request) -> memoryview:
        """The payload of the one message that answers. Raises OSError with the kernel's errno."""
        self._sequence += 1
        wanted = self._sequence
        length = _NLMSGHDR.size + len(request.payload)
        flags = request.flags | c.NLM_F_REQUEST
        self._socket.send(_NLMSGHDR.pack(length, request.type, flags, wanted, 0) + request.payload)
        while True:
            for kind, answer_flags, sequence, payload in _messages(self._receive()):
                if sequence != wanted:
                    continue
                error = _error_of(answer_flags, payload) if kind == c.NLMSG_ERROR else None
                if error is not None:
                    raise OSError(error.code, str(error))
                return payload

    def dump(self, request: Request) -> list[tuple[int, memoryview]]:
        """Every message of a dump as (type, payload), consistent: one that changed under our eyes is repeated.

        Raises OSError with the kernel's errno.
        """
        for _ in range(DUMP_ATTEMPTS):
            found: list[tuple[int, memoryview]] = []
            if self._dump_once(request, found):
                return found
        raise OSError(EINTR, "the kernel's table changes faster than it can be read")

    def walk(self, request: Request) -> Iterator[list[tuple[int, memoryview]]]:
        """A dump as it comes, one buffer (32 KiB at most) a step; what changes meanwhile is in it or not.

        The kernel goes on where it was only when the next step is asked for. Raises OSError with the kernel's errno.
        """
        wanted = self._ask(request)
        while True:
            found: list[tuple[int, memoryview]] = []
            for kind, flags, sequence, payload in _messages(self._receive()):
                if sequence != wanted:
                    continue  # the rest of a walk that somebody has not finished
                if kind in (c.NLMSG_ERROR, c.NLMSG_DONE):
                    _refuse(kind, flags, payload)
                    yield found
                    return
                found.append((kind, payload))
            yield found

    def _ask(self, request: Request) -> int:
        self._sequence += 1
        wanted = self._sequence
        flags = request.flags | c.NLM_F_REQUEST | c.NLM_F_DUMP
        length = _NLMSGHDR.size + len(request.payload)
        self._socket.send(_NLMSGHDR.pack(length, request.type, flags, wanted, 0) + request.payload)
        return wanted

    def _dump_once(self, request: Request, found: list[tuple[int, memoryview]]) -> bool:
        wanted = self._ask(request)
        consistent = True
        while True:
            for kind, flags, sequence, payload in _messages(self._receive()):
                if sequence != wanted:
                    continue
                consistent = consistent and not flags & c.NLM_F_DUMP_INTR
                if kind == c.NLMSG_ERROR:
                    _refuse(kind, flags, payload)
                elif kind == c.NLMSG_DONE:
                    _refuse(kind, flags, payload)
                    return consistent
                else:
                    found.append((kind, payload))

    def _receive(self) -> bytes:
        return self._socket.recv(RECEIVE_BYTES)


class MulticastSocket:
    """A socket that only listens. ``only`` is a filter in the kernel (:mod:`xfrmctl.kernel.netlink.filter`)."""

    def __init__(self, family: int, groups: Sequence[int], only: bytes = b"") -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, family)
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, 33, EVENT_BUFFER_BYTES)  # SO_RCVBUFFORCE
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, EVENT_BUFFER_BYTES)
            self._socket.bind((0, 0))
            if only:
                attach(self._socket, only)
            for group in groups:
                self._socket.setsockopt(c.SOL_NETLINK, c.NETLINK_ADD_MEMBERSHIP, group)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Leave the groups."""
        self._socket.close()

    def read(self) -> tuple[list[tuple[int, memoryview]], bool]:
        """What has arrived, as (type, payload), and whether messages were lost. Never blocks."""
        found: list[tuple[int, memoryview]] = []
        lost = False
        while True:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return found, lost
            except OSError as error:
                if error.errno != ENOBUFS:
                    raise
                lost = True
                continue
            found.extend((kind, payload) for kind, _, _, payload in _messages(data))


def _messages(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    """Cut a datagram into (type, flags, sequence, payload)."""
    view = memoryview(data)
    offset = 0
    while offset + _NLMSGHDR.size <= len(view):
        length, kind, flags, sequence, _ = _NLMSGHDR.unpack_from(view, offset)
        if length < _NLMSGHDR.size or offset + length > len(view):
            return
        yield kind, flags, sequence, view[offset + _NLMSGHDR.size : offset + length]
        offset += (length + 3) & ~3


def _refuse(kind: int, flags: int, payload: memoryview) -> None:
    """Raise what the end of a dump says, if it says no."""
    if kind == c.NLMSG_ERROR:
        error = _error_of(flags, payload)
        if error is not None:
            raise OSError(error.code, str(error))
    elif len(payload) >= _ERROR.size and (code := _ERROR.unpack_from(payload)[0]) < 0:
        raise OSError(-code, os.strerror(-code))


def _error_of(flags: int, payload: memoryview) -> NetlinkError | None:
    """Read ``struct nlmsgerr``: errno, the header of the request, and attributes if the kernel has words."""
    code: int = -_ERROR.unpack_from(payload)[0]
    if code == 0:
        return None
    text = ""
    if flags & c.NLM_F_ACK_TLVS:
        offset = _ERROR.size + _NLMSGHDR.size
        if not flags & c.NLM_F_CAPPED:
            (length,) = struct.unpack_from("=I", payload, _ERROR.size)
            offset = _ERROR.size + ((length + 3) & ~3)
        words = find_attribute(payload, offset, c.NLMSGERR_ATTR_MSG)
        if words is not None:
            text = bytes(words).rstrip(b"\0").decode(errors="replace")
    return NetlinkError(code, text)
