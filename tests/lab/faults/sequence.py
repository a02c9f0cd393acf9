"""Sets the sequence number of an SA, as a cluster does that hands SAs over (XFRM_MSG_NEWAE)."""

import socket
import struct
from ipaddress import ip_address

from tests.lab.kernel_gateway import inside
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink.constants import IPPROTO, NETLINK_XFRM
from xfrmctl.kernel.netlink.socket import NetlinkSocket, Request
from xfrmctl.lab.namespace import Namespace
from xfrmctl.model.iana import ProtocolId

XFRM_MSG_NEWAE = 0x1E
NLM_F_REPLACE = 0x100
XFRMA_REPLAY_VAL = 10
_AEVENT = struct.Struct("=16sIHBx16sII")
"""``struct xfrm_aevent_id``: sa_id (daddr spi family proto) saddr flags reqid."""


def set_sequence(namespace: Namespace, destination: str, spi: int, sent: int) -> None:
    """The last number that an outbound SA without ESN has used."""
    address = ip_address(destination).packed
    head = _AEVENT.pack(address, socket.htonl(spi), socket.AF_INET, IPPROTO[ProtocolId.ESP], bytes(16), 0, 0)
    replay = s.attribute(XFRMA_REPLAY_VAL, struct.pack("=III", sent, 0, 0))
    with inside(namespace), NetlinkSocket(NETLINK_XFRM) as netlink:
        assert netlink.transact([Request(XFRM_MSG_NEWAE, NLM_F_REPLACE, head + replay)]) == {}
