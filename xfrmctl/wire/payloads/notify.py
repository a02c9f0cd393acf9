"""The Notify payload, RFC 7296 3.10."""

from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar

from xfrmctl.model.iana import NotifyType, PayloadType, ProtocolId
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.numbers import NOTIFY_TYPES, PROTOCOLS

_LAYOUT = Struct(">BBH")
_unpack = _LAYOUT.unpack_from
_pack = _LAYOUT.pack


@dataclass(frozen=True, slots=True)
class Notify:
    """An error (type below 16384) or a status. ``protocol`` and ``spi`` name an SA where one is meant."""

    payload_type: ClassVar[PayloadType] = PayloadType.NOTIFY

    type: NotifyType
    data: bytes = field(default=b"", repr=False)
    protocol: ProtocolId = ProtocolId.NONE
    spi: bytes = b""

    @property
    def name(self) -> str:
        """As in ``N(COOKIE)``."""
        return f"N({self.type.name})"

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "Notify":
        """Read a body: protocol, SPI size, type, SPI, data."""
        if end - start < 4:
            raise WireError("short", "N")
        protocol, spi_size, number = _unpack(data, start)
        body = start + 4 + spi_size
        if body > end:
            raise WireError("bad_length", f"N: an SPI of {spi_size} octets")
        return cls(NOTIFY_TYPES[number], data[body:end], PROTOCOLS[protocol], data[start + 4 : body])

    def encode(self) -> bytes:
        """The body."""
        return _pack(self.protocol, len(self.spi), self.type) + self.spi + self.data
