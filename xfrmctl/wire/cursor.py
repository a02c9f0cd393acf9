"""A bounded reader: it never looks outside ``[start, end)`` and says so with WireError.

Blocks whose fixed part is read with one Struct (most payloads) do their own bounds check and skip this class;
it is for what is irregular and not on the path of every message.
"""

from struct import Struct

from xfrmctl.wire.errors import WireError

_U16 = Struct(">H").unpack_from
_U32 = Struct(">I").unpack_from
_U64 = Struct(">Q").unpack_from


class Reader:
    """Reads big-endian integers and octets from ``data[start:end]``; ``offset`` is the next to be read."""

    __slots__ = ("_data", "_end", "offset")

    def __init__(self, data: bytes | memoryview, start: int = 0, end: int | None = None) -> None:
        size = len(data)
        self._data = data
        self._end = size if end is None else end
        self.offset = start
        if not 0 <= start <= self._end <= size:
            raise WireError("short", f"octets {start} to {end} of {size}")

    @property
    def remaining(self) -> int:
        """Octets left."""
        return self._end - self.offset

    def _advance(self, size: int) -> int:
        offset = self.offset
        if size < 0 or size > self._end - offset:
            raise WireError("short", f"{size} octets wanted, {self._end - offset} left")
        self.offset = offset + size
        return offset

    def u8(self) -> int:
        """One octet."""
        return self._data[self._advance(1)]

    def u16(self) -> int:
        """Two octets, network order."""
        return int(_U16(self._data, self._advance(2))[0])

    def u32(self) -> int:
        """Four octets, network order."""
        return int(_U32(self._data, self._advance(4))[0])

    def u64(self) -> int:
        """Eight octets, network order."""
        return int(_U64(self._data, self._advance(8))[0])

    def take(self, size: int) -> bytes:
        """The next ``size`` octets, copied."""
        offset = self._advance(size)
        return bytes(self._data[offset : offset + size])

    def rest(self) -> bytes:
        """All that is left, copied."""
        return self.take(self.remaining)

    def expect_end(self) -> None:
        """Raise unless everything has been read: blocks are consumed exactly."""
        if self.offset != self._end:
            raise WireError("trailing", f"{self.remaining} octets")
