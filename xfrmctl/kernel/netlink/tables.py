# mypy: disable-error-code="misc"
"""The XFRM messages as pyroute2 message tables: the readable form of ``include/uapi/linux/xfrm.h``.

Events are decoded with them. SAs and policies, which come by the thousand, have precompiled layouts in
:mod:`xfrmctl.kernel.netlink.structs`; ``tests/unit/kernel/test_kernel_encoding.py`` holds the two together.

Field names are the kernel's, nested structures are flattened with their name in front. Addresses are 16 raw bytes
(``xfrm_address_t``). pyroute2's classes have no type hints, hence the mypy directive above.
"""

import struct
from typing import Any

from pyroute2.netlink import nla, nlmsg

from xfrmctl.kernel.netlink import constants as c

_HEADER = struct.Struct("=IHHII")

Fields = tuple[tuple[str, str], ...]


def _selector(name: str) -> Fields:
    """``struct xfrm_selector``, 56 bytes."""
    return (
        (f"{name}_daddr", "16s"),
        (f"{name}_saddr", "16s"),
        (f"{name}_dport", ">H"),
        (f"{name}_dport_mask", ">H"),
        (f"{name}_sport", ">H"),
        (f"{name}_sport_mask", ">H"),
        (f"{name}_family", "H"),
        (f"{name}_prefixlen_d", "B"),
        (f"{name}_prefixlen_s", "B"),
        (f"{name}_proto", "B"),
        (f"__{name}_pad", "3x"),
        (f"{name}_ifindex", "i"),
        (f"{name}_user", "I"),
    )


def _id(name: str) -> Fields:
    """``struct xfrm_id``, 24 bytes."""
    return ((f"{name}_daddr", "16s"), (f"{name}_spi", ">I"), (f"{name}_proto", "B"), (f"__{name}_pad", "3x"))


_LIFETIME_CFG: Fields = tuple(
    (f"lft_{limit}", "Q")
    for limit in (
        "soft_byte_limit",
        "hard_byte_limit",
        "soft_packet_limit",
        "hard_packet_limit",
        "soft_add_expires_seconds",
        "hard_add_expires_seconds",
        "soft_use_expires_seconds",
        "hard_use_expires_seconds",
    )
)
_LIFETIME_CUR: Fields = tuple((f"curlft_{name}", "Q") for name in ("bytes", "packets", "add_time", "use_time"))

USERSA_INFO: Fields = (
    *_selector("sel"),
    *_id("id"),
    ("saddr", "16s"),
    *_LIFETIME_CFG,
    *_LIFETIME_CUR,
    ("stats_replay_window", "I"),
    ("stats_replay", "I"),
    ("stats_integrity_failed", "I"),
    ("seq", "I"),
    ("reqid", "I"),
    ("family", "H"),
    ("mode", "B"),
    ("replay_window", "B"),
    ("flags", "B"),
    ("__pad", "7x"),
)
"""``struct xfrm_usersa_info``, 224 bytes."""

USERSA_ID: Fields = (("daddr", "16s"), ("spi", ">I"), ("family", "H"), ("proto", "B"), ("__pad", "1x"))
"""``struct xfrm_usersa_id``, 24 bytes."""

USERPOLICY_INFO: Fields = (
    *_selector("sel"),
    *_LIFETIME_CFG,
    *_LIFETIME_CUR,
    ("priority", "I"),
    ("index", "I"),
    ("dir", "B"),
    ("action", "B"),
    ("flags", "B"),
    ("share", "B"),
    ("__pad", "4x"),
)
"""``struct xfrm_userpolicy_info``, 168 bytes."""

USER_TMPL: Fields = (
    *_id("id"),
    ("family", "H"),
    ("__pad", "2x"),
    ("saddr", "16s"),
    ("reqid", "I"),
    ("mode", "B"),
    ("share", "B"),
    ("optional", "B"),
    ("__pad2", "1x"),
    ("aalgos", "I"),
    ("ealgos", "I"),
    ("calgos", "I"),
)
"""``struct xfrm_user_tmpl``, 64 bytes."""


class Algo(nla):
    """``struct xfrm_algo``; ``alg_key_len`` is bits."""

    fields = (("alg_name", "64s"), ("alg_key_len", "I"), ("alg_key", "s"))


class AlgoAead(nla):
    """``struct xfrm_algo_aead``; both lengths are bits."""

    fields = (("alg_name", "64s"), ("alg_key_len", "I"), ("alg_icv_len", "I"), ("alg_key", "s"))


class AlgoAuth(nla):
    """``struct xfrm_algo_auth``; both lengths are bits."""

    fields = (("alg_name", "64s"), ("alg_key_len", "I"), ("alg_trunc_len", "I"), ("alg_key", "s"))


class EncapTmpl(nla):
    """``struct xfrm_encap_tmpl``, 24 bytes."""

    fields = (
        ("encap_type", "H"),
        ("encap_sport", ">H"),
        ("encap_dport", ">H"),
        ("__pad", "2x"),
        ("encap_oa", "16s"),
    )


class ReplayStateEsn(nla):
    """``struct xfrm_replay_state_esn`` without its bitmap."""

    fields = (
        ("bmp_len", "I"),
        ("oseq", "I"),
        ("seq", "I"),
        ("oseq_hi", "I"),
        ("seq_hi", "I"),
        ("replay_window", "I"),
    )


class UserTmpl(nla):
    """The first ``struct xfrm_user_tmpl`` of XFRMA_TMPL; we never ask for more than one."""

    fields = USER_TMPL


