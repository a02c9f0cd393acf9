"""The clamp of TCP through tunnel devices, by nf_tables whatever ``gateway.firewall`` says: two rules for all devices.

::

    table inet xfrmctl-tunnels {
        chain clamp { counter tcp option maxseg size set rt mtu }
        chain forward {
            type filter hook forward priority mangle
            oifgroup 0x58000001 tcp flags & (syn | rst) == syn jump clamp
            iifgroup 0x58000001 tcp flags & (syn | rst) == syn jump clamp } }

Which networks are behind a device is its routes' business, so the device is what is matched, by its group. ``rt mtu``
is the smaller one of the MTUs of both ways, less the headers (``get_tcpmss`` of net/netfilter/nft_rt.c), and the MTU
of a device of ours is what fits: SYN and SYN-ACK get the right value, none is raised, and a SYN costs the same with
10,000 devices. The gateway's own connections take their MSS from the device by themselves. Like all of nf_tables it
adds no MSS to a SYN without one.

What nft lists of the table just after it was made is what it must list ever after.
"""

from xfrmctl.kernel.firewall.programs import FirewallError, installed, run
from xfrmctl.kernel.ownership import NFT_TUNNELS, tunnel_group

TABLE = f"inet {NFT_TUNNELS}"
_REMOVE = f"add table {TABLE}\ndelete table {TABLE}\n"


def table_text() -> str:
    """Make the table anew, in one step, whatever there was of it."""
    group, syn = f"{tunnel_group(clamped=True):#x}", "tcp flags & (syn | rst) == syn"
    return (
        f"{_REMOVE}"
        f"add table {TABLE}\n"
        f"add chain {TABLE} clamp\n"
        f"add rule {TABLE} clamp counter tcp option maxseg size set rt mtu\n"
        f"add chain {TABLE} forward {{ type filter hook forward priority mangle; policy accept; }}\n"
        f"add rule {TABLE} forward oifgroup {group} {syn} jump clamp\n"
        f"add rule {TABLE} forward iifgroup {group} {syn} jump clamp\n"
    )


class TunnelClamp:
    """Our second table of nf_tables."""

    def __init__(self) -> None:
        self._expected = ""
        self._may_stand = True

    def stand(self, *, look: bool) -> list[str]:
        """Have the table stand; ``look`` whether it still does. Gives what went wrong."""
        try:
            if not self._expected or (look and self._listed() != self._expected):
                run(["nft", "-f", "-"], table_text())
                self._expected, self._may_stand = self._listed(), True
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
        self._expected, self._may_stand = "", False
        return int(found), []

    @staticmethod
    def _listed() -> str:
        """The table as nft lists it without counters; "" if there is none."""
        if f"table {TABLE}" not in run(["nft", "list", "tables", "inet"]).splitlines():
            return ""
        return run(["nft", "-s", "list", "table", *TABLE.split()])
