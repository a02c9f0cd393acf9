"""The face of the IKE engine: inputs with a time stamp in, an ordered outbox of effects and events out.

    engine.handle_datagram(local, remote, data, now)     a UDP payload as it came
    engine.handle_done(token, refusal, now)              the kernel's answer to an InstallSas
    engine.handle_fetched(token, data, problem, now)     a web server's answer to a FetchUrl, or why there is none
    engine.handle_acquire(reqid, seq, now)               a packet met a trap policy
    engine.handle_expire(sa_id, hard, now)               the kernel ended an SA
    engine.handle_mapping(sa_id, remote, now)            ESP of a peer behind a NAT comes from elsewhere
    engine.handle_network(now)                           addresses or routes of this host have changed
    engine.handle_paths(serial, paths, now)              what the routes say to a FindPaths
    engine.handle_timer(now)                             harmless when early or late
    engine.initiate / terminate / reload / shutdown      what an operator wants

then ``drain()`` and ``deadline()``. ``now`` is monotonic seconds and never decreases. A peer's misbehaviour never
raises; a programming error does.
"""

from collections.abc import Iterable

from xfrmctl.crypto.entropy import Entropy
from xfrmctl.ike import failures, inbox, lifecycle, mild, moving, roaming
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, EngineConfig, Start
from xfrmctl.ike.connection import UNASKED, Acquired, Connection
from xfrmctl.ike.core import Core, Wall
from xfrmctl.ike.due import settle
from xfrmctl.ike.exchanges import informational
from xfrmctl.ike.exchanges.create_child_sa import CreateChild
from xfrmctl.ike.exchanges.probe import Probes
from xfrmctl.ike.exchanges.rekey_ike import RekeyIke
from xfrmctl.ike.peers import Peers
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.standing import Standing, standing
from xfrmctl.ike.timers import Timer
from xfrmctl.ike.transport import begin, pump
from xfrmctl.model.address import Endpoint
from xfrmctl.model.effects import DeleteSas, Effect, Token
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import Event
from xfrmctl.model.failure import Failure
from xfrmctl.model.sa import SaId
from xfrmctl.model.selector import TrafficSelector


