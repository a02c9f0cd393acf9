"""The rule sets of the host: both variants of iptables, both families, and nf_tables."""

from xfrmctl.diagnose.netfilter import iptables, nft
from xfrmctl.diagnose.netfilter.values import Table
from xfrmctl.kernel.firewall.iptables import FAMILIES, Tables
from xfrmctl.kernel.firewall.programs import installed, run
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.netfilter.nft import parse_nft
from xfrmctl.netfilter.save import parse

VARIANTS = ("nft", "legacy")
_NFT_FAMILY = {4: "ip", 6: "ip6"}

Counted = dict[tuple[str, str, str], int]


def read() -> tuple[tuple[Table, ...], list[str]]:
    """All tables, and what could not be read, with the reason."""
    found: list[Table] = []
    blind: list[str] = []
    for variant in VARIANTS:
        for family in FAMILIES:
            tables = Tables(family, variant)
            if not tables.in_use():
                continue
            try:
                found += iptables.tables_of(parse(tables.everything(), family), f"iptables-{variant}")
            except XfrmctlError as error:
                blind.append(f"{tables.program('save')}: {error}")
    if installed("nft"):
        shown = {(_NFT_FAMILY[t.version], t.name) for t in found if t.source == "iptables-nft"}
        try:
            listed = run(["nft", "-j", "list", "ruleset"]), run(["nft", "-a", "list", "ruleset"])
            found += nft.tables_of(parse_nft(*listed), shown)
        except XfrmctlError as error:
            blind.append(f"nft list ruleset: {error}")
    return tuple(found), blind


def counted(tables: tuple[Table, ...]) -> Counted:
    """What every rule and every policy has counted, by the name that a :class:`Fate` has."""
    counts: Counted = {}
    for table in tables:
        for chain in table.chains.values():
            counts |= {(str(table), chain.name, rule.text): rule.packets or 0 for rule in chain.rules}
            counts[str(table), chain.name, "policy"] = chain.policy_packets or 0
    return counts


def moved(before: Counted, after: Counted) -> Counted:
    """How much each has counted meanwhile; one that is new counts from zero."""
    return {key: number - before.get(key, 0) for key, number in after.items() if number > before.get(key, 0)}
