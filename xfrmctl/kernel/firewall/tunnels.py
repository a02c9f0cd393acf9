"""The clamp of TCP through tunnel devices, by nf_tables whatever ``gateway.firewall`` says: rules by group.

::

    table inet xfrmctl-tunnels {
        chain clamp { counter tcp option maxseg size set rt mtu }
        chain forward {
            type filter hook forward priority mangle
            oifgroup 0x58000001 tcp flags & (syn | rst) == syn jump clamp
            iifgroup 0x58000001 tcp flags & (syn | rst) == syn jump clamp
            oifgroup 0x580009b5 tcp flags & (syn | rst) == syn jump narrow-1242
            iifgroup 0x580009b5 tcp flags & (syn | rst) == syn jump narrow-1242 }
        chain narrow-1242 { meta nfproto ipv6 tcp option maxseg size set 1182; jump clamp } }

Which networks are behind a device is its routes' business, so the device is what is matched, by its group. ``rt mtu``
is the smaller one of the MTUs of both ways, less the headers (``get_tcpmss`` of net/netfilter/nft_rt.c), and the MTU
of a device of ours is what fits: SYN and SYN-ACK get the right value, none is raised, and a SYN costs the same with
10,000 devices. The gateway's own connections take their MSS from the device by themselves. Like all of nf_tables it
adds no MSS to a SYN without one.

Where too little fits for IPv6, the device and so ``rt mtu`` have 1280 all the same. Its group says what fits: for each
such size there is a chain with the MSS of IPv6 as a number. IPv4 has routes with the right MTU.

What nft lists of the table just after it was made is what it must list ever after.
"""

from collections.abc import Iterable

from xfrmctl.kernel.firewall.programs import FirewallError, installed, run
from xfrmctl.kernel.ownership import NFT_TUNNELS, of_tunnel_group
from xfrmctl.model.sizes import IP_HEADER, TCP_HEADER

TABLE = f"inet {NFT_TUNNELS}"
_REMOVE = f"add table {TABLE}\ndelete table {TABLE}\n"
_SYN = "tcp flags & (syn | rst) == syn"


def table_text(groups: Iterable[int]) -> str:
    """Make the table anew for devices of these groups, in one step, whatever there was of it."""
    lines = [
        f"add table {TABLE}",
        f"add chain {TABLE} clamp",
        f"add rule {TABLE} clamp counter tcp option maxseg size set rt mtu",
        f"add chain {TABLE} forward {{ type filter hook forward priority mangle; policy accept; }}",
    ]
    for group in sorted(groups):
        _, narrow = of_tunnel_group(group) or (False, 0)
        chain = f"narrow-{narrow}" if narrow else "clamp"
        if narrow:
            mss = narrow - IP_HEADER[6] - TCP_HEADER
            lines += [
                f"add chain {TABLE} {chain}",
                f"add rule {TABLE} {chain} meta nfproto ipv6 tcp option maxseg size set {mss}",
                f"add rule {TABLE} {chain} jump clamp",
            ]
        lines += [f"add rule {TABLE} forward {way} {group:#x} {_SYN} jump {chain}" for way in ("oifgroup", "iifgroup")]
    return _REMOVE + "".join(f"{line}\n" for line in lines)


class TunnelClamp:
    """Our second table of nf_tables."""

    def __init__(self) -> None:
        self._groups: frozenset[int] = frozenset()
        self._expected = ""
        self._may_stand = True

    def stand(self, groups: frozenset[int]) -> list[str]:
        """Have the table stand, for these groups and no others. Gives what went wrong."""
        return self._make(groups, look=groups == self._groups and self._expected != "")

    def add(self, groups: frozenset[int]) -> list[str]:
        """Have the table clamp these groups, too, unless it did when it was last looked at. Gives what went wrong."""
        if not groups or (self._expected and groups <= self._groups):
            return []
        return self._make(groups | self._groups)

    def _make(self, groups: frozenset[int], *, look: bool = False) -> list[str]:
        """Make the table anew; with ``look`` only if another one stands."""
        try:
            if not look or self._listed() != self._expected:
                run(["nft", "-f", "-"], table_text(groups))
                self._groups, self._expected, self._may_stand = groups, self._listed(), True
        except FirewallError as error:
            self._expected = ""
            return [f"TCP through tunnel devices is not clamped, for which nft is needed: {error}"]
        return []

    def remove(self) -> tuple[int, list[str]]:
        """Remove the table, once; gives how many there were, and problems."""
        if not self._may_stand or not installed("nft"):
            return 0, []
        try:
            found = bool(self._listed())
            if found:
                run(["nft", "-f", "-"], _REMOVE)
        except FirewallError as error:
            return 0, [] if "not supported" in str(error) else [str(error)]
        self._groups, self._expected, self._may_stand = frozenset(), "", False
        return int(found), []

    @staticmethod
    def _listed() -> str:
        """The table as nft lists it without counters; "" if there is none."""
        if f"table {TABLE}" not in run(["nft", "list", "tables", "inet"]).splitlines():
            return ""
        return run(["nft", "-s", "list", "table", *TABLE.split()])
