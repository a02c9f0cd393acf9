"""What a reload would do, told before: which connections, which of their keys, and at what cost.

What becomes of a connection is asked of the engine (:meth:`IkeEngine.fates`), whose ``reload`` goes by the same answer;
what waits for the next start, of :mod:`xfrmctl.daemon.restart`. Only the words are from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from xfrmctl.config import written
from xfrmctl.config.load import Configuration
from xfrmctl.control.schema import ChildChange, ConnectionChange, GatewayChange, KeyChange, PlanResult, ReloadResult
from xfrmctl.daemon import restart
from xfrmctl.ike.config import ConnectionConfig, EngineConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.mild import Fate, renewed

NONE, REKEY, ANEW, END, RESTART = "none", "rekey", "anew", "end", "restart"
ADD, CHANGE, REMOVE = "add", "change", "remove"


@dataclass(frozen=True, slots=True)
class Step:
    """From the configuration in force to a newer one; ``resolved`` is what the engine would be told.

    ``started`` is the one that the daemon has started with.
    """

    engine: IkeEngine
    started: Configuration
    before: Configuration
    newer: Configuration
    resolved: EngineConfig

    def result(self, lines: list[str]) -> PlanResult:
        """All of it; ``lines`` are the kernel's."""
        connections, gateway = self.connections(), self.gateway()
        return PlanResult(
            file=str(self.newer.file),
            configuration_differs=bool(connections or gateway),
            connections=connections,
            gateway=gateway,
            waiting=self.waiting(),
            lines=lines,
        )

    def connections(self) -> list[ConnectionChange]:
        """What changes, in the order of the newer file; what is taken out comes last."""
        changes, fates = self.before.changes(self.newer), self.engine.fates(self.resolved)
        touched = {*changes.added, *changes.changed, *changes.removed}
        return [self._connection(name, fate) for name, fate in fates.items() if name in touched]

    def _connection(self, name: str, fate: Fate) -> ConnectionChange:
        old, new = (c.engine.connections.get(name) for c in (self.before, self.newer))
        up = self._up(name) if fate in (Fate.ANEW, Fate.REMOVED) else []
        rekeys = self._rekeys(name) if fate is Fate.ADOPTED else []
        action, cost, effect = _told(fate, new, up, rekeys)
        return ConnectionChange(
            name=name,
            action=action,
            cost=cost,
            effect=effect,
            interrupts=up,
            rekeys=rekeys,
            keys=_keys(self._of_connection(self.before, old), self._of_connection(self.newer, new))
            if action == CHANGE
            else [],
            children=list(_children(old, new)),
        )

    @staticmethod
    def _of_connection(whole: Configuration, connection: ConnectionConfig | None) -> written.Keys:
        if connection is None:
            return {}
        return written.of_connection(connection, whole.gateway.path_mtu_of.get(connection.name))

    def _up(self, name: str) -> list[str]:
        """Children that have an SA now."""
        found = (c.config.name for sa in self.engine.ike_sas(name) for c in sa.children if c.installed)
        return list(dict.fromkeys(found))

    def _rekeys(self, name: str) -> list[str]:
        up = self._up(name)
        children = renewed(self.before.engine.connections[name], self.newer.engine.connections[name])
        return [child for child in children if child in up]

    def gateway(self) -> list[GatewayChange]:
        """Keys of the machine: those in force at once, and those that wait."""
        old, new = (written.of_gateway(c.gateway, c.engine) for c in (self.before, self.newer))
        keys = _keys(old, new)
        later = [key for key in keys if key.key.startswith(tuple(self._pending))]
        now = [key for key in keys if key not in later]
        found = [GatewayChange(cost=NONE, effect="in force at once", keys=now)] if now else []
        if later:
            effect = "only from the next start of the daemon on (systemctl restart xfrmctl), which interrupts"
            found.append(GatewayChange(cost=RESTART, effect=effect, keys=later))
        return found

    def waiting(self) -> list[str]:
        """Keys that wait for the next start already, and would go on to."""
        changing = [key.key for change in self.gateway() for key in change.keys]
        return [name for name in self._pending if not any(key.startswith(name) for key in changing)]

    @property
    def _pending(self) -> list[str]:
        return restart.pending(self.started, self.newer)


def _told(fate: Fate, new: ConnectionConfig | None, up: list[str], rekeys: list[str]) -> tuple[str, str, str]:
    """Action, cost and effect."""
    match fate:
        case Fate.ADDED:
            return ADD, NONE, "nothing else is touched"
        case Fate.REMOVED:
            ends = f"the SAs of {', '.join(up)} end" if up else "it has no SA"
            return REMOVE, END, f"{ends}; its blocks go, too: what it protected goes as routes and firewall let it"
        case Fate.ANEW if up:
            again = "is negotiated again" if new is None or new.remote is not None else "waits for its peers"
            return CHANGE, ANEW, f"its IKE SA ends and {again}; until then nothing passes: {', '.join(up)}"
        case Fate.ANEW:
            return CHANGE, ANEW, "it begins anew; no child of it is up, so nothing is interrupted"
        case Fate.ADOPTED if rekeys:
            return CHANGE, REKEY, f"rekey of {', '.join(rekeys)}; no packet is lost"
    return CHANGE, NONE, "its SAs stand; nothing is interrupted"


def _children(old: ConnectionConfig | None, new: ConnectionConfig | None) -> Iterator[ChildChange]:
    before = {child.name: child for child in old.children} if old is not None else {}
    after = {child.name: child for child in new.children} if new is not None else {}
    for name, child in after.items():
        carries = written.selectors(child)
        if name not in before:
            yield ChildChange(name=name, action=ADD, carries=carries)
        elif keys := _keys(written.of_child(before[name]), written.of_child(child)):
            yield ChildChange(name=name, action=CHANGE, carries=carries, keys=keys)
    for name, child in before.items():
        if name not in after:
            yield ChildChange(name=name, action=REMOVE, carries=written.selectors(child))


def _keys(old: written.Keys, new: written.Keys) -> list[KeyChange]:
    found = written.differences(old, new)
    return [KeyChange(key=d.key, old=d.old, new=d.new, secret=d.secret) for d in found]


def reloaded(changes: list[ConnectionChange], gateway: list[GatewayChange], waiting: str) -> ReloadResult:
    """What a reload says that has made these changes; ``waiting`` names keys that wait for the next start."""
    words = {ADD: "added", CHANGE: "changed", REMOVE: "removed"}
    lists = {word: sorted(c.name for c in changes if c.action == action) for action, word in words.items()}
    told = [f"{len(names)} {what}" for what, names in lists.items() if names]
    told += ["settings of the gateway"] if gateway else []
    text = ", ".join(told) or "nothing has changed"
    successors = ", ".join(f"{change.name}/{child}" for change in changes for child in change.rekeys)
    text += f"; for DF: rekey of {successors}" if successors else ""
    text += f"; at the next start: {waiting}" if waiting else ""
    return ReloadResult(ok=True, message=text, **lists)
