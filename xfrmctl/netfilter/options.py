"""What single options say about a packet. One function an option; :data:`OPTIONS` is the table of them.

Sources: ``net/netfilter/xt_*.c``, ``net/ipv4/netfilter/ip_tables.c`` (ip_packet_match), iptables-extensions(8).
"""

from collections.abc import Callable
from ipaddress import ip_address, ip_network

from xfrmctl.netfilter.packet import ESP, PROTOCOLS, SCTP, TCP, UDP, UDPLITE, Host, Packet
from xfrmctl.netfilter.rules import Option
from xfrmctl.netfilter.truth import Truth, depends, yes_no

Answer = Callable[[Option, Packet, Host], Truth]

_WITH_PORTS = {TCP, UDP, 33, SCTP, UDPLITE}
_ALL_FLAGS = frozenset({"FIN", "SYN", "RST", "PSH", "ACK", "URG"})
_MARKED = "the mark of the packet, which a rule or a program outside has set"


def number(text: str) -> int:
    """A number as iptables writes it, decimal or 0x…"""
    return int(text, 0)


def _source(option: Option, packet: Packet, _: Host) -> Truth:
    inside = packet.source in ip_network(option.value, strict=False)
    return yes_no(inside, f"source {packet.source} is {'' if inside else 'not '}in {option.value}")


def _destination(option: Option, packet: Packet, _: Host) -> Truth:
    inside = packet.destination in ip_network(option.value, strict=False)
    return yes_no(inside, f"destination {packet.destination} is {'' if inside else 'not '}in {option.value}")


def _protocol(option: Option, packet: Packet, _: Host) -> Truth:
    word = option.value.lower()
    if word in ("all", "0"):
        return yes_no(True, "any protocol")
    wanted = PROTOCOLS.get(word) or (int(word) if word.isdecimal() else None)
    if wanted is None:
        return depends(f"what protocol {word} is")
    return yes_no(wanted == packet.protocol, f"protocol {packet.protocol}")


def _device(pattern: str, device: str) -> bool:
    return device.startswith(pattern[:-1]) if pattern.endswith("+") else device == pattern


def _in_device(option: Option, packet: Packet, _: Host) -> Truth:
    return yes_no(_device(option.value, packet.iif), f"it came in by {packet.iif or 'no device'}")


def _out_device(option: Option, packet: Packet, _: Host) -> Truth:
    return yes_no(_device(option.value, packet.oif), f"it leaves by {packet.oif or 'no device'}")


def _fragment(_option: Option, _packet: Packet, _host: Host) -> Truth:
    return yes_no(False, "it is no later fragment")


def _range(text: str, most: int = 65535) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    first = number(low) if low else 0
    return first, (number(high) if high else most) if colon else first


def _in_ranges(value: int | None, text: str, what: str) -> Truth:
    if value is None:
        return depends(f"{what}, which was not given")
    hit = any(low <= value <= high for low, high in map(_range, text.split(",")))
    return yes_no(hit, f"{what} is {value}")


def _port(which: str) -> Answer:
    def answer(option: Option, packet: Packet, _: Host) -> Truth:
        if packet.protocol not in _WITH_PORTS:
            return yes_no(False, f"protocol {packet.protocol} has no ports")
        asked = []
        if which in ("source", "either"):
            asked.append(_in_ranges(packet.source_port, option.value, "the source port"))
        if which in ("destination", "either"):
            asked.append(_in_ranges(packet.destination_port, option.value, "the destination port"))
        return next((a for a in asked if a.value), next((a for a in asked if a.value is None), asked[-1]))

    return answer


def _tcp_flags(option: Option, packet: Packet, _: Host) -> Truth:
    if packet.protocol != TCP:
        return yes_no(False, f"protocol {packet.protocol} has no TCP flags")
    if packet.tcp_flags is None:
        return depends("the TCP flags")
    mask, wanted = (
        _flags(word) for word in (option.values if option.name == "--tcp-flags" else ("SYN,RST,ACK", "SYN"))
    )
    hit = packet.tcp_flags & mask == wanted
    return yes_no(hit, f"it is a {'-'.join(sorted(packet.tcp_flags, reverse=True)) or 'plain segment'}")


def _flags(text: str) -> frozenset[str]:
    words = text.split(",")
    return _ALL_FLAGS if "ALL" in words else frozenset(w for w in words if w != "NONE")


def _icmp(option: Option, packet: Packet, _: Host) -> Truth:
    if option.value in ("any", "255"):
        return yes_no(True, "any ICMP type")
    kind, slash, code = option.value.partition("/")
    if not kind.isdecimal() or (slash and not code.isdecimal()):
        return depends(f"what ICMP type {option.value} is")
    if packet.icmp_type is None:
        return depends("the ICMP type, which was not given")
    if packet.icmp_type != int(kind) or not slash:
        return yes_no(packet.icmp_type == int(kind), f"ICMP type {packet.icmp_type}")
    if packet.icmp_code is None:
        return depends("the ICMP code, which was not given")
    return yes_no(packet.icmp_code == int(code), f"ICMP type {packet.icmp_type} code {packet.icmp_code}")


