"""Lines about the very chain that took a packet: an accept in another table, or the other variant, spares nothing."""

from xfrmctl.diagnose.lines import shell
from xfrmctl.diagnose.netfilter.values import Table
from xfrmctl.diagnose.netfilter.walk import Fate
from xfrmctl.model.finding import Line

_FAMILY = {4: "ip", 6: "ip6", 0: "inet"}
NATIVE = "nft"


def _program(table: Table) -> str:
    program = table.source.replace("iptables", "ip6tables") if table.version == 6 else table.source
    return program if table.name == "filter" else f"{program} -t {table.name}"


def spare(fate: Fate, plain: str, native: str) -> Line:
    """A rule that spares packets; ``plain`` and ``native`` are the match as iptables and as nft spell it."""
    table, chain = fate.table, fate.chain.name
    if table.source == NATIVE:
        return shell(f"nft insert rule {_FAMILY[table.version]} {table.name} {chain} {native} accept")
    return shell(f"{_program(table)} -I {chain} {plain} -j ACCEPT")


def listing(fate: Fate) -> Line:
    """Shows the chain."""
    table, chain = fate.table, fate.chain.name
    if table.source == NATIVE:
        return shell(f"nft -a list chain {_FAMILY[table.version]} {table.name} {chain}")
    return shell(f"{_program(table)} -S {chain}")
