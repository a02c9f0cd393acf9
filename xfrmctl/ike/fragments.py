"""IKE fragmentation (RFC 7383): a message too large for the path goes as fragments that are sealed one by one.

Why: routers and NATs lose IP fragments, and nobody tells. Which sizes: 2.5.1 recommends IP packets of 1280 bytes for
IPv6 and 576 for IPv4 where nothing is known of the path. We begin with 1280 for both, as strongSwan does: hardly any
IPv4 path carries less, and an IKE_AUTH with certificates is then two or three packets in place of eight. Where 1280
bytes do not get through, a message that stays unanswered is cut smaller (2.5.2), and whoever hears small fragments
answers with small ones.

Receiving (2.6): a fragment is believed when its own integrity is proven, so what follows bounds what an authentic, or
at least a known peer can make us remember:

* one message at a time in each direction of an IKE SA, the one that the window of message ids is waiting for;
* at most MAX_FRAGMENTS fragments and MAX_MESSAGE octets of it;
* MAX_HELD octets in all IKE SAs together; then the message begun first is forgotten. Honest ones are complete within
  a round trip, and what was forgotten is sent again.
"""

from dataclasses import dataclass, field

from xfrmctl.crypto.entropy import Entropy
from xfrmctl.crypto.protect import Protection
from xfrmctl.model.address import Endpoint
from xfrmctl.model.iana import ExchangeType, PayloadType
from xfrmctl.model.sizes import IP_HEADER, UDP_HEADER
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import Fragment
from xfrmctl.wire.natt import NON_ESP_MARKER

MIN_SIZE = {4: 576, 6: 1280}
"""What every path carries, by IP version: RFC 791, RFC 8200 5. Fragments are never made smaller."""

ALWAYS_FITS = 400
"""Octets of payloads that fit into one packet of 576 bytes with any cipher: nobody needs to calculate."""

MAX_FRAGMENTS = 128
"""Fragments of one message; with packets of 576 bytes that is about 60 KiB."""

MAX_MESSAGE = 0x10000
"""Octets of payloads in one reassembled message: more than any single datagram brings."""

MAX_HELD = 16 << 20
"""Octets of incomplete messages that all IKE SAs together may keep, overhead included."""

REASSEMBLY_S = 150.0
"""How long after its last fragment the rest of a message may come: a little longer than a peer of our kind asks."""

OVERHEAD = 160
"""Octets that Python needs for one kept fragment beside its content."""


def packet_size(local: Endpoint, message: int, nat_t_port: int) -> int:
    """The IP packet that carries an IKE message of so many octets."""
    marker = len(NON_ESP_MARKER) if local.port == nat_t_port else 0
    return IP_HEADER[local.address.version] + UDP_HEADER + marker + message


def seal(
    protection: Protection, header: Header, first: int, plaintext: bytes, room: int, entropy: Entropy
) -> tuple[bytes, ...]:
    """One datagram with SK if it has at most ``room`` octets, otherwise as few of them with SKF as possible.

    ``header`` is that of the message with SK, ``first`` the type of the first payload in ``plaintext``.
    """
    clear = header.encode(0)
    if len(plaintext) <= protection.capacity(room):
        return (protection.seal(clear, first, plaintext, entropy),)
    clear = b"".join((clear[:16], bytes((PayloadType.SKF,)), clear[17:]))
    step = protection.capacity(room - len(Fragment(1, 1).encode()))
    parts = [plaintext[at : at + step] for at in range(0, len(plaintext), step)]
    return tuple(
        protection.seal(
            clear, first if number == 1 else PayloadType.NONE, part, entropy, Fragment(number, len(parts)).encode()
        )
        for number, part in enumerate(parts, 1)
    )


@dataclass(frozen=True, slots=True)
class Whole:
    """A reassembled message: type of its first payload, its payloads, octets and number of the datagrams."""

    first: int
    plaintext: bytes = field(repr=False)
    size: int
    fragments: int


@dataclass(slots=True)
class Assembly:
    """What has come of one message."""

    exchange: ExchangeType
    message_id: int
    total: int
    first: int = 0
    octets: int = 0
    size: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """What it costs to keep."""
        return self.octets + OVERHEAD * (len(self.parts) + 1)


Key = tuple[int, bool]
"""Serial number of the IKE SA, and whether it is a response."""


class Reassembly:
    """All incomplete messages of an engine, begun first ones first."""

    def __init__(self) -> None:
        self._assemblies: dict[Key, Assembly] = {}
        self.held = 0

    def __len__(self) -> int:
        return len(self._assemblies)

    def refusal(self, serial: int, header: Header, fragment: Fragment) -> str | None:
        """Why a fragment is of no use; None if it is worth proving its integrity (RFC 7383 2.6)."""
        if fragment.total > MAX_FRAGMENTS:
            return "too_many_fragments"
        known = self._assemblies.get((serial, header.is_response))
        if known is None or known.message_id != header.message_id:
            return None
        if fragment.total < known.total or header.exchange != known.exchange:
            return "fragment_mismatch"
        if fragment.total == known.total and fragment.number in known.parts:
            return "fragment_repeated"
        return None

    def add(self, serial: int, header: Header, fragment: Fragment, first: int, plaintext: bytes) -> Whole | str | None:
        """Keep an authentic fragment that :meth:`refusal` found useful.

        The message if it is complete, None while it is not, the reason if it has become too large: then all of it is
        forgotten. A larger total begins anew: the peer has cut the message smaller.
        """
        key = (serial, header.is_response)
        assembly = self._assemblies.get(key)
        if assembly is None or assembly.message_id != header.message_id or assembly.total < fragment.total:
            self.forget(serial, header.is_response)
            assembly = self._assemblies[key] = Assembly(header.exchange, header.message_id, fragment.total)
            self.held += assembly.held
        if assembly.octets + len(plaintext) > MAX_MESSAGE:
            self.forget(serial, header.is_response)
            return "message_too_large"
        self.held -= assembly.held
        assembly.parts[fragment.number] = plaintext
        assembly.octets += len(plaintext)
        assembly.size += header.length
        self.held += assembly.held
        if fragment.number == 1:
            assembly.first = first
        if len(assembly.parts) < assembly.total:
            return None
        self.forget(serial, header.is_response)
        whole = b"".join(part for _, part in sorted(assembly.parts.items()))
        return Whole(assembly.first, whole, assembly.size, assembly.total)

    def evict(self) -> list[int]:
        """Forget what was begun first until the rest is within MAX_HELD; the IKE SAs that it belonged to."""
        evicted = []
        while self.held > MAX_HELD:
            serial, is_response = next(iter(self._assemblies))
            self.forget(serial, is_response)
            evicted.append(serial)
        return evicted

    def forget(self, serial: int, is_response: bool) -> None:
        """The message is complete, or has come in one piece, or nobody waits for it any more."""
        assembly = self._assemblies.pop((serial, is_response), None)
        if assembly is not None:
            self.held -= assembly.held

    def forget_all(self, serial: int) -> bool:
        """The IKE SA is gone, or the rest has not come in time; whether there was anything."""
        before = len(self._assemblies)
        if before:
            self.forget(serial, False)
            self.forget(serial, True)
        return len(self._assemblies) < before
