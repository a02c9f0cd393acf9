"""Messages about routing rules (``net/core/fib_rules.c``).

The one of a family that is ours sends everything through the table of peers first, but for look-ups with our own mark:
by those we ask where a peer would be reached without our routes.
"""

from collections.abc import Sequence
from struct import Struct

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.netlink.structs import ATTR_U32, attribute, find_attribute
from xfrmctl.kernel.ownership import PEER_TABLE, ROUTE_PROTOCOL, RULE_PRIORITY, UNDERLAY_MARK

FIB_RULE_HDR = Struct("=BBBBBBBBI")
"""``struct fib_rule_hdr``: family dst_len src_len tos table res1 res2 action flags."""

FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_FWMASK = 16
FRA_PROTOCOL = 21

FR_ACT_TO_TBL = 1
FIB_RULE_INVERT = 2


def _body(family: int) -> bytes:
    return (
        FIB_RULE_HDR.pack(family, 0, 0, 0, PEER_TABLE, 0, 0, FR_ACT_TO_TBL, FIB_RULE_INVERT)
        + ATTR_U32.pack(8, FRA_PRIORITY, RULE_PRIORITY)
        + ATTR_U32.pack(8, FRA_FWMARK, UNDERLAY_MARK)
        + ATTR_U32.pack(8, FRA_FWMASK, 0xFFFFFFFF)
        + attribute(FRA_PROTOCOL, bytes((ROUTE_PROTOCOL,)))
    )


def new_rule(family: int) -> Request:
    """RTM_NEWRULE: our rule; answered with EEXIST where it stands already."""
    return Request(c.RTM_NEWRULE, c.NLM_F_CREATE | c.NLM_F_EXCL, _body(family))


def delete_rule(family: int) -> Request:
    """RTM_DELRULE: our rule; answered with ENOENT where there is none."""
    return Request(c.RTM_DELRULE, 0, _body(family))


def dump_rules(family: int) -> Request:
    """All rules of a family."""
    return Request(c.RTM_GETRULE, 0, FIB_RULE_HDR.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))


def stands(messages: Sequence[tuple[int, memoryview]]) -> bool:
    """Whether our rule is in a dump."""
    for kind, payload in messages:
        protocol = find_attribute(payload, FIB_RULE_HDR.size, FRA_PROTOCOL) if kind == c.RTM_NEWRULE else None
        if protocol is not None and bytes(protocol) == bytes((ROUTE_PROTOCOL,)):
            return bool(FIB_RULE_HDR.unpack_from(payload)[4] == PEER_TABLE)
    return False
