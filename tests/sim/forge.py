"""The pen of a peer in our hand: authentic messages that an honest engine would never write.

``Forger`` writes with the keys of one node to another one; ``rewrite`` changes what a node says on its way. Either
leaves the node whose keys are used behind: its message ids are then no longer what the other side expects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.sim.world import Datagram, Node, World, pair, start
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import DatagramDropped
from xfrmctl.model.iana import ExchangeType, NotifyType, PayloadType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import Message, decode_payloads, encode, encode_payloads, parse
from xfrmctl.wire.natt import frame
from xfrmctl.wire.payloads import Notify, Payload

Change = Callable[[list[Payload]], list[Payload]]


QUIET: dict[str, object] = {"dpd_s": None}


def established(**sides: dict[str, object]) -> tuple[World, Node, Node]:
    world = World()
    alice, bob = pair(world, alice=QUIET | sides.get("alice", {}), bob=QUIET | sides.get("bob", {}))
    start(world, alice)
    world.run(1)
    return world, alice, bob


def reasons(node: Node) -> list[str]:
    return [e.reason for e in node.of(DatagramDropped) if isinstance(e, DatagramDropped)]


def bare(data: bytes) -> bytes:
    """An IKE message without the non-ESP marker."""
    return data[4:] if not any(data[:4]) else data


def header_of(datagram: Datagram) -> Header | None:
    """The IKE header of a datagram; None for a keepalive."""
    data = bare(datagram.data)
    return Header.parse(data) if len(data) >= 28 else None


def sent(world: World, node: Node, exchange: ExchangeType, *, response: bool) -> list[Datagram]:
    """What a node has sent of one kind, in order."""
    found = []
    for datagram in world.wire:
        header = header_of(datagram)
        if header is None or datagram.source.address != node.address:
            continue
        if header.exchange == exchange and header.is_response == response:
            found.append(datagram)
    return found


def opened(sa: IkeSa, data: bytes) -> list[Payload]:
    """What a protected message says to the end that holds ``sa``."""
    message = bare(data)
    body = parse(message).sk
    assert body is not None
    assert sa.protect_in is not None
    return list(decode_payloads(body.first, sa.protect_in.open(message, body.offset)))


def notifies(payloads: Sequence[Payload]) -> list[NotifyType]:
    return [p.type for p in payloads if isinstance(p, Notify)]


class Forger:
    """Writes to ``reader`` with the keys that ``writer`` has for its one IKE SA (or for ``sa``)."""

    def __init__(self, world: World, writer: Node, reader: Node, sa: IkeSa | None = None) -> None:
        self.world, self.writer, self.reader = world, writer, reader
        self.sa = sa if sa is not None else writer.sa()
        self.next_id = self.sa.next_id

    def seal(self, header: Header, payloads: Sequence[Payload] = (), *, raw: tuple[int, bytes] | None = None) -> bytes:
        """A protected message; ``raw`` is (type of the first payload, octets of the chain) in place of payloads."""
        assert self.sa.protect_out is not None
        first, plaintext = raw if raw is not None else encode_payloads(payloads)
        return self.sa.protect_out.seal(header.encode(0), first, plaintext, self.writer.engine._core.entropy)

    def header(self, exchange: ExchangeType, message_id: int, *, response: bool = False) -> Header:
        sa = self.sa
        return Header(sa.spi_i, sa.spi_r, PayloadType.SK, exchange, sa.initiator, response, message_id, 0)

    def deliver(self, data: bytes, *, source: Endpoint | None = None) -> list[Datagram]:
        """Hand octets to the reader at once; what it sends in this step."""
        local, remote = source or self.sa.local, self.sa.remote
        before = len(self.world.wire)
        framed = frame(data) if remote.port == 4500 else data
        self.world.deliver(self.reader, Datagram(local, remote, framed))
        return self.world.wire[before:]

    def ask(
        self,
        exchange: ExchangeType,
        payloads: Sequence[Payload] = (),
        *,
        raw: tuple[int, bytes] | None = None,
        message_id: int | None = None,
    ) -> list[Payload] | None:
        """Send a request; what the one answer says, None where nobody answers."""
        number = self.next_id if message_id is None else message_id
        if message_id is None:
            self.next_id += 1
        for datagram in self.deliver(self.seal(self.header(exchange, number), payloads, raw=raw)):
            header = header_of(datagram)
            if header is not None and header.is_response and header.message_id == number:
                return opened(self.sa, datagram.data)
        return None


def rewrite(
    world: World, node: Node, exchange: ExchangeType, change: Change, *, response: bool, times: int = 1
) -> None:
    """Change what ``node`` says in the next ``times`` messages of one kind, with the right keys where it has any."""
    left = [times]

    def intercept(datagram: Datagram) -> Datagram | None:
        header = header_of(datagram) if datagram.source.address == node.address else None
        if header is None or (header.exchange, header.is_response) != (exchange, response) or not left[0]:
            return datagram
        left[0] -= 1
        message = bare(datagram.data)
        read = parse(message)
        data = _clear(read, change) if read.sk is None else _sealed(world, node, read, message, change)
        return replace(datagram, data=frame(data) if message is not datagram.data else data)

    world.intercept.append(intercept)


def _clear(message: Message, change: Change) -> bytes:
    return encode(replace(message.header, next_payload=0), change(list(message.payloads)))


def _sealed(world: World, node: Node, read: Message, data: bytes, change: Change) -> bytes:
    header = read.header
    spis = (header.spi_i, header.spi_r)

    def holder(end: Node) -> IkeSa | None:
        return next((s for s in end.engine.ike_sas() if (s.spi_i, s.spi_r) == spis), None)

    mine = holder(node)
    theirs = next(s for n in world.nodes.values() if n is not node and (s := holder(n)) is not None)
    assert mine is not None
    assert mine.protect_out is not None
    first, plaintext = encode_payloads(change(opened(theirs, data)))
    return mine.protect_out.seal(header.encode(0), first, plaintext, node.engine._core.entropy)
