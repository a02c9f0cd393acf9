"""ICMP errors as routers and forgers make them; also used by the lab's tests."""

from dataclasses import dataclass
from ipaddress import ip_address


def checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def esp(spi: int, sequence: int, more: int = 20) -> bytes:
    return spi.to_bytes(4, "big") + sequence.to_bytes(4, "big") + bytes(more)


def udp(source: int, destination: int, length: int, payload: bytes) -> bytes:
    ports = source.to_bytes(2, "big") + destination.to_bytes(2, "big")
    return ports + length.to_bytes(2, "big") + b"\0\0" + payload


@dataclass(frozen=True)
class Error:
    """A frag-needed or Packet Too Big. ``quoted_length`` is what the quoted header says."""

    local: str
    remote: str
    payload: bytes
    mtu: int = 1400
    protocol: int = 50
    quoted_length: int = 1500
    flags: int = 0x4000
    reporter: str = ""
    options: bytes = b""
    outer_options: bytes = b""

    @property
    def icmp(self) -> bytes:
        """The ICMP message, with its checksum."""
        return self.icmp4 if ip_address(self.remote).version == 4 else self.icmp6

    @property
    def icmp4(self) -> bytes:
        ihl = 5 + len(self.options) // 4
        quoted = bytes((0x40 | ihl, 0)) + self.quoted_length.to_bytes(2, "big") + b"\x12\x34"
        quoted += self.flags.to_bytes(2, "big") + bytes((63, self.protocol)) + b"\0\0"
        quoted += ip_address(self.local).packed + ip_address(self.remote).packed + self.options
        body = b"\x03\x04\0\0\0\0" + self.mtu.to_bytes(2, "big") + quoted + self.payload
        return body[:2] + checksum(body).to_bytes(2, "big") + body[4:]

    @property
    def icmp6(self) -> bytes:
        quoted = b"\x60\0\0\0" + (self.quoted_length - 40).to_bytes(2, "big") + bytes((self.protocol, 63))
        quoted += ip_address(self.local).packed + ip_address(self.remote).packed
        body = b"\x02\0\0\0" + self.mtu.to_bytes(4, "big") + quoted + self.payload
        source, destination = ip_address(self.reporter or self.remote).packed, ip_address(self.local).packed
        pseudo = source + destination + len(body).to_bytes(4, "big") + b"\0\0\0\x3a"
        return body[:2] + checksum(pseudo + body).to_bytes(2, "big") + body[4:]

    @property
    def packet(self) -> bytes:
        """The whole IP packet, as NFQUEUE shows it."""
        source, destination = ip_address(self.reporter or self.remote).packed, ip_address(self.local).packed
        body = self.outer_options + self.icmp
        if ip_address(self.remote).version == 4:
            head = bytes((0x45 + len(self.outer_options) // 4, 0)) + (20 + len(body)).to_bytes(2, "big")
            return head + b"\0\0\0\0\x40\x01\0\0" + source + destination + body
        following = 60 if self.outer_options else 58
        return b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes((following, 64)) + source + destination + body
