"""Our own addresses and routes: what changes there, and what follows from it for connections and IKE SAs.

The engine knows no routes. It asks for pairs of addresses by the effect ``FindPaths``, when the network has changed and
when a path is silent, and is answered by the input ``handle_paths``. A pair has a path where the kernel would send
from this address to that one.

With ``local.address: any`` our address is what the routes say, so that IKE SAs follow the routes. Else it is the first
one of ``local.address`` and ``local.alternates`` that has a path; an IKE SA stays on its pair as long as that has one.
Without MOBIKE an IKE SA cannot follow: it ends when its address has gone, and is made anew from another one.
"""

from collections.abc import Mapping
from dataclasses import replace

from xfrmctl.ike import lifecycle, path_failures
from xfrmctl.ike.config import ConnectionConfig, EngineConfig
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import mobike
from xfrmctl.ike.mobility import Pair
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.transport import begin, send_again
from xfrmctl.model.address import IPAddress
from xfrmctl.model.effects import FindPaths
from xfrmctl.model.events import LocalAddressChanged

Paths = Mapping[tuple[IPAddress | None, IPAddress], IPAddress | None]
"""Pairs as they were asked for -> our address, None where there is no path."""


def changed(core: Core) -> None:
    """Addresses or routes have changed: look at everything that may have to follow."""
    asked: dict[tuple[IPAddress | None, IPAddress], None] = {}
    asked |= {(None, c.remote): None for c in core.config.connections.values() if c.roams and c.remote is not None}
    for sa in core.sas.values():
        if sa.config is not None and _may_follow(sa, sa.config):
            asked |= dict.fromkeys(_asked(sa))
    if asked:
        core.emit(FindPaths(tuple(asked)))


def _may_follow(sa: IkeSa, config: ConnectionConfig) -> bool:
    """Whether the routes have a say: not for whoever only answers at the one address that it has."""
    if sa.mobility is None:
        return sa.initiator
    return sa.mobility.decides or config.roams or config.local is None or bool(config.alternates)


def _asked(sa: IkeSa) -> tuple[tuple[IPAddress | None, IPAddress], ...]:
    if sa.mobility is not None:
        return mobike.pairs(sa)
    return (*mobike.pairs(sa), (sa.local.address, sa.remote.address))


def silent(core: Core, sa: IkeSa) -> None:
    """A request is unanswered: whoever may choose another path looks for one."""
    if sa.mobility is not None and sa.mobility.decides:
        core.emit(FindPaths(mobike.pairs(sa), sa.serial))


def heard(core: Core, serial: int | None, found: Paths) -> None:
    """What the routes say, to one IKE SA or to all."""
    if serial is None:
        relocate(core, {name: ours for name, ours in _sources(core, found).items() if ours is not None})
    concerned = list(core.sas.values()) if serial is None else [core.sas[serial]] if serial in core.sas else []
    for sa in concerned:
        if sa.config is None or any(pair not in found for pair in mobike.pairs(sa)):
            continue
        if sa.mobility is not None and sa.state == IkeState.ESTABLISHED:
            _choose(core, sa, found)
        elif sa.mobility is None and sa.initiator:
            _give_up(core, sa, found)


def _sources(core: Core, found: Paths) -> dict[str, IPAddress | None]:
    connections = core.config.connections.values()
    return {c.name: found.get((None, c.remote)) for c in connections if c.roams and c.remote is not None}


def relocate(core: Core, sources: Mapping[str, IPAddress]) -> None:
    """Connections that roam have these local addresses now."""
    known = core.config.connections
    moved = {name: replace(known[name], local=ours) for name, ours in sources.items() if known[name].local != ours}
    if not moved:
        return
    core.configure(replace(core.config, connections={**known, **moved}))
    for name, config in moved.items():
        for sa in core.of_connection(name):
            sa.config = config
        assert config.local is not None
        core.emit(LocalAddressChanged(connection=name, local=config.local))
        lifecycle.kick(core, name)


def settled(old: EngineConfig, new: EngineConfig) -> EngineConfig:
    """A new configuration; roaming connections in which nothing else has changed stay at the addresses they have."""
    stay = {
        name: before
        for name, after in new.connections.items()
        if after.roams
        and (before := old.connections.get(name)) is not None
        and replace(before, local=after.local) == after
    }
    return replace(new, connections={name: stay.get(name, c) for name, c in new.connections.items()}) if stay else new


def _choose(core: Core, sa: IkeSa, found: Paths) -> None:
    """Stay on the path while there is one, else take the first of the others; without any, wait for one."""
    mobility = sa.mobility
    assert mobility is not None
    usable: list[Pair] = [(ours, asked[1]) for asked in mobike.pairs(sa) if (ours := found[asked]) is not None]
    mobility.usable = tuple(usable)
    was, mobility.stranded = mobility.stranded, not usable
    if not usable:
        return
    if (sa.local.address, sa.remote.address) in usable:
        if was:
            send_again(core, sa)
        if mobike.additional(sa) != mobility.announced:
            begin(core, sa, mobike.Announce())
        return
    best = next((pair for pair in usable if pair not in mobility.refused), usable[0])
    if mobility.decides:
        mobike.take(core, sa, best)
    else:
        mobike.leave_from(core, sa, best)


def _give_up(core: Core, sa: IkeSa, found: Paths) -> None:
    """An IKE SA that cannot follow, from an address that we do not have any more while there is another one."""
    others = [ours for asked in mobike.pairs(sa) if (ours := found[asked]) is not None and ours != sa.local.address]
    if not others or found.get((sa.local.address, sa.remote.address)) is not None:
        return
    name, reason = sa.connection, path_failures.address_gone(sa.local.address)
    if sa.established_at is None:
        core.close(sa, reason)
    else:
        lifecycle.close(core, sa, reason)
    lifecycle.kick(core, name)
