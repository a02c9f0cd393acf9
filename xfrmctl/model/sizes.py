"""Sizes of IP that every layer knows, bytes."""

IP_HEADER = {4: 20, 6: 40}
"""Without options or extension headers, by IP version."""

UDP_HEADER = 8

TCP_HEADER = 20
"""Without options: an MSS counts neither those of TCP nor of IP (RFC 6691)."""

IPV4_FLOOR = 68
"""The least that an IPv4 device can have as MTU (RFC 791 3.2)."""

IPV6_FLOOR = 1280
"""Every IPv6 link carries this much (RFC 8200 5); a tunnel below it cannot carry IPv6 without fragmenting."""