def _state(option: Option, packet: Packet, _: Host) -> Truth:
    words = set(option.value.split(","))
    hit = packet.state in words or bool(packet.translated & words)
    return yes_no(hit, f"assuming that connection tracking calls it {packet.state}")


def _direction(option: Option, packet: Packet, _: Host) -> Truth:
    own = "ORIGINAL" if packet.state == "NEW" else "REPLY"
    return yes_no(option.value == own, f"it goes in the direction {own}")


def _mark(option: Option, packet: Packet, _: Host) -> Truth:
    return _under_mask(option, packet.mark, _MARKED)


def _connection_mark(option: Option, packet: Packet, _: Host) -> Truth:
    return _under_mask(option, packet.connection_mark, "the mark of the connection")


def _under_mask(option: Option, mark: int | None, what: str) -> Truth:
    if mark is None:
        return depends(what)
    value, _, mask = option.value.partition("/")
    return yes_no(mark & (number(mask) if mask else 0xFFFFFFFF) == number(value), f"its mark is {mark:#x}")


def _set(option: Option, packet: Packet, host: Host) -> Truth:
    name, flags = option.values[0], tuple(option.values[1].split(",")) if len(option.values) > 1 else ()
    inside = host.in_set(name, flags, packet)
    if inside is None:
        return depends(f"what set {name} holds")
    return yes_no(inside, f"set {name} {'has' if inside else 'does not have'} {','.join(flags)} of it")


def _iprange(which: str) -> Answer:
    def answer(option: Option, packet: Packet, _: Host) -> Truth:
        address = packet.source if which == "source" else packet.destination
        low, _dash, high = option.value.partition("-")
        first, last = ip_address(low), ip_address(high or low)
        inside = first.version == address.version and int(first) <= int(address) <= int(last)
        return yes_no(inside, f"{which} {address} is {'' if inside else 'not '}in {option.value}")

    return answer


def _address_type(which: str) -> Answer:
    def answer(option: Option, packet: Packet, host: Host) -> Truth:
        address = packet.source if which == "source" else packet.destination
        words = set(option.value.split(","))
        if words & {"MULTICAST"} and address.is_multicast:
            return yes_no(True, f"{address} is a multicast address")
        if words <= {"MULTICAST"}:
            return yes_no(False, f"{address} is no multicast address")
        local = host.is_local(address)
        if local is None or not words <= {"LOCAL", "UNICAST", "MULTICAST"}:
            return depends(f"the kind of address that {address} is to this host")
        kind = "LOCAL" if local else "MULTICAST" if address.is_multicast else "UNICAST"
        return yes_no(kind in words, f"{address} is {kind} here")

    return answer


def _length(option: Option, packet: Packet, _: Host) -> Truth:
    return _in_ranges(packet.length, option.value, "the length of the packet")


def _mss(option: Option, packet: Packet, _: Host) -> Truth:
    if packet.protocol != TCP or (packet.tcp_flags is not None and "SYN" not in packet.tcp_flags):
        return yes_no(False, "only a SYN has an MSS")
    return _in_ranges(packet.mss, option.value, "the MSS of the SYN")


def _spi(option: Option, packet: Packet, _: Host) -> Truth:
    if packet.protocol != ESP:
        return yes_no(False, f"protocol {packet.protocol} has no ESP header")
    if packet.spi is None:
        return depends("the SPI of the packet")
    low, high = _range(option.value, 0xFFFFFFFF)
    return yes_no(low <= packet.spi <= high, f"its SPI is {packet.spi:#x}")


OPTIONS: dict[tuple[str, str], Answer] = {
    ("", "-s"): _source,
    ("", "-d"): _destination,
    ("", "-p"): _protocol,
    ("", "-i"): _in_device,
    ("", "-o"): _out_device,
    ("", "-f"): _fragment,
    ("tcp", "--tcp-flags"): _tcp_flags,
    ("tcp", "--syn"): _tcp_flags,
    ("icmp", "--icmp-type"): _icmp,
    ("icmp6", "--icmpv6-type"): _icmp,
    ("conntrack", "--ctstate"): _state,
    ("conntrack", "--ctdir"): _direction,
    ("state", "--state"): _state,
    ("mark", "--mark"): _mark,
    ("connmark", "--mark"): _connection_mark,
    ("set", "--match-set"): _set,
    ("iprange", "--src-range"): _iprange("source"),
    ("iprange", "--dst-range"): _iprange("destination"),
    ("addrtype", "--src-type"): _address_type("source"),
    ("addrtype", "--dst-type"): _address_type("destination"),
    ("length", "--length"): _length,
    ("tcpmss", "--mss"): _mss,
    ("esp", "--espspi"): _spi,
    ("multiport", "--sports"): _port("source"),
    ("multiport", "--dports"): _port("destination"),
    ("multiport", "--ports"): _port("either"),
}
for _module in ("tcp", "udp", "sctp", "dccp", "udplite"):
    OPTIONS[_module, "--sport"] = _port("source")
    OPTIONS[_module, "--dport"] = _port("destination")
