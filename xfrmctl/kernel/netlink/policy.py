"""Messages of the SPD: add, replace, delete, dump (``net/xfrm/xfrm_user.c``: xfrm_add_policy, xfrm_get_policy).

NEWPOLICY is exclusive: where somebody else's policy has the same key it fails with EEXIST instead of taking its
place. UPDPOLICY replaces in one step under the kernel's policy lock, so a key goes from trap to SA to block without
a gap, and the index (our mark) stays. Deletion names the index, so it cannot hit anything that is not ours.

Every policy of ours has the flag ``icmp``: an ICMP error that no policy selects, most of all one of the gateway's own
about a packet that came out of a tunnel, then goes where the packets that it is about have come from (RFC 4301 6.2).
Without it the kernel sends it in clear, by the plain route, with up to 548 (IPv6: 1,232) octets of what was decrypted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from socket import htons, ntohs

from xfrmctl.kernel.desired import Action, Policy, PolicyKey, Template
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.ownership import is_our_reqid, is_ours
from xfrmctl.model.flow import Port

_NO_LIMITS = (c.XFRM_INF, c.XFRM_INF, c.XFRM_INF, c.XFRM_INF, 0, 0, 0, 0)
_ALL_ALGORITHMS = 0xFFFFFFFF
_ACTION = {Action.ALLOW: c.XFRM_POLICY_ALLOW, Action.BLOCK: c.XFRM_POLICY_BLOCK}
_ACTION_OF = {number: action for action, number in _ACTION.items()}


@dataclass(frozen=True, slots=True)
class KernelPolicy:
    """A policy as the kernel holds it."""

    index: int
    policy: Policy


def selector_of(key: PolicyKey) -> s.Selector:
    """``struct xfrm_selector`` of a policy."""
    return (
        key.destination.network_address.packed,
        key.source.network_address.packed,
        htons(key.destination_port.value),
        htons(key.destination_port.mask),
        htons(key.source_port.value),
        htons(key.source_port.mask),
        s.family_of(key.source),
        key.destination.prefixlen,
        key.source.prefixlen,
        key.protocol,
        0,
        0,
    )


def policy_info(policy: Policy, index: int) -> bytes:
    """``struct xfrm_userpolicy_info``."""
    return s.USERPOLICY_INFO.pack(
        *selector_of(policy.key),
        *_NO_LIMITS,
        policy.priority,
        index,
        c.XFRM_POLICY[policy.key.direction],
        _ACTION[policy.action],
        c.XFRM_POLICY_ICMP if policy.errors else 0,
        0,
    )


def put_policy(policy: Policy, index: int, *, replace: bool) -> Request:
    """XFRM_MSG_NEWPOLICY (exclusive), or XFRM_MSG_UPDPOLICY where ``replace``.

    Raises ValueError for a policy that must not reach the kernel.
    """
    key = policy.key
    if key.source.version != key.destination.version:
        raise ValueError(f"{key} mixes address families")
    if not is_ours(index):
        raise ValueError(f"{key}: index {index:#x} does not carry our mark")
    parts = [policy_info(policy, index)]
    if policy.template is not None:
        parts.append(s.attribute(c.XFRMA_TMPL, encode_template(policy.template)))
    parts.append(_place(key))
    return Request(c.XFRM_MSG_UPDPOLICY if replace else c.XFRM_MSG_NEWPOLICY, 0, b"".join(parts))


def delete_policy(held: KernelPolicy) -> Request:
    """XFRM_MSG_DELPOLICY by index; answered with ENOENT where the policy is gone."""
    key = held.policy.key
    payload = s.USERPOLICY_ID.pack(*selector_of(key), held.index, c.XFRM_POLICY[key.direction])
    return Request(c.XFRM_MSG_DELPOLICY, 0, payload + _place(key))


def _place(key: PolicyKey) -> bytes:
    """Mark and if_id, which name a policy along with its selector."""
    return s.mark_attribute(key.mark) + (s.ATTR_U32.pack(8, c.XFRMA_IF_ID, key.if_id) if key.if_id else b"")


def dump_policies() -> Request:
    """XFRM_MSG_GETPOLICY for the whole SPD."""
    return Request(c.XFRM_MSG_GETPOLICY, 0, bytes(s.USERPOLICY_ID.size))


def policies_from(messages: Sequence[tuple[int, memoryview]]) -> list[KernelPolicy]:
    """Read a dump; policies of others are left out."""
    found: list[KernelPolicy] = []
    for kind, payload in messages:
        if kind == c.XFRM_MSG_NEWPOLICY and (held := policy_from(payload)) is not None:
            found.append(held)
    return found


def policy_from(payload: memoryview) -> KernelPolicy | None:
    """Read one policy; None if it is not ours."""
    values = s.USERPOLICY_INFO.unpack_from(payload)
    daddr, saddr, dport, dport_mask, sport, sport_mask, family, prefixlen_d, prefixlen_s, proto = values[:10]
    priority, index, direction, action, flags = values[20:25]
    if not is_ours(index) or direction not in c.DIRECTION_OF or action not in _ACTION_OF:
        return None
    end = s.USERPOLICY_INFO.size
    if_id = s.find_attribute(payload, end, c.XFRMA_IF_ID)
    template = s.find_attribute(payload, end, c.XFRMA_TMPL)
    key = PolicyKey(
        direction=c.DIRECTION_OF[direction],
        source=s.network_from(saddr, prefixlen_s, family),
        destination=s.network_from(daddr, prefixlen_d, family),
        protocol=proto,
        source_port=Port(ntohs(sport), ntohs(sport_mask)),
        destination_port=Port(ntohs(dport), ntohs(dport_mask)),
        if_id=s.U32.unpack(if_id)[0] if if_id is not None else 0,
        mark=s.mark_from(payload, end),
    )
    ends = template_from(template) if template else None
    return KernelPolicy(index, Policy(key, _ACTION_OF[action], priority, ends, bool(flags & c.XFRM_POLICY_ICMP)))


def template_from(raw: memoryview) -> Template | None:
    """Read the first template; None for a protocol or a mode that we never ask for."""
    if len(raw) < s.USER_TMPL.size:
        return None
    daddr, _, proto, family, saddr, reqid, mode = s.USER_TMPL.unpack_from(raw)[:7]
    if proto not in c.PROTOCOL_OF or mode not in c.MODE_OF:
        return None
    source, destination = s.address_from(saddr, family), s.address_from(daddr, family)
    return Template(source, destination, reqid, c.MODE_OF[mode], c.PROTOCOL_OF[proto])


def encode_template(template: Template) -> bytes:
    """``struct xfrm_user_tmpl``, any algorithm will do. Raises ValueError for a reqid that is not ours."""
    if not is_our_reqid(template.reqid):
        raise ValueError(f"reqid {template.reqid:#x} does not carry our mark")
    return s.USER_TMPL.pack(
        template.destination.packed,
        0,
        c.IPPROTO[template.protocol],
        s.family_of(template.source),
        template.source.packed,
        template.reqid,
        c.XFRM_MODE[template.mode],
        0,
        0,
        _ALL_ALGORITHMS,
        _ALL_ALGORITHMS,
        _ALL_ALGORITHMS,
    )
