"""Joins the two engines: which IKE SA goes which path, who carries a probe, and what of a path is in force.

The path-MTU engine knows paths and sizes; the IKE engine can carry a probe; the kernel knows the way and counts the
packets. Here one's events become the other's inputs. All of it runs in the event loop's thread, within a step of the
runtime; what the kernel is to do about a path is the reconciler's business.

Where something looks as if large packets got lost (:mod:`xfrmctl.daemon.signs`) the engine is told, and asks a probe.
Where packets flow and nothing looks wrong, the belief is confirmed now and then. What ICMP errors have made the kernel
believe of a peer is a hint, too; when probes refute it, the route to the peer is made anew, which clears the kernel's
memory of it (KERNEL-FACTS 8). Who carries a probe, IKE or ESP, is told in :mod:`xfrmctl.daemon.carrier`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from xfrmctl.daemon import routes
from xfrmctl.daemon.carrier import NOBODY, EspCarrier
from xfrmctl.daemon.echo import Echoes, EchoPort
from xfrmctl.daemon.signs import Flow, Sign, is_repetition
from xfrmctl.daemon.underlay import Underlays
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.kernel.ports import Kernel, Underlay
from xfrmctl.model.effects import Effect, PeerAsks, ReportProbe
from xfrmctl.model.events import (
    ChildSaInstalled,
    ChildSaRemoved,
    Event,
    IkeSaClosed,
    IkeSaRekeyed,
    MessageSent,
    PathChanged,
    PathMtuChanged,
    PeerMoved,
)
from xfrmctl.model.path import Path, ProbeOutcome
from xfrmctl.model.sa import SaCounters, SaId
from xfrmctl.model.snapshot import PathInfo
from xfrmctl.pmtu.engine import PmtuEngine
from xfrmctl.pmtu.inputs import IcmpReport, ProbeToken, SendProbe, SetPathMtu
from xfrmctl.pmtu.path import Phase
from xfrmctl.pmtu.search import Grid
from xfrmctl.pmtu.settings import PathOptions, PathSettings

DEFAULT_LINK = 1500
"""Where there is no route to ask."""

LOOKED_AT = 200
"""Paths whose route is looked at each time; the next time goes on from there."""

APPLIES_S = 1.0
"""Long enough for a new size to be in force in the kernel."""

UNKNOWN_ANSWER_S = 1.0
"""How long an answer may take where no round trip has been measured."""

ENOUGH = 8
"""Packets that go out before a belief is confirmed for their sake: the peer's echoes, and our answers, are fewer."""

ASK_BYTES = 300
"""Size of a message to a peer of ours that is no probe, but tells and asks."""

ASKED_S = 30.0
"""What we look into since the peer has asked is not asked back within this time."""


@dataclass(slots=True)
class Way:
    """Run-time side of a path.

    ``users`` are IKE SAs by name, oldest first. ``reverse`` is what a peer of ours takes the other direction to carry,
    0 where it has not said. ``flow`` is what its SAs have carried, None before the first look. ``asked_until`` is how
    long probes are ours because the peer has asked for them. ``changed_at`` is when another size came into force.
    """

    underlay: Underlay | None
    users: dict[str, None] = field(default_factory=dict)
    reverse: int = 0
    flow: Flow | None = None
    asked_until: float = 0.0
    changed_at: float = 0.0


