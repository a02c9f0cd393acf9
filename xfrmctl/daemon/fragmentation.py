"""What becomes of packets that do not fit: the sizes of devices and routes, the rules about DF. Pure.

An xfrm interface has the tunnel's inner MTU, so that the kernel fragments before encryption, and tells senders the
right size. But a device below 1,280 bytes loses IPv6 altogether. Where a child carries IPv6 and less fits, the device
keeps 1,280, and its IPv4 routes have the inner MTU instead. The same holds for a child's tunnel device
(:mod:`xfrmctl.daemon.tunnels`).
"""

from dataclasses import dataclass

from xfrmctl.ike.config import ChildConfig
from xfrmctl.ike.sa import ChildSa
from xfrmctl.kernel.desired import ClearDf, DfRule, SetDf
from xfrmctl.model.address import IPAddress
from xfrmctl.model.sa import DfPolicy, Mode, Oversize
from xfrmctl.model.sizes import IPV4_FLOOR, IPV6_FLOOR
from xfrmctl.model.snapshot import FragmentInfo
from xfrmctl.model.suite import Suite
from xfrmctl.pmtu.overhead import outer_mtu_for, tunnel_overhead


def carries(child: ChildConfig, version: int) -> bool:
    """Whether a child has selectors of an IP version."""
    return any(ts.version == version for ts in child.local_ts)


def _carries_ipv6(child: ChildConfig, mode: Mode) -> bool:
    """Whether there are IPv6 packets inside whose size anybody has to be told."""
    return child.tunnel.has_ipv6 if child.tunnel is not None else carries(child, 6) and mode is Mode.TUNNEL


def device_mtu(child: ChildConfig, inner_mtu: int) -> int:
    """MTU of the child's xfrm interface."""
    return max(IPV6_FLOOR if carries(child, 6) else IPV4_FLOOR, inner_mtu)


def df_rules(child: ChildConfig, remote: IPAddress | None, inner_mtu: int) -> frozenset[DfRule]:
    """What a child wants of DF that no SA can do. ``remote`` is the peer, None where it is not known."""
    rules: set[DfRule] = set()
    if child.df is DfPolicy.SET and remote is not None and remote.version == 4:
        rules.add(SetDf(remote))
    if child.oversize is Oversize.FRAGMENT and child.interface is not None:
        rules.add(ClearDf(child.interface, inner_mtu))
    return frozenset(rules)


@dataclass(frozen=True, slots=True)
class Squeeze:
    """A child carries IPv6, and less than 1,280 bytes fit.

    ``need`` is what the path would have to carry. ``cause`` says why even fragments outside do not help, and ``cure``
    what would; both are empty where they help. ``here``: this gateway makes the fragments, behind its tunnel device.
    """

    inner_mtu: int
    need: int
    cause: str = ""
    cure: str = ""
    here: bool = False

    @property
    def lost(self) -> bool:
        """Whether packets above the inner MTU are lost, except TCP's, whose MSS is right."""
        return bool(self.cause)

    def __str__(self) -> str:
        if not self.lost:
            who = "this gateway fragments" if self.here else "routers fragment"
            return f"only {self.inner_mtu} bytes fit, so larger ESP goes without DF, and {who} it"
        return f"packets above {self.inner_mtu} bytes are lost but TCP's, for {self.cause}: {self.cure}"


def squeezed(
    child: ChildConfig, inner_mtu: int, suite: Suite, version: int, mode: Mode, *, encap: bool, link_mtu: int | None
) -> Squeeze | None:
    """Whether IPv6 inside has too little room, with an outer header of ``version``; None where it has enough.

    ``link_mtu`` is what the first link takes, bytes, None where that is not known.
    """
    if not _carries_ipv6(child, mode) or inner_mtu >= IPV6_FLOOR:
        return None
    need = outer_mtu_for(IPV6_FLOOR + tunnel_overhead(child.tunnel, version), suite, version, encap, mode)
    here, more = child.tunnel is not None, f"have the path carry {need} bytes"
    cause = cure = ""
    if version == 6:
        cause, cure = "no router fragments IPv6 outside", f"{more}, or give the gateways IPv4 addresses"
    elif not here and child.df is DfPolicy.SET:
        cause, cure = "df: set forbids routers to fragment ESP", f"{more}, or write df: copy"
    elif not here and link_mtu is not None and link_mtu < need:
        cause, cure = f"the first link takes {link_mtu} bytes only", f"raise its MTU to {need}"
    return Squeeze(inner_mtu, need, cause, cure, here)


def fragments(child: ChildSa, inner_mtu: int, squeeze: Squeeze | None) -> FragmentInfo:
    """What becomes of packets that do not fit, in words."""
    config = child.config
    with_df = without_df = ipv6 = ""
    if config.tunnel is not None:
        with_df = f"senders are told {inner_mtu} by ICMP"
        without_df = f"fragmented to {inner_mtu} before encryption"
    elif child.mode is Mode.TRANSPORT:
        with_df = without_df = "the gateway's own sockets know what fits"
    elif carries(config, 4):
        with_df, without_df = _ipv4(child, inner_mtu, squeeze)
    if _carries_ipv6(config, child.mode):
        told = f"senders are told {max(IPV6_FLOOR, inner_mtu)} by ICMPv6"
        ipv6 = str(squeeze) if squeeze is not None else told
    return FragmentInfo(
        df=config.df.value,
        oversize=config.oversize.value,
        outer=_outer(child, squeeze),
        ipv4_with_df=with_df,
        ipv4_without_df=without_df,
        ipv6=ipv6,
        ipv6_lost=squeeze is not None and squeeze.lost,
    )


def _outer(child: ChildSa, squeeze: Squeeze | None) -> str:
    if child.outbound.destination.version == 6:
        return "IPv6, which no router fragments"
    if child.config.tunnel is not None:
        return "DF as the packet inside has it, IPv6 inside none" if squeeze is not None else "always DF"
    if child.mode is Mode.TRANSPORT:
        return "DF as the packet has it"
    if child.df is DfPolicy.CLEAR:
        return "never DF" if child.config.df is DfPolicy.CLEAR else "no DF, for the sake of IPv6 inside"
    return "always DF" if child.df is DfPolicy.SET else "DF as the packet inside has it, IPv6 inside always"


def _ipv4(child: ChildSa, inner_mtu: int, squeeze: Squeeze | None) -> tuple[str, str]:
    """Of packets with DF, and without. A route that a squeeze has lifted counts where there is no interface."""
    config = child.config
    if config.interface is None:
        outside = "fragmented after encryption, and the peer puts ESP together"
        if squeeze is not None and not squeeze.lost:
            return "goes without DF outside, and routers fragment ESP", outside
        return f"senders are told {inner_mtu} by ICMP", outside
    inside = f"fragmented to {inner_mtu} before encryption"
    if config.oversize is Oversize.FRAGMENT:
        return f"{inside}, with DF cleared", inside
    return f"senders are told {inner_mtu} by ICMP", inside
