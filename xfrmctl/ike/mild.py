"""Changes of the configuration that need no new IKE SA: DF, what becomes of oversize packets, MSS.

An SA copies DF or clears it from its first packet to its last (``XFRM_STATE_NOPMTUDISC`` of a live SA cannot change:
the kernel takes the message and ignores the flag). So where that changes, a successor takes the CHILD SA's place, as
at any rekey, and no packet is lost. All the rest is not in SAs at all.

DF is cleared, too, where nothing else would get IPv6 through a path: for the reqids in ``core.clear_df``.
"""

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

from xfrmctl.ike.config import ConnectionConfig, EngineConfig
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges.create_child_sa import CreateChild
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.transport import begin
from xfrmctl.model.sa import DfPolicy, Oversize


class Fate(Enum):
    """What a new configuration means for one connection, by name.

    ADOPTED: its SAs stand and go by the new one, some of them after a rekey. ANEW: its SAs end, and it is negotiated
    again.
    """

    ADDED = "added"
    UNTOUCHED = "untouched"
    ADOPTED = "adopted"
    ANEW = "anew"
    REMOVED = "removed"

    __hash__ = object.__hash__


def fates(old: EngineConfig, new: EngineConfig) -> dict[str, Fate]:
    """What becomes of every connection that either configuration has: those of the new one first, in their order."""
    found: dict[str, Fate] = {}
    for name, after in new.connections.items():
        before = old.connections.get(name)
        if before is None:
            found[name] = Fate.ADDED
        elif before == after:
            found[name] = Fate.UNTOUCHED
        else:
            found[name] = Fate.ADOPTED if is_mild(before, after) else Fate.ANEW
    return found | {name: Fate.REMOVED for name in old.connections if name not in new.connections}


def is_mild(old: ConnectionConfig, new: ConnectionConfig) -> bool:
    """Whether the connections differ, and in nothing but what SAs outlive."""
    return old != new and _rest(old) == _rest(new)


def _rest(config: ConnectionConfig) -> ConnectionConfig:
    plain = (replace(c, df=DfPolicy.COPY, oversize=Oversize.ICMP, mss="auto") for c in config.children)
    return replace(config, children=tuple(plain))


def renewed(old: ConnectionConfig, new: ConnectionConfig) -> list[str]:
    """Names of the children that a mild change gives a successor."""
    before = {child.name: child for child in old.children}
    return [c.name for c in new.children if _clears(c.df) != _clears(before[c.name].df)]


def adopt(core: Core, new: ConnectionConfig) -> None:
    """Have the SAs of a connection go by its new configuration, after a mild change."""
    for sa in core.sas.values():
        sa.candidates = tuple(new if c.name == new.name else c for c in sa.candidates)
    for sa in core.of_connection(new.name):
        sa.config = new
        for child in sa.children:
            child.config = new.child(child.config.name) or child.config
        _renew(core, sa, sa.children)


def clear_df(core: Core, reqids: frozenset[int]) -> None:
    """Have the SAs with these reqids clear DF, and no others but those whose configuration says so."""
    changed, core.clear_df = core.clear_df ^ reqids, reqids
    for reqid in changed:
        for child in tuple(core.by_reqid.get(reqid, ())):
            sa, _ = core.children.get(child.inbound, (None, None))
            if sa is not None:
                _renew(core, sa, (child,))


def _renew(core: Core, sa: IkeSa, children: Iterable[ChildSa]) -> None:
    for child in tuple(children):
        wanted = core.outer_df(child.config, child.reqid)
        standing = sa.state is IkeState.ESTABLISHED and child.installed and child.successor is None
        if standing and _clears(child.df) != _clears(wanted):
            begin(core, sa, CreateChild(child.config, replaces=child))


def _clears(df: DfPolicy) -> bool:
    """All that the SA itself knows of it."""
    return df is DfPolicy.CLEAR
