"""Where DNAT, SNAT, MASQUERADE, REDIRECT and NETMAP send a packet (``net/netfilter/xt_nat.c``, ``xt_NETMAP.c``, …).

A range, of addresses or of ports, leaves the choice to the kernel: the first of it is taken here, and said so.
"""

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from xfrmctl.model.address import IPAddress
from xfrmctl.netfilter.packet import Host, Packet
from xfrmctl.netfilter.rules import Target

SOURCE = ("SNAT", "MASQUERADE")
DESTINATION = ("DNAT", "REDIRECT")
TARGETS = frozenset({*SOURCE, *DESTINATION, "NETMAP"})


@dataclass(frozen=True, slots=True)
class Translation:
    """The packet as it is afterwards, and what of it is not certain."""

    packet: Packet
    uncertain: str = ""


def translate(target: Target, packet: Packet, host: Host, hook: str) -> Translation:
    """What a NAT target makes of a packet at this hook."""
    at_source = target.name in SOURCE or (target.name == "NETMAP" and hook in ("POSTROUTING", "INPUT"))
    status = frozenset({"SNAT" if at_source else "DNAT"})
    if target.name == "MASQUERADE":
        address = host.address_of(packet.oif, packet.version)
        if address is None:
            return Translation(packet, f"which address {packet.oif or 'the device'} has")
        return Translation(_put(packet, True, address, None, status), _ports(target, "--to-ports"))
    if target.name == "REDIRECT":
        port, uncertain = _first_port(target, "--to-ports")
        address = _redirected(packet, host, hook)
        if address is None:
            return Translation(packet, f"which address {packet.iif or 'the device'} has")
        return Translation(_put(packet, False, address, port, status), uncertain)
    if target.name == "NETMAP":
        return _netmap(target, packet, at_source, status)
    return _to(target, packet, at_source, status)


def _to(target: Target, packet: Packet, at_source: bool, status: frozenset[str]) -> Translation:
    name = "--to-source" if at_source else "--to-destination"
    option = target.get(name)
    read = _spelled(option.value if option else "")
    if read is None:
        return Translation(packet, f"what {target} means")
    low, high, port, last = read
    own = packet.source if at_source else packet.destination
    uncertain = ""
    if high is not None and high != low:
        uncertain = f"which address of {low}-{high} the kernel picks"
    elif last is not None and last != port:
        uncertain = f"which port of {port}-{last} the kernel picks"
    return Translation(_put(packet, at_source, low or own, port, status), uncertain)


def _spelled(text: str) -> tuple[IPAddress | None, IPAddress | None, int | None, int | None] | None:
    """``1.2.3.4-1.2.3.9:80-90``, ``[fd00::1-fd00::9]:80``, ``fd00::1``, ``:80``; None for anything else."""
    if text.startswith("["):
        addresses, _, ports = text[1:].partition("]:")
    elif "." in text or text.startswith(":"):
        addresses, _, ports = text.partition(":")
    else:
        addresses, ports = text, ""
    low, _, high = addresses.partition("-")
    first, _, last = ports.partition("-")
    try:
        return (
            ip_address(low) if low else None,
            ip_address(high) if high else None,
            int(first) if first else None,
            int(last) if last else None,
        )
    except ValueError:
        return None


def _netmap(target: Target, packet: Packet, at_source: bool, status: frozenset[str]) -> Translation:
    option = target.get("--to")
    try:
        network = ip_network(option.value if option else "", strict=False)
    except ValueError:
        return Translation(packet, f"what {target} means")
    own = packet.source if at_source else packet.destination
    if network.version != own.version:
        return Translation(packet, f"what {target} means for IPv{own.version}")
    host_bits = int(own) & int(network.hostmask)
    address = type(own)(int(network.network_address) | host_bits)
    return Translation(_put(packet, at_source, address, None, status))


def _redirected(packet: Packet, host: Host, hook: str) -> IPAddress | None:
    if hook == "OUTPUT":
        return ip_address("127.0.0.1" if packet.version == 4 else "::1")
    return host.address_of(packet.iif, packet.version)


def _first_port(target: Target, name: str) -> tuple[int | None, str]:
    option = target.get(name)
    low, _, high = (option.value if option else "").partition("-")
    port = int(low) if low.isdecimal() else None
    return port, f"which port of {low}-{high} the kernel picks" if high and high != low else ""


def _ports(target: Target, name: str) -> str:
    option = target.get(name)
    return f"which port of {option.value} the kernel picks" if option else ""


def _put(packet: Packet, at_source: bool, address: IPAddress, port: int | None, status: frozenset[str]) -> Packet:
    translated = packet.translated | status
    if at_source:
        return replace(
            packet, source=address, source_port=packet.source_port if port is None else port, translated=translated
        )
    return replace(
        packet,
        destination=address,
        destination_port=packet.destination_port if port is None else port,
        translated=translated,
    )
