"""Messages of the SAD: add, delete, dump (``net/xfrm/xfrm_user.c``: xfrm_add_sa, xfrm_del_sa, xfrm_dump_sa).

Rules of the kernel that shape the message (``verify_newsa_info``, ``verify_replay``, ``xfrm_init_replay``):

* a tunnel SA has no selector and the flag AF_UNSPEC, or it would carry one inner family only;
* the old ``replay_window`` field holds at most 32; larger windows and ESN need XFRMA_REPLAY_ESN_VAL, and then the
  field is 0; with ESN the window is at least 1 even for output, since we send no XFRMA_SA_DIR (unknown before 6.10);
* AH has an integrity algorithm only. Its header is a multiple of 4 bytes over IPv4 and of 8 over IPv6 (RFC 4302 2.6),
  but Linux takes 8 for both, on output and for what it accepts, unless ALIGN4 is set (``ah4_init_state``);
* NOPMTUDISC (outer DF clear) belongs on the output SA and cannot be changed later (KERNEL-FACTS 9).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from socket import htonl, htons, ntohl
from struct import Struct

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.kernel.ownership import MARK, is_our_reqid
from xfrmctl.model.algorithms import INTEG
from xfrmctl.model.flow import flows
from xfrmctl.model.iana import Encr, Integ, ProtocolId
from xfrmctl.model.plane import Mark, Offload
from xfrmctl.model.sa import DfPolicy, Direction, KernelSa, Lifetime, Mode, SaCounters, SaId, SaKeys

LEGACY_WINDOW = 32
MAX_WINDOW = 4096


@dataclass(frozen=True, slots=True)
class _Cipher:
    name: bytes
    icv_bits: int


_AEAD: dict[Encr, _Cipher] = {
    Encr.AES_GCM_16: _Cipher(b"rfc4106(gcm(aes))", 128),
    Encr.CHACHA20_POLY1305: _Cipher(b"rfc7539esp(chacha20,poly1305)", 128),
}
_CRYPT: dict[Encr, bytes] = {Encr.AES_CBC: b"cbc(aes)"}
_AUTH: dict[Integ, bytes] = {
    Integ.HMAC_SHA2_256_128: b"hmac(sha256)",
    Integ.HMAC_SHA2_384_192: b"hmac(sha384)",
    Integ.HMAC_SHA2_512_256: b"hmac(sha512)",
}
"""Names of the kernel's crypto API (``net/xfrm/xfrm_algo.c``). What is not here never reaches the kernel."""


def algorithm_name(sa: KernelSa) -> str:
    """The kernel's name of the SA's algorithms, for messages."""
    aead = _AEAD.get(sa.suite.encr)
    if aead is not None:
        return aead.name.decode()
    integ = _AUTH.get(sa.suite.integ, b"?") if sa.suite.integ is not None else b"none"
    if sa.protocol == ProtocolId.AH:
        return f"ah with {integ.decode()}"
    return f"{_CRYPT.get(sa.suite.encr, b'?').decode()} with {integ.decode()}"


def new_sa(sa: KernelSa, keys: SaKeys, *, offload: bool = True) -> Request:
    """XFRM_MSG_NEWSA: exclusive, an SA of the same name is refused with EEXIST. ``offload``: where it is wished for.

    Raises ValueError for an SA that must not reach the kernel: foreign reqid, unknown algorithm, wrong key size.
    """
    if not is_our_reqid(sa.reqid):
        raise ValueError(f"reqid {sa.reqid:#x} does not carry our mark")
    if not 0xFF < sa.spi <= 0xFFFFFFFF:
        raise ValueError(f"SPI {sa.spi:#x} is reserved (RFC 4303 2.1)")
    family = s.family_of(sa.destination)
    flags = 0
    selector: s.Selector = s.ANY_SELECTOR
    if sa.mode is Mode.TUNNEL:
        flags |= c.XFRM_STATE_AF_UNSPEC
    else:
        selector = _transport_selector(sa, family)
    if sa.protocol == ProtocolId.AH and sa.destination.version == 4:
        flags |= c.XFRM_STATE_ALIGN4
    if sa.df is DfPolicy.CLEAR and sa.direction is Direction.OUT:
        flags |= c.XFRM_STATE_NOPMTUDISC
    flags |= _flags(sa)
    window = min(sa.replay_window, MAX_WINDOW) if sa.direction is Direction.IN else 0
    esn_window = 0
    if sa.suite.esn:
        flags |= c.XFRM_STATE_ESN
        esn_window, window = max(window, 1), 0
    elif window > LEGACY_WINDOW:
        esn_window, window = window, 0
    parts = [
        s.USERSA_INFO.pack(
            *selector,
            sa.destination.packed,
            htonl(sa.spi),
            c.IPPROTO[sa.protocol],
            sa.source.packed,
            *_limits(sa.lifetime),
            sa.acquire_seq,
            sa.reqid,
            family,
            c.XFRM_MODE[sa.mode],
            window,
            flags,
        ),
        _algorithms(sa, keys),
    ]
    if esn_window:
        words = (esn_window + 31) // 32
        parts.append(
            s.ATTR_REPLAY_ESN.pack(s.ATTR_REPLAY_ESN.size, c.XFRMA_REPLAY_ESN_VAL, words, 0, 0, 0, 0, esn_window)
        )
    if sa.encap is not None:
        parts.append(
            s.ATTR_ENCAP.pack(
                s.ATTR_ENCAP.size,
                c.XFRMA_ENCAP,
                c.UDP_ENCAP_ESPINUDP,
                htons(sa.encap.source_port),
                htons(sa.encap.destination_port),
                b"",
            )
        )
    if sa.if_id:
        parts.append(s.ATTR_U32.pack(8, c.XFRMA_IF_ID, sa.if_id))
    parts += _packet_options(sa)
    if offload and sa.options.offload is not Offload.NO:
        parts.append(_user_offload(sa))
    return Request(c.XFRM_MSG_NEWSA, 0, b"".join(parts))


