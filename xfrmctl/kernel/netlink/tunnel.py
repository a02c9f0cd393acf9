"""Messages about tunnel devices and their addresses (``net/ipv4/ip_gre.c``, ``ipip.c``, ``net/ipv6/ip6_gre.c``,
``ip6_tunnel.c``, ``net/ipv4/devinet.c``).

A device is made by RTM_NEWLINK (exclusive), which takes its group, our mark, at once; a second RTM_NEWLINK, which finds
it there, dresses it: alias and flags. The same message changes its ends, key, TTL and MTU in place, so that routes and
addresses of others survive.

* ``pmtudisc``: the outer IPv4 header always has DF, so a packet too large for the path is told, not cut. With the
  device's MTU right none is. Without it the header has the DF of the packet inside, and IPv6 inside has none.
* Over IPv6 the encapsulation limit (RFC 2473 5.1) is left out: its option would take 8 bytes of every packet.
* IFF_MULTICAST is not the kernel's default, and routing daemons look for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from socket import AF_INET, AF_INET6
from struct import Struct

from xfrmctl.kernel.desired import TunnelInterface, TunnelKind
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.address import IFA_ADDRESS, IFA_LOCAL, IFADDRMSG
from xfrmctl.kernel.netlink.link import (
    IFINFOMSG,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
    name_attribute,
    text_of,
)
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import ATTR_U32, U32, address_from, attribute, find_attribute
from xfrmctl.kernel.ownership import ADDRESS_PROTOCOL, INTERFACE_ALIAS, of_tunnel_group
from xfrmctl.model.observed import ObservedTunnel
from xfrmctl.model.tunnel import IPInterface

IFLA_STATS64 = 23
IFLA_GROUP = 27

IFA_PROTO = 11

GRE_KEY = 0x2000
IP6_TNL_F_IGN_ENCAP_LIMIT = 0x1
IP6_TNL_F_USE_ORIG_TCLASS = 0x2
IPPROTO_IPIP, IPPROTO_GRE = 4, 47
TOS_INHERIT = 1

_U8, _BE16, _BE32 = Struct("=B"), Struct(">H"), Struct(">I")
_STATS = Struct("=10Q")
"""The first counters of ``struct rtnl_link_stats64``; tx_errors is the sixth, collisions the tenth."""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Attribute types of ``IFLA_GRE_*`` or ``IFLA_IPTUN_*`` (``include/uapi/linux/if_tunnel.h``)."""

    local: int
    remote: int
    ttl: int
    tos: int
    pmtudisc: int
    flags: int


_GRE = _Numbers(6, 7, 8, 9, 10, 13)
_IPTUN = _Numbers(2, 3, 4, 5, 10, 8)
_GRE_FLAGS, _GRE_KEYS = (2, 3), (4, 5)
"""IFLA_GRE_IFLAGS and OFLAGS, IFLA_GRE_IKEY and OKEY."""
_IPTUN_PROTO = 9


@dataclass(frozen=True, slots=True)
class TunnelLink:
    """A tunnel device of ours as the kernel has it. ``collisions``: packets that it would have had to send itself."""

    index: int
    interface: TunnelInterface
    collisions: int
    tx_errors: int


def new_tunnel(new: TunnelInterface) -> list[Request]:
    """The messages that make a device. Where it is not to be up it has no addresses."""
    payload = IFINFOMSG.pack(0, 0, 0, 0, 0) + name_attribute(new.name) + _common(new)
    return [Request(c.RTM_NEWLINK, c.NLM_F_CREATE | c.NLM_F_EXCL, payload + _info(new)), set_tunnel(0, new)]


def set_tunnel(index: int, new: TunnelInterface) -> Request:
    """Make an existing device what it should be, addresses apart; index 0 names it by its name."""
    flags = c.IFF_MULTICAST | (c.IFF_UP if new.up else 0)
    payload = IFINFOMSG.pack(0, 0, index, flags, c.IFF_UP | c.IFF_MULTICAST)
    if not index:
        payload += name_attribute(new.name)
    payload += _common(new) + attribute(IFLA_IFALIAS, INTERFACE_ALIAS.encode())
    return Request(c.RTM_NEWLINK, 0, payload + _info(new))


