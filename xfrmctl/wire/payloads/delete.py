"""The Delete payload, RFC 7296 3.11: one protocol, and the SPIs its sender expects in incoming packets."""

from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from xfrmctl.model.iana import PayloadType, ProtocolId
from xfrmctl.wire.cursor import Reader
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.numbers import PROTOCOLS

_pack = Struct(">BBH").pack
_CHILD_SPI = 4


@dataclass(frozen=True, slots=True)
class Delete:
    """SAs that are gone. For IKE there are no SPIs: the IKE SA is the one that carries the message."""

    payload_type: ClassVar[PayloadType] = PayloadType.DELETE
    name: ClassVar[str] = "D"

    protocol: ProtocolId
    spis: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "Delete":
        """Read a body. An IKE delete must have no SPIs; its count is ignored, some senders say 1."""
        reader = Reader(data, start, end)
        protocol = PROTOCOLS[reader.u8()]
        size = reader.u8()
        count = reader.u16()
        if size != (0 if protocol is ProtocolId.IKE else _CHILD_SPI):
            raise WireError("bad_spi", f"D: SPIs of {size} octets for {protocol.name}")
        if size * count != reader.remaining:
            raise WireError("bad_count", f"D: {count} SPIs in {reader.remaining} octets")
        first = reader.offset
        return cls(protocol, tuple(data[at : at + size] for at in range(first, end, size)) if size else ())

    def encode(self) -> bytes:
        """The body."""
        size = len(self.spis[0]) if self.spis else 0
        return _pack(self.protocol, size, len(self.spis)) + b"".join(self.spis)
