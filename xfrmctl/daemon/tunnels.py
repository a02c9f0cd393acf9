"""A child's tunnel device, and what must not leave in clear because of it. Pure.

The device stands as long as the child is configured and the daemon runs, SA or not: its packets then meet the trap or
the block that the child's policies are. Beside each of its routes stands a blackhole of a worse metric, so that what
was routed into the tunnel does not leave in clear when the device goes down, or with the daemon.

The kernel has no IPv6 on a device below 1280 bytes: it takes its addresses and routes away. So one that carries IPv6
keeps 1280 when the path leaves less, be it only while a path is searched. Its IPv4 routes say what fits. IPv6 has no
such route, for the kernel would then drop what is between that and 1280: it goes without DF, and this gateway fragments
its ESP, which is what RFC 2473 (7.1) has a tunnel do.

The kernel answers a packet for which it has no device, or one that is down, with an ICMP error that quotes it, and what
has come in ESP is quoted as it was *decrypted* (``gre_rcv`` of net/ipv4/ip_gre.c, ``tunnel4_rcv``). ICMP is none of the
child's selectors. Over IPv4 the error goes into the SA, since the child's policies are for errors about its packets,
too (``Policy.errors``). Over IPv6 it leaves in clear all the same (tests/lab/test_gre_routing.py), so there these
errors to the peer are blocked as long as the child is configured.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from xfrmctl.ike.config import ChildConfig
from xfrmctl.kernel.desired import Interface, PolicyKey, Route, TunnelInterface, TunnelKind
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.flow import port
from xfrmctl.model.sa import Direction
from xfrmctl.model.selector import ICMPV6, TrafficSelector
from xfrmctl.model.sizes import IPV6_FLOOR
from xfrmctl.model.tunnel import TunnelType

Ends = tuple[IPAddress | None, IPAddress | None]
"""Our address and the peer's, as far as they are known."""

ROUTE_METRIC = 58
BLACKHOLE_METRIC = 4_000_000_000

KINDS = {
    (TunnelType.GRE, 4): TunnelKind.GRE,
    (TunnelType.GRE, 6): TunnelKind.GRE6,
    (TunnelType.IPIP, 4): TunnelKind.IPIP,
    (TunnelType.IPIP, 6): TunnelKind.IPIP6,
}

QUOTING = ((1, 4), (4, 1))
"""ICMPv6 errors of who has no tunnel for a packet, or does not know its protocol: type and code of port unreachable and
of unrecognized next header (RFC 4443 3.1, 3.4)."""


@dataclass(frozen=True, slots=True)
class TunnelPart:
    """What a tunnel device brings along; ``errors`` are to be blocked."""

    interfaces: Mapping[str, Interface]
    routes: frozenset[Route]
    errors: tuple[PolicyKey, ...]


def part(child: ChildConfig, ends: Ends, mtu: int, *, up: bool, stopping: bool) -> TunnelPart | None:
    """What stands for the device of a child, for inner packets of ``mtu`` bytes; None where it has none."""
    tunnel, (local, remote) = child.tunnel, ends
    if tunnel is None or local is None or remote is None:
        return None
    routes = blackholes(tunnel.routes, closed=child.fail_closed)
    squeezed = tunnel.has_ipv6 and mtu < IPV6_FLOOR
    # IPv4's say the MTU, though the device has it: below 552 bytes the kernel locks what a packet has met for ten
    # minutes (net.ipv4.route.min_pmtu), and only another route makes it forget (KERNEL-FACTS 8b).
    sizes, name = {4: mtu, 6: None}, tunnel.interface
    routes |= {Route(n, name, ROUTE_METRIC, sizes[n.version]) for n in tunnel.routes if up}
    errors = tuple(_quoting_errors(child, local, remote)) if child.fail_closed and local.version == 6 else ()
    if stopping:
        return TunnelPart({}, routes, errors)
    device = TunnelInterface(
        tunnel.interface,
        KINDS[tunnel.type, remote.version],
        local,
        remote,
        IPV6_FLOOR if squeezed else mtu,
        key=tunnel.key,
        ttl=tunnel.ttl,
        copy_tos=child.options.dscp_out,
        clamped=child.mss != "off",
        up=up,
        narrow=mtu if squeezed else 0,
        addresses=frozenset(tunnel.addresses if up else ()),
    )
    return TunnelPart({tunnel.interface: device}, routes, errors)


def blackholes(networks: Iterable[IPNetwork], *, closed: bool) -> frozenset[Route]:
    """What keeps packets for networks that are routed into a device from leaving in clear without it."""
    return frozenset(Route(network, None, BLACKHOLE_METRIC) for network in networks if closed)


def _quoting_errors(child: ChildConfig, local: IPAddress, remote: IPAddress) -> Iterator[PolicyKey]:
    """Those that the child's selectors do not protect anyway."""
    for kind, code in QUOTING:
        packet = TrafficSelector(local, local, ICMPV6, kind << 8 | code, kind << 8 | code)
        if not any(selector.covers(packet) for selector in child.local_ts):
            yield PolicyKey(Direction.OUT, ip_network(local), ip_network(remote), ICMPV6, port(kind), port(code))
