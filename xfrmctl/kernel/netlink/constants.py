"""Numbers of the netlink families we speak. Names are the kernel's.

Sources: ``include/uapi/linux/{netlink,xfrm,rtnetlink,if_link,udp,in}.h``. Those of netfilter are beside its messages.
"""

from typing import Final

from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.sa import Direction, Mode

NETLINK_ROUTE: Final = 0
NETLINK_XFRM: Final = 6
NETLINK_NETFILTER: Final = 12

SO_SNDBUFFORCE: Final = 32
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSGERR_ATTR_MSG: Final = 1

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_DUMP: Final = 0x300
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400

XFRM_MSG_NEWSA: Final = 0x10
XFRM_MSG_DELSA: Final = 0x11
XFRM_MSG_GETSA: Final = 0x12
XFRM_MSG_NEWPOLICY: Final = 0x13
XFRM_MSG_DELPOLICY: Final = 0x14
XFRM_MSG_GETPOLICY: Final = 0x15
XFRM_MSG_ACQUIRE: Final = 0x17
XFRM_MSG_EXPIRE: Final = 0x18
XFRM_MSG_UPDPOLICY: Final = 0x19
XFRM_MSG_UPDSA: Final = 0x1A
XFRM_MSG_FLUSHSA: Final = 0x1C
XFRM_MSG_FLUSHPOLICY: Final = 0x1D
XFRM_MSG_MAPPING: Final = 0x26

XFRMNLGRP_ACQUIRE: Final = 1
XFRMNLGRP_EXPIRE: Final = 2
XFRMNLGRP_SA: Final = 3
XFRMNLGRP_POLICY: Final = 4
XFRMNLGRP_MAPPING: Final = 8

XFRMA_ALG_CRYPT: Final = 2
XFRMA_ENCAP: Final = 4
XFRMA_TMPL: Final = 5
XFRMA_SA: Final = 6
XFRMA_POLICY: Final = 7
XFRMA_LTIME_VAL: Final = 9
XFRMA_REPLAY_VAL: Final = 10
XFRMA_LASTUSED: Final = 15
XFRMA_ALG_AEAD: Final = 18
XFRMA_ALG_AUTH_TRUNC: Final = 20
XFRMA_MARK: Final = 21
XFRMA_REPLAY_ESN_VAL: Final = 23
XFRMA_SA_EXTRA_FLAGS: Final = 24
XFRMA_PROTO: Final = 25
XFRMA_OFFLOAD_DEV: Final = 28
XFRMA_SET_MARK: Final = 29
XFRMA_SET_MARK_MASK: Final = 30
XFRMA_IF_ID: Final = 31

XFRM_STATE_NOECN: Final = 1
XFRM_STATE_DECAP_DSCP: Final = 2
XFRM_STATE_NOPMTUDISC: Final = 4
XFRM_STATE_ICMP: Final = 16
XFRM_STATE_AF_UNSPEC: Final = 32
XFRM_STATE_ALIGN4: Final = 64
XFRM_STATE_ESN: Final = 128

XFRM_SA_XFLAG_DONT_ENCAP_DSCP: Final = 1

XFRM_OFFLOAD_IPV6: Final = 1
XFRM_OFFLOAD_INBOUND: Final = 2
XFRM_OFFLOAD_PACKET: Final = 4

XFRM_POLICY_ALLOW: Final = 0
XFRM_POLICY_BLOCK: Final = 1
XFRM_POLICY_ICMP: Final = 2

XFRM_INF: Final = 2**64 - 1

UDP_ENCAP_ESPINUDP: Final = 2

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_SETLINK: Final = 19
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26
RTM_NEWRULE: Final = 32
RTM_DELRULE: Final = 33
RTM_GETRULE: Final = 34

RTN_UNICAST: Final = 1
RTN_BLACKHOLE: Final = 6
RTAX_LOCK_MTU: Final = 1 << 2
"""Bit RTAX_MTU of the RTAX_LOCK metric."""

IFF_UP: Final = 1
IFF_MULTICAST: Final = 0x1000

XFRM_POLICY: Final = {Direction.IN: 0, Direction.OUT: 1, Direction.FWD: 2}
DIRECTION_OF: Final = {number: direction for direction, number in XFRM_POLICY.items()}

XFRM_MODE: Final = {Mode.TRANSPORT: 0, Mode.TUNNEL: 1}
MODE_OF: Final = {number: mode for mode, number in XFRM_MODE.items()}

IPPROTO: Final = {ProtocolId.ESP: 50, ProtocolId.AH: 51}
"""IKE numbers the protocols otherwise than IP does (RFC 7296 3.3.1): every crossing goes through here."""
PROTOCOL_OF: Final = {number: protocol for protocol, number in IPPROTO.items()}