def new_address(index: int, address: IPInterface) -> Request:
    """RTM_NEWADDR, with our protocol; in place of the same address of somebody else."""
    return Request(c.RTM_NEWADDR, c.NLM_F_CREATE | c.NLM_F_REPLACE, _address(index, address))


def delete_address(index: int, address: IPInterface) -> Request:
    """RTM_DELADDR; answered with EADDRNOTAVAIL where it is gone."""
    return Request(c.RTM_DELADDR, 0, _address(index, address))


def dump_tunnels(kind: TunnelKind) -> Request:
    """All devices of a kind: the kernel filters by it, where it knows it."""
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, kind.value.encode()))
    return Request(c.RTM_GETLINK, 0, IFINFOMSG.pack(0, 0, 0, 0, 0) + info)


def tunnels_from(messages: Sequence[tuple[int, memoryview]]) -> dict[str, TunnelLink]:
    """Read a dump, without addresses; devices of others are left out."""
    found: dict[str, TunnelLink] = {}
    for message, payload in messages:
        if message != c.RTM_NEWLINK:
            continue
        _, _, index, flags, _ = IFINFOMSG.unpack_from(payload)
        name, info, mtu, group, stats = (
            find_attribute(payload, IFINFOMSG.size, kind)
            for kind in (IFLA_IFNAME, IFLA_LINKINFO, IFLA_MTU, IFLA_GROUP, IFLA_STATS64)
        )
        if name is None or info is None or mtu is None or group is None:
            continue
        marked, word = of_tunnel_group(U32.unpack(group)[0]), text_of(info, IFLA_INFO_KIND)
        data = find_attribute(info, 0, IFLA_INFO_DATA)
        kind = next((k for k in TunnelKind if k.value == word), None)
        if kind is None or data is None or marked is None:
            continue
        text = bytes(name).rstrip(b"\0").decode(errors="replace")
        up = flags & (c.IFF_UP | c.IFF_MULTICAST) == c.IFF_UP | c.IFF_MULTICAST
        clamped, narrow = marked
        interface = _parsed(text, kind, data, U32.unpack(mtu)[0], up=up, clamped=clamped, narrow=narrow)
        counted = _STATS.unpack_from(stats) if stats is not None and len(stats) >= _STATS.size else (0,) * 10
        if interface is not None:
            found[text] = TunnelLink(index, interface, counted[9], counted[5])
    return found


def addresses_from(messages: Sequence[tuple[int, memoryview]]) -> dict[int, frozenset[IPInterface]]:
    """Read a dump: our addresses, by the index of their device."""
    found: dict[int, set[IPInterface]] = {}
    for message, payload in messages:
        if message != c.RTM_NEWADDR:
            continue
        family, prefixlen, _, _, index = IFADDRMSG.unpack_from(payload)
        protocol = find_attribute(payload, IFADDRMSG.size, IFA_PROTO)
        raw = find_attribute(payload, IFADDRMSG.size, IFA_LOCAL if family == AF_INET else IFA_ADDRESS)
        if raw is None or protocol is None or bytes(protocol) != bytes((ADDRESS_PROTOCOL,)):
            continue
        kind = IPv4Interface if family == AF_INET else IPv6Interface
        found.setdefault(index, set()).add(kind((bytes(raw), prefixlen)))
    return {index: frozenset(addresses) for index, addresses in found.items()}


def _common(new: TunnelInterface) -> bytes:
    return ATTR_U32.pack(8, IFLA_MTU, new.mtu) + ATTR_U32.pack(8, IFLA_GROUP, new.mark)


