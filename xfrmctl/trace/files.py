"""Records of pcap and pcapng files, one after another.

The formats are dpkt's: its classes read file headers, record headers and blocks. Its own readers are not used: that of
pcapng knows the first interface only (a capture of several has several link types), and neither of them tells a file
that is cut off from one that ends. What is ours is the loop, with a bound on every length and the offset of whatever
is wrong.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import dpkt.pcap
import dpkt.pcapng

from xfrmctl.model.errors import UnusableInput

MAX_FRAME = 262144
"""The largest snapshot length of libpcap (``MAXIMUM_SNAPLEN``)."""

MAX_BLOCK = 16 * 1024 * 1024
"""The largest block of pcapng that libpcap reads (``MAX_BLOCKSIZE``)."""

MAX_INTERFACES = 4096

_SIMPLE_PACKET = 3
_TIME_RESOLUTION, _TIME_OFFSET = 9, 14
"""Options of an interface block: if_tsresol, if_tsoffset."""


class CaptureError(UnusableInput):
    """A capture file that cannot be read; the message has the file, the offset of the damage and what it is."""

    cause = "the file is no capture, or damaged"
    cure = "take it anew: tcpdump -w FILE writes what is understood"

    def __init__(self, name: str, offset: int, what: str) -> None:
        super().__init__(f"{name}: byte {offset}: {what}")
        self.offset = offset
        self.what = what


@dataclass(frozen=True, slots=True)
class Record:
    """One captured frame, and the link type (LINKTYPE_…) of the device that it was taken from."""

    at: float
    link: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int
    snapshot: int
    unit: float
    offset: int


class _File:
    """The file, read in exact pieces."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name, self.stream, self.offset = name, stream, 0

    def take(self, size: int, what: str, *, may_end: bool = False) -> bytes:
        """``size`` bytes; b"" where the file ends and may. Raises CaptureError where it ends within them."""
        data = self.stream.read(size)
        if len(data) == size or (may_end and not data):
            self.offset += len(data)
            return data
        raise self.wrong(f"the file is cut off: {what} takes {size} bytes, {len(data)} are there")

    def wrong(self, what: str) -> CaptureError:
        return CaptureError(self.name, self.offset, what)


def records(name: str, stream: BinaryIO) -> Iterator[Record]:
    """Every frame of a pcap or pcapng file. Raises CaptureError where the file is damaged, after what comes before."""
    file = _File(name, stream)
    magic = file.take(4, "the mark of a capture file")
    if int.from_bytes(magic) == dpkt.pcapng.PCAPNG_BT_SHB:
        yield from _pcapng(file, magic)
    elif int.from_bytes(magic) in dpkt.pcap.MAGIC_TO_PKT_HDR:
        yield from _pcap(file, magic)
    else:
        file.offset = 0
        raise file.wrong(f"this is no pcap or pcapng file: it begins with {magic.hex()}")


def _pcap(file: _File, magic: bytes) -> Iterator[Record]:
    raw = magic + file.take(dpkt.pcap.FileHdr.__hdr_len__ - len(magic), "the file header")
    number = int.from_bytes(magic)
    swapped = number in (dpkt.pcap.PMUDPCT_MAGIC, dpkt.pcap.PMUDPCT_MAGIC_NANO, dpkt.pcap.PACPDOM_MAGIC)
    header = (dpkt.pcap.LEFileHdr if swapped else dpkt.pcap.FileHdr)(raw)
    nano = number in (dpkt.pcap.TCPDUMP_MAGIC_NANO, dpkt.pcap.PMUDPCT_MAGIC_NANO)
    kind = dpkt.pcap.MAGIC_TO_PKT_HDR[number]
    while raw := file.take(kind.__hdr_len__, "the header of a packet", may_end=True):
        record = kind(raw)
        if record.caplen > MAX_FRAME:
            file.offset -= len(raw)
            raise file.wrong(f"a packet claims to be {record.caplen} bytes: more than {MAX_FRAME} is damage")
        frame = file.take(record.caplen, "a packet")
        yield Record(record.tv_sec + record.tv_usec / (1e9 if nano else 1e6), header.linktype & 0xFFFF, frame)


