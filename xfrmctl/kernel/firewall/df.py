"""The DF bit as nf_tables changes it: rules as text, and the table that holds them. IPv4 only; IPv6 has no such bit.

One table of ours, where anybody asks for it::

    table ip xfrmctl-df {
        chain over-1346 {
            ip length <= 1346 return
            ip protocol { tcp, ah } ip id != 0 counter ip frag-off set 0
            ip protocol != { tcp, ah } counter
                ip id set numgen random mod 4294901760 offset 65536 ip frag-off set 0
        }
        chain prerouting { type filter hook prerouting priority 0;
            ip length <= 1346 accept
            ip frag-off != 16384 accept
            fib daddr . mark oifname vmap { "xfc-1" : jump over-1346 }
        }
        chain postrouting { type filter hook postrouting priority 0;
            ip frag-off != 0 accept
            ip daddr != { 172.16.2.1 } accept
            fib saddr type != local accept
            ip protocol { esp, ah } counter ip frag-off set 16384
            udp sport 4500 @th,64,32 != 0 counter ip frag-off set 16384
        }
    }

* What loses DF, and why here. The check of DF is part of forwarding, so it has to be gone in PREROUTING; there the
  routes tell which device will get the packet, behind DNAT and the marks of others. A packet that fits every tunnel
  costs one comparison. The xfrm interface then fragments it, for its MTU is the tunnel's.
* The identification. A packet with DF may have any, 0 for example (RFC 6864 4.1); fragments of two packets with the
  same one would be put together. So it gets one at random (RFC 7739 5.3 has the reasons). Two protocols
  keep theirs, and with 0 they keep DF, too, and their sender gets ICMP. AH signs it. TCP's may stand for many segments
  that were received together (GRO): the kernel numbers these on from it, or drops them all where they came with the
  same one and DF is gone (``inet_gso_segment``). Linux and Windows number TCP's packets with DF all the same.
* What gets DF: ESP and AH of our own to these peers, in UDP too (RFC 3948 2.2: four zero octets are IKE's).
  POSTROUTING comes before the kernel would fragment it, so it must fit: the interface's MTU sees to that. Without DF
  it has an identification of its own already.
* No packet waits for anybody: the rules work whether the daemon lives or not.
"""

import re
from collections.abc import Iterable

from xfrmctl.kernel.desired import ClearDf, DfRule, SetDf
from xfrmctl.kernel.firewall.programs import FirewallError, installed, run
from xfrmctl.kernel.ownership import DF_TABLE
from xfrmctl.model.address import NAT_T_PORT

TABLE = f"ip {DF_TABLE}"
_DF = 0x4000
_IDENTIFICATION = "numgen random mod 4294901760 offset 65536"
"""Half of its 32 bits are written: nft 1.0.6 takes the upper half, whatever the byte order, which rules a counter out.
So neither half is short of bits, and the upper one is never 0."""

_HOOK = "{{ type filter hook {0} priority 0; policy accept; }}"
_COUNTER = re.compile(r"counter packets (\d+) bytes \d+")


def table_text(rules: Iterable[DfRule], encap_port: int) -> str:
    """Make the table anew, in one step; without rules remove it. ``encap_port`` is ours, of UDP encapsulation."""
    text = remove_text()
    peers = sorted({rule.peer for rule in rules if isinstance(rule, SetDf)})
    above: dict[str, int] = {}
    for rule in rules:
        if isinstance(rule, ClearDf):
            above[rule.device] = min(rule.above, above.get(rule.device, rule.above))
    if not peers and not above:
        return text
    text += f"add table {TABLE}\n"
    if above:
        text += _clearing(above)
    if peers:
        text += _setting(", ".join(map(str, peers)), encap_port)
    return text


