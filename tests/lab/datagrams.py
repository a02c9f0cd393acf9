"""UDP datagrams of exact sizes, with DF or without, and what they look like on a wire."""

import ipaddress
import socket
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xfrmctl.lab import pcap
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.namespace import Namespace

ESP, UDP, TCP, ICMP = 50, 17, 6, 1
_PORT = 7100
_SO_RCVBUFFORCE = 33
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 10, 23
_DONT, _PROBE = 0, 3
"""linux/in.h: no DF; DF whatever the kernel believes of the path."""


@dataclass(frozen=True, slots=True)
class Ip4:
    """The header of an IPv4 packet."""

    length: int
    id: int
    df: bool
    more: bool
    offset: int
    protocol: int
    destination: str
    payload: bytes

    @property
    def fragment(self) -> bool:
        """Whether it is one."""
        return self.more or self.offset > 0

    @property
    def is_ike(self) -> bool:
        """IKE on its two ports."""
        if self.protocol != UDP or self.offset:
            return False
        ports = struct.unpack_from("!HH", self.payload)
        return 500 in ports or (4500 in ports and self.payload[8:12] == bytes(4))

    @property
    def is_esp(self) -> bool:
        """ESP, in UDP or not; of fragments the first one."""
        if self.protocol == UDP and not self.offset:
            return 4500 in struct.unpack_from("!HH", self.payload) and not self.is_ike and len(self.payload) > 9
        return self.protocol == ESP


def ip4_of(data: bytes) -> list[Ip4]:
    """All IPv4 packets of a capture file."""
    found = []
    for frame in pcap.frames(data):
        if frame[12:14] != b"\x08\x00":
            continue
        head, length, number, flags, protocol, target = struct.unpack_from("!BxHHHxBxx4x4s", frame, 14)
        at = 14 + (head & 15) * 4
        found.append(
            Ip4(
                length,
                number,
                bool(flags & 0x4000),
                bool(flags & 0x2000),
                (flags & 0x1FFF) * 8,
                protocol,
                str(ipaddress.ip_address(target)),
                frame[at : at + 16],
            )
        )
    return found


@contextmanager
def wire(namespace: Namespace, dev: str) -> Iterator[list[Ip4]]:
    """Every IPv4 packet on a link while the block runs; the list is filled when it ends."""
    found: list[Ip4] = []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        file = Path(scratch) / "wire"
        with Capture(namespace, dev, keep=file) as capture:
            yield found
        assert capture.report.dropped == 0
        found += ip4_of(file.read_bytes())


class Datagrams:
    """From one host to another. ``size`` is that of the IP packet; each payload is different from all others."""

    def __init__(self, source: Namespace, sink: Namespace, address: str) -> None:
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._source, self._address = source, address
        self._sink = sink.socket(self._family, socket.SOCK_DGRAM)
        self._sink.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)
        self._sink.bind(("", _PORT))
        self._sink.settimeout(2)
        self._serial = 0

    def __enter__(self) -> "Datagrams":
        return self

    def __exit__(self, *_: object) -> None:
        self._sink.close()

    def send(self, sizes: Sequence[int], *, df: bool) -> list[bytes]:
        """Send them at once; gives their payloads."""
        six = self._family == socket.AF_INET6
        sent = []
        with self._source.socket(self._family, socket.SOCK_DGRAM) as out:
            how = _PROBE if df else _DONT
            if six:
                out.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
            else:
                out.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, how)
            for size in sizes:
                self._serial += 1
                head = struct.pack("!I", self._serial)
                payload = head.ljust(size - (48 if six else 28), bytes([self._serial % 251 + 1]))
                out.sendto(payload, (self._address, _PORT))
                sent.append(payload)
        return sent

    def arrive(self, sizes: Sequence[int], *, df: bool) -> bool:
        """Whether all of them arrive as they were sent."""
        wanted = set(self.send(sizes, df=df))
        try:
            while wanted:
                wanted.discard(self._sink.recv(65535))
        except TimeoutError:
            print(f"{len(wanted)} of {len(sizes)} are missing, of sizes {sorted(map(len, wanted))}")
            return False
        return True
