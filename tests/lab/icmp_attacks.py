"""ICMP errors on the wire of the lab, and what a gateway's kernel has learned from them."""

import re
import socket

from tests.unit.guard.icmp_errors import Error, checksum
from xfrmctl.lab.namespace import Namespace

_HDRINCL = (socket.IPPROTO_IP, socket.IP_HDRINCL, 1)


def send(router: Namespace, error: Error) -> None:
    """Send an error to the gateway that it names, in the router's own name."""
    four = "." in error.local
    family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if four else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    with router.socket(family, socket.SOCK_RAW, protocol) as sock:
        sock.sendto(error.icmp, (error.local, 0))


def send_fragmented(router: Namespace, error: Error, reporter: str) -> None:
    """The same in two IP fragments, of which the first shows no quoted address."""
    if ":" in error.local:
        send_fragmented6(router, error)
        return
    message = error.icmp + bytes(64)
    message = message[:2] + b"\0\0" + message[4:]
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    with router.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.setsockopt(*_HDRINCL)
        for at, end, more in ((0, 16, 0x2000), (16, len(message), 0)):
            head = b"\x45\0" + (20 + end - at).to_bytes(2, "big") + b"\x77\x01"
            head += (more | at // 8).to_bytes(2, "big") + b"\x40\x01\0\0"
            head += socket.inet_aton(reporter) + socket.inet_aton(error.local)
            sock.sendto(head + message[at:end], (error.local, 0))


def send_fragmented6(router: Namespace, error: Error, first: int = 16) -> None:
    """For IPv6, ``first`` octets first; ``error.reporter`` is in the message's checksum (RFC 4443 2.3)."""
    message = error.icmp
    source, target = (socket.inet_pton(socket.AF_INET6, address) for address in (error.reporter, error.local))
    with router.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        for at, end, more in ((0, first, 1), (first, len(message), 0)):
            fragment = bytes((socket.IPPROTO_ICMPV6, 0)) + (at | more).to_bytes(2, "big") + b"\0\0\x77\x01"
            fragment += message[at:end]
            head = b"\x60\0\0\0" + len(fragment).to_bytes(2, "big") + bytes((socket.IPPROTO_FRAGMENT, 64))
            sock.sendto(head + source + target + fragment, (error.local, 0))


def send_with_options(router: Namespace, error: Error) -> None:
    """The same, IPv6, behind a destination options header."""
    with router.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        options = bytes((0, 0, 1, 4, 0, 0, 0, 0))
        sock.sendmsg([error.icmp], [(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, options)], 0, (error.local, 0))


def learned(gateway: Namespace, peer: str) -> int | None:
    """The MTU of the kernel's exception for a peer, None where there is none."""
    text = gateway.run(["ip", "-6" if ":" in peer else "-4", "route", "get", peer]).stdout
    found = re.search(r"\bmtu (?:lock )?(\d+)", text)
    return int(found[1]) if found else None
