"""What a SYN costs that a gateway forwards: frames of a ring that the kernel sends by itself, one call for all.

Everything up to the end of forwarding happens within that call (``veth`` hands over to the receiver's soft interrupt
before it returns, and the lab has one processor), so the time of the call is what the packets cost.
"""

import mmap
import socket
import struct
import time
from ipaddress import ip_address

from xfrmctl.lab.namespace import Namespace

FRAMES, FRAME_BYTES = 1024, 256
SOL_PACKET, PACKET_TX_RING = 263, 13
SEND_REQUEST = 1
_HEADER_BYTES = 32
"""``TPACKET_HDRLEN - sizeof(struct sockaddr_ll)``: where the frame's octets begin."""


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def syn(source: str, destination: str, mss: int) -> bytes:
    """An IPv4 SYN with an MSS option."""
    ends = ip_address(source).packed + ip_address(destination).packed
    tcp = struct.pack(">HHIIBBHHH", 40000, 443, 1, 0, 6 << 4, 2, 65535, 0, 0) + struct.pack(">BBH", 2, 4, mss)
    check = _sum(ends + struct.pack(">HH", 6, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack(">H", check) + tcp[18:]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0) + ends
    return head[:10] + struct.pack(">H", _sum(head)) + head[12:] + tcp


class Ring:
    """Frames to one gateway, ready to be sent again and again."""

    def __init__(self, host: Namespace, device: str, gateway_mac: bytes, packets: list[bytes]) -> None:
        """``packets``: IPv4, at most FRAMES of them."""
        self._socket = host.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(
            SOL_PACKET, PACKET_TX_RING, struct.pack("IIII", 4096, FRAMES // 16, FRAME_BYTES, FRAMES)
        )
        self._socket.bind((device, 0x0800))
        own = self._socket.getsockname()[4]
        self._memory = mmap.mmap(self._socket.fileno(), FRAMES * FRAME_BYTES)
        self._sizes = [14 + len(packet) for packet in packets]
        for number, packet in enumerate(packets):
            at = number * FRAME_BYTES + _HEADER_BYTES
            frame = gateway_mac + own + b"\x08\x00" + packet
            self._memory[at : at + len(frame)] = frame

    def send(self) -> float:
        """Send all frames; the seconds that one took."""
        for number, size in enumerate(self._sizes):
            struct.pack_into("=LII", self._memory, number * FRAME_BYTES, SEND_REQUEST, size, size)
        began = time.perf_counter()
        self._socket.send(b"")
        return (time.perf_counter() - began) / len(self._sizes)

    def close(self) -> None:
        """Let go of the ring."""
        self._memory.close()
        self._socket.close()
