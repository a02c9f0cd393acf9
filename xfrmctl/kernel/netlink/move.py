"""An SA whose peer has moved, as the kernel lets us change it (``net/xfrm/xfrm_state.c``: xfrm_state_update).

Only the UDP ports can change in place: XFRM_MSG_UPDSA copies the encapsulation into the SA that stands, and touches
neither sequence numbers nor replay window. Addresses cannot: the destination is part of an SA's name. Neither can
whether there is encapsulation at all, which the kernel refuses to change. Such an SA is
read and written anew with keys, counters, sequence numbers and replay window as they were; outbound, the new one
begins OSEQ_MARGIN further on, so that nothing that the old one sends until it goes is ever numbered twice.

What XFRM_MSG_GETSA answers is what XFRM_MSG_NEWSA takes, ``struct xfrm_usersa_info`` and attributes, so what is not
changed here is not even looked at. XFRM_MSG_MIGRATE would do it in one step, but it finds SAs by reqid and addresses:
of two with the same reqid, as there are while a CHILD SA is rekeyed, it moves one.
"""

from collections.abc import Iterator
from socket import htons
from struct import Struct

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink.sa import delete_sa
from xfrmctl.kernel.netlink.socket import Request
from xfrmctl.model.plane import Mark
from xfrmctl.model.sa import Direction, SaId, SaMove

OSEQ_MARGIN = 1 << 16
"""Sequence numbers that the old outbound SA may still use up."""

_DADDR, _SADDR, _LIFETIME, _SEQ = slice(56, 72), slice(80, 96), slice(160, 192), slice(204, 208)
_REPLAY = Struct("=III")
"""``struct xfrm_replay_state``: oseq seq bitmap."""
_REPLAY_ESN = Struct("=IIII")
"""The beginning of ``struct xfrm_replay_state_esn``: bmp_len oseq seq oseq_hi."""


def get_sa(sa: SaId, mark: Mark | None = None) -> Request:
    """XFRM_MSG_GETSA for one SA; answered with ESRCH where it is gone."""
    return Request(c.XFRM_MSG_GETSA, 0, delete_sa(sa, mark).payload)


def requests(payload: memoryview, move: SaMove) -> list[Request]:
    """What makes of the SA that XFRM_MSG_GETSA has shown the one that ``move`` wants."""
    info = bytearray(payload[: s.USERSA_INFO.size])
    family = s.family_of(move.destination)
    source, destination = s.address_from(bytes(info[_SADDR]), family), s.address_from(bytes(info[_DADDR]), family)
    info[_SEQ] = bytes(4)
    encapsulated = s.find_attribute(payload, s.USERSA_INFO.size, c.XFRMA_ENCAP) is not None
    stays = (source, destination, encapsulated) == (move.source, move.destination, move.encap is not None)
    info[_DADDR] = move.destination.packed.ljust(16, b"\0")
    info[_SADDR] = move.source.packed.ljust(16, b"\0")
    margin = 0 if stays or move.direction is not Direction.OUT else OSEQ_MARGIN
    parts = [bytes(info), *_attributes(payload, move, margin)]
    if stays:
        return [Request(c.XFRM_MSG_UPDSA, 0, b"".join(parts))]
    parts.append(s.attribute(c.XFRMA_LTIME_VAL, bytes(info[_LIFETIME])))
    new, old = (
        Request(c.XFRM_MSG_NEWSA, 0, b"".join(parts)),
        delete_sa(move.id, s.mark_from(payload, s.USERSA_INFO.size)),
    )
    return [old, new] if destination == move.destination else [new, old]


def _attributes(payload: memoryview, move: SaMove, margin: int) -> Iterator[bytes]:
    for kind, value in s.attributes(payload, s.USERSA_INFO.size):
        if kind == c.XFRMA_REPLAY_VAL and margin:
            oseq, seq, bitmap = _REPLAY.unpack(value)
            yield s.attribute(kind, _REPLAY.pack(min(oseq + margin, 0xFFFFFFFF), seq, bitmap))
        elif kind == c.XFRMA_REPLAY_ESN_VAL and margin:
            words, oseq, seq, oseq_hi = _REPLAY_ESN.unpack_from(value)
            total = (oseq_hi << 32 | oseq) + margin
            head = _REPLAY_ESN.pack(words, total & 0xFFFFFFFF, seq, total >> 32)
            yield s.attribute(kind, head + bytes(value[_REPLAY_ESN.size :]))
        elif kind not in (c.XFRMA_ENCAP, c.XFRMA_LASTUSED):
            yield s.attribute(kind, bytes(value))
    if move.encap is not None:
        ports = htons(move.encap.source_port), htons(move.encap.destination_port)
        yield s.ATTR_ENCAP.pack(s.ATTR_ENCAP.size, c.XFRMA_ENCAP, c.UDP_ENCAP_ESPINUDP, *ports, b"")
