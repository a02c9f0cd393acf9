"""Expressions of nf_tables about a packet: what the left side reads, and whether it is what the right side says.

Names are those of libnftables-json(5). A left side gives a value; NOTHING where the packet has no such part (a port of
an ICMP packet: the rule then ends without a match, ``nft_do_chain``); or :class:`Unknown` with what is not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from xfrmctl.model.address import IPAddress
from xfrmctl.netfilter.packet import ESP, ICMP, ICMPV6, PROTOCOLS, SCTP, TCP, UDP, UDPLITE, Host, Packet
from xfrmctl.netfilter.truth import Truth, depends, yes_no

_PORTS_OF = {"tcp": {TCP}, "udp": {UDP}, "sctp": {SCTP}, "th": {TCP, UDP, 33, SCTP, UDPLITE}}
_ICMP_OF = {"icmp": ICMP, "icmpv6": ICMPV6}
_WORDS = PROTOCOLS | {
    "echo-reply": 0, "destination-unreachable": 3, "echo-request": 8, "time-exceeded": 11, "packet-too-big": 2,
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4,
}  # fmt: skip
"""Names in the place of numbers; those of ICMPv6 that differ are left unknown."""
_OF_ICMPV6 = {"echo-request": 128, "echo-reply": 129, "packet-too-big": 2, "time-exceeded": 3,
              "destination-unreachable": 1}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is not known, and what it is."""

    what: str


NOTHING = object()
"""The packet has no such part."""

Value = Any
"""IPAddress, int, str, bool, frozenset of flags, a tuple of them, NOTHING or Unknown."""


def read(left: Any, packet: Packet, host: Host) -> Value:
    """The value of an expression."""
    match left:
        case int() | str() | bool():
            return left
        case {"concat": [*parts]}:
            found = tuple(read(part, packet, host) for part in parts)
            return next((f for f in found if isinstance(f, Unknown) or f is NOTHING), found)
        case {"payload": {"protocol": protocol, "field": name}}:
            return _payload(protocol, name, packet)
        case {"payload": {"base": "nh", "offset": offset, "len": 32}} if packet.version == 4:
            words = {96: packet.source, 128: packet.destination}
            return words.get(offset, Unknown(f"the network header at bit {offset}"))
        case {"meta": {"key": key}}:
            return _meta(key, packet)
        case {"ct": {"key": "state"}}:
            return packet.state.lower()
        case {"ct": {"key": "mark"}}:
            return Unknown("the mark of the connection") if packet.connection_mark is None else packet.connection_mark
        case {"ct": {"key": "direction"}}:
            return "original" if packet.state == "NEW" else "reply"
        case {"rt": {"key": "ipsec"}}:
            return Unknown("whether XFRM will encrypt it") if packet.goes_through is None else bool(packet.goes_through)
        case {"rt": {"key": "mtu"}}:
            return Unknown("the MTU of the route") if packet.path_mtu is None else packet.path_mtu
        case {"ipsec": {"key": key, "dir": direction, "spnum": number}}:
            return _ipsec(key, direction, number, packet)
        case {"tcp option": {"name": "maxseg", "field": "size"}}:
            with_mss = packet.protocol == TCP and packet.mss is not None
            return packet.mss if with_mss else NOTHING
        case {"fib": {"result": "type", "flags": [("saddr" | "daddr") as end]}}:
            address = packet.source if end == "saddr" else packet.destination
            local = host.is_local(address)
            kind = "local" if local else "multicast" if address.is_multicast else "unicast"
            return Unknown(f"what {address} is to this host") if local is None else kind
        case {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}:
            known = packet.reverse_path is not None
            return packet.reverse_path if known else Unknown("whether the way back leaves by the same device")
        case {"&": [inner, mask]}:
            return _masked(read(inner, packet, host), mask)
    return Unknown(f"{left}, which is not judged here")


def _payload(protocol: str, name: str, packet: Packet) -> Value:
    values: dict[str, Value] = {}
    if protocol in ("ip", "ip6"):
        if packet.version != (4 if protocol == "ip" else 6):
            return NOTHING
        values = {
            "saddr": packet.source,
            "daddr": packet.destination,
            "protocol": packet.protocol,
            "nexthdr": packet.protocol,
            "length": packet.length if protocol == "ip" else None,
            "frag-off": 0,
        }
    elif protocol in _PORTS_OF:
        if packet.protocol not in _PORTS_OF[protocol]:
            return NOTHING
        flags = None if packet.tcp_flags is None else frozenset(f.lower() for f in packet.tcp_flags)
        values = {"sport": packet.source_port, "dport": packet.destination_port, "flags": flags}
    elif protocol in _ICMP_OF:
        if packet.protocol != _ICMP_OF[protocol]:
            return NOTHING
        values = {"type": packet.icmp_type, "code": packet.icmp_code}
    elif protocol == "esp":
        if packet.protocol != ESP:
            return NOTHING
        values = {"spi": packet.spi}
    found = values.get(name)
    return Unknown(f"{protocol} {name} of the packet") if found is None else found


