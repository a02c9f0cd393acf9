"""Addresses of a gateway in the notifies of MOBIKE (RFC 4555 3.4, 4.2)."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from xfrmctl.model.address import IPAddress
from xfrmctl.model.iana import NotifyType
from xfrmctl.wire.payloads import Notify, Payload

MAX_ADDRESSES = 16
"""Addresses of a peer that we remember, and of ours that we name; a hostile peer could name thousands."""

_KINDS = {4: NotifyType.ADDITIONAL_IP4_ADDRESS, 6: NotifyType.ADDITIONAL_IP6_ADDRESS}
_LISTS = (*_KINDS.values(), NotifyType.NO_ADDITIONAL_ADDRESSES)


def announcement(addresses: Sequence[IPAddress]) -> list[Notify]:
    """Additional addresses, or that there are none."""
    return [Notify(_KINDS[a.version], a.packed) for a in addresses] or [Notify(NotifyType.NO_ADDITIONAL_ADDRESSES)]


def announces(payloads: Sequence[Payload]) -> bool:
    """Whether a message says which addresses its sender has."""
    return any(isinstance(p, Notify) and p.type in _LISTS for p in payloads)


def peers(source: IPAddress, payloads: Sequence[Payload]) -> tuple[IPAddress, ...]:
    """All addresses of the peer: the one that it speaks from, and those that it lists (RFC 4555 3.6)."""
    found: dict[IPAddress, None] = {source: None}
    for notify in payloads:
        if isinstance(notify, Notify) and (address := _address(notify)) is not None and is_host(address):
            found[address] = None
    return tuple(found)[:MAX_ADDRESSES]


def _address(notify: Notify) -> IPAddress | None:
    if notify.type == NotifyType.ADDITIONAL_IP4_ADDRESS and len(notify.data) == 4:
        return IPv4Address(notify.data)
    if notify.type == NotifyType.ADDITIONAL_IP6_ADDRESS and len(notify.data) == 16:
        return IPv6Address(notify.data)
    return None


def is_host(address: IPAddress) -> bool:
    """Whether a single machine elsewhere can have this address."""
    return not (address.is_multicast or address.is_unspecified or address.is_loopback)
