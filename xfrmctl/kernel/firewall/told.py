"""Keeps the rules about the gateway's own path-MTU errors in iptables, and says when a firewall eats them."""

from collections.abc import Mapping

from xfrmctl.kernel.firewall import errors
from xfrmctl.kernel.firewall.errors import Standing
from xfrmctl.kernel.firewall.iptables import FAMILIES, VARIANTS, Tables
from xfrmctl.kernel.firewall.programs import FirewallError
from xfrmctl.model.address import IPAddress

Way = tuple[tuple[IPAddress, IPAddress] | None, str]
"""Of an ICMP error to a host within: an address of ours and one of theirs, or None; and the device to them, or ""."""


class ErrorWatch:
    """The limit and the two counters of each family, with a memory of what was counted last."""

    def __init__(self) -> None:
        self._have: dict[int, Standing] = {}
        self._counted: dict[int, tuple[int, int]] = {}
        self._complaints: dict[int, str] = {}

    def read(self, mangle: Mapping[int, str]) -> None:
        """Look at what stands, and what it has counted. ``mangle``: the mangle tables of iptables, by family."""
        self._have = {family: errors.parse_save(text) for family, text in mangle.items()}

    def watch(self, ways: Mapping[int, Way]) -> list[str]:
        """Limit and count errors of these families, as far as read; gives what is wrong.

        Where the operator's firewall drops them it is said until some have left again.
        """
        problems: list[str] = []
        for family, have in self._have.items():
            tables = Tables(family)
            if not tables.available():
                continue
            try:
                if family not in ways:
                    tables.restore(errors.remove_text(have))
                    self._counted.pop(family, None)
                    self._complaints.pop(family, None)
                elif errors.stands(family, have):
                    self._compare(tables, have, ways[family])
                else:
                    tables.restore(errors.restore_text(family, have))
                    self._counted[family] = (0, 0)
            except FirewallError as error:
                problems.append(f"ICMP errors of the gateway (IPv{family}) are not watched: {error}")
        return [*problems, *self._complaints.values()]

    def _compare(self, tables: Tables, have: Standing, way: Way) -> None:
        family = tables.family
        before = self._counted.get(family)
        self._counted[family] = (have.made, have.left)
        if before is None or have.made <= before[0]:
            return
        made, left = have.made - before[0], have.left - before[1]
        if left * 2 > made:  # the two are not read at the same moment, and what enters an interface is seen twice
            self._complaints.pop(family, None)
        elif family not in self._complaints:
            by = errors.culprit(tables.everything(), family, *way)
            self._complaints[family] = errors.complaint(family, made, made - left, by)

    @staticmethod
    def remove() -> tuple[int, list[str]]:
        """Remove every trace, in both variants of iptables; gives the number of rules, and problems."""
        rules, problems = 0, list[str]()
        for family in FAMILIES:
            for variant in VARIANTS:
                tables = Tables(family, variant)
                try:
                    have = errors.parse_save(tables.text()) if tables.in_use() else Standing()
                    tables.restore(errors.remove_text(have))
                    rules += have.rules
                except FirewallError as error:
                    problems.append(str(error))
        return rules, problems
