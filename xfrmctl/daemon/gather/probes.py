"""Asks a peer what every stranger may ask: IKE of an unknown version on both ports, and ICMP echo.

An IKEv2 daemon answers a higher major version with INVALID_MAJOR_VERSION and keeps nothing of it (RFC 7296 2.5). The
sockets pass by the SPD and by our own routes: what is asked is the path, not a tunnel. All of it blocks: for threads.
"""

import select
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from errno import ECONNREFUSED

from xfrmctl.daemon.clock import entropy
from xfrmctl.daemon.gather.echoes import request
from xfrmctl.diagnose.facts import Answer, PeerProbe
from xfrmctl.kernel.sockets import bypass_policies, pass_by_peer_routes
from xfrmctl.model.address import IPAddress

TRIES, WAIT_S = 3, 0.5
"""Three questions, half a second apart."""

PROBE_BYTES = 96
"""Room enough for the answer to be no longer than the question."""

_HEADER = struct.Struct("!8s8sBBBBLL")
_VERSION_3, _IKE_SA_INIT, _INITIATOR = 0x30, 34, 0x08


@dataclass(slots=True)
class _Question:
    """One question on one socket. ``expects`` is what an answer holds at ``offset``."""

    sock: socket.socket
    message: bytes
    expects: bytes
    offset: int
    answer: Answer = Answer.SILENT
    detail: str = ""

    def ask(self) -> None:
        """Send it again, if nothing has come."""
        if self.answer in (Answer.SILENT, Answer.UNREACHABLE):
            try:
                self.sock.send(self.message)
            except OSError as error:
                self._refused(error)

    def read(self) -> None:
        """Take what has come."""
        try:
            data = self.sock.recv(2048)
        except OSError as error:
            self._refused(error)
            return
        if data[self.offset : self.offset + len(self.expects)] == self.expects:
            self.answer, self.detail = Answer.ANSWERED, ""

    def _refused(self, error: OSError) -> None:
        if self.answer is not Answer.ANSWERED:
            self.answer = Answer.REFUSED if error.errno == ECONNREFUSED else Answer.UNREACHABLE
            self.detail = error.strerror or str(error)


def probe(local: IPAddress | None, remote: IPAddress, ports: Sequence[int]) -> PeerProbe:
    """Ask a peer. ``ports`` are its port for IKE and that for NAT traversal. Takes up to 1.5 s."""
    with ExitStack() as stack:
        try:
            questions = [_ike(stack, local, remote, port, encapsulated=port == ports[1]) for port in ports]
        except OSError as error:
            none = Answer.UNREACHABLE
            return PeerProbe(ike=none, nat_t=none, echo=none, detail=error.strerror or str(error))
        unasked = ""
        try:
            questions.append(_echo(stack, local, remote))
        except OSError as error:
            unasked = f"not asked: {error.strerror}"
        _converse(questions)
        ike, nat_t, *echo = questions
        return PeerProbe(
            ike=ike.answer,
            nat_t=nat_t.answer,
            echo=echo[0].answer if echo else Answer.SILENT,
            detail=echo[0].detail if echo else unasked,
        )


def _converse(questions: Sequence[_Question]) -> None:
    poll = select.poll()
    by_fd = {question.sock.fileno(): question for question in questions}
    for descriptor in by_fd:
        poll.register(descriptor, select.POLLIN)
    for _ in range(TRIES):
        for question in questions:
            question.ask()
        until = time.monotonic() + WAIT_S
        while any(q.answer is Answer.SILENT for q in questions) and (left := until - time.monotonic()) > 0:
            for descriptor, _event in poll.poll(left * 1000):
                by_fd[descriptor].read()
        if all(q.answer is Answer.ANSWERED for q in questions):
            return


def _connected(
    stack: ExitStack, local: IPAddress | None, remote: IPAddress, port: int, kind: socket.SocketKind, protocol: int = 0
) -> socket.socket:
    family = socket.AF_INET if remote.version == 4 else socket.AF_INET6
    sock = stack.enter_context(closing(socket.socket(family, kind, protocol)))
    bypass_policies(sock)
    pass_by_peer_routes(sock)
    if local is not None:
        sock.bind((str(local), 0))
    sock.connect((str(remote), port))
    sock.setblocking(False)
    return sock


def _ike(stack: ExitStack, local: IPAddress | None, remote: IPAddress, port: int, *, encapsulated: bool) -> _Question:
    """A request in version 3.0; behind the non-ESP marker on the port of NAT traversal (RFC 3948 2.2)."""
    sock = _connected(stack, local, remote, port, socket.SOCK_DGRAM)
    spi = entropy(8)
    header = _HEADER.pack(spi, bytes(8), 0, _VERSION_3, _IKE_SA_INIT, _INITIATOR, 0, PROBE_BYTES)
    marker = bytes(4) if encapsulated else b""
    return _Question(sock, marker + header.ljust(PROBE_BYTES, b"\0"), spi, len(marker))


def _echo(stack: ExitStack, local: IPAddress | None, remote: IPAddress) -> _Question:
    protocol = socket.IPPROTO_ICMP if remote.version == 4 else socket.IPPROTO_ICMPV6
    sock = _connected(stack, local, remote, 0, socket.SOCK_RAW, protocol)
    tag = entropy(10)
    offset = (20 if remote.version == 4 else 0) + 8
    return _Question(sock, request(remote.version, tag), tag[2:], offset)
