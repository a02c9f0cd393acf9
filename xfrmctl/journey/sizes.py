"""What encapsulation costs, and the MTU and MSS that a packet meets. Sizes are bytes of IP packets."""

from dataclasses import dataclass

from xfrmctl.model.observed import ObservedSa
from xfrmctl.model.sa import Mode
from xfrmctl.pmtu.clamp import mss
from xfrmctl.pmtu.overhead import inner_mtu, packet_size


@dataclass(frozen=True, slots=True)
class Room:
    """``inner_mtu`` is the largest packet that fits the path without being cut; ``mss`` what TCP makes of it."""

    path_mtu: int
    inner_mtu: int
    mss: int | None


def room(sa: ObservedSa, path_mtu: int, inner_version: int) -> Room | None:
    """What fits through an SA; None where its sizes are not known, or where nothing fits."""
    if sa.suite is None:
        return None
    try:
        inner = inner_mtu(path_mtu, sa.suite, sa.destination.version, sa.encap is not None, Mode(sa.mode))
    except ValueError:
        return None
    return Room(path_mtu, inner, segment(inner, inner_version))


def segment(mtu: int, version: int) -> int | None:
    """The MSS for an MTU; None where no data fits."""
    try:
        return mss(mtu, version)
    except ValueError:
        return None


def outside(length: int, sa: ObservedSa) -> int | None:
    """The size on the wire of a packet of this length; None where the SA's sizes are not known."""
    if sa.suite is None:
        return None
    return packet_size(length, sa.suite, sa.destination.version, sa.encap is not None, Mode(sa.mode))
