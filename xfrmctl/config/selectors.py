"""What the kernel can hold of a child's selectors, and what lies beside them."""

from xfrmctl.config.build import Report
from xfrmctl.config.document import Key
from xfrmctl.ike.config import ChildConfig
from xfrmctl.model.flow import MAX_CONFIGURED, count
from xfrmctl.model.sa import DataPlane

MOST = 254
"""A TS payload counts its selectors in one octet (RFC 7296 3.13); one is left for the packet that asks for it."""


def check_selectors(child: ChildConfig, key: Key, report: Report, warn: Report) -> None:
    """Report too many selectors; say what a child with protocol or ports does not cover."""
    longest = max(len(child.local_ts), len(child.remote_ts))
    if longest > MOST:
        report(key, f"{longest} selectors: IKE carries {MOST} at most", "write larger networks, or more children")
        return
    entries = count(child.local_ts, child.remote_ts)
    if entries > MAX_CONFIGURED:
        cause = f"these selectors take {entries} entries of the kernel's SPD, of {MAX_CONFIGURED} at most"
        report(key, cause, "write networks in the place of ranges, and single ports or all of them")
    elif not entries and {ts.version for ts in child.local_ts} == {ts.version for ts in child.remote_ts}:
        cause = "no packet has both a selector of local_ts and one of remote_ts"
        report(key, cause, "write the same family and protocol on both sides, or leave the protocol out on one")
    suffixes = sorted({ts.suffix for ts in (*child.local_ts, *child.remote_ts)} - {""})
    if suffixes and child.dataplane is DataPlane.POLICY and child.tunnel is None:
        cause = f"only {' '.join(suffixes)} is covered: all else between these addresses goes in clear"
        warn(key, cause, "leave protocol and ports out, or let a firewall drop the rest")
