"""What is asked of a set of ipset: its type says of which parts a member is made, the match which of the packet's."""

from xfrmctl.netfilter.packet import Packet

_NAMES = {6: "tcp", 17: "udp", 132: "sctp", 136: "udplite", 1: "icmp", 58: "icmpv6"}


def element(kind: str, flags: tuple[str, ...], packet: Packet) -> str | None:
    """``hash:net,port`` with ``src,dst`` -> ``10.1.1.10,tcp:443``; None where a part is not known.

    A single-part type takes the first flag. Raises nothing: a type that is not understood gives None.
    """
    parts = kind.partition(":")[2].split(",")
    if not kind or len(flags) < len(parts):
        return None
    found = [_part(part, flag, packet) for part, flag in zip(parts, flags, strict=False)]
    return None if None in found else ",".join(str(word) for word in found)


def _part(part: str, flag: str, packet: Packet) -> str | None:
    source = flag == "src"
    if part in ("ip", "net"):
        return str(packet.source if source else packet.destination)
    if part == "iface":
        return (packet.iif if source else packet.oif) or None
    if part == "mark":
        return None if packet.mark is None else f"{packet.mark:#x}"
    port = packet.source_port if source else packet.destination_port
    if part == "port" and port is not None and packet.protocol in _NAMES:
        return f"{_NAMES[packet.protocol]}:{port}"
    return None
