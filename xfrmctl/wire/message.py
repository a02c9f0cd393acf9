"""The payload chain, RFC 7296 3.2 and 3.14.

A message is parsed in two steps, because what SK protects must be authenticated before anybody looks at it:
:func:`parse` reads the header and the clear payloads and stops at SK; once the body of SK has been opened
(``crypto.protect``), :func:`decode_payloads` reads what was inside.

SK must be the last payload and reach to the end of the datagram exactly; SK inside SK is refused. So must SKF, one
fragment of what SK would have carried (RFC 7383 2.5): number and total stand between its generic header and its body,
and the "next payload" of the first one speaks of the reassembled message.
Every step of the chain consumes at least four octets, and there are 64 steps at most. Clear payloads are
nobody's in particular, so that they may not cost us much: beyond 8192 octets of them a datagram is refused
unread.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple, TypeVar

from xfrmctl.model.iana import NotifyType, PayloadType
from xfrmctl.wire.errors import UnsupportedCritical, WireError
from xfrmctl.wire.header import HEADER_LEN, Header
from xfrmctl.wire.payloads import (
    Auth,
    Cert,
    CertReq,
    Delete,
    Id,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    Sa,
    TrafficSelectors,
    Unknown,
    Vendor,
)
from xfrmctl.wire.payloads.identification import parse_idi, parse_idr
from xfrmctl.wire.payloads.ts import parse_tsi, parse_tsr
from xfrmctl.wire.payloads.unknown import KNOWN_TYPES

MAX_PAYLOADS = 64
"""Payloads in one chain."""

MAX_CLEAR = 8192
"""Octets of header and clear payloads in one datagram."""

P = TypeVar("P")

_GENERIC = Struct(">BBH")
_unpack = _GENERIC.unpack_from
_pack = _GENERIC.pack
_GENERIC_LEN = 4
_FRAGMENT = Struct(">HH")
_CRITICAL = 0x80
_SK = int(PayloadType.SK)
_SKF = int(PayloadType.SKF)
_SEALED = frozenset({_SK, _SKF})
_LISTS = frozenset({int(PayloadType.SA), int(PayloadType.TSI), int(PayloadType.TSR)})
"""Long lists that no message has twice (``cardinality``): a second one is not worth the time that reading it takes."""

_PARSERS: dict[int, Callable[[bytes, int, int], Payload]] = {
    int(PayloadType.SA): Sa.parse,
    int(PayloadType.KE): KeyExchange.parse,
    int(PayloadType.IDI): parse_idi,
    int(PayloadType.IDR): parse_idr,
    int(PayloadType.CERT): Cert.parse,
    int(PayloadType.CERTREQ): CertReq.parse,
    int(PayloadType.AUTH): Auth.parse,
    int(PayloadType.NONCE): Nonce.parse,
    int(PayloadType.NOTIFY): Notify.parse,
    int(PayloadType.DELETE): Delete.parse,
    int(PayloadType.VENDOR): Vendor.parse,
    int(PayloadType.TSI): parse_tsi,
    int(PayloadType.TSR): parse_tsr,
}


class Fragment(NamedTuple):
    """Which part of a message this is: 1 to ``total`` (RFC 7383 2.5)."""

    number: int
    total: int

    def encode(self) -> bytes:
        """The four octets after the generic header of SKF."""
        return _FRAGMENT.pack(*self)


@dataclass(frozen=True, slots=True)
class SkBody:
    """Where the body of SK or SKF starts in the datagram (after its headers); the first payload in it.

    ``first`` of a ``fragment`` means something with number 1 only: it is zero in the others.
    """

    offset: int
    first: int
    fragment: Fragment | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A datagram: header, clear payloads in order, and where its protected part lies."""

    header: Header
    payloads: tuple[Payload, ...]
    sk: SkBody | None

    def one(self, kind: type[P]) -> P | None:
        """The first clear payload of a class, or None."""
        return first_of(self.payloads, kind)

    def notify(self, kind: NotifyType) -> Notify | None:
        """The first clear Notify of a type, or None."""
        return notify_of(self.payloads, kind)


def parse(data: bytes) -> Message:
    """Read a whole datagram (without a non-ESP marker) up to and including the headers of SK or SKF."""
    header = Header.parse(data)
    payloads, sk = _walk(header.next_payload, data, HEADER_LEN, MAX_CLEAR)
    return Message(header, payloads, sk)


def decode_payloads(first: int, data: bytes) -> tuple[Payload, ...]:
    """Read what SK protected: ``data`` is the plaintext without padding, ``first`` its first payload type."""
    payloads, sk = _walk(first, data, 0, len(data))
    if sk is not None:
        raise WireError("misplaced", "SK within SK")
    return payloads