def _flags(sa: KernelSa) -> int:
    """ECN is copied at encapsulation and carried over at decapsulation, or neither; DSCP each by its own.

    Inbound, an ICMP error passes where the packet that it quotes would, whoever sends it (RFC 4301 6.2).
    """
    flags = 0 if sa.options.ecn else c.XFRM_STATE_NOECN
    if sa.direction is Direction.IN:
        flags |= c.XFRM_STATE_ICMP
    if sa.direction is Direction.IN and sa.options.dscp_in:
        flags |= c.XFRM_STATE_DECAP_DSCP
    return flags


def mark_of(sa: KernelSa) -> Mark | None:
    """The mark that is part of an SA's name: the outbound SA is looked up with that of its policy.

    The inbound one is looked up with the mark of the encrypted packet, which nobody has marked, so it has none.
    """
    return sa.options.mark_out if sa.direction is Direction.OUT else None


def _packet_options(sa: KernelSa) -> list[bytes]:
    options, outbound = sa.options, sa.direction is Direction.OUT
    found = []
    if outbound and not options.dscp_out:
        found.append(s.ATTR_U32.pack(8, c.XFRMA_SA_EXTRA_FLAGS, c.XFRM_SA_XFLAG_DONT_ENCAP_DSCP))
    mark, to_set = mark_of(sa), options.set_mark_out if outbound else options.set_mark_in
    if mark is not None:
        found.append(s.mark_attribute(mark))
    if to_set is not None:
        found.append(s.ATTR_U32.pack(8, c.XFRMA_SET_MARK, to_set.value))
        found.append(s.ATTR_U32.pack(8, c.XFRMA_SET_MARK_MASK, to_set.mask))
    return found


def _user_offload(sa: KernelSa) -> bytes:
    """``struct xfrm_user_offload``; with ifindex 0 the kernel takes the device of the route to the peer."""
    flags = c.XFRM_OFFLOAD_INBOUND if sa.direction is Direction.IN else 0
    flags |= c.XFRM_OFFLOAD_IPV6 if sa.destination.version == 6 else 0
    return s.attribute(c.XFRMA_OFFLOAD_DEV, s.USER_OFFLOAD.pack(0, flags))


def delete_sa(sa: SaId, mark: Mark | None = None) -> Request:
    """XFRM_MSG_DELSA; answered with ESRCH where the SA is gone, or where it has another ``mark``."""
    address = sa.destination
    payload = s.USERSA_ID.pack(address.packed, htonl(sa.spi), s.family_of(address), c.IPPROTO[sa.protocol])
    return Request(c.XFRM_MSG_DELSA, 0, payload + s.mark_attribute(mark))


def dump_sas() -> Request:
    """XFRM_MSG_GETSA for all SAs. The kernel cannot filter by reqid, so the reader does.

    A dump request has no header of its own, only attributes (``xfrm_dump_sa``).
    """
    return Request(c.XFRM_MSG_GETSA, 0, b"")


def marks_from(messages: Sequence[tuple[int, memoryview]]) -> dict[SaId, Mark]:
    """The marks in a dump, of SAs of ours that have one."""
    shown = ((sa, s.mark_from(payload, s.USERSA_INFO.size)) for sa, payload in named(messages))
    return {sa: mark for sa, mark in shown if mark is not None}


def named(messages: Sequence[tuple[int, memoryview]]) -> Iterator[tuple[SaId, memoryview]]:
    """The SAs of ours in a dump, with what the kernel shows of them."""
    for kind, payload in messages:
        if kind == c.XFRM_MSG_NEWSA:
            daddr, spi, proto, *_, reqid, family = s.USERSA_COUNTERS.unpack_from(payload)
            if reqid >> 24 == MARK and proto in c.PROTOCOL_OF:
                yield SaId(s.address_from(daddr, family), c.PROTOCOL_OF[proto], ntohl(spi)), payload