def _pcapng(file: _File, first: bytes) -> Iterator[Record]:
    little, interfaces = False, list[_Interface]()
    head = first + file.take(4, "the head of a block")
    while head:
        begin = file.offset - len(head)
        if int.from_bytes(head[:4]) == dpkt.pcapng.PCAPNG_BT_SHB:
            order = file.take(4, "the section header")
            if int.from_bytes(order) not in (dpkt.pcapng.BYTE_ORDER_MAGIC, dpkt.pcapng.BYTE_ORDER_MAGIC_LE):
                raise CaptureError(file.name, begin, f"a section with the byte order {order.hex()}")
            little = int.from_bytes(order) == dpkt.pcapng.BYTE_ORDER_MAGIC_LE
            head, interfaces = head + order, []
        kind, length = (int.from_bytes(head[at : at + 4], "little" if little else "big") for at in (0, 4))
        if not 12 <= length <= MAX_BLOCK or length % 4 or length < len(head):
            raise CaptureError(file.name, begin, f"a block claims to be {length} bytes")
        block = head + file.take(length - len(head), "a block")
        try:
            found = _block(kind, block, little, interfaces)
        except (dpkt.Error, struct.error, ValueError, IndexError) as error:
            raise CaptureError(file.name, begin, f"a block of type {kind} is damaged: {error}") from None
        if found is not None:
            yield found
        head = file.take(8, "the head of a block", may_end=True)


def _block(kind: int, block: bytes, little: bool, interfaces: list[_Interface]) -> Record | None:
    """Read one block; an interface is added to the list, what carries no packet gives None. Raises ValueError."""
    suffix = "LE" if little else ""
    if kind == dpkt.pcapng.PCAPNG_BT_IDB:
        if len(interfaces) >= MAX_INTERFACES:
            raise ValueError(f"more than {MAX_INTERFACES} interfaces")
        interfaces.append(_interface(_class("InterfaceDescriptionBlock" + suffix)(block), little))
        return None
    if kind == _SIMPLE_PACKET:
        interface = _of(interfaces, 0)
        size = int.from_bytes(block[8:12], "little" if little else "big")
        return Record(0.0, interface.link, block[12 : 12 + min(size, interface.snapshot or size, len(block) - 16)])
    if kind not in (dpkt.pcapng.PCAPNG_BT_EPB, dpkt.pcapng.PCAPNG_BT_PB):
        return None
    old = kind == dpkt.pcapng.PCAPNG_BT_PB
    packet = _class(("PacketBlock" if old else "EnhancedPacketBlock") + suffix)(block)
    interface = _of(interfaces, packet.iface_id)
    if packet.caplen > len(block) - 32:
        raise ValueError(f"it holds less than the {packet.caplen} bytes of packet that it claims")
    at = (packet.ts_high << 32 | packet.ts_low) * interface.unit + interface.offset
    return Record(at, interface.link, packet.pkt_data)


def _class(name: str) -> Any:
    return getattr(dpkt.pcapng, name)


def _of(interfaces: list[_Interface], number: int) -> _Interface:
    if number >= len(interfaces):
        raise ValueError(f"it names interface {number}, and there are {len(interfaces)}")
    return interfaces[number]


def _interface(block: Any, little: bool) -> _Interface:
    unit, offset = 1e-6, 0
    for option in block.opts:
        if option.code == _TIME_RESOLUTION and len(option.data) == 1:
            power = option.data[0]
            unit = 2.0 ** -(power & 0x7F) if power & 0x80 else 10.0**-power
        elif option.code == _TIME_OFFSET and len(option.data) == 8:
            offset = int.from_bytes(option.data, "little" if little else "big", signed=True)
    return _Interface(block.linktype, block.snaplen, unit, offset)