def _walk(kind: int, data: bytes, at: int, limit: int) -> tuple[tuple[Payload, ...], SkBody | None]:
    found: list[Payload] = []
    lists: set[int] = set()
    end = len(data)
    while kind:
        if end - at < _GENERIC_LEN:
            raise WireError("short", f"payload type {kind}")
        if len(found) == MAX_PAYLOADS:
            raise WireError("too_many", f"more than {MAX_PAYLOADS} payloads")
        following, flags, size = _unpack(data, at)
        stop = at + size
        if size < _GENERIC_LEN or stop > end:
            raise WireError("bad_length", f"payload type {kind}: {size} octets, {end - at} left")
        if stop > limit and kind not in _SEALED:
            raise WireError("too_many", f"more than {limit} octets of clear payloads")
        if kind in _LISTS:
            if kind in lists:
                raise WireError("duplicate", PayloadType(kind).name)
            lists.add(kind)
        parser = _PARSERS.get(kind)
        if parser is not None:
            found.append(parser(data, at + _GENERIC_LEN, stop))
        elif kind == _SK:
            if stop != end:
                raise WireError("misplaced", f"{end - stop} octets after SK")
            return tuple(found), SkBody(at + _GENERIC_LEN, following)
        elif kind == _SKF:
            if stop != end:
                raise WireError("misplaced", f"{end - stop} octets after SKF")
            return tuple(found), SkBody(at + _GENERIC_LEN + _FRAGMENT.size, following, _fragment(data, at, stop))
        else:
            critical = flags & _CRITICAL != 0
            if critical and kind not in KNOWN_TYPES:
                raise UnsupportedCritical(kind)
            found.append(Unknown(kind, critical, data[at + _GENERIC_LEN : stop]))
        kind, at = following, stop
    if at != end:
        raise WireError("trailing", f"{end - at} octets after the last payload")
    return tuple(found), None


def _fragment(data: bytes, at: int, stop: int) -> Fragment:
    if stop - at < _GENERIC_LEN + _FRAGMENT.size:
        raise WireError("short", "SKF")
    number, total = _FRAGMENT.unpack_from(data, at + _GENERIC_LEN)
    if not 1 <= number <= total:
        raise WireError("bad_value", f"fragment {number} of {total}")
    return Fragment(number, total)


def encode_payloads(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """The type of the first payload (0 if there is none) and the chain's octets."""
    parts: list[bytes] = []
    following = 0
    for payload in reversed(payloads):
        body = payload.encode()
        critical = _CRITICAL if isinstance(payload, Unknown) and payload.critical else 0
        parts.append(body)
        parts.append(_pack(following, critical, len(body) + _GENERIC_LEN))
        following = payload.payload_type
    parts.reverse()
    return following, b"".join(parts)


def encode(header: Header, payloads: Sequence[Payload]) -> bytes:
    """A whole unprotected message; next payload and length of the header are filled in."""
    first, body = encode_payloads(payloads)
    length = HEADER_LEN + len(body)
    raw = header.encode(length)
    return b"".join((raw[:16], bytes((first,)), raw[17:], body))


def first_of(payloads: Iterable[Payload], kind: type[P]) -> P | None:
    """The first payload of a class, or None. For ID and TS see :func:`id_of` and :func:`selectors_of`."""
    for payload in payloads:
        if isinstance(payload, kind):
            return payload
    return None


def error_of(payloads: Iterable[Payload]) -> Notify | None:
    """The first Notify that reports an error (RFC 7296 3.10.1), or None."""
    return next((p for p in payloads if isinstance(p, Notify) and p.type.is_error), None)


def notify_of(payloads: Iterable[Payload], kind: NotifyType) -> Notify | None:
    """The first Notify of a type, or None."""
    for payload in payloads:
        if isinstance(payload, Notify) and payload.type == kind:
            return payload
    return None


def id_of(payloads: Iterable[Payload], kind: PayloadType) -> Id | None:
    """IDi (PayloadType.IDI) or IDr (PayloadType.IDR), or None."""
    for payload in payloads:
        if isinstance(payload, Id) and payload.kind == kind:
            return payload
    return None


def selectors_of(payloads: Iterable[Payload], kind: PayloadType) -> TrafficSelectors | None:
    """TSi (PayloadType.TSI) or TSr (PayloadType.TSR), or None."""
    for payload in payloads:
        if isinstance(payload, TrafficSelectors) and payload.kind == kind:
            return payload
    return None
