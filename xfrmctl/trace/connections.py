"""TCP connections of one point. A new SYN with another sequence number begins a new connection on the same ports."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from xfrmctl.model.address import IPAddress
from xfrmctl.trace.packets import Seen, Tcp

Endpoint = tuple[IPAddress, int]
MODULUS = 1 << 32


@dataclass(slots=True)
class Connection:
    """``sent`` are the packets with a TCP header by direction: True from the client. Neither SYN need be there."""

    client: Endpoint
    server: Endpoint
    syn: Seen | None = None
    syn_ack: Seen | None = None
    sent: dict[bool, list[Seen]] = field(default_factory=lambda: {True: [], False: []})

    def opening(self, from_client: bool) -> Seen | None:
        """The SYN or the SYN-ACK."""
        return self.syn if from_client else self.syn_ack

    def isn(self, from_client: bool) -> int | None:
        """The initial sequence number of a direction; of the client's also as the SYN-ACK acknowledges it."""
        opening, other = self.opening(from_client), self.opening(not from_client)
        if opening is not None and opening.tcp is not None:
            return opening.tcp.sequence
        if from_client and other is not None and other.tcp is not None:
            return (other.tcp.acknowledgement - 1) % MODULUS
        return None

    def sender(self, from_client: bool) -> Endpoint:
        """Who sends in a direction."""
        return self.client if from_client else self.server

    def name(self, from_client: bool = True) -> str:
        """``10.1.1.10:40000 > 10.1.2.10:443``."""
        return f"{spelled(self.sender(from_client))} > {spelled(self.sender(not from_client))}"

    @property
    def patience(self) -> float | None:
        """Seconds from the SYN to its answer, less those from the answer to what the client says next.

        The nearer to the client, the larger: the first way leads to the server and back, the second to the client.
        """
        if self.syn is None or self.syn_ack is None:
            return None
        after = next((s for s in self.sent[True] if s.number > self.syn_ack.number), None)
        if after is None:
            return None
        return (self.syn_ack.at - self.syn.at) - (after.at - self.syn_ack.at)


def spelled(endpoint: Endpoint) -> str:
    """An address and a port as people write them."""
    address, port = endpoint
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def connections(packets: Iterable[Seen]) -> list[Connection]:
    """All connections, in the order in which they appear."""
    found: list[Connection] = []
    current: dict[frozenset[Endpoint], Connection] = {}
    for seen in packets:
        tcp = seen.tcp
        if tcp is None:
            continue
        source, destination = (seen.source, tcp.source_port), (seen.destination, tcp.destination_port)
        key = frozenset((source, destination))
        known = current.get(key)
        if known is None or _begins_anew(known, seen, tcp):
            client_first = (tcp.syn and not tcp.ack) or (not tcp.syn and source[1] > destination[1])
            known = Connection(source, destination) if client_first else Connection(destination, source)
            current[key] = known
            found.append(known)
        if tcp.syn and not tcp.ack:
            known.syn = known.syn or seen
        elif tcp.syn:
            known.syn_ack = known.syn_ack or seen
        known.sent[source == known.client].append(seen)
    return found


def _begins_anew(known: Connection, seen: Seen, tcp: Tcp) -> bool:
    if not tcp.syn or tcp.ack:
        return False
    return known.syn is None or known.syn.tcp is None or known.syn.tcp.sequence != tcp.sequence