class Mark(nla):
    """``struct xfrm_mark``."""

    fields = (("v", "I"), ("m", "I"))


class UserOffload(nla):
    """``struct xfrm_user_offload``: crypto or packet offload to a network device."""

    fields = (("ifindex", "i"), ("flags", "B"), ("__pad", "3x"))


class XfrmMessage(nlmsg):
    """Any message of NETLINK_XFRM; the attributes are common to all (``enum xfrm_attr_type_t``)."""

    nla_map = (
        ("XFRMA_UNSPEC", "none"),
        ("XFRMA_ALG_AUTH", "algo"),
        ("XFRMA_ALG_CRYPT", "algo"),
        ("XFRMA_ALG_COMP", "algo"),
        ("XFRMA_ENCAP", "encap_tmpl"),
        ("XFRMA_TMPL", "user_tmpl"),
        ("XFRMA_SA", "hex"),
        ("XFRMA_POLICY", "hex"),
        ("XFRMA_SEC_CTX", "hex"),
        ("XFRMA_LTIME_VAL", "hex"),
        ("XFRMA_REPLAY_VAL", "hex"),
        ("XFRMA_REPLAY_THRESH", "uint32"),
        ("XFRMA_ETIMER_THRESH", "uint32"),
        ("XFRMA_SRCADDR", "hex"),
        ("XFRMA_COADDR", "hex"),
        ("XFRMA_LASTUSED", "uint64"),
        ("XFRMA_POLICY_TYPE", "hex"),
        ("XFRMA_MIGRATE", "hex"),
        ("XFRMA_ALG_AEAD", "algo_aead"),
        ("XFRMA_KMADDRESS", "hex"),
        ("XFRMA_ALG_AUTH_TRUNC", "algo_auth"),
        ("XFRMA_MARK", "mark"),
        ("XFRMA_TFCPAD", "uint32"),
        ("XFRMA_REPLAY_ESN_VAL", "replay_state_esn"),
        ("XFRMA_SA_EXTRA_FLAGS", "uint32"),
        ("XFRMA_PROTO", "uint8"),
        ("XFRMA_ADDRESS_FILTER", "hex"),
        ("XFRMA_PAD", "hex"),
        ("XFRMA_OFFLOAD_DEV", "user_offload"),
        ("XFRMA_SET_MARK", "uint32"),
        ("XFRMA_SET_MARK_MASK", "uint32"),
        ("XFRMA_IF_ID", "uint32"),
        ("XFRMA_MTIMER_THRESH", "uint32"),
        ("XFRMA_SA_DIR", "uint8"),
        ("XFRMA_NAT_KEEPALIVE_INTERVAL", "uint32"),
        ("XFRMA_SA_PCPU", "uint32"),
    )
    algo = Algo
    algo_aead = AlgoAead
    algo_auth = AlgoAuth
    encap_tmpl = EncapTmpl
    replay_state_esn = ReplayStateEsn
    user_tmpl = UserTmpl
    mark = Mark
    user_offload = UserOffload


class UserSaInfo(XfrmMessage):
    """XFRM_MSG_NEWSA, XFRM_MSG_UPDSA."""

    fields = USERSA_INFO


class UserSaId(XfrmMessage):
    """XFRM_MSG_DELSA, XFRM_MSG_GETSA."""

    fields = USERSA_ID


class UserPolicyInfo(XfrmMessage):
    """XFRM_MSG_NEWPOLICY, XFRM_MSG_UPDPOLICY."""

    fields = USERPOLICY_INFO


class UserPolicyId(XfrmMessage):
    """XFRM_MSG_DELPOLICY, XFRM_MSG_GETPOLICY: ``struct xfrm_userpolicy_id``, 64 bytes."""

    fields = (*_selector("sel"), ("index", "I"), ("dir", "B"), ("__pad", "3x"))


class UserAcquire(XfrmMessage):
    """XFRM_MSG_ACQUIRE: ``struct xfrm_user_acquire``, 280 bytes. ``sel`` is the packet's flow, exactly."""

    fields = (
        *_id("id"),
        ("saddr", "16s"),
        *_selector("sel"),
        *((f"policy_{name.lstrip('_')}", fmt) for name, fmt in USERPOLICY_INFO),
        ("aalgos", "I"),
        ("ealgos", "I"),
        ("calgos", "I"),
        ("seq", "I"),
    )


class UserExpire(XfrmMessage):
    """XFRM_MSG_EXPIRE: ``struct xfrm_user_expire``, 232 bytes."""

    fields = (*USERSA_INFO, ("hard", "B"), ("__pad_hard", "7x"))


class UserMapping(XfrmMessage):
    """XFRM_MSG_MAPPING: ``struct xfrm_user_mapping``, 64 bytes."""

    fields = (
        *((f"id_{name.lstrip('_')}", fmt) for name, fmt in USERSA_ID),
        ("reqid", "I"),
        ("old_saddr", "16s"),
        ("new_saddr", "16s"),
        ("old_sport", ">H"),
        ("new_sport", ">H"),
    )


EVENTS: dict[int, type[XfrmMessage]] = {
    c.XFRM_MSG_ACQUIRE: UserAcquire,
    c.XFRM_MSG_EXPIRE: UserExpire,
    c.XFRM_MSG_MAPPING: UserMapping,
}
"""What of the multicast groups' messages is decoded with a table."""


def decode(table: type[Any], payload: memoryview) -> Any:
    """Decode a message whose netlink header has been taken off already."""
    message = table(_HEADER.pack(_HEADER.size + len(payload), 0, 0, 0, 0) + payload)
    message.decode()
    return message
