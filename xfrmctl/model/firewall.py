"""By what means clamps and guard stand."""

from enum import Enum


class FirewallBackend(Enum):
    """Who clamps the MSS and guards: IPTABLES with ipset, or NFTABLES with tables of ours. AUTO: what the host has."""

    AUTO = "auto"
    IPTABLES = "iptables"
    NFTABLES = "nftables"