class PathKeeper:
    """All paths of the gateway. ``changed`` and ``poisoned`` are the reconciler's: see the module.

    ``options`` are for connections that are not in ``own``, by name.
    """

    def __init__(
        self,
        ike: IkeEngine,
        kernel: Kernel,
        options: PathOptions,
        now: Callable[[], float],
        own: Mapping[str, PathOptions] | None = None,
        echo: tuple[EchoPort, Callable[[int], bytes]] = NOBODY,
    ) -> None:
        """``echo`` is who sends echoes through tunnels, and entropy for them."""
        self.engine = PmtuEngine()
        self._options, self._own = options, own or {}
        self.changed: Callable[[set[int]], None] = lambda _: None
        self.poisoned: Callable[[Path], None] = lambda _: None
        self.underlays = Underlays(kernel, lambda: ike.config, now)
        self._ike = ike
        self._now = now
        self._ways: dict[Path, Way] = {}
        self._goes: dict[str, Path] = {}
        self._next_look = 0
        self.esp = EspCarrier(Echoes(*echo), self.engine, kernel, self._users, self._options_of, self._reopen)
        self._carried: dict[ProbeToken, tuple[Path, str]] = {}
        self.executors: dict[type[Effect], Callable[[Effect], None]] = {
            SendProbe: self._send_probe,
            SetPathMtu: self._set,
            ReportProbe: self._report,
            PeerAsks: self._asked,
        }

    def drain(self) -> list[Effect | Event]:
        """What the engine wants, and what is to be told besides."""
        told, self.esp.told = self.esp.told, []
        return self.engine.drain() + told

    def deadline(self) -> float | None:
        """When :meth:`handle_timer` wants to be called."""
        at = (self.engine.deadline(), self.esp.echoes.deadline())
        return min((due for due in at if due is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Probes that are due, echoes that are late."""
        self.engine.handle_timer(now)
        self.esp.echoes.handle_timer(now)

    # -- what others want to know

    @property
    def any(self) -> bool:
        """Whether there is a path at all."""
        return bool(self._ways)

    def way(self, path: Path) -> Way | None:
        """Run-time side of a path; to be read only."""
        return self._ways.get(path)

    def in_force(self, path: Path) -> tuple[int, str] | None:
        """What a path is taken to carry, bytes, and by whose word; None for a path that nobody goes."""
        state = self.engine.state(path)
        return (state.belief.size, state.belief.source.value) if state is not None else None

    def info(self, path: Path, now: float) -> PathInfo | None:
        """A path as the control API shows it; None for one that nobody goes."""
        state, way = self.engine.state(path), self._ways.get(path)
        if state is None or way is None:
            return None
        user = self._ike.probes.find(next(reversed(way.users)))
        carrier = state.carrier or (_udp(path, user) if user is not None else "")
        return PathInfo(
            path=str(path),
            carrier="none" if state.blind or state.fixed else carrier,
            mtu=state.belief.size,
            source=state.belief.source.value,
            confidence=state.belief.confidence.value,
            state=state.phase.value,
            age_s=now - state.belief.since,
            ages_in_s=max(0.0, state.age_at - now) if state.age_at is not None else None,
            link_mtu=state.link,
            peer_mtu=way.reverse or None,
            probes_sent=state.counts.sent,
            probes_answered=state.counts.answered,
            probes_lost=state.counts.lost,
        )

    def configure(self, options: PathOptions, own: Mapping[str, PathOptions], now: float) -> None:
        """Take other settings; a path whose settings stay as they are does not notice."""
        self._options, self._own = options, own
        for path in self._ways:
            self._reopen(path, now)

    def _reopen(self, path: Path, now: float) -> None:
        for sa in self._users(path)[:1]:
            self.engine.open(path, self._link(self._ways[path]), self._settings(sa, path), now)

    # -- who goes where

    def observe(self, event: Event) -> None:
        """Listen to the IKE engine: SAs come, move and go."""
        match event:
            case ChildSaInstalled(ike=name) | ChildSaRemoved(ike=name) | IkeSaClosed(ike=name):
                self._look(name)
            case PeerMoved(ike=name) | PathChanged(ike=name):
                self._look(name)
            case MessageSent(ike=name) if name in self._goes and is_repetition(event):
                self.engine.handle_loss(self._goes[name], self._now())
            case PathMtuChanged(path=path, old=before, new=after) if before == after:
                self._tell(path)  # the same size by another's word: for whoever is shown it
            case IkeSaRekeyed(old=old, new=new):
                self._look(new)
                self._look(old)

    def _look(self, name: str) -> None:
        """Open the path that an IKE SA goes by now, close the one that it has left if nobody else goes it."""
        sa = self._ike.probes.find(name)
        new, old = _path_of(sa), self._goes.get(name)
        if new == old:
            return
        if new is not None and sa is not None:
            self._goes[name] = new
            way = self._ways.get(new)
            if way is None:
                way = self._ways[new] = Way(self.underlays.find(new.local, new.remote))
            way.users[name] = None
            self.engine.open(new, self._link(way), self._settings(sa, new), self._now())
        else:
            del self._goes[name]
        if old is not None:
            left = self._ways[old]
            del left.users[name]
            if not left.users:
                del self._ways[old]
                self.engine.close(old, self._now())
                self.esp.forget(old)

    def _link(self, way: Way) -> int:
        return way.underlay.mtu if way.underlay is not None else DEFAULT_LINK

    def _users(self, path: Path) -> list[IkeSa]:
        """The IKE SAs that go a path, the newest first."""
        way = self._ways.get(path)
        names = reversed(way.users) if way is not None else ()
        return [sa for name in names if (sa := self._ike.probes.find(name)) is not None]

    def _options_of(self, sa: IkeSa) -> PathOptions:
        assert sa.config is not None
        return self._own.get(sa.config.name, self._options)

    def _settings(self, sa: IkeSa, path: Path) -> PathSettings:
        assert sa.config is not None
        options, grid = self._options_of(sa), self.esp.grid(path)
        written = [child.mtu for child in sa.config.children]
        sizes = [mtu for mtu in written if mtu is not None]
        return PathSettings(
            configured=min(sizes) if sizes and len(sizes) == len(written) else None,
            aging_s=options.aging_s if grid is None else None,
            confirm_s=options.confirm_s,
            grid=grid or Grid(*self._ike.probes.grid(sa.name)),
            relief=grid is None,
            probes=options.probe,
        )

    # -- what the engines say to each other

    def _send_probe(self, effect: Effect) -> None:
        assert isinstance(effect, SendProbe)
        now, state, way = self._now(), self.engine.state(effect.path), self._ways.get(effect.path)
        user = next(reversed(way.users), "") if way is not None else ""
        doubts = state is not None and way is not None and state.urgent and state.doubts > 0 and now > way.asked_until
        sa = self._ike.probes.find(user)
        if (
            state is None
            or sa is None
            or (sa.local.address, sa.remote.address) != (effect.path.local, effect.path.remote)
        ):
            self.engine.handle_probe(effect.token, ProbeOutcome.UNAVAILABLE, effect.size, now)
            return
        inside, mtu = self.esp.speaks(sa, now), state.belief.size

        def by_ike(now: float) -> None:
            self._carried[effect.token] = (effect.path, _udp(effect.path, sa))
            self._ike.probes.send(user, effect.token, effect.size, now, mtu=mtu, doubts=doubts, inside=inside)

        if not self.esp.takes(effect, state, by_ike, now):
            by_ike(now)
        elif doubts:
            self._ike.probes.send(user, 0, ASK_BYTES, now, mtu=mtu, doubts=True, inside=inside)

    def _report(self, effect: Effect) -> None:
        assert isinstance(effect, ReportProbe)
        if not effect.token:
            return  # it was no probe
        path, carrier = self._carried.pop(effect.token)
        self.engine.handle_probe(effect.token, effect.outcome, effect.size, self._now(), carrier=carrier)
        if path in self._ways:
            self.esp.doubt(path, effect.outcome, effect.size, self._now())

    def _asked(self, effect: Effect) -> None:
        """A gateway of ours at the other end says what it believes of its direction, and may doubt ours."""
        assert isinstance(effect, PeerAsks)
        path = self._goes.get(effect.ike)
        way = self._ways.get(path) if path is not None else None
        if path is None or way is None:
            return
        way.reverse = effect.mtu or way.reverse
        self.esp.told_of(path, effect.inside)
        if effect.doubts:
            way.asked_until = self._now() + ASKED_S
            self.engine.handle_loss(path, self._now())

    def _set(self, effect: Effect) -> None:
        assert isinstance(effect, SetPathMtu)
        way = self._ways.get(effect.path)
        if way is not None:
            way.changed_at = self._now()
        self._tell(effect.path)

    def _tell(self, path: Path) -> None:
        way = self._ways.get(path)
        if way is not None:
            users = (self._ike.probes.find(name) for name in way.users)
            self.changed({child.reqid for sa in users if sa is not None for child in sa.children})

    # -- what the kernel says

    def next_look(self) -> list[Path]:
        """The paths whose turn it is for :meth:`look_at_routes`."""
        paths = list(self._ways)
        first = self._next_look if self._next_look < len(paths) else 0
        self._next_look = first + LOOKED_AT
        return paths[first : self._next_look]

    def look_at_routes(self, some: Iterable[Path], now: float) -> None:
        """See whether these peers are reached another way, or ICMP errors have taught the kernel."""
        for path in some:
            way = self._ways.get(path)
            if way is not None:
                self._look_at_route(path, way, now)

    def _look_at_route(self, path: Path, way: Way, now: float) -> None:
        found = self.underlays.find(path.local, path.remote)
        if found is not None and found != way.underlay:
            before, way.underlay = way.underlay, found
            rerouted = before is not None and (before.device, before.via) != (found.device, found.via)
            self.esp.reset(path, now)
            self.engine.handle_link(path, found.mtu, now, rerouted=rerouted)
            self._tell(path)
            return
        if now < way.changed_at + APPLIES_S or self.underlays.misled(path.local, path.remote):
            return  # what stands may be our own figure of before; without our rule it would be about the tunnel
        learned, state = routes.outer_mtu(path.local, path.remote), self.engine.state(path)
        if learned is None or state is None or state.fixed or learned >= state.belief.size:
            return
        self.engine.handle_icmp(IcmpReport(path, learned), now)
        if state.phase == Phase.SETTLED and learned < state.belief.size:
            self.poisoned(path)

    def begin_look(self) -> list[Path]:
        """All paths, for :meth:`count`."""
        self.esp.begin_look()
        return list(self._ways)

    def count(self, sad: Mapping[SaId, SaCounters], some: Iterable[Path], now: float) -> None:
        """Look at what their SAs have carried since the last time, echoes of ours apart; see if any are answered."""
        for path in some:
            way = self._ways.get(path)
            if way is None:
                continue
            came = went = octets = 0
            patience = 0.0
            for name in way.users:
                sa = self._ike.probes.find(name)
                patience = max(patience, sa.rtt.patience(UNKNOWN_ANSWER_S) if sa is not None else 0.0)
                for child in sa.children if sa is not None else ():
                    inbound, outbound = sad.get(child.inbound), sad.get(child.outbound)
                    came += inbound.packets if inbound is not None else 0
                    went += outbound.packets if outbound is not None else 0
                    octets += outbound.bytes if outbound is not None else 0
            asked, answered = self.esp.echoes.counts.get(path, (0, 0))
            came, went = came - answered, went - asked
            self.esp.look(path, now)
            if way.flow is None:
                way.flow = Flow(came, went, octets, now)
                continue
            sign = way.flow.look(came, went, octets, now, patience_s=patience)
            if sign == Sign.LOSS:
                self.engine.handle_loss(path, now)
            if sign != Sign.NONE and way.flow.since >= ENOUGH and self.engine.handle_traffic(path, now):
                way.flow.since = 0


def _udp(path: Path, sa: IkeSa) -> str:
    """How IKE's packets go; with encapsulation they go the way of ESP's."""
    return f"udp {sa.remote.port}" + (", as esp" if path.port else "")


def _path_of(sa: IkeSa | None) -> Path | None:
    """The path of the CHILD SAs of an IKE SA; None where there are none."""
    if sa is None or sa.state != IkeState.ESTABLISHED:
        return None
    return next((path_of(child) for child in sa.children if child.installed), None)


def path_of(child: ChildSa) -> Path:
    """The path of a CHILD SA's packets; the IKE SA may be ahead of it (RFC 4555 3.5)."""
    port = child.encap.destination_port if child.encap is not None else 0
    return Path(child.inbound.destination, child.outbound.destination, port)
