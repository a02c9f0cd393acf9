"""The classic capture file: a header of 24 bytes, then per packet a header of 16 bytes and its bytes."""

import struct
from collections.abc import Iterator

from xfrmctl.lab.errors import LabError

_GLOBAL, _RECORD = 24, 16
_ETHERNET = 1
#: Microsecond and nanosecond files, as they look when read in little-endian order.
_ORDER = {0xA1B2C3D4: "<", 0xA1B23C4D: "<", 0xD4C3B2A1: ">", 0x4D3CB2A1: ">"}


def frames(data: bytes) -> Iterator[bytes]:
    """The Ethernet frames of a capture; a last record that is not complete (still being written) is left out."""
    if len(data) < _GLOBAL:
        return
    (magic,) = struct.unpack_from("<I", data)
    order = _ORDER.get(magic)
    if order is None:
        raise LabError(f"not a capture file: it begins with {data[:4].hex()}")
    (link,) = struct.unpack_from(order + "I", data, 20)
    if link & 0xFFFF != _ETHERNET:
        raise LabError(f"the capture is of link type {link}, not of Ethernet")
    at = _GLOBAL
    while at + _RECORD <= len(data):
        (captured,) = struct.unpack_from(order + "I", data, at + 8)
        end = at + _RECORD + captured
        if end > len(data):
            return
        yield data[at + _RECORD : end]
        at = end
