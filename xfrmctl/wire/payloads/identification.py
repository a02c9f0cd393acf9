"""The Identification payloads IDi and IDr, RFC 7296 3.5.

The AUTH computation covers the body as it was on the wire, the three reserved octets included (RFC 7296
2.15: ``RestOfInitIDPayload = IDType | RESERVED | InitIDData``). They are kept, therefore, and ``body``
gives them back.
"""

from dataclasses import dataclass

from xfrmctl.model.iana import PayloadType
from xfrmctl.model.identity import Identity
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.numbers import ID_TYPES


@dataclass(frozen=True, slots=True)
class Id:
    """Who a side claims to be. ``kind`` is PayloadType.IDI or PayloadType.IDR."""

    kind: PayloadType
    identity: Identity
    reserved: bytes = b"\0\0\0"

    @property
    def payload_type(self) -> PayloadType:
        """IDI or IDR."""
        return self.kind

    @property
    def name(self) -> str:
        """``IDi`` or ``IDr``."""
        return "IDi" if self.kind is PayloadType.IDI else "IDr"

    @property
    def body(self) -> bytes:
        """The octets that AUTH covers, exactly as sent or received."""
        return bytes((self.identity.type,)) + self.reserved + self.identity.data

    @classmethod
    def parse(cls, kind: PayloadType, data: bytes, start: int, end: int) -> "Id":
        """Read a body: type, three reserved octets, identification data."""
        if end - start < 4:
            raise WireError("short", "ID")
        return cls(kind, Identity(ID_TYPES[data[start]], data[start + 4 : end]), data[start + 1 : start + 4])

    def encode(self) -> bytes:
        """The body."""
        return self.body


def parse_idi(data: bytes, start: int, end: int) -> Id:
    """Read the body of IDi."""
    return Id.parse(PayloadType.IDI, data, start, end)


def parse_idr(data: bytes, start: int, end: int) -> Id:
    """Read the body of IDr."""
    return Id.parse(PayloadType.IDR, data, start, end)
