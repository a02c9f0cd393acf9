"""The MSS that fits an inner_mtu (RFC 6691: an MSS counts neither IP nor TCP options)."""

from xfrmctl.model.sizes import IP_HEADER, TCP_HEADER


def mss(inner_mtu: int, version: int) -> int:
    """inner_mtu minus the headers of TCP over IPv4 (40 bytes) or IPv6 (60 bytes).

    Raises ValueError where nothing is left for data.
    """
    found = inner_mtu - IP_HEADER[version] - TCP_HEADER
    if found <= 0:
        raise ValueError(f"inner MTU {inner_mtu} has no room for TCP over IPv{version}")
    return found
