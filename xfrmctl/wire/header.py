"""The IKE header, RFC 7296 3.1: 28 octets, both SPIs first.

The flag V ("a higher major version could be spoken") and the reserved flags are ignored when read and zero
when written. The major version is judged before the length, because only the version says what the length
means.
"""

from dataclasses import dataclass
from struct import Struct

from xfrmctl.model.iana import ExchangeType
from xfrmctl.wire.errors import InvalidMajorVersion, WireError
from xfrmctl.wire.numbers import EXCHANGES

HEADER_LEN = 28
"""Octets of an IKE header."""

FLAG_INITIATOR = 0x08
FLAG_RESPONSE = 0x20

_LAYOUT = Struct(">8s8sBBBBII")
_unpack = _LAYOUT.unpack_from
_pack = _LAYOUT.pack
_NO_SPI = bytes(8)


@dataclass(frozen=True, slots=True)
class Header:
    """One IKE header. ``is_initiator``: from the original initiator of the IKE SA. ``length``: all octets."""

    spi_i: bytes
    spi_r: bytes
    next_payload: int
    exchange: ExchangeType
    is_initiator: bool
    is_response: bool
    message_id: int
    length: int
    major: int = 2
    minor: int = 0

    @classmethod
    def parse(cls, data: bytes) -> "Header":
        """Read the header of a whole datagram (without a non-ESP marker).

        Raises InvalidMajorVersion, with the header, for another major version; WireError for a datagram
        that is too short, whose length field is not its length, or whose initiator SPI is zero.
        """
        if len(data) < HEADER_LEN:
            raise WireError("short", f"{len(data)} octets are no IKE header")
        spi_i, spi_r, following, version, exchange, flags, message_id, length = _unpack(data)
        header = cls(
            spi_i,
            spi_r,
            following,
            EXCHANGES[exchange],
            flags & FLAG_INITIATOR != 0,
            flags & FLAG_RESPONSE != 0,
            message_id,
            length,
            version >> 4,
            version & 0x0F,
        )
        if version >> 4 != 2:
            raise InvalidMajorVersion(header)
        if length != len(data):
            raise WireError("bad_length", f"header says {length} octets, datagram has {len(data)}")
        if spi_i == _NO_SPI:
            raise WireError("bad_spi", "the initiator's SPI is zero")
        return header

    def encode(self, length: int) -> bytes:
        """The 28 octets, with ``length`` (octets of the whole message) in place of our own."""
        return _pack(
            self.spi_i,
            self.spi_r,
            self.next_payload,
            self.major << 4 | self.minor,
            self.exchange,
            (FLAG_INITIATOR if self.is_initiator else 0) | (FLAG_RESPONSE if self.is_response else 0),
            self.message_id,
            length,
        )
