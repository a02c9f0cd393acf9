"""The Key Exchange payload, RFC 7296 3.4. Whether the data fits the method is the key exchange's business."""

from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar

from xfrmctl.model.iana import KeGroup, PayloadType
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.numbers import KE_GROUPS

_LAYOUT = Struct(">H2x")
_unpack = _LAYOUT.unpack_from
_pack = _LAYOUT.pack


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """A public value of one key exchange method."""

    payload_type: ClassVar[PayloadType] = PayloadType.KE
    name: ClassVar[str] = "KE"

    group: KeGroup
    data: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "KeyExchange":
        """Read a body: method, two reserved octets, public value."""
        if end - start < 4:
            raise WireError("short", "KE")
        return cls(KE_GROUPS[_unpack(data, start)[0]], data[start + 4 : end])

    def encode(self) -> bytes:
        """The body."""
        return _pack(self.group) + self.data
