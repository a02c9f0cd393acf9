"""Multicast messages of NETLINK_XFRM -> :mod:`xfrmctl.kernel.events`; what is not about ours is left out."""

from collections.abc import Callable, Sequence
from typing import Any

from xfrmctl.kernel.events import Acquire, Disturbed, Expire, KernelEvent, Lost, Mapping
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink.filter import only
from xfrmctl.kernel.netlink.socket import MulticastSocket
from xfrmctl.kernel.netlink.structs import address_from
from xfrmctl.kernel.ownership import is_our_reqid, is_ours
from xfrmctl.model.address import Endpoint
from xfrmctl.model.sa import SaId


def event_from(kind: int, payload: memoryview) -> KernelEvent | None:
    """Read one message; None if it is of no concern."""
    if kind in DISTURBING:
        return Disturbed() if _was_ours(kind, payload) else None
    read = _READERS.get(kind)
    if read is None:
        return None
    # The tables bring in all of pyroute2: 9 MiB, and a fifth of the daemon's start. Many a gateway has no event ever.
    from xfrmctl.kernel.netlink import tables  # noqa: PLC0415

    return read(tables.decode(tables.EVENTS[kind], payload))


DISTURBING = (c.XFRM_MSG_DELSA, c.XFRM_MSG_FLUSHSA, c.XFRM_MSG_DELPOLICY, c.XFRM_MSG_FLUSHPOLICY)
"""What concerns us only if it was not we who did it."""


def _was_ours(kind: int, payload: memoryview) -> bool:
    """Whether something of ours has been deleted (``xfrm_notify_sa``, ``xfrm_notify_policy``); in doubt it has."""
    if kind == c.XFRM_MSG_DELSA:
        gone = s.find_attribute(payload, s.USERSA_ID.size, c.XFRMA_SA)
        return gone is None or is_our_reqid(s.USERSA_REQID.unpack_from(gone)[0])
    if kind == c.XFRM_MSG_DELPOLICY:
        gone = s.find_attribute(payload, s.USERPOLICY_ID.size, c.XFRMA_POLICY)
        return gone is None or is_ours(s.USERPOLICY_INDEX.unpack_from(gone)[0])
    return True


def _acquire(message: Any) -> Acquire | None:
    """``build_acquire``: the reqid is in the template, the flow in ``sel``, the if_id in an attribute."""
    template = message.get_attr("XFRMA_TMPL")
    if template is None or not is_our_reqid(template["reqid"]):
        return None
    family = message["sel_family"]
    return Acquire(
        reqid=template["reqid"],
        if_id=message.get_attr("XFRMA_IF_ID") or 0,
        seq=message["seq"],
        source=address_from(message["sel_saddr"], family),
        destination=address_from(message["sel_daddr"], family),
        protocol=message["sel_proto"],
        source_port=message["sel_sport"],
        destination_port=message["sel_dport"],
    )


def _expire(message: Any) -> Expire | None:
    """``build_expire``. A larval SA that times out has no SPI: nobody is waiting for it."""
    if not is_our_reqid(message["reqid"]) or not message["id_spi"] or message["id_proto"] not in c.PROTOCOL_OF:
        return None
    destination = address_from(message["id_daddr"], message["family"])
    name = SaId(destination, c.PROTOCOL_OF[message["id_proto"]], message["id_spi"])
    return Expire(name, message["reqid"], bool(message["hard"]))


def _mapping(message: Any) -> Mapping | None:
    """``build_mapping``."""
    if not is_our_reqid(message["reqid"]) or message["id_proto"] not in c.PROTOCOL_OF:
        return None
    family = message["id_family"]
    destination = address_from(message["id_daddr"], family)
    return Mapping(
        SaId(destination, c.PROTOCOL_OF[message["id_proto"]], message["id_spi"]),
        old=Endpoint(address_from(message["old_saddr"], family), message["old_sport"]),
        new=Endpoint(address_from(message["new_saddr"], family), message["new_sport"]),
    )


_READERS: dict[int, Callable[[Any], KernelEvent | None]] = {
    c.XFRM_MSG_ACQUIRE: _acquire,
    c.XFRM_MSG_EXPIRE: _expire,
    c.XFRM_MSG_MAPPING: _mapping,
}


class XfrmEvents:
    """The multicast groups of NETLINK_XFRM as an :class:`xfrmctl.kernel.ports.EventSource`.

    ``ours`` are the port ids of the sockets through which we change SAs and policies: what they do is no news.
    Being a member of ACQUIRE is what makes trap policies work: with no listener the kernel does not
    create a larval SA (``xfrm_acquire_is_on``).
    """

    def __init__(self, ours: Sequence[int] = ()) -> None:
        groups = (
            c.XFRMNLGRP_ACQUIRE,
            c.XFRMNLGRP_EXPIRE,
            c.XFRMNLGRP_SA,
            c.XFRMNLGRP_POLICY,
            c.XFRMNLGRP_MAPPING,
        )
        self._socket = MulticastSocket(c.NETLINK_XFRM, groups, only(tuple(_READERS), DISTURBING, ours))

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._socket.fileno()

    def read(self) -> list[KernelEvent]:
        """Everything that has arrived; never blocks."""
        messages, lost = self._socket.read()
        events = [event for kind, payload in messages if (event := event_from(kind, payload)) is not None]
        if Disturbed() in events:  # once is enough, however much is gone
            events = [*(event for event in events if event != Disturbed()), Disturbed()]
        if lost:
            events.append(Lost())
        return events

    def close(self) -> None:
        """Leave the groups."""
        self._socket.close()
