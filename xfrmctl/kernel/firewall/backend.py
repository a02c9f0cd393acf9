"""Keeps the clamps, the ICMP guard's rules and those about DF as a plan wants them, by the operator's means.

``gateway.firewall`` chooses: ``iptables`` (:mod:`xfrmctl.kernel.firewall.sets`) or ``nftables``
(:mod:`xfrmctl.kernel.firewall.maps`), for the clamps and for the guard (:mod:`xfrmctl.kernel.firewall.guards`).
``auto`` is iptables wherever iptables and ipset are installed, of whichever variant: TCPMSS also gives an MSS to a SYN
without one. Else it is nftables, which needs no program. What the other one has left behind, from before the choice was
changed, is removed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from xfrmctl.kernel.desired import Clamp, ClampRule, Desired, DfRule, Element, IcmpGuard
from xfrmctl.kernel.firewall import clamp
from xfrmctl.kernel.firewall.clamp import Counter
from xfrmctl.kernel.firewall.df import DfTable
from xfrmctl.kernel.firewall.guards import ChainGuard, Guards, TableGuard
from xfrmctl.kernel.firewall.iptables import FAMILIES, mangle_text, mixed_variants
from xfrmctl.kernel.firewall.maps import MapClamps
from xfrmctl.kernel.firewall.nftables import NfTables
from xfrmctl.kernel.firewall.programs import FirewallError, installed
from xfrmctl.kernel.firewall.sets import SetClamps
from xfrmctl.kernel.firewall.told import ErrorWatch, Way
from xfrmctl.kernel.firewall.tunnels import TunnelClamp
from xfrmctl.kernel.plan import AddClamps, ChangeDf, ClampOperation, SetIcmpGuard
from xfrmctl.model.address import NAT_T_PORT
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.snapshot import ClampInfo


class Clamps(Protocol):
    """One way to clamp. Everything but ``remove`` and the first ``read`` builds on what was read or written last.

    ``disturbances``: what ``read`` has found that others did to rules that stood, each with its cause and its cure.
    """

    disturbances: list[str]

    def read(self, mangle: Mapping[int, str]) -> tuple[frozenset[Element], frozenset[ClampRule]]:
        """Members and the rules in force. ``mangle``: the mangle tables of iptables, by family."""

    def counters(self) -> dict[ClampRule, tuple[Counter, bool, frozenset[Element]]]:
        """Every rule that stands or should stand: its counter, whether it stands, its members."""

    def add(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        """Make rules stand, and have them serve these members."""

    def delete(self, rules: Iterable[ClampRule], members: frozenset[Element]) -> None:
        """Serve these members no more, then drop those of the rules that serve nobody."""

    def remove(self) -> tuple[int, int, list[str]]:
        """Remove every trace; gives the numbers of rules and of sets or maps, and problems."""

    def close(self) -> None:
        """Close a socket of its own."""


def chosen(wanted: FirewallBackend) -> FirewallBackend:
    """Who clamps on this host."""
    if wanted is not FirewallBackend.AUTO:
        return wanted
    old = installed("iptables-restore") and installed("ipset")
    return FirewallBackend.IPTABLES if old else FirewallBackend.NFTABLES


class Firewall:
    """The clamps, the ICMP guard and the rules about DF. ``encap_port`` is ours, of UDP encapsulation."""

    def __init__(self, wanted: FirewallBackend = FirewallBackend.AUTO, encap_port: int = NAT_T_PORT) -> None:
        self._tables = NfTables()
        self._by_iptables = chosen(wanted) is FirewallBackend.IPTABLES
        self._clamps, self._guard = self._by(iptables=self._by_iptables)
        self._other: tuple[Clamps, Guards] | None = self._by(iptables=not self._by_iptables)
        self._df = DfTable(encap_port)
        self._errors = ErrorWatch()
        self._known = False
        self._tunnels = TunnelClamp()
        self.wanted: set[Clamp] = set()
        """What should be clamped: whoever reads may find that another program has taken all of it away."""

    def _by(self, *, iptables: bool) -> tuple[Clamps, Guards]:
        return (SetClamps(), ChainGuard()) if iptables else (MapClamps(self._tables), TableGuard(self._tables))

    def close(self) -> None:
        """Close all sockets; what stands stays."""
        self._tables.close()
        self._clamps.close()

    def read(self) -> tuple[frozenset[Element], frozenset[ClampRule]]:
        """All members, and the rules in force. Raises FirewallError."""
        texts = {family: mangle_text(family) for family in FAMILIES} if self._by_iptables else {}
        self._guard.read(texts)
        self._errors.read(texts)
        found = self._clamps.read(texts)
        self._known = True
        return found

    def icmp(self) -> IcmpGuard | None:
        """The guard that was set last if all of it stood when it was read; None for anything else."""
        return self._guard.standing()

    def set_icmp(self, operations: Sequence[SetIcmpGuard]) -> list[str]:
        """Guard these peers; gives what went wrong."""
        return [problem for operation in operations for problem in self._guard.set(operation.new)]

    def watch_errors(self, ways: Mapping[int, Way]) -> list[str]:
        """Limit and count the gateway's own path-MTU errors of these families; gives what is wrong.

        By nf_tables they are neither limited nor watched.
        """
        return self._errors.watch(ways)

    def df(self) -> frozenset[DfRule] | None:
        """The rules about DF that stand; None where they are not as we have made them. Raises FirewallError."""
        return self._df.standing()

    def df_counters(self) -> dict[str, int]:
        """How many packets have lost DF (``cleared``), and got it (``set``). Raises FirewallError."""
        return self._df.counters()

    def set_df(self, operations: Sequence[ChangeDf]) -> list[str]:
        """Change the rules about DF; gives what went wrong."""
        problems: list[str] = []
        for operation in operations:
            try:
                self._df.change(operation.new, operation.gone, afresh=operation.afresh)
            except FirewallError as error:
                words = "df: set and oversize: fragment have no effect, for which nftables is needed,"
                problems.append(f"{words} whatever gateway.firewall says: {error}")
        return problems

    def apply(self, operations: Sequence[ClampOperation]) -> list[str]:
        """Carry out operations; gives what went wrong."""
        problems: list[str] = []
        for operation in operations:
            try:
                if not self._known:
                    self.read()
                if isinstance(operation, AddClamps):
                    self._clamps.add(operation.rules, operation.elements)
                else:
                    self._clamps.delete(operation.rules, operation.elements)
            except FirewallError as error:
                self._known = False  # read again before the next change
                problems.append(str(error))
        return problems

    def remove_other(self) -> list[str]:
        """Remove what the back end that was not chosen may have left behind, once; gives what went wrong."""
        if self._other is None:
            return []
        clamps, guard = self._other
        problems = [*clamps.remove()[2], *guard.remove()[1]]
        problems += [] if self._by_iptables else self._errors.remove()[1]
        clamps.close()
        self._other = self._other if problems else None
        return problems

    def clamp_tunnels(self, groups: frozenset[int]) -> list[str]:
        """Clamp TCP through tunnel devices of these groups only, whatever stands now. Gives what went wrong."""
        return self._tunnels.stand(groups) if groups else self._tunnels.remove()[1]

    def clamp_more_tunnels(self, groups: frozenset[int]) -> list[str]:
        """Clamp TCP through tunnel devices of these groups, too; without a look at what stands."""
        return self._tunnels.add(groups)

    def counters(self) -> list[ClampInfo]:
        """Every rule that stands or should stand. Raises FirewallError."""
        if not self._known:
            self.read()
        found = self._clamps.counters()
        rules = Desired(clamps=frozenset(self.wanted)).clamp_rules
        missing = {rule: (Counter(), False, frozenset[Element]()) for rule in rules - found.keys()}
        return [
            ClampInfo(
                family=rule.family,
                mss=rule.mss,
                pairs=len(clamp.pairs_of(members)),
                packets=counter.packets,
                bytes=counter.bytes,
                standing=standing,
            )
            for rule, (counter, standing, members) in sorted((found | missing).items())
        ]

    def disturbances(self) -> list[str]:
        """What others did to rules that stood, as far as it was noticed since the last time."""
        found = [*self._clamps.disturbances, *self._df.disturbances]
        self._clamps.disturbances, self._df.disturbances = [], []
        return found

    def warnings(self) -> list[str]:
        """What is wrong with the host's firewall as a whole."""
        try:
            return [text] if (text := mixed_variants()) else []
        except FirewallError as error:
            return [str(error)]

    def cleanup(self) -> tuple[dict[str, int], list[str]]:
        """Remove every trace of ours, by whichever back end; gives counts and problems."""
        removed = {"clamp_rules": 0, "clamp_sets": 0, "icmp_rules": 0}
        removed["df_tables"], problems = self._df.remove()
        removed["icmp_rules"], more = self._errors.remove()
        problems += more
        for clamps, guard in (self._by(iptables=True), self._by(iptables=False)):
            watched, more = guard.remove()
            removed["icmp_rules"] += watched
            problems += more
            rules, sets, more = clamps.remove()
            removed["clamp_rules"] += rules
            removed["clamp_sets"] += sets
            problems += more
            clamps.close()
        removed["clamp_sets"] += (tunnels := TunnelClamp().remove())[0]
        problems += tunnels[1]
        self._known = False
        return removed, problems
