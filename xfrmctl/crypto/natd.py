"""NAT detection, RFC 7296 2.23. SHA-1 is what the RFC says; it hides an address and protects nothing."""

from hashlib import sha1


def nat_detection_hash(spi_i: bytes, spi_r: bytes, address: bytes, port: int) -> bytes:
    """SHA-1(SPIi | SPIr | address | port), 20 octets, with the SPIs of the message that carries it."""
    return sha1(b"".join((spi_i, spi_r, address, port.to_bytes(2, "big"))), usedforsecurity=False).digest()
