"""What becomes of packets that do not fit: the sizes of devices and routes, the rules about DF. Pure.

An xfrm interface has the tunnel's inner MTU, so that the kernel fragments before encryption, and tells senders the
right size. But a device below 1,280 bytes loses IPv6 altogether. Where a child carries IPv6 and less fits, the device
keeps 1,280, and its IPv4 routes have the inner MTU instead.
"""

from xfrmctl.ike.config import ChildConfig
from xfrmctl.kernel.desired import ClearDf, DfRule, SetDf
from xfrmctl.model.address import IPAddress
from xfrmctl.model.sa import DfPolicy, Oversize
from xfrmctl.pmtu.overhead import IPV6_FLOOR

MIN_DEVICE_MTU = 68


def carries(child: ChildConfig, version: int) -> bool:
    """Whether a child has selectors of an IP version."""
    return any(ts.version == version for ts in child.local_ts)


def device_mtu(child: ChildConfig, inner_mtu: int) -> int:
    """MTU of the child's xfrm interface."""
    return max(IPV6_FLOOR if carries(child, 6) else MIN_DEVICE_MTU, inner_mtu)


def df_rules(child: ChildConfig, remote: IPAddress | None, inner_mtu: int) -> frozenset[DfRule]:
    """What a child wants of DF that no SA can do. ``remote`` is the peer, None where it is not known."""
    rules: set[DfRule] = set()
    if child.df is DfPolicy.SET and remote is not None and remote.version == 4:
        rules.add(SetDf(remote))
    if child.oversize is Oversize.FRAGMENT and child.interface is not None:
        rules.add(ClearDf(child.interface, inner_mtu))
    return frozenset(rules)