def counters_from(messages: Sequence[tuple[int, memoryview]]) -> dict[SaId, SaCounters]:
    """Read a dump; SAs of others and larval ones (no SPI yet) are left out."""
    found: dict[SaId, SaCounters] = {}
    unpack_from = s.USERSA_COUNTERS.unpack_from
    for kind, payload in messages:
        if kind != c.XFRM_MSG_NEWSA:
            continue
        daddr, spi, proto, size, packets, added, used, late, replay, failed, reqid, family = unpack_from(payload)
        if reqid >> 24 != MARK or not spi or proto not in c.PROTOCOL_OF:
            continue
        last = s.find_attribute(payload, s.USERSA_INFO.size, c.XFRMA_LASTUSED)
        if last is not None:
            (used,) = s.U64.unpack(last)
        name = SaId(s.address_from(daddr, family), c.PROTOCOL_OF[proto], ntohl(spi))
        found[name] = SaCounters(
            id=name,
            reqid=reqid,
            bytes=size,
            packets=packets,
            replay_drops=replay,
            integrity_failures=failed,
            added_at=added,
            used_at=used,
            late_drops=late,
        )
    return found


def _limits(life: Lifetime) -> tuple[int, ...]:
    """``struct xfrm_lifetime_cfg``: bytes and packets have XFRM_INF for none, seconds have 0."""
    return (
        life.soft_bytes or c.XFRM_INF,
        life.hard_bytes or c.XFRM_INF,
        life.soft_packets or c.XFRM_INF,
        life.hard_packets or c.XFRM_INF,
        life.soft_seconds,
        life.hard_seconds,
        0,
        0,
    )


def _algorithms(sa: KernelSa, keys: SaKeys) -> bytes:
    facts = sa.suite.encr_facts
    key = keys.encryption
    if len(key) != sa.suite.key_bits // 8 + facts.salt:
        raise ValueError(f"{sa.suite} needs {sa.suite.key_bits // 8 + facts.salt} key bytes, got {len(key)}")
    if sa.protocol == ProtocolId.AH:
        return _authentication(sa, keys)
    aead = _AEAD.get(sa.suite.encr)
    if aead is not None:
        return _sized(c.XFRMA_ALG_AEAD, aead.name, key, aead.icv_bits)
    name = _CRYPT.get(sa.suite.encr)
    if name is None:
        raise ValueError(f"{sa.suite} is not a suite that may reach the kernel")
    length = s.ATTR_ALGO.size + len(key)
    crypt = s.ATTR_ALGO.pack(length, c.XFRMA_ALG_CRYPT, name, 8 * len(key)) + key + bytes(-length % 4)
    return _authentication(sa, keys) + crypt


def _authentication(sa: KernelSa, keys: SaKeys) -> bytes:
    auth = _AUTH.get(sa.suite.integ) if sa.suite.integ is not None else None
    if auth is None or sa.suite.integ is None:
        raise ValueError(f"{sa.suite} is not a suite that may reach the kernel")
    integ = INTEG[sa.suite.integ]
    if len(keys.integrity) != integ.key:
        raise ValueError(f"{integ.keyword} needs {integ.key} key bytes, got {len(keys.integrity)}")
    return _sized(c.XFRMA_ALG_AUTH_TRUNC, auth, keys.integrity, 8 * integ.icv)


def _sized(kind: int, name: bytes, key: bytes, icv_bits: int) -> bytes:
    length = s.ATTR_ALGO_SIZED.size + len(key)
    return s.ATTR_ALGO_SIZED.pack(length, kind, name, 8 * len(key), icv_bits) + key + bytes(-length % 4)


def _transport_selector(sa: KernelSa, family: int) -> s.Selector:
    """What a single selector says; a pair that takes more is left to the policies."""
    found = list(islice(flows((sa.selector[0],), (sa.selector[1],)), 2)) if sa.selector is not None else []
    if len(found) != 1:
        return (b"", b"", 0, 0, 0, 0, family, 0, 0, 0, 0, 0)
    (flow,) = found
    source, destination = flow.local, flow.remote
    ports = (htons(flow.far.value), htons(flow.far.mask), htons(flow.near.value), htons(flow.near.mask))
    addresses = destination.network_address.packed, source.network_address.packed
    return (*addresses, *ports, family, destination.prefixlen, source.prefixlen, flow.protocol, 0, 0)


_REPLAY = Struct("=I")
"""``struct xfrm_replay_state`` begins with oseq."""
_REPLAY_ESN = Struct("=IIII")
"""``struct xfrm_replay_state_esn`` begins with bmp_len, oseq, seq, oseq_hi."""


def sent_from(payload: memoryview) -> int:
    """The last sequence number that an outbound SA has sent, from what XFRM_MSG_GETSA has answered."""
    found = 0
    for kind, value in s.attributes(payload, s.USERSA_INFO.size):
        if kind == c.XFRMA_REPLAY_VAL:
            found = max(found, _REPLAY.unpack_from(value)[0])
        elif kind == c.XFRMA_REPLAY_ESN_VAL:
            _, low, _, high = _REPLAY_ESN.unpack_from(value)
            return int(high) << 32 | int(low)
    return found
