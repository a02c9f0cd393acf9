"""Which programs keep the firewall rules."""

from enum import Enum


class FirewallBackend(Enum):
    """Who clamps the MSS: IPTABLES with ipset, or NFTABLES with a table of ours. AUTO: what the host has."""

    AUTO = "auto"
    IPTABLES = "iptables"
    NFTABLES = "nftables"