class IkeEngine:
    """IKEv2 for all connections of one gateway."""

    def __init__(self, config: EngineConfig, entropy: Entropy, wall: Wall = lambda: 0.0) -> None:
        """``wall`` gives the seconds since the epoch; without it no certificate counts as valid."""
        self._core = Core(config, entropy, wall)
        self.probes = Probes(self._core)

    # -- getters

    @property
    def config(self) -> EngineConfig:
        """The configuration in force."""
        return self._core.config

    @property
    def connections(self) -> dict[str, Connection]:
        """Run-time side of every configured connection; to be read only."""
        return self._core.connections

    @property
    def half_open(self) -> int:
        """IKE SAs of peers that have not authenticated themselves yet."""
        return self._core.half_open_total

    def ike_sas(self, connection: str | None = None) -> list[IkeSa]:
        """IKE SAs, oldest first; to be read only."""
        if connection is not None:
            return self._core.of_connection(connection)
        return list(self._core.sas.values())

    def standing(self, sa: IkeSa) -> Standing:
        """Where an IKE SA stands just now: what it does, and what is due when."""
        return standing(self._core, sa)

    @property
    def idle(self) -> bool:
        """Whether there is no IKE SA at all."""
        return not self._core.sas

    def newest_child(self, reqid: int) -> tuple[IkeSa, ChildSa] | None:
        """The CHILD SA with this reqid that was installed last, with its IKE SA; to be read only."""
        for found in reversed(self._core.by_reqid.get(reqid, ())):
            if found.installed:
                return self._core.children[found.inbound][0], found
        return None

    def configured(self, reqid: int) -> tuple[str, ChildConfig | None]:
        """Connection and child that have this reqid by configuration; ("", None) for nobody's or a peer's."""
        return self._core.configured.get(reqid, ("", None))

    @property
    def peers(self) -> Peers:
        """Who is who where one connection serves many; to be read only."""
        return self._core.peers

    def drain(self) -> list[Effect | Event]:
        """Take everything out of the outbox, in order."""
        items, self._core.outbox = self._core.outbox, []
        return items

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` wants to be called, monotonic seconds; None for not at all."""
        return self._core.timers.deadline()

    # -- network

    def handle_datagram(self, local: Endpoint, remote: Endpoint, data: bytes, now: float) -> None:
        """Take one UDP payload; whatever is wrong with it is counted and dropped with a reason."""
        self._core.now = now
        inbox.receive(self._core, local, remote, data)
        settle(self._core)

    # -- kernel

    def handle_done(self, token: Token, refusal: KernelRefusal | None, now: float) -> None:
        """The kernel's answer. A CHILD SA that has been removed meanwhile leaves nothing behind."""
        core = self._core
        core.now = now
        waiting = core.waiting.pop(token)
        child = waiting.child
        sa = core.owner(child)
        if sa is None:
            if refusal is None:
                core.emit(DeleteSas(tuple(s.id for s in waiting.sas)))
            return
        waiting.step.done(core, sa, refusal)
        if child.doomed is not None and child in sa.children:
            informational.delete_child(core, sa, child, child.doomed)
        pump(core, sa)
        settle(self._core)

    def handle_fetched(self, token: Token, data: bytes | None, problem: str, now: float) -> None:
        """A web server's answer; None and a sentence for people where there is none."""
        self._core.now = now
        for sa in self._core.fetching.done(self._core, token, data, problem):
            pump(self._core, sa)
        settle(self._core)

    def handle_acquire(
        self, reqid: int, seq: int, now: float, packet: tuple[TrafficSelector, TrafficSelector] | None = None
    ) -> None:
        """A packet met the trap policy of the child with this reqid. ``seq`` names the kernel's larval state.

        ``packet`` has the packet's own selectors, (local, remote).
        """
        core = self._core
        core.now = now
        name, child = self.configured(reqid)
        # A child that waits for the operator or the peer has a template, too; its packets do not bring it up.
        if child is None or child.start == Start.NONE or child.name in core.connections[name].held:
            return
        core.connections[name].acquires[child.name] = Acquired(seq, packet)
        lifecycle.kick(core, name)
        settle(self._core)

    def resume(self, reqids: Iterable[int], now: float) -> None:
        """Negotiate children whose SAs are left of a daemon before us: one try, whatever their ``start`` says.

        Who waits for the peer elsewhere cannot wait here: the peer believes that all is well.
        """
        core = self._core
        core.now = now
        for reqid in reqids:
            name, child = self.configured(reqid)
            if child is not None and core.config.connections[name].remote is not None:
                core.connections[name].acquires[child.name] = UNASKED
                lifecycle.kick(core, name)
        settle(self._core)

    def handle_expire(self, sa_id: SaId, hard: bool, now: float) -> None:
        """An SA has reached a limit. A hard one has left the kernel already: its CHILD SA ends."""
        core = self._core
        core.now = now
        sa, child = core.children.get(sa_id, (None, None))
        if not hard and sa is not None and child is not None:
            begin(core, sa, CreateChild(child.config, replaces=child))
            settle(self._core)
        if hard and sa is not None and child is not None:
            self._ended(sa, child, failures.lifetime_expired())

    def handle_lost(self, sa_id: SaId, now: float) -> None:
        """Somebody else has deleted an SA from the kernel: its CHILD SA ends, as at its hard limit."""
        core = self._core
        core.now = now
        sa, child = core.children.get(sa_id, (None, None))
        if sa is not None and child is not None:
            self._ended(sa, child, failures.deleted_from_kernel())

    def _ended(self, sa: IkeSa, child: ChildSa, reason: Failure) -> None:
        if child.successor is not None:
            informational.take_over(self._core, sa, child.successor)
        self._delete(sa, child, reason)
        lifecycle.child_gone(self._core, sa, child.config.name, reason)
        settle(self._core)

    def _delete(self, sa: IkeSa, child: ChildSa, reason: Failure) -> None:
        """Delete a child; one that the kernel has not taken yet, as soon as it has and the peer knows of it."""
        if child.installed:
            informational.delete_child(self._core, sa, child, reason)
        else:
            child.doomed = reason

    def handle_mapping(self, sa_id: SaId, remote: Endpoint, now: float) -> None:
        """Authentic ESP in UDP of an inbound SA now comes from ``remote``."""
        core = self._core
        core.now = now
        sa, _ = core.children.get(sa_id, (None, None))
        if sa is not None and remote != sa.remote:
            moving.follow(core, sa, sa.local, remote)

    def handle_network(self, now: float) -> None:
        """Addresses or routes of this host have changed, nobody says which."""
        self._core.now = now
        roaming.changed(self._core)
        settle(self._core)

    def handle_paths(self, serial: int | None, paths: roaming.Paths, now: float) -> None:
        """The answer to a FindPaths: our address for each pair that was asked for, None where there is no path."""
        self._core.now = now
        roaming.heard(self._core, serial, paths)
        settle(self._core)

    # -- time

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._core.now = now
        settle(self._core)

    def rekey(self, connection: str, child: str | None, now: float) -> None:
        """Replace the IKE SAs of a connection, or with ``child`` the CHILD SAs of that name, now."""
        core = self._core
        core.now = now
        for sa in core.of_connection(connection):
            if child is None:
                begin(core, sa, RekeyIke())
            for found in tuple(sa.children):
                if found.config.name == child:
                    begin(core, sa, CreateChild(found.config, replaces=found))
        settle(self._core)

    def connection_of(self, sa_id: SaId) -> str:
        """Whose SA this is; "" for nobody's."""
        sa, _ = self._core.children.get(sa_id, (None, None))
        return sa.connection if sa is not None else ""

    def explain(self, connection: str, until: float | None) -> None:
        """Tell of each message and decision of a connection until then, monotonic seconds; None for no more."""
        self._core.explained = {n: at for n, at in self._core.explained.items() if n in self.config.connections}
        self._core.explained.pop(connection, None)
        if until is not None:
            self._core.explained[connection] = until

    def explained(self, connection: str, now: float) -> float | None:
        """For how many seconds more a connection is told of; None where it is not."""
        left = self._core.explained.get(connection, 0.0) - now
        return left if left > 0 else None

    def clear_df(self, reqids: frozenset[int], now: float) -> None:
        """Have the CHILD SAs with these reqids clear DF, whatever ``df: copy`` says, and no others."""
        self._core.now = now
        mild.clear_df(self._core, reqids)
        settle(self._core)

    # -- what an operator wants

    def start_all(self, now: float) -> None:
        """Want every child with ``start: start``."""
        self._core.now = now
        for name, config in self._core.config.connections.items():
            self._want_started(name, config)
        settle(self._core)

    def _want_started(self, name: str, config: ConnectionConfig) -> None:
        connection = self._core.connections[name]
        wanted = {c.name for c in config.children if c.start == Start.START} - connection.held
        if wanted:
            connection.wanted |= wanted
            lifecycle.kick(self._core, name)

    def initiate(self, connection: str, child: str | None, now: float) -> None:
        """Bring a connection up, or one child of it; KeyError for names that are not configured."""
        core = self._core
        core.now = now
        config, state = core.config.connections[connection], core.connections[connection]
        names_ = {c.name for c in config.children} if child is None else {child}
        if not names_ <= {c.name for c in config.children}:
            raise KeyError(child)
        state.held -= names_
        state.wanted |= names_
        state.attempts = 0
        state.retry_at = None
        lifecycle.kick(core, connection)
        settle(self._core)

    def terminate(self, connection: str, child: str | None, now: float, reason: Failure | None = None) -> None:
        """Take a connection or one child down; we do not bring it up before ``initiate`` or a reload, a peer may."""
        core = self._core
        core.now = now
        config, state = core.config.connections[connection], core.connections[connection]
        names_ = {c.name for c in config.children} if child is None else {child}
        state.held |= names_
        state.wanted -= names_
        for name in names_:
            state.acquires.pop(name, None)
        if not state.wanted:
            state.retry_at = None
            core.timers.cancel(connection, Timer.RETRY)
        reason = reason or failures.taken_down()
        for sa in core.of_connection(connection):
            if child is None:
                informational.delete_ike(core, sa, reason)
                continue
            for found in tuple(sa.children):
                if found.config.name == child:
                    self._delete(sa, found, reason)
        settle(self._core)

    def fates(self, config: EngineConfig) -> dict[str, mild.Fate]:
        """What :meth:`reload` with this configuration would do to every connection, by name."""
        return mild.fates(self._core.config, roaming.settled(self._core.config, config))

    def reload(self, config: EngineConfig, now: float) -> None:
        """Take a new configuration; IKE SAs stand where nothing has changed, or nothing but what is mild."""
        core = self._core
        core.now = now
        fates = self.fates(config)
        config = roaming.settled(core.config, config)
        core.configure(config)
        reason = failures.operator("the configuration of the connection has changed")
        for name in (name for name, fate in fates.items() if fate is mild.Fate.REMOVED):
            for sa in core.of_connection(name):
                informational.delete_ike(core, sa, failures.operator("taken out of the configuration"))
            core.timers.cancel(name, Timer.RETRY)
            del core.connections[name]
        for name, new in config.connections.items():
            if fates[name] is mild.Fate.UNTOUCHED:
                continue
            if fates[name] is mild.Fate.ADOPTED:
                mild.adopt(core, new)
                continue
            up = {c.config.name for sa in core.of_connection(name) for c in sa.children}
            for sa in core.of_connection(name):
                informational.delete_ike(core, sa, reason)
            state = core.connections.setdefault(name, Connection(name))
            state.held.clear()
            state.acquires.clear()
            state.attempts, state.retry_at, state.last_failure = 0, None, None
            state.wanted = (up | state.wanted) & {c.name for c in new.children}
            if new.remote is None:
                state.wanted.clear()
            self._want_started(name, new)
            lifecycle.kick(core, name)
        settle(self._core)

    def shutdown(self, now: float) -> None:
        """Tell every peer that we go; the answers need not be waited for."""
        core = self._core
        core.now = now
        for name, state in core.connections.items():
            state.wanted.clear()
            state.acquires.clear()
            core.timers.cancel(name, Timer.RETRY)
            state.held |= {c.name for c in core.config.connections[name].children}
        for sa in tuple(core.sas.values()):
            informational.delete_ike(core, sa, failures.operator("the gateway stops"))
