"""Joins the two engines: which IKE SA goes which path, who carries a probe, and what of a path is in force.

The path-MTU engine knows paths and sizes; the IKE engine can carry a probe; the kernel knows the way and counts the
packets. Here one's events become the other's inputs. All of it runs in the event loop's thread, within a step of the
runtime; what the kernel is to do about a path is the reconciler's business.

Where something looks as if large packets got lost (:mod:`xfrmctl.daemon.signs`) the engine is told, and asks a probe.
Where packets flow and nothing looks wrong, the belief is confirmed now and then. What ICMP errors have made the kernel
believe of a peer is a hint, too; when probes refute it, the route to the peer is made anew, which clears the kernel's
memory of it (KERNEL-FACTS 8).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xfrmctl.daemon import routes
from xfrmctl.daemon.signs import Flow, Sign, is_repetition
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
from xfrmctl.pmtu.inputs import IcmpReport, SendProbe, SetPathMtu
from xfrmctl.pmtu.path import Phase
from xfrmctl.pmtu.search import Grid
from xfrmctl.pmtu.settings import PathOptions, PathSettings

DEFAULT_LINK = 1500
"""Where there is no route to ask."""

LOOKED_AT = 200
"""Paths whose route is looked at in one turn; the next turn goes on from there."""

UNKNOWN_ANSWER_S = 1.0
"""How long an answer may take where no round trip has been measured."""

ASKED_S = 30.0
"""What we look into since the peer has asked is not asked back within this time."""


@dataclass(slots=True)
class Way:
    """Run-time side of a path.

    ``users`` are IKE SAs by name, oldest first. ``reverse`` is what a peer of ours takes the other direction to carry,
    0 where it has not said. ``flow`` is what its SAs have carried, None before the first look. ``asked_until`` is how
    long probes are ours because the peer has asked for them.
    """

    underlay: Underlay | None
    users: dict[str, None] = field(default_factory=dict)
    reverse: int = 0
    flow: Flow | None = None
    asked_until: float = 0.0


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
    ) -> None:
        self.engine = PmtuEngine()
        self._options, self._own = options, own or {}
        self.changed: Callable[[set[int]], None] = lambda _: None
        self.poisoned: Callable[[Path], None] = lambda _: None
        self._ike = ike
        self._kernel = kernel
        self._now = now
        self._ways: dict[Path, Way] = {}
        self._goes: dict[str, Path] = {}
        self._next_look = 0
        self.executors: dict[type[Effect], Callable[[Effect], None]] = {
            SendProbe: self._send_probe,
            SetPathMtu: self._set,
            ReportProbe: self._report,
            PeerAsks: self._asked,
        }
        self.drain = self.engine.drain
        self.deadline = self.engine.deadline
        self.handle_timer = self.engine.handle_timer

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
        port = user.remote.port if user is not None else 0
        return PathInfo(
            path=str(path),
            carrier="none" if state.blind or state.fixed else f"udp {port}" + (", as esp" if path.port else ""),
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
        for path, way in self._ways.items():
            sa = self._ike.probes.find(next(reversed(way.users)))
            if sa is not None and sa.config is not None:
                self.engine.open(path, self._link(way), self._settings(sa), now)

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
                way = self._ways[new] = Way(self._kernel.underlay(new.local, new.remote))
            way.users[name] = None
            self.engine.open(new, self._link(way), self._settings(sa), self._now())
        else:
            del self._goes[name]
        if old is not None:
            left = self._ways[old]
            del left.users[name]
            if not left.users:
                del self._ways[old]
                self.engine.close(old, self._now())

    def _link(self, way: Way) -> int:
        return way.underlay.mtu if way.underlay is not None else DEFAULT_LINK

    def _settings(self, sa: IkeSa) -> PathSettings:
        assert sa.config is not None
        options = self._own.get(sa.config.name, self._options)
        written = [child.mtu for child in sa.config.children]
        sizes = [mtu for mtu in written if mtu is not None]
        return PathSettings(
            configured=min(sizes) if sizes and len(sizes) == len(written) else None,
            aging_s=options.aging_s,
            confirm_s=options.confirm_s,
            grid=Grid(*self._ike.probes.grid(sa.name)),
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
        self._ike.probes.send(user, effect.token, effect.size, now, mtu=state.belief.size, doubts=doubts)

    def _report(self, effect: Effect) -> None:
        assert isinstance(effect, ReportProbe)
        self.engine.handle_probe(effect.token, effect.outcome, effect.size, self._now())

    def _asked(self, effect: Effect) -> None:
        """A gateway of ours at the other end says what it believes of its direction, and may doubt ours."""
        assert isinstance(effect, PeerAsks)
        path = self._goes.get(effect.ike)
        way = self._ways.get(path) if path is not None else None
        if path is None or way is None:
            return
        way.reverse = effect.mtu or way.reverse
        if effect.doubts:
            way.asked_until = self._now() + ASKED_S
            self.engine.handle_loss(path, self._now())

    def _set(self, effect: Effect) -> None:
        assert isinstance(effect, SetPathMtu)
        self._tell(effect.path)

    def _tell(self, path: Path) -> None:
        way = self._ways.get(path)
        if way is not None:
            users = (self._ike.probes.find(name) for name in way.users)
            self.changed({child.reqid for sa in users if sa is not None for child in sa.children})

    # -- what the kernel says

    def look_at_routes(self, now: float) -> None:
        """See whether peers are reached another way, or ICMP errors have taught the kernel; some paths each time."""
        paths = list(self._ways)
        if self._next_look >= len(paths):
            self._next_look = 0
        turn = paths[self._next_look : self._next_look + LOOKED_AT]
        self._next_look += LOOKED_AT
        for path in turn:
            self._look_at_route(path, now)

    def _look_at_route(self, path: Path, now: float) -> None:
        way = self._ways[path]
        found = self._kernel.underlay(path.local, path.remote)
        if found is not None and found != way.underlay:
            before, way.underlay = way.underlay, found
            rerouted = before is not None and (before.device, before.via) != (found.device, found.via)
            self.engine.handle_link(path, found.mtu, now, rerouted=rerouted)
            self._tell(path)
            return
        learned, state = routes.outer_mtu(path.local, path.remote), self.engine.state(path)
        if learned is None or state is None or state.fixed or learned >= state.belief.size:
            return
        self.engine.handle_icmp(IcmpReport(path, learned), now)
        if state.phase == Phase.SETTLED and learned < state.belief.size:
            self.poisoned(path)

    def count(self, sad: Mapping[SaId, SaCounters], now: float) -> None:
        """Look at what the SAs have carried since the last time."""
        for path, way in self._ways.items():
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
            if way.flow is None:
                way.flow = Flow(came, went, octets, now)
                continue
            sign = way.flow.look(came, went, octets, now, patience_s=patience)
            if sign == Sign.LOSS:
                self.engine.handle_loss(path, now)
            if sign != Sign.NONE:
                self.engine.handle_traffic(path, now)


def _path_of(sa: IkeSa | None) -> Path | None:
    """The path of the CHILD SAs of an IKE SA; None where there are none."""
    if sa is None or sa.state != IkeState.ESTABLISHED:
        return None
    return next((path_of(child) for child in sa.children if child.installed), None)


def path_of(child: ChildSa) -> Path:
    """The path of a CHILD SA's packets; the IKE SA may be ahead of it (RFC 4555 3.5)."""
    port = child.encap.destination_port if child.encap is not None else 0
    return Path(child.inbound.destination, child.outbound.destination, port)