def _clearing(above: dict[str, int]) -> str:
    lines: list[str] = []
    for size in sorted(set(above.values())):
        chain = f"{TABLE} over-{size}"
        lines += [
            f"add chain {chain}",
            f"add rule {chain} ip length <= {size} return",
            f"add rule {chain} ip protocol {{ tcp, ah }} ip id != 0 counter ip frag-off set 0",
            f"add rule {chain} ip protocol != {{ tcp, ah }} counter ip id set {_IDENTIFICATION} ip frag-off set 0",
        ]
    devices = ", ".join(f'"{name}" : jump over-{size}' for name, size in sorted(above.items()))
    hook = f"{TABLE} prerouting"
    lines += [
        f"add chain {hook} {_HOOK.format('prerouting')}",
        f"add rule {hook} ip length <= {min(above.values())} accept",
        f"add rule {hook} ip frag-off != {_DF} accept",
        f"add rule {hook} fib daddr . mark oifname vmap {{ {devices} }}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _setting(peers: str, encap_port: int) -> str:
    hook = f"{TABLE} postrouting"
    lines = [
        f"add chain {hook} {_HOOK.format('postrouting')}",
        f"add rule {hook} ip frag-off != 0 accept",
        f"add rule {hook} ip daddr != {{ {peers} }} accept",
        f"add rule {hook} fib saddr type != local accept",
        f"add rule {hook} ip protocol {{ esp, ah }} counter ip frag-off set {_DF}",
        f"add rule {hook} udp sport {encap_port} @th,64,32 != 0 counter ip frag-off set {_DF}",
    ]
    return "".join(f"{line}\n" for line in lines)


def remove_text() -> str:
    """Delete the table. To add it first makes it no failure that it is gone."""
    return f"add table {TABLE}\ndelete table {TABLE}\n"


_UNKNOWN = "?"
"""Of a table that may or may not stand."""


class DfTable:
    """Keeps our table. What stood when we had made it is remembered as nft lists it: anything else is no table of ours.

    Where nothing was ever asked for and nft is not installed, nothing is missing.
    """

    def __init__(self, encap_port: int = NAT_T_PORT) -> None:
        self._encap_port = encap_port
        self._rules: frozenset[DfRule] = frozenset()
        self._made = ""
        self.disturbances: list[str] = []

    def standing(self) -> frozenset[DfRule] | None:
        """The rules in force; None for a table that is not as we have made it. Raises FirewallError."""
        if _plain(_listed()) == self._made:
            return self._rules
        if self._rules and self._made != _UNKNOWN:
            cause = f"another program has changed or removed the table {TABLE} (df: set, oversize: fragment)"
            self.disturbances = [f"{cause}: find it; nft monitor tells who it is"]
        return None

    def change(self, new: frozenset[DfRule], gone: frozenset[DfRule], *, afresh: bool) -> None:
        """Have these rules too, and those no more; ``afresh``: only the new ones. Raises FirewallError."""
        rules = new if afresh else (self._rules - gone) | new
        self._made = _UNKNOWN
        run(["nft", "-f", "-"], table_text(rules, self._encap_port))
        self._rules, self._made = rules, _plain(_listed())

    def counters(self) -> dict[str, int]:
        """How many packets the rules have changed: ``cleared`` and ``set``. Raises FirewallError."""
        counts = {"cleared": 0, "set": 0}
        for line in _listed().splitlines() if self._rules else ():
            match = _COUNTER.search(line)
            if match is not None:
                counts["set" if f"set {_DF}" in line else "cleared"] += int(match[1])
        return counts

    def remove(self) -> tuple[int, list[str]]:
        """Remove every trace; gives the number of tables, and problems."""
        try:
            if not _listed():
                return 0, []
            run(["nft", "-f", "-"], remove_text())
        except FirewallError as error:
            return 0, [str(error)]
        self._rules, self._made = frozenset(), ""
        return 1, []


def _listed() -> str:
    """Our table as nft lists it; "" where there is none."""
    if not installed("nft"):
        return ""
    if f"table {TABLE}\n" not in run(["nft", "list", "tables", "ip"]) + "\n":
        return ""
    return run(["nft", "list", "table", *TABLE.split()])


def _plain(text: str) -> str:
    return _COUNTER.sub("counter", text)
