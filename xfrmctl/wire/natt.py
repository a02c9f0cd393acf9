"""What shares UDP port 4500 (RFC 3948 2): IKE behind a non-ESP marker, ESP, and one-octet keepalives."""

NON_ESP_MARKER = b"\0\0\0\0"
"""Four zero octets, where ESP has its SPI (RFC 3948 2.2)."""

KEEPALIVE = b"\xff"
"""A whole NAT-keepalive datagram (RFC 3948 2.3)."""


def frame(data: bytes) -> bytes:
    """An IKE message as it travels on port 4500."""
    return NON_ESP_MARKER + data


def unframe(data: bytes) -> bytes | None:
    """The IKE message in a datagram of port 4500; None for ESP, for a keepalive and for what is too short."""
    return data[4:] if data[:4] == NON_ESP_MARKER else None
