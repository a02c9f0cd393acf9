"""Packets at a gateway's firewall: which kinds pass, and which do not.

They are counted behind the firewall, by a chain that comes after its own. ``python -m tests.deploy.firewall_probe``
sends one of each kind, from the network namespace that it runs in.
"""

import json
import socket
import struct
import subprocess
import sys

from tests.deploy.ansible_site import ENDS, HERE
from tests.deploy.node import Node

THERE4 = ENDS["one"][0]
HERE6, THERE6 = "2001:db8:0:1::2", "2001:db8:0:1::1"
WANTED = {
    "ike": "udp dport 500",
    "ike_behind_nat": "udp dport 4500",
    "esp_packets": "meta l4proto esp",
    "ah_packets": "meta l4proto ah",
    "icmp_frag_needed": "icmp type destination-unreachable icmp code 4",
    "icmp_too_big": "icmpv6 type packet-too-big",
}
UNWANTED = {"udp_elsewhere": "udp dport 5000", "tcp_elsewhere": "tcp dport 9877"}


def passed(gateway: Node, neighbour: Node) -> dict[str, int]:
    """How many packets of each kind come through the firewall of ``gateway``: two each would be all."""
    kinds = WANTED | UNWANTED
    counters = "\n".join(f"counter {name} {{ }}" for name in kinds)
    rules = "\n".join(f'iifname "wan" {match} counter name {name}' for name, match in kinds.items())
    chain = f"chain behind {{ type filter hook input priority 100; policy accept;\n{rules}\n}}"
    gateway.run(["nft", "--file", "-"], stdin=f"table inet probe {{\n{counters}\n{chain}\n}}\n")
    try:
        for node, address in ((gateway, THERE6), (neighbour, HERE6)):
            node.namespace.run(["ip", "address", "replace", f"{address}/64", "dev", "wan", "nodad"])
        command = [sys.executable, "-m", "tests.deploy.firewall_probe"]
        subprocess.run(["nsenter", f"--net={neighbour.namespace.path}", *command], cwd=HERE, check=True, timeout=60)
        found = json.loads(gateway.run(["nft", "--json", "list", "counters", "table", "inet", "probe"]).stdout)
    finally:
        gateway.run(["nft", "delete", "table", "inet", "probe"])
    return {each["counter"]["name"]: each["counter"]["packets"] for each in found["nftables"] if "counter" in each}


def main() -> None:
    """Send one packet of each kind in each family: those of ICMP quote a packet that nobody knows."""
    for family, there in ((socket.AF_INET, THERE4), (socket.AF_INET6, THERE6)):
        for port in (500, 4500, 5000):
            with socket.socket(family, socket.SOCK_DGRAM) as udp:
                udp.sendto(b"\0" * 28, (there, port))
        with socket.socket(family, socket.SOCK_STREAM) as tcp:
            tcp.setblocking(False)
            tcp.connect_ex((there, 9877))
        _raw(family, socket.IPPROTO_ESP, there, struct.pack("!II", 0x1234, 1) + b"\0" * 32)
        _raw(family, socket.IPPROTO_AH, there, struct.pack("!BBHIII", 59, 2, 0, 0x1234, 1, 0))
        quoted = _quoted(there)
        if family == socket.AF_INET:
            _raw(family, socket.IPPROTO_ICMP, there, _summed(struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + quoted))
            _raw(family, socket.IPPROTO_ICMP, there, _summed(struct.pack("!BBHHH", 3, 4, 0, 0, 1300) + quoted))
        else:
            for mtu in (1400, 1300):
                _raw(family, socket.IPPROTO_ICMPV6, there, struct.pack("!BBHI", 2, 0, 0, mtu) + quoted)


def _raw(family: int, protocol: int, there: str, payload: bytes) -> None:
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.sendto(payload, (there, 0))


def _quoted(there: str) -> bytes:
    """The head of a UDP packet from the gateway to somewhere."""
    udp = struct.pack("!HHHH", 4711, 4712, 1400, 0)
    if ":" in there:
        ends = socket.inet_pton(socket.AF_INET6, there) + socket.inet_pton(socket.AF_INET6, "2001:db8:99::9")
        return struct.pack("!IHBB", 6 << 28, 1400, socket.IPPROTO_UDP, 64) + ends + udp
    ends = socket.inet_aton(there) + socket.inet_aton("198.51.100.9")
    return _summed(struct.pack("!BBHHHBBH", 0x45, 0, 1420, 1, 0x4000, 64, socket.IPPROTO_UDP, 0) + ends, at=10) + udp


def _summed(packet: bytes, at: int = 2) -> bytes:
    """The packet with the Internet checksum (RFC 1071) at this offset."""
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:at] + struct.pack("!H", ~total & 0xFFFF) + packet[at + 2 :]


if __name__ == "__main__":
    main()
