"""Messages about routes (``net/ipv4/fib_frontend.c``, ``net/ipv6/route.c``).

Ours carry protocol 158, and every deletion names it, so a route of somebody else with the same destination and
metric stays. The MTU of a route through an interface of ours is written with its lock bit (``mtu lock``): it then
counts instead of the device's for what is forwarded, too, and the kernel does not lower it by itself (IPv4; IPv6 does).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, if_indextoname
from struct import Struct

from xfrmctl.kernel.desired import Route
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.socket import NetlinkSocket, Request
from xfrmctl.kernel.netlink.structs import (
    ATTR_U32,
    U32,
    attribute,
    family_of,
    find_attribute,
    network_from,
)
from xfrmctl.kernel.ownership import PEER_TABLE, ROUTE_PROTOCOL
from xfrmctl.model.address import IPAddress

RTMSG = Struct("=BBBBBBBBI")
"""``struct rtmsg``: family dst_len src_len tos table protocol scope type flags."""

RTA_DST = 1
RTA_SRC = 2
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_METRICS = 8
RTA_CACHEINFO = 12
RTA_TABLE = 15
RTA_MARK = 16
RTAX_LOCK = 1
RTAX_MTU = 2
RTM_F_CLONED = 0x200
EXPIRES_AT = 8
"""Where ``struct rta_cacheinfo`` has its signed ``rta_expires``."""

RT_TABLE_COMPAT = 252
RT_TABLE_MAIN = 254
RTNH_F_DEAD = 1
RTNH_F_LINKDOWN = 16
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_NOWHERE = 255


def new_route(route: Route, index: int, *, replace: bool, forget: bool = False) -> Request:
    """RTM_NEWROUTE: exclusive, or in place of the route with the same key.

    What the kernel has noted down of single destinations goes with the route that is replaced; but over IPv4 an equal
    route, metrics included, is taken for the same one and keeps it (``fib_find_info``). So ``forget`` writes the MTU
    with the other state of its lock: to be replaced at once by the true one, with no moment without a route.
    """
    if route.metric <= 0:
        raise ValueError(f"{route}: the metric must be positive (IPv6 takes 0 for 1024)")
    flags = c.NLM_F_CREATE | (c.NLM_F_REPLACE if replace else c.NLM_F_EXCL)
    on_link = route.device and route.via is None and route.destination.version == 4
    payload = _header(route, RT_SCOPE_LINK if on_link else RT_SCOPE_UNIVERSE)
    payload += ATTR_U32.pack(8, RTA_OIF, index) if route.device else b""
    if route.via is not None:
        payload += attribute(RTA_GATEWAY, route.via.packed)
    if route.source is not None:
        payload += attribute(RTA_PREFSRC, route.source.packed)
    if route.mtu is not None:
        locked = (route.table != PEER_TABLE or route.lock) is not forget
        metrics = ATTR_U32.pack(8, RTAX_LOCK, c.RTAX_LOCK_MTU) if locked else b""
        payload += attribute(RTA_METRICS, metrics + ATTR_U32.pack(8, RTAX_MTU, route.mtu))
    return Request(c.RTM_NEWROUTE, flags, payload)


def delete_route(route: Route) -> Request:
    """RTM_DELROUTE by destination, metric, table and our protocol; answered with ESRCH where it is gone."""
    return Request(c.RTM_DELROUTE, 0, _header(route, RT_SCOPE_NOWHERE))


def dump_routes(family: int) -> Request:
    """All routes of our protocol, in all tables: the kernel filters (strict checking, since 4.20)."""
    return Request(c.RTM_GETROUTE, 0, RTMSG.pack(family, 0, 0, 0, 0, ROUTE_PROTOCOL, 0, 0, 0))


def routes_from(messages: Sequence[tuple[int, memoryview]], name_of: Callable[[int], str]) -> list[Route]:
    """Read a dump; ``name_of`` gives the name of a device. Routes of others are left out."""
    found: list[Route] = []
    for message, payload in messages:
        if message != c.RTM_NEWROUTE:
            continue
        family, dst_len, _, _, table, protocol, _, kind, _ = RTMSG.unpack_from(payload)
        if protocol != ROUTE_PROTOCOL or kind not in (c.RTN_UNICAST, c.RTN_BLACKHOLE):
            continue
        dst = find_attribute(payload, RTMSG.size, RTA_DST)
        oif = _u32(payload, RTA_OIF) if kind == c.RTN_UNICAST else None
        metrics = find_attribute(payload, RTMSG.size, RTA_METRICS)
        mtu = find_attribute(metrics, 0, RTAX_MTU) if metrics is not None else None
        table = _u32(payload, RTA_TABLE) or table
        lock = find_attribute(metrics, 0, RTAX_LOCK) if metrics is not None else None
        raw = bytes(dst) if dst is not None else bytes(4 if family == AF_INET else 16)
        found.append(
            Route(
                destination=network_from(raw, dst_len, family),
                device=name_of(oif) if oif is not None else None,
                metric=_u32(payload, RTA_PRIORITY) or 0,
                mtu=U32.unpack(mtu)[0] if mtu is not None else None,
                table=table,
                via=_address(payload, RTA_GATEWAY),
                source=_address(payload, RTA_PREFSRC),
                lock=table == PEER_TABLE and lock is not None and bool(U32.unpack(lock)[0] & c.RTAX_LOCK_MTU),
            )
        )
    return found


def get_route(local: IPAddress | None, remote: IPAddress, mark: int) -> Request:
    """RTM_GETROUTE: which way a packet of ours with this mark would go to ``remote``."""
    family, bits = (AF_INET, 32) if remote.version == 4 else (AF_INET6, 128)
    payload = RTMSG.pack(family, bits, bits if local is not None else 0, 0, 0, 0, 0, 0, 0)
    payload += attribute(RTA_DST, remote.packed) + ATTR_U32.pack(8, RTA_MARK, mark)
    if local is not None:
        payload += attribute(RTA_SRC, local.packed)
    return Request(c.RTM_GETROUTE, 0, payload)


@dataclass(frozen=True, slots=True)
class Way:
    """The first step to an address: the device's index, the gateway if any, the source if the route names one.

    ``mtu`` is the route's metric; what the kernel has learned from an ICMP error is none: it is about the path behind.
    """

    index: int
    via: IPAddress | None
    source: IPAddress | None
    mtu: int | None


def way_from(payload: memoryview) -> Way | None:
    """Read the answer to :func:`get_route`; None where nothing is sent out."""
    if RTMSG.unpack_from(payload)[7] != c.RTN_UNICAST:
        return None
    index = _u32(payload, RTA_OIF)
    metrics = find_attribute(payload, RTMSG.size, RTA_METRICS)
    mtu = find_attribute(metrics, 0, RTAX_MTU) if metrics is not None else None
    if index is None:
        return None
    size = U32.unpack(mtu)[0] if mtu is not None and not _learned(payload) else None
    return Way(index, _address(payload, RTA_GATEWAY), _address(payload, RTA_PREFSRC), size)


def _learned(payload: memoryview) -> bool:
    """Whether an answer is an exception of a route: of IPv4 those alone expire, of IPv6 those alone are clones.

    Of the other family neither sign would do: routes that routers advertise expire, and IPv4 answers are all clones.
    """
    family, flags = payload[0], RTMSG.unpack_from(payload)[8]
    if family == AF_INET6:
        return bool(flags & RTM_F_CLONED)
    cache = find_attribute(payload, RTMSG.size, RTA_CACHEINFO)
    return cache is not None and len(cache) >= EXPIRES_AT + 4 and bool(U32.unpack_from(cache, EXPIRES_AT)[0])


def dump_main(family: int) -> Request:
    """All unicast routes of the main table."""
    return Request(c.RTM_GETROUTE, 0, RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, c.RTN_UNICAST, 0))


def ways_towards(remote: IPAddress, messages: Sequence[tuple[int, memoryview]]) -> list[Way]:
    """The routes of a dump by which an address can be reached, the best first.

    Those that are out of order and those with several next hops are left out.
    """
    found: list[tuple[int, int, Way]] = []
    for message, payload in messages:
        if message != c.RTM_NEWROUTE:
            continue
        family, dst_len, _, _, table, _, _, _, flags = RTMSG.unpack_from(payload)
        dst = find_attribute(payload, RTMSG.size, RTA_DST)
        raw = bytes(dst) if dst is not None else bytes(4 if family == AF_INET else 16)
        way = way_from(payload)
        if way is None or table != RT_TABLE_MAIN or flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN):
            continue
        if remote in network_from(raw, dst_len, family):
            found.append((-dst_len, _u32(payload, RTA_PRIORITY) or 0, way))
    return [way for _, _, way in sorted(found, key=lambda one: one[:2])]


def _address(payload: memoryview, kind: int) -> IPAddress | None:
    found = find_attribute(payload, RTMSG.size, kind)
    return ip_address(bytes(found)) if found is not None else None


def _header(route: Route, scope: int) -> bytes:
    network = route.destination
    kind = c.RTN_UNICAST if route.device else c.RTN_BLACKHOLE
    table = route.table if route.table < 256 else RT_TABLE_COMPAT
    return (
        RTMSG.pack(family_of(network), network.prefixlen, 0, 0, table, ROUTE_PROTOCOL, scope, kind, 0)
        + attribute(RTA_DST, network.network_address.packed)
        + ATTR_U32.pack(8, RTA_PRIORITY, route.metric)
        + ATTR_U32.pack(8, RTA_TABLE, route.table)
    )


def _u32(payload: memoryview, kind: int) -> int | None:
    found = find_attribute(payload, RTMSG.size, kind)
    return U32.unpack(found)[0] if found is not None else None


def output_device(netlink: NetlinkSocket, destination: IPAddress) -> str:
    """The device through which packets to an address leave; "" without one. Raises OSError with the kernel's errno."""
    family = family_of(destination)
    head = RTMSG.pack(family, destination.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    answer = netlink.get(Request(c.RTM_GETROUTE, 0, head + attribute(RTA_DST, destination.packed)))
    index = find_attribute(answer, RTMSG.size, RTA_OIF)
    return if_indextoname(U32.unpack(index)[0]) if index is not None else ""
