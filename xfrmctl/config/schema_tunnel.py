"""The keys of a tunnel device over a child's SAs."""

from ipaddress import ip_interface, ip_network
from typing import Annotated, Literal

from pydantic import PlainValidator, WithJsonSchema

from xfrmctl.config.mapping import Many, Strict, Whole
from xfrmctl.config.problem import Wrong
from xfrmctl.config.spelling import WRITTEN, SecondsOrOff, interface_name
from xfrmctl.model.address import IPNetwork
from xfrmctl.model.tunnel import DEFAULT_TTL, IPInterface

KERNELS_OWN = ("gre0", "gretap0", "erspan0", "tunl0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0")
"""Devices that the kernel makes itself as soon as it has the module, for packets that are for no other tunnel."""


def tunnel_name(value: object) -> str:
    """A name that the kernel accepts and does not use itself."""
    text = interface_name(value)
    if text in KERNELS_OWN:
        raise Wrong(f"{text!r} is the kernel's own device", "choose another name, such as gre1")
    return text


def device_address(value: object) -> IPInterface:
    """``10.255.0.1/30``: an address and the length of its prefix."""
    cure = "write an address with its prefix length, such as 10.255.0.1/30 or fd00:255::1/64"
    if not isinstance(value, str) or "/" not in value:
        raise Wrong(f"{value!r} is no address of a device", cure)
    try:
        found = ip_interface(value.strip())
    except ValueError:
        raise Wrong(f"{value!r} is no address of a device", cure) from None
    if found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_loopback:
        raise Wrong(f"{value!r} cannot be the address of a device", cure)
    return found


def routed_network(value: object) -> IPNetwork:
    """``10.2.0.0/16``; 0.0.0.0/0 and ::/0 are not taken over."""
    cure = "write a network such as 10.2.0.0/16"
    if not isinstance(value, str):
        raise Wrong(f"{value!r} is no network", cure)
    try:
        found = ip_network(value.strip())
    except ValueError as error:
        if "has host bits set" in str(error):
            right = ip_network(value.strip(), strict=False)
            raise Wrong(f"{value!r} has host bits set", f"write {right}") from None
        raise Wrong(f"{value!r} is no network", cure) from None
    if not found.prefixlen:
        cure = "make the default route yourself: ip route add default dev NAME"
        raise Wrong(f"{value!r}: a default route is never taken over", cure)
    return found


def _written(text: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", WRITTEN: text})


TunnelName = Annotated[
    str,
    PlainValidator(tunnel_name),
    WithJsonSchema({"type": "string", WRITTEN: "name of the device", "maxLength": 15}),
]
DeviceAddress = Annotated[IPInterface, PlainValidator(device_address), _written("10.255.0.1/30, fd00:255::1/64")]
RoutedNetwork = Annotated[IPNetwork, PlainValidator(routed_network), _written("10.2.0.0/16, fd00:2::/48")]
GreKey = Annotated[int, Whole(0, 2**32 - 1, "GRE key", "write a number such as 42")]
Ttl = Annotated[int, Whole(1, 255, "TTL", "write a number such as 64")]


class Tunnel(Strict):
    """A tunnel device whose packets the child protects: routing daemons, multicast and firewalls can use it.

    The daemon makes the device, keeps its MTU at what the path carries, and has the child protect exactly its packets:
    without ``mode`` that is transport mode, the selectors are the two addresses and the protocol. Both ends need it.
    """

    type: Literal["gre", "ipip"] = "gre"
    """``gre`` carries IPv4, IPv6 and multicast. ``ipip`` is 4 bytes shorter and carries IPv4 only.

    There is no VTI: ``dataplane: interface`` is what has followed it, and a peer may have either.
    """
    interface: TunnelName
    """Name of the device. No other device may have it."""
    addresses: Annotated[tuple[DeviceAddress, ...], Many] = ()
    """Addresses of our end. Routing daemons want some; without any, routes into the device do."""
    key: GreKey | None = None
    """GRE key (RFC 2890), the same at both ends, where the peer wants one. It is no secret."""
    ttl: Ttl = DEFAULT_TTL
    """TTL, or hop limit, of the outer header."""
    keepalive: SecondsOrOff = None
    """How often the far end is asked through the tunnel for an answer, by a GRE keepalive as routers send them.

    The device is up only while answers come, so routes through it go when the far end does, or when ESP is lost on a
    path that IKE still passes. Write it at both ends: xfrmctl answers where it asks itself. A peer that is Linux alone
    answers with ``accept_local`` on its device.
    """
    routes: Annotated[tuple[RoutedNetwork, ...], Many] = ()
    """Networks that are routed into the device, for those who run no routing daemon."""
