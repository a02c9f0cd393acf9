"""Where ``df`` and ``oversize`` cannot be had: as the kernel fragments, and as far as nf_tables reaches.

What a policy protects is fragmented after encryption, so nobody can have its ESP always with DF, and inner fragments
are made by xfrm interfaces only (KERNEL-FACTS 3 to 5). Both keys are rules of nf_tables: iptables cannot change DF.
"""

from collections.abc import Iterable

from xfrmctl.config.build import Report
from xfrmctl.config.document import Key
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.sa import DataPlane, DfPolicy, Mode, Oversize


def check_fragmentation(connections: Iterable[ConnectionConfig], firewall: FirewallBackend, report: Report) -> None:
    """Report settings that could not take effect."""
    ways: dict[object, tuple[str, bool]] = {}
    for connection in connections:
        for child in connection.children:
            if child.mode is not Mode.TUNNEL:  # see xfrmctl.config.transport
                continue
            key: Key = ("connections", connection.name, "children", child.name)
            _check_df(connection, child, firewall, (*key, "df"), report)
            if child.oversize is Oversize.FRAGMENT:
                _check_oversize(child, firewall, (*key, "oversize"), report)
            way = connection.remote or connection.name
            always = child.df is DfPolicy.SET
            first, as_first = ways.setdefault(way, (f"{connection.name}/{child.name}", always))
            if always != as_first:
                cause = f"DF is set on all ESP to a peer, or on none, and child {first} has it the other way"
                report((*key, "df"), cause, "write df: set for every child of this peer, or for none of them")


def _check_df(
    connection: ConnectionConfig, child: ChildConfig, firewall: FirewallBackend, key: Key, report: Report
) -> None:
    address = connection.remote or connection.local
    if child.df is not DfPolicy.COPY and address is not None and address.version == 6:
        cause = f"packets to {address} have an IPv6 header: it has no DF bit, and no router ever fragments it"
        report(key, cause, "leave df out")
    elif child.df is not DfPolicy.SET:
        return
    elif child.dataplane is DataPlane.POLICY:
        cause = (
            "with dataplane: policy the kernel fragments after encryption, and what must be fragmented would be lost"
        )
        report(key, cause, "write dataplane: interface, which fragments before it, or df: copy")
    elif firewall is FirewallBackend.IPTABLES:
        report(key, "iptables cannot set DF", "write gateway.firewall: auto or nftables, or df: copy")


def _check_oversize(child: ChildConfig, firewall: FirewallBackend, key: Key, report: Report) -> None:
    if child.dataplane is DataPlane.POLICY:
        cause = "with dataplane: policy the kernel fragments after encryption only"
        report(key, cause, "write dataplane: interface, or leave oversize out: senders are told by ICMP what fits")
    elif firewall is FirewallBackend.IPTABLES:
        report(key, "iptables cannot clear DF", "write gateway.firewall: auto or nftables, or leave oversize out")
    elif all(ts.version == 6 for ts in child.local_ts):
        cause = "the child carries IPv6 only, which no router fragments"
        report(key, cause, "leave oversize out: senders are told by ICMPv6 what fits")