def _info(new: TunnelInterface) -> bytes:
    gre, six = new.kind in (TunnelKind.GRE, TunnelKind.GRE6), new.kind in (TunnelKind.GRE6, TunnelKind.IPIP6)
    numbers = _GRE if gre else _IPTUN
    data = attribute(numbers.local, new.local.packed) + attribute(numbers.remote, new.remote.packed)
    data += attribute(numbers.ttl, _U8.pack(new.ttl))
    if six:
        flags = IP6_TNL_F_IGN_ENCAP_LIMIT | (IP6_TNL_F_USE_ORIG_TCLASS if new.copy_tos else 0)
        data += ATTR_U32.pack(8, numbers.flags, flags)
    else:
        data += attribute(numbers.tos, _U8.pack(TOS_INHERIT if new.copy_tos else 0))
        data += attribute(numbers.pmtudisc, _U8.pack(not new.narrow))
    if gre:
        with_key = GRE_KEY if new.key is not None else 0
        data += b"".join(attribute(number, _BE16.pack(with_key)) for number in _GRE_FLAGS)
        data += b"".join(attribute(number, _BE32.pack(new.key or 0)) for number in _GRE_KEYS)
    elif six:
        data += attribute(_IPTUN_PROTO, _U8.pack(IPPROTO_IPIP))
    info = attribute(IFLA_INFO_KIND, new.kind.value.encode()) + attribute(IFLA_INFO_DATA, data)
    return attribute(IFLA_LINKINFO, info)


def _parsed(
    name: str, kind: TunnelKind, data: memoryview, mtu: int, *, up: bool, clamped: bool, narrow: int
) -> TunnelInterface | None:
    gre, six = kind in (TunnelKind.GRE, TunnelKind.GRE6), kind in (TunnelKind.GRE6, TunnelKind.IPIP6)
    numbers = _GRE if gre else _IPTUN
    family = AF_INET6 if six else AF_INET
    local, remote = (find_attribute(data, 0, number) for number in (numbers.local, numbers.remote))
    if local is None or remote is None:
        return None
    key = None
    if gre and _number(data, _GRE_FLAGS[1], _BE16) & GRE_KEY:
        key = _number(data, _GRE_KEYS[1], _BE32)
    if six:
        copy_tos = bool(_number(data, numbers.flags, U32) & IP6_TNL_F_USE_ORIG_TCLASS)
    else:
        copy_tos = _number(data, numbers.tos, _U8) == TOS_INHERIT
    ours, theirs = address_from(bytes(local), family), address_from(bytes(remote), family)
    ttl = _number(data, numbers.ttl, _U8)
    return TunnelInterface(name, kind, ours, theirs, mtu, key, ttl, copy_tos, clamped, up, narrow)


def observed_from(word: str, data: memoryview) -> ObservedTunnel | None:
    """What a device of this kind puts around packets, whoever has made it; None for other kinds and open ends."""
    kind = next((k for k in TunnelKind if k.value == word), None)
    if kind is None:
        return None
    gre, six = kind in (TunnelKind.GRE, TunnelKind.GRE6), kind in (TunnelKind.GRE6, TunnelKind.IPIP6)
    numbers, family = _GRE if gre else _IPTUN, AF_INET6 if six else AF_INET
    raw = [find_attribute(data, 0, number) for number in (numbers.local, numbers.remote)]
    local, remote = (address_from(bytes(end), family) if end is not None else None for end in raw)
    if local is None or remote is None or remote.is_unspecified or local.is_unspecified:
        return None
    if not gre:
        return ObservedTunnel(local, remote, IPPROTO_IPIP, 0)
    keyed = _number(data, _GRE_FLAGS[1], _BE16) & GRE_KEY
    return ObservedTunnel(local, remote, IPPROTO_GRE, 8 if keyed else 4)


def _number(data: memoryview, kind: int, size: Struct) -> int:
    found = find_attribute(data, 0, kind)
    return int(size.unpack_from(found)[0]) if found is not None and len(found) >= size.size else 0


def _address(index: int, address: IPInterface) -> bytes:
    family = AF_INET if address.version == 4 else AF_INET6
    raw = address.ip.packed
    return (
        IFADDRMSG.pack(family, address.network.prefixlen, 0, 0, index)
        + attribute(IFA_LOCAL, raw)
        + attribute(IFA_ADDRESS, raw)
        + attribute(IFA_PROTO, bytes((ADDRESS_PROTOCOL,)))
    )
