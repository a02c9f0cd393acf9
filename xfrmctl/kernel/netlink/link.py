"""Messages about xfrm interfaces (``net/core/rtnetlink.c``, ``net/xfrm/xfrm_interface_core.c``).

An interface is made by RTM_NEWLINK (exclusive) and dressed by RTM_SETLINK in the same batch: alias and IFF_UP are
not taken at creation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from xfrmctl.kernel.desired import XfrmInterface
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import ATTR_U32, U32, attribute, find_attribute
from xfrmctl.kernel.ownership import INTERFACE_ALIAS, INTERFACE_KIND, is_ours

IFINFOMSG = Struct("=BxHiII")
"""``struct ifinfomsg``: family type index flags change."""

IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_LINKINFO = 18
IFLA_IFALIAS = 20
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_XFRM_IF_ID = 2


@dataclass(frozen=True, slots=True)
class Link:
    """An xfrm interface of ours as the kernel has it."""

    index: int
    interface: XfrmInterface


def new_link(new: XfrmInterface) -> list[Request]:
    """The messages that make an interface. Raises ValueError for an if_id without our mark."""
    if not is_ours(new.if_id):
        raise ValueError(f"if_id {new.if_id:#x} of {new.name} does not carry our mark")
    data = attribute(IFLA_INFO_DATA, ATTR_U32.pack(8, IFLA_XFRM_IF_ID, new.if_id))
    info = attribute(IFLA_INFO_KIND, INTERFACE_KIND.encode()) + data
    payload = IFINFOMSG.pack(0, 0, 0, 0, 0) + name_attribute(new.name) + ATTR_U32.pack(8, IFLA_MTU, new.mtu)
    create = Request(c.RTM_NEWLINK, c.NLM_F_CREATE | c.NLM_F_EXCL, payload + attribute(IFLA_LINKINFO, info))
    return [create, set_link(0, new)]


def set_link(index: int, new: XfrmInterface) -> Request:
    """Set MTU and alias, and set the device up; index 0 names it by its name."""
    payload = IFINFOMSG.pack(0, 0, index, c.IFF_UP, c.IFF_UP)
    if not index:
        payload += name_attribute(new.name)
    payload += ATTR_U32.pack(8, IFLA_MTU, new.mtu)
    return Request(c.RTM_SETLINK, 0, payload + attribute(IFLA_IFALIAS, INTERFACE_ALIAS.encode()))


def delete_link(index: int) -> Request:
    """Delete a device by its index."""
    return Request(c.RTM_DELLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0))


def dump_links() -> Request:
    """All devices of kind xfrm: the kernel filters by the kind."""
    kind = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, INTERFACE_KIND.encode()))
    return Request(c.RTM_GETLINK, 0, IFINFOMSG.pack(0, 0, 0, 0, 0) + kind)


def get_link(name: str) -> Request:
    """One device by its name, of whatever kind; answered with ENODEV where there is none."""
    return Request(c.RTM_GETLINK, 0, IFINFOMSG.pack(0, 0, 0, 0, 0) + name_attribute(name))


def links_from(messages: Sequence[tuple[int, memoryview]]) -> dict[str, Link]:
    """Read a dump; devices of others are left out. One that is down has MTU 0."""
    found: dict[str, Link] = {}
    for kind, payload in messages:
        if kind != c.RTM_NEWLINK:
            continue
        _, _, index, flags, _ = IFINFOMSG.unpack_from(payload)
        name = find_attribute(payload, IFINFOMSG.size, IFLA_IFNAME)
        info = find_attribute(payload, IFINFOMSG.size, IFLA_LINKINFO)
        mtu = find_attribute(payload, IFINFOMSG.size, IFLA_MTU)
        if name is None or info is None or mtu is None or text_of(info, IFLA_INFO_KIND) != INTERFACE_KIND:
            continue
        data = find_attribute(info, 0, IFLA_INFO_DATA)
        if_id = find_attribute(data, 0, IFLA_XFRM_IF_ID) if data is not None else None
        if if_id is None or not is_ours(U32.unpack(if_id)[0]):
            continue
        text = bytes(name).rstrip(b"\0").decode(errors="replace")
        size = U32.unpack(mtu)[0] if flags & c.IFF_UP else 0
        found[text] = Link(index, XfrmInterface(text, U32.unpack(if_id)[0], size))
    return found


def name_attribute(name: str) -> bytes:
    """IFLA_IFNAME."""
    return attribute(IFLA_IFNAME, name.encode() + b"\0")


def text_of(attributes: memoryview, kind: int) -> str:
    """An attribute as text; "" where it is absent."""
    found = find_attribute(attributes, 0, kind)
    return bytes(found).rstrip(b"\0").decode(errors="replace") if found is not None else ""
