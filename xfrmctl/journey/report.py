"""Both directions of a connection."""

from dataclasses import dataclass, replace

from xfrmctl.journey.transform import addressed
from xfrmctl.journey.walk import Translation, Travelled, travel
from xfrmctl.journey.world import World
from xfrmctl.netfilter.packet import SYN_ACK, TCP, Packet

_ANSWERS = {(1, 8): 0, (58, 128): 129}
"""Echo requests and their replies, by protocol and type."""


@dataclass(frozen=True, slots=True)
class Report:
    """``back`` is the answer's journey; where the packet itself is dropped, the answer that would have come."""

    there: Travelled
    back: Travelled

    @property
    def dropped(self) -> bool:
        """Whether either of them does not get where it should."""
        return self.there.journey.dropped or self.back.journey.dropped


def both_ways(world: World, packet: Packet) -> Report:
    """Follow the first packet of a connection, and the answer to it."""
    there = travel(world, packet, f"{_named(packet)}: the first packet")
    seen = there.packet if there.packet is not None else packet
    moved = (seen.source, seen.source_port, seen.destination, seen.destination_port) != (
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
    )
    answer = _answer(seen)
    back = travel(world, answer, f"{_named(answer)}: the answer", Translation(packet, seen) if moved else None)
    return Report(there, back)


def _answer(seen: Packet) -> Packet:
    kind = _ANSWERS.get((seen.protocol, seen.icmp_type if seen.icmp_type is not None else -1), seen.icmp_type)
    return replace(
        seen,
        source=seen.destination,
        destination=seen.source,
        source_port=seen.destination_port,
        destination_port=seen.source_port,
        icmp_type=kind,
        tcp_flags=SYN_ACK if seen.protocol == TCP else None,
        mss=(1460 if seen.version == 4 else 1440) if seen.protocol == TCP else None,
        mark=0,
        state="ESTABLISHED",
        translated=frozenset(),
        iif="",
        oif="",
        came_through=(),
        goes_through=(),
        path_mtu=None,
        reverse_path=None,
    )


def _named(packet: Packet) -> str:
    source = addressed(packet.source, packet.source_port)
    return f"{source} > {addressed(packet.destination, packet.destination_port)}"