def _meta(key: str, packet: Packet) -> Value:
    match key:
        case "iifname" | "iif":
            return packet.iif
        case "oifname" | "oif":
            return packet.oif
        case "l4proto":
            return packet.protocol
        case "nfproto":
            return f"ipv{packet.version}"
        case "protocol":
            return "ip" if packet.version == 4 else "ip6"
        case "mark" if packet.mark is not None:
            return packet.mark
        case "length" if packet.length is not None:
            return packet.length
        case "ipsec" | "secpath" if packet.came_through is not None:
            return bool(packet.came_through)
    return Unknown(f"meta {key}")


def _ipsec(key: str, direction: str, number: int, packet: Packet) -> Value:
    applied = packet.goes_through if direction == "out" else packet.came_through
    if applied is None:
        return Unknown(f"what XFRM does with the packet ({direction})")
    if number >= len(applied):
        return NOTHING
    one = applied[number]
    values: dict[str, Value] = {"reqid": one.reqid, "spi": one.spi, "saddr": one.source, "daddr": one.destination}
    return values.get(key, Unknown(f"ipsec {key}"))


def _masked(value: Value, mask: Any) -> Value:
    if isinstance(value, Unknown) or value is NOTHING:
        return value
    if isinstance(value, frozenset):
        return value & flags_of(mask)
    if isinstance(value, int) and isinstance(mask, int):
        return value & mask
    if isinstance(value, IPv4Address | IPv6Address) and isinstance(mask, str):
        return type(value)(int(value) & int(ip_address(mask)))
    return Unknown(f"a value under the mask {mask}")


def flags_of(right: Any) -> frozenset[str]:
    """``"syn"``, ``["syn", "rst"]``, ``{"|": ["syn", "rst"]}``."""
    if isinstance(right, Mapping):
        right = right.get("|", [])
    if isinstance(right, str):
        return frozenset({right})
    return frozenset().union(*(flags_of(part) for part in right)) if isinstance(right, list) else frozenset()


def matches(body: Mapping[str, Any], packet: Packet, host: Host, sets: Mapping[str, list[Any]]) -> Truth:
    """A ``match`` statement. Raises ValueError, TypeError or KeyError for one that is not understood."""
    left, operator, right = body["left"], body.get("op", "=="), body["right"]
    value = read(left, packet, host)
    if isinstance(value, Unknown):
        return depends(value.what)
    if value is NOTHING:
        return yes_no(False, "the packet has no such part")
    if isinstance(value, frozenset):
        wanted = flags_of(right)
        hit = bool(value & wanted) if operator == "in" else value == wanted
    elif operator in ("<", ">", "<=", ">="):
        bound = int(right)
        hit = {"<": value < bound, ">": value > bound, "<=": value <= bound, ">=": value >= bound}[operator]
    else:
        hit = contains(right, value, packet, sets)
    return yes_no(hit != (operator == "!="), f"it is {value}")


def contains(right: Any, value: Value, packet: Packet, sets: Mapping[str, list[Any]]) -> bool:
    """Whether a value is one of those on the right side."""
    match right:
        case str() if right.startswith("@"):
            return any(contains(element, value, packet, sets) for element in sets[right[1:]])
        case list():
            return any(contains(element, value, packet, sets) for element in right)
        case {"set": elements}:
            return contains(elements, value, packet, sets)
        case {"elem": {"val": inner}}:
            return contains(inner, value, packet, sets)
        case {"concat": parts}:
            return len(parts) == len(value) and all(
                contains(part, one, packet, sets) for part, one in zip(parts, value, strict=True)
            )
        case {"prefix": {"addr": address, "len": length}}:
            network = ip_network(f"{address}/{length}", strict=False)
            # nft spells ``ip saddr & 255.255.0.0 == 10.1.1.0`` as 10.1.1.0/16: no packet is so.
            return network.network_address == ip_address(address) and value in network
        case {"range": [low, high]}:
            first, last, own = (_number(end, value) for end in (low, high, value))
            return first <= own <= last
    return _equal(right, value, packet)


def _equal(right: Any, value: Value, packet: Packet) -> bool:
    if isinstance(right, bool) or isinstance(value, bool):
        return bool(right) == bool(value)
    if isinstance(value, int):
        if isinstance(right, int):
            return right == value
        words = _WORDS | _OF_ICMPV6 if packet.protocol == ICMPV6 else _WORDS
        return int(words.get(right, right)) == value
    if isinstance(value, str):
        return fnmatchcase(value, str(right)) if right != "*" else True
    network = ip_network(str(right), strict=False)
    return value.version == network.version and value in network


def _number(end: Any, like: Value) -> int:
    if isinstance(end, int):
        return end
    if isinstance(like, str):
        raise ValueError(f"{end} in a range")
    if isinstance(end, str):
        return int(ip_address(end)) if not isinstance(like, int) else int(_WORDS.get(end, end))
    address: IPAddress = end
    return int(address)
