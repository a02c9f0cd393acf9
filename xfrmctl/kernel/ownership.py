"""What is ours: every object we put into the kernel carries a mark, and only marked objects are ever touched.

No state of our own is needed to find them again, so a sweep works after a crash, and a foreign IPsec daemon,
firewall or routing daemon on the same host loses nothing.

================ ==================================================================================
object           mark
================ ==================================================================================
SA               reqid 0x58xxxxxx ('X' in the top byte)
policy           index 0x58xxxxxx. The kernel takes the index that user space asks for
                 (``xfrm_gen_index``, since Linux 3.13) and counts its own up from 8, one step of 8 a
                 policy: it would need 184 million policies to come near. Block and bypass policies
                 have no template, so a reqid could not mark them, and priorities are everybody's.
xfrm interface   kind ``xfrm`` and if_id 0x58xxxxxx; its alias says ``xfrmctl`` for human eyes
tunnel device    group 0x58000001 (0x58000000 where TCP is not to be clamped), with twice the bytes that fit added
                 where these are too few for IPv6, so less than 1280; and the alias
its addresses    protocol 158 (``IFA_PROTO``, since Linux 5.18); others may give it more
route            protocol 158, unassigned in ``/etc/iproute2/rt_protos``
routing rule     protocol 158; one a family, which sends packets to peers through our table 158
chain            ``XFRMCTL-MSS`` in the mangle tables, and the jumps to it
                 ``XFRMCTL-ICMP`` and ``XFRMCTL-JUDGE`` there, of the ICMP guard, with NFQUEUE 22598
                 ``XFRMCTL-TELL`` and ``XFRMCTL-TOLD`` there, of the gateway's own path-MTU errors
ipset            name ``xfrmctl-FAMILY-MSS``
nf_tables        tables ``inet xfrmctl``, ``inet xfrmctl-icmp`` of the ICMP guard, ``inet xfrmctl-tunnels`` of
                 the tunnel devices, and ``ip xfrmctl-df``, and all that is in them
================ ==================================================================================

Larval SAs that the kernel makes for our trap policies carry our reqid but have no SPI, so no message can name
them; they vanish after ``net.core.xfrm_acq_expires`` (30 s).
"""

from xfrmctl.model.sizes import IPV4_FLOOR, IPV6_FLOOR

MARK = 0x58
"""'X': the top byte of every 32-bit number that marks an object as ours."""

SPAN = 1 << 24
"""How many numbers lie under the mark."""

ROUTE_PROTOCOL = 158
"""rtm_protocol of our routes (``include/uapi/linux/rtnetlink.h``: values above 4 are free to use)."""

PEER_TABLE = 158
"""Routing table of the routes to peers, which carry the path's MTU."""

RULE_PRIORITY = 158
"""Of the rule that asks that table before the main one (32766)."""

UNDERLAY_MARK = MARK << 24
"""Look-ups with this firewall mark pass our rule by: so we see where a peer would be reached without us."""

ADDRESS_PROTOCOL = ROUTE_PROTOCOL
"""ifa_proto of our addresses (``include/uapi/linux/if_addr.h``: values above 3 are free to use)."""

INTERFACE_KIND = "xfrm"
INTERFACE_ALIAS = "xfrmctl"

CHAIN = "XFRMCTL-MSS"
ICMP_CHAIN, JUDGE_CHAIN = "XFRMCTL-ICMP", "XFRMCTL-JUDGE"
TELL_CHAIN, TOLD_CHAIN = "XFRMCTL-TELL", "XFRMCTL-TOLD"
ICMP_QUEUE = 22598
"""The NFQUEUE of the ICMP guard ("XF"), one for both families; others are welcome to the other 65,535."""

SET_PREFIX = "xfrmctl-"
NFT_TABLE, NFT_ICMP_TABLE, NFT_TUNNELS = "xfrmctl", "xfrmctl-icmp", "xfrmctl-tunnels"
DF_TABLE = "xfrmctl-df"


def is_ours(number: int) -> bool:
    """Whether a reqid, an if_id or a policy index carries our mark."""
    return number >> 24 == MARK


NARROW = range(IPV4_FLOOR, IPV6_FLOOR)
"""Sizes that are too small for IPv6, bytes, down to the least that a device has."""


def tunnel_group(*, clamped: bool, narrow: int = 0) -> int:
    """The device group of our tunnel devices: one rule of a firewall can then be for all of them.

    Those into which less than IPv6's 1280 bytes fit, ``narrow`` bytes, have one for each size.
    """
    return MARK << 24 | narrow << 1 | clamped


def of_tunnel_group(group: int) -> tuple[bool, int] | None:
    """``clamped`` and ``narrow`` of a device group; None where the device is not ours."""
    narrow = (group & 0xFFFFFF) >> 1
    if group >> 24 != MARK or (narrow and narrow not in NARROW):
        return None
    return bool(group & 1), narrow


def is_our_reqid(reqid: int) -> bool:
    """Whether an SA or a template is ours."""
    return reqid >> 24 == MARK


def reqid_for(number: int) -> int:
    """The reqid (or if_id) with this number, 1 to 2^24-1."""
    if not 0 < number < SPAN:
        raise ValueError(f"reqid number {number} is outside 1..{SPAN - 1}")
    return MARK << 24 | number


if_id_for = reqid_for
"""if_ids are marked in the same way."""


def index_for(number: int, direction: int) -> int:
    """The policy index with this number, 0 to 2^21-1; the low three bits are XFRM_POLICY_IN/OUT/FWD."""
    if not 0 <= number < SPAN >> 3:
        raise ValueError(f"policy number {number} is outside 0..{(SPAN >> 3) - 1}")
    return MARK << 24 | number << 3 | direction


def index_number(index: int) -> int:
    """The number that :func:`index_for` put into an index."""
    return (index & (SPAN - 1)) >> 3
