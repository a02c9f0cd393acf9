"""The Security Association payload, RFC 7296 3.3: proposals, their transforms, the transforms' attributes.

Limits: 512 transforms in one payload (each costs a microsecond and the message is not authenticated yet),
and the numbers of proposals strictly rising, so that there are 255 at most. RFC 7296 3.3.1 has them rise by
exactly one; an answer repeats the number of what it chose.

An attribute that is not understood, or a Key Length in the wrong form, makes its transform ``malformed``:
it parses, it is shown, it is never chosen (RFC 7296 3.3.6). Such a transform is never encoded.

Transforms that an operator can spell (``model.suite.KEYWORDS``) are found by their octets in a table, so
that a proposal of any length costs no new objects for them.
"""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from xfrmctl.model.iana import PayloadType, ProtocolId, TransformType
from xfrmctl.model.suite import KEYWORDS, Proposal, Transform
from xfrmctl.wire.cursor import Reader
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.numbers import PROTOCOLS, TRANSFORM_TYPES

MAX_TRANSFORMS = 512
"""Transforms in all proposals of one payload."""

_PROPOSAL = Struct(">BxHBBBB")
_unpack_proposal = _PROPOSAL.unpack_from
_pack_proposal = _PROPOSAL.pack
_TRANSFORM = Struct(">BxHBxH")
_unpack_transform = _TRANSFORM.unpack_from
_pack_transform = _TRANSFORM.pack
_pack_key_length = Struct(">HH").pack

_MORE_PROPOSALS = 2
_MORE_TRANSFORMS = 3
_HEAD = 8
_FIXED_FORM = 0x8000
_KEY_LENGTH = 14
_SPI_SIZES: dict[ProtocolId, tuple[int, ...]] = {
    ProtocolId.IKE: (0, 8),
    ProtocolId.AH: (4,),
    ProtocolId.ESP: (4,),
}


@dataclass(frozen=True, slots=True)
class Sa:
    """Proposals in their sender's order of preference; in an answer exactly one."""

    payload_type: ClassVar[PayloadType] = PayloadType.SA
    name: ClassVar[str] = "SA"

    proposals: tuple[Proposal, ...]

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "Sa":
        """Read a body."""
        found: list[Proposal] = []
        transforms_left = MAX_TRANSFORMS
        at, previous = start, 0
        more = _MORE_PROPOSALS
        while more:
            if end - at < _HEAD:
                raise WireError("short", "SA: proposal")
            more, size, number, protocol_number, spi_size, count = _unpack_proposal(data, at)
            stop = at + size
            if stop > end or size < _HEAD + spi_size:
                raise WireError("bad_length", f"SA: a proposal of {size} octets")
            if number <= previous:
                raise WireError("bad_value", f"SA: proposal {number} after {previous}")
            if more != (_MORE_PROPOSALS if stop < end else 0):
                raise WireError("bad_value", f"SA: 'more proposals' is {more}, {end - stop} octets left")
            transforms_left -= count
            if transforms_left < 0:
                raise WireError("too_many", f"SA: more than {MAX_TRANSFORMS} transforms")
            protocol = PROTOCOLS[protocol_number]
            if spi_size not in _SPI_SIZES.get(protocol, (spi_size,)):
                raise WireError("bad_spi", f"SA: an SPI of {spi_size} octets for {protocol.name}")
            body = at + _HEAD + spi_size
            transforms = _parse_transforms(data, body, stop, count)
            found.append(Proposal(protocol, transforms, data[at + _HEAD : body], number))
            at, previous = stop, number
        return cls(tuple(found))

    def encode(self) -> bytes:
        """The body. A malformed transform is our own fault: ValueError."""
        parts: list[bytes] = []
        last = len(self.proposals) - 1
        for index, proposal in enumerate(self.proposals):
            body = _encode_transforms(proposal.transforms)
            spi = proposal.spi
            parts.append(
                _pack_proposal(
                    _MORE_PROPOSALS if index < last else 0,
                    _HEAD + len(spi) + len(body),
                    proposal.number,
                    proposal.protocol,
                    len(spi),
                    len(proposal.transforms),
                )
            )
            parts.append(spi)
            parts.append(body)
        return b"".join(parts)


def _parse_transforms(data: bytes, at: int, end: int, count: int) -> tuple[Transform, ...]:
    found = []
    for left in range(count - 1, -1, -1):
        if end - at < _HEAD:
            raise WireError("bad_count", f"SA: {count} transforms promised")
        size = data[at + 2] << 8 | data[at + 3]
        stop = at + size
        if size < _HEAD or stop > end:
            raise WireError("bad_length", f"SA: a transform of {size} octets")
        if data[at] != (_MORE_TRANSFORMS if left else 0):
            raise WireError("bad_value", f"SA: 'more transforms' is {data[at]}, {left} to come")
        known = _COMMON.get(data[at + 4 : stop])
        found.append(_parse_transform(data, at, stop) if known is None else known)
        at = stop
    if at != end:
        raise WireError("trailing", "SA: proposal")
    return tuple(found)


def _parse_transform(data: bytes, at: int, end: int) -> Transform:
    _, _, kind, number = _unpack_transform(data, at)
    key_bits: int | None = None
    malformed = False
    reader = Reader(data, at + _HEAD, end)
    while reader.remaining:
        attribute = reader.u16()
        value = reader.u16()
        if not attribute & _FIXED_FORM:
            reader.take(value)
            malformed = True
        elif attribute & ~_FIXED_FORM != _KEY_LENGTH or key_bits is not None or value == 0:
            malformed = True
        else:
            key_bits = value
    return Transform(TRANSFORM_TYPES[kind], number, key_bits, malformed)


def _encode_transforms(transforms: tuple[Transform, ...]) -> bytes:
    parts: list[bytes] = []
    more = len(transforms)
    for transform in transforms:
        more -= 1
        tail = _tail(transform)
        parts.append(bytes((_MORE_TRANSFORMS if more else 0, 0, 0, len(tail) + 4)))
        parts.append(tail)
    return b"".join(parts)


def _tail(transform: Transform) -> bytes:
    """A transform's octets after its length field."""
    if transform.malformed:
        raise ValueError(f"a transform that was not understood cannot be sent: {transform!r}")
    head = _pack_transform(0, 0, transform.type, transform.id)[4:]
    if transform.key_bits is None:
        return head
    return head + _pack_key_length(_FIXED_FORM | _KEY_LENGTH, transform.key_bits)


_COMMON: dict[bytes, Transform] = {_tail(t): t for t in KEYWORDS.values()} | {
    _tail(t): t for t in (Transform(TransformType.INTEG, 0), Transform(TransformType.KE, 0))
}
"""Transforms by their octets, reserved octets zero: what nearly every peer sends."""
