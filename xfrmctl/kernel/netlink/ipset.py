"""Messages about ipsets of type hash:net,net (``include/uapi/linux/netfilter/ipset/ip_set.h``).

Without NLM_F_EXCL it is no failure that a set or a member is there already, or gone already.
"""

import struct

from xfrmctl.kernel.netlink import netfilter as nf
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import attribute, family_of
from xfrmctl.model.address import IPNetwork

NO_SUCH_TYPE, IN_USE, FULL = 4098, 4100, 4352
"""Errors of its own: IPSET_ERR_FIND_TYPE, IPSET_ERR_BUSY, IPSET_ERR_HASH_FULL."""

_CREATE, _DESTROY, _ADD, _DEL = 2, 3, 9, 10
_PROTOCOL, _SETNAME, _TYPENAME, _REVISION, _FAMILY, _DATA = 1, 2, 3, 4, 5, 7
_IP, _CIDR, _MAXELEM, _IP2, _CIDR2 = 1, 3, 19, 20, 21
_VERSION = attribute(_PROTOCOL, b"\6")
_ADDRESS = {4: 1, 6: 2}
"""IPSET_ATTR_IPADDR_IPV4 and _IPV6."""


def create(name: str, family: int, maximum: int) -> Request:
    """Make a set for ``family`` 4 or 6 of at most ``maximum`` members."""
    payload = _VERSION + nf.text(_SETNAME, name) + nf.text(_TYPENAME, "hash:net,net") + attribute(_REVISION, b"\0")
    payload += attribute(_FAMILY, bytes([2 if family == 4 else 10]))
    payload += nf.nest(_DATA, nf.in_network_order(_MAXELEM, struct.pack(">I", maximum)))
    return nf.message(nf.IPSET, _CREATE, payload)


def destroy(name: str) -> Request:
    """Delete a set that no rule names; one that is gone is answered with ENOENT."""
    return nf.message(nf.IPSET, _DESTROY, _VERSION + nf.text(_SETNAME, name))


def add(name: str, source: IPNetwork, destination: IPNetwork) -> Request:
    """Put a member into a set."""
    return _member(_ADD, name, source, destination)


def delete(name: str, source: IPNetwork, destination: IPNetwork) -> Request:
    """Take a member out of a set."""
    return _member(_DEL, name, source, destination)


def takes_away(request: Request) -> bool:
    """Whether a request deletes something."""
    return request.type & 0xFF in (_DESTROY, _DEL)


def _member(command: int, name: str, source: IPNetwork, destination: IPNetwork) -> Request:
    data = _network(_IP, _CIDR, source) + _network(_IP2, _CIDR2, destination)
    return nf.message(
        nf.IPSET, command, _VERSION + nf.text(_SETNAME, name) + nf.nest(_DATA, data), family=family_of(source)
    )


def _network(address: int, length: int, network: IPNetwork) -> bytes:
    packed = nf.in_network_order(_ADDRESS[network.version], network.network_address.packed)
    return nf.nest(address, packed) + attribute(length, bytes([network.prefixlen]))
