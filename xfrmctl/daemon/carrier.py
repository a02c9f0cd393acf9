"""Who carries a probe: IKE's UDP, or ESP itself by an echo through the tunnel (:mod:`xfrmctl.daemon.echo`).

With UDP encapsulation IKE and ESP share their way, and IKE carries all. Without it a firewall or a router may treat UDP
500 and protocol 50 differently, so where somebody inside of the tunnel answers, ESP has a say:

* IKE still finds the size: its answers are small and depend on nothing but the way there, and it may ask for more than
  is in force. What it has found ESP confirms, and again whenever traffic has it confirmed.
* Where ESP packets of that size get lost three times while UDP's pass, ESP alone is asked, and all sizes below. The
  kernel holds an echo to what is in force, as any packet: so that stays until the search has ended, and nobody looks
  further up. After a while, twice as long each time, IKE finds the size anew: it may be the same for both by then.
* Where nobody answers any more, IKE carries all again.

Whom to ask: in transport mode the peer; in a tunnel the address that is configured, or what a peer of ours has told of
itself (:mod:`xfrmctl.ike.exchanges.probe`). From where: an address of ours that the child selects.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from xfrmctl.daemon.echo import SMALL, Echoes, EchoPort, Leg
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.kernel.desired import Template
from xfrmctl.kernel.ports import Kernel
from xfrmctl.model.address import IPAddress
from xfrmctl.model.effects import Effect
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import CarriersDiffer, Event
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.path import Path, ProbeOutcome
from xfrmctl.model.sa import DfPolicy, Mode
from xfrmctl.model.selector import ICMP, ICMPV6, TrafficSelector
from xfrmctl.pmtu.engine import PmtuEngine
from xfrmctl.pmtu.inputs import SendProbe
from xfrmctl.pmtu.overhead import alignment, fixed_overhead
from xfrmctl.pmtu.path import PathState, Phase
from xfrmctl.pmtu.search import Grid
from xfrmctl.pmtu.settings import PathOptions

AGAIN_S = 600.0
"""How long nobody is asked who has not answered."""

TRIALS = 20
"""How many are asked for the first time in one look."""

ENOUGH = 3
"""Contradictions in a row that are none by chance, and unanswered questions."""

REFUSALS = 5
"""Questions in a row that the kernel does not take, the next one after 1, 2, 4, … seconds: what is in force for us may
not be in force for it yet."""

LEAST_ONLY_S, MOST_ONLY_S = 600.0, 86400.0
"""How long ESP alone is asked, the first time and at most: each end of it costs some seconds of lost packets."""

SETTLED_S = 2.0
"""How old a CHILD SA is, that the peer has begun, before anybody is asked through it. The peer puts it to use moments
after us, and not all at once: strongSwan installs the inbound SA first, so that its kernel hears our question, and the
policies last, so that the answer would leave in clear."""

OWN_S = 30.0
"""How long addresses of this host are taken as they were read."""


@dataclass(slots=True)
class Inside:
    """What is known of one path's far end. ``told`` is its address by its own word; ``works`` once it has answered.

    ``lost`` is set while IKE is asked what ESP has just lost, ``differs`` counts contradictions in a row, ``silent``
    unanswered questions, ``refused`` those that the kernel did not take; ``again_at`` is when to ask once more. ESP
    alone is asked while ``only``, until ``only_until``, the next time for ``only_s``.
    """

    told: IPAddress | None = None
    works: bool = False
    trial_at: float = 0.0
    lost: bool = False
    differs: int = 0
    silent: int = 0
    refused: int = 0
    again_at: float | None = None
    only: bool = False
    only_until: float = 0.0
    only_s: float = LEAST_ONLY_S


class Nobody:
    """An :class:`EchoPort` that cannot send."""

    def send(self, _path: Path, _leg: Leg, _length: int, _secret: bytes) -> bool:
        """Never."""
        return False

    def close(self, path: Path) -> None:
        """Nothing is open."""


NOBODY: tuple[EchoPort, Callable[[int], bytes]] = (Nobody(), bytes)
"""IKE carries all probes."""


class EspCarrier:
    """The echoes of all paths, and what they have told; ``told`` are events for whoever listens."""

    def __init__(
        self,
        echoes: Echoes,
        engine: PmtuEngine,
        kernel: Kernel,
        users: Callable[[Path], list[IkeSa]],
        options: Callable[[IkeSa], PathOptions],
        reopen: Callable[[Path, float], None],
    ) -> None:
        """``reopen`` gives a path its settings anew: the sizes that can be asked for are others."""
        self.echoes = echoes
        self.told: list[Effect | Event] = []
        self._engine = engine
        self._kernel = kernel
        self._users = users
        self._options = options
        self._reopen = reopen
        self._known: dict[Path, Inside] = {}
        self._trials = 0
        self._own: tuple[float, tuple[IPAddress, ...]] = (-OWN_S, ())

    # -- what there is to know

    def inside(self, path: Path) -> Inside:
        """What is known of a path's far end."""
        return self._known.setdefault(path, Inside())

    def told_of(self, path: Path, address: IPAddress | None) -> None:
        """The peer has said where it is inside of the tunnel."""
        known = self.inside(path)
        if address is not None and known.told != address:
            known.told, known.trial_at = address, 0.0

    def speaks(self, sa: IkeSa, now: float) -> IPAddress | None:
        """The address of ours inside of an IKE SA's tunnels that the peer may ask."""
        found = (self._source(child.local_ts, None, now) for child in sa.children if _can(child))
        return next((address for address in found if address is not None), None)

    def grid(self, path: Path) -> Grid | None:
        """The outer sizes that ESP's packets can have, where ESP alone is asked."""
        leg = self._leg(path, self._own[0]) if path in self._known and self._known[path].only else None
        if leg is None:
            return None
        block = alignment(leg.suite)
        return Grid(fixed_overhead(leg.suite, leg.version, False) % block, block)

    def forget(self, path: Path) -> None:
        """Nobody goes this path any more."""
        self.echoes.forget(path)
        self._known.pop(path, None)

    def reset(self, path: Path, now: float) -> None:
        """The path takes another way: what ESP and UDP have told of the old one says nothing."""
        known = self.inside(path)
        known.differs, known.lost, known.only_s = 0, False, LEAST_ONLY_S
        self._only(path, False, now)

    def _only(self, path: Path, only: bool, now: float) -> None:
        known = self.inside(path)
        if known.only == only:
            return
        known.only = only
        if only:
            known.only_until, known.only_s = now + known.only_s, min(MOST_ONLY_S, 2 * known.only_s)
        self._reopen(path, now)

    # -- who answers

    def begin_look(self) -> None:
        """Another look at all paths."""
        self._trials = 0

    def look(self, path: Path, now: float) -> None:
        """From time to time see whether somebody answers at all, and whether ESP and UDP still differ."""
        known, state = self.inside(path), self._engine.state(path)
        if known.only and now >= known.only_until:
            self._only(path, False, now)
        if known.again_at is not None and now >= known.again_at:
            known.again_at = None
            self._engine.handle_question(path, now)
        if known.works or now < known.trial_at or self._trials >= TRIALS:
            return
        if not self._settled(path, now):
            return
        known.trial_at = now + AGAIN_S
        leg = self._leg(path, now) if state is not None and not state.fixed and not state.blind else None
        if leg is None:
            return
        self._trials += 1

        def over(outcome: ProbeOutcome, now: float) -> None:
            if outcome == ProbeOutcome.ANSWERED:
                known.works, known.silent = True, 0
                self._engine.handle_question(path, now)

        self.echoes.ask(path, leg, max(SMALL, leg.least), over, now)

    # -- probes

    def takes(self, probe: SendProbe, state: PathState, by_ike: Callable[[float], None], now: float) -> bool:
        """Carry a probe, if it is one for ESP; where that ends without an answer IKE gets it, unless ESP is all."""
        path, known = probe.path, self.inside(probe.path)
        calm = state.phase == Phase.CONFIRMING and not state.urgent and self._settled(path, now)
        leg = self._leg(path, now) if known.works and (known.only or calm) else None
        if leg is None:
            return False
        size, carrier = probe.size if known.only else state.belief.size, f"esp, echo of {leg.target}"
        if size > state.belief.size:
            self._engine.handle_probe(probe.token, ProbeOutcome.TOO_BIG, size, now, carrier=carrier)
            return True

        def over(outcome: ProbeOutcome, now: float) -> None:
            known.silent = known.silent + 1 if outcome == ProbeOutcome.SILENT else 0
            known.lost = outcome == ProbeOutcome.LOST
            if outcome == ProbeOutcome.ANSWERED:
                known.differs = known.refused = 0
            if outcome in (ProbeOutcome.ANSWERED, ProbeOutcome.UNAVAILABLE) or known.only:
                self._engine.handle_probe(probe.token, outcome, size, now, carrier=carrier)
            else:
                by_ike(now)
            if known.silent >= ENOUGH:
                self._give_up(path, now)

        if self.echoes.ask(path, leg, leg.fits(size), over, now):
            return True
        known.refused, known.again_at = known.refused + 1, now + 2.0**known.refused
        if known.refused >= REFUSALS:
            self._give_up(path, now)
        return False

    def _give_up(self, path: Path, now: float) -> None:
        """Nobody answers, or the kernel takes no echo of a size that is in force: leave it for a while."""
        known = self.inside(path)
        known.works, known.again_at, known.refused, known.trial_at = False, None, 0, now + AGAIN_S
        self._only(path, False, now)

    def doubt(self, path: Path, outcome: ProbeOutcome, size: int, now: float) -> None:
        """IKE has told something, and the engine may have settled: see what ESP says."""
        known, leg = self.inside(path), self._leg(path, now)
        known.differs += known.lost and outcome == ProbeOutcome.ANSWERED
        known.lost = False
        if leg is None or not known.works or known.only or known.again_at is not None:
            return
        if known.differs == ENOUGH:
            known.differs = 0
            self.told.append(CarriersDiffer(path=path, size=size, seconds=known.only_s))
            self._only(path, True, now)
        else:
            self._engine.handle_question(path, now)

    # -- whom to ask

    def _settled(self, path: Path, now: float) -> bool:
        """Whether the peer has put all CHILD SAs to use, as far as one can know."""
        children = (child for sa in self._users(path) for child in sa.children)
        return all(child.initiator or now - child.created_at >= SETTLED_S for child in children)

    def _leg(self, path: Path, now: float) -> Leg | None:
        """Whom to ask, and through which SA; None where there is nobody."""
        users = self._users(path)
        choice = self._options(users[0]).echo if users and not path.port else "off"
        if choice == "off":
            return None
        asked = self.inside(path).told if choice == "auto" else choice
        for child in (child for sa in users for child in sa.children if _can(child)):
            transport = child.mode == Mode.TRANSPORT
            target = path.remote if transport else asked
            if target is None or not _selected(child.remote_ts, target):
                continue
            source = path.local if transport else self._source(child.local_ts, target.version, now)
            if source is not None and _selected(child.local_ts, source):
                template = Template(path.local, path.remote, child.reqid, child.mode)
                return Leg(child.suite, child.mode, path.version, source, target, template, child.config.interface)
        return None

    def _source(self, local_ts: Iterable[TrafficSelector], version: int | None, now: float) -> IPAddress | None:
        if now - self._own[0] >= OWN_S:
            with suppress(KernelRefusal):
                self._own = (now, self._kernel.addresses())
        selectors = tuple(local_ts)
        return next((a for a in self._own[1] if version in (None, a.version) and _selected(selectors, a)), None)


def _can(child: ChildSa) -> bool:
    """Whether an echo through this CHILD SA says what its packets would.

    Plain ESP, DF, no marks, no xfrm interface of somebody else's, and no figure written.
    """
    marks = (child.config.options.mark_out, child.config.options.mark_in, child.config.options.set_mark_out)
    return (
        child.installed
        and child.successor is None
        and child.suite.protocol == ProtocolId.ESP
        and child.config.df != DfPolicy.CLEAR
        and child.config.mtu is None
        and bool(child.config.if_id) is (child.config.interface is not None)
        and not any(marks)
    )


def _selected(selectors: Iterable[TrafficSelector], address: IPAddress) -> bool:
    """Whether echoes to or from this address are selected."""
    return any(
        ts.version == address.version
        and ts.start.packed <= address.packed <= ts.end.packed
        and ts.protocol in (0, ICMP if address.version == 4 else ICMPV6)
        and (ts.start_port, ts.end_port) == (0, 65535)
        for ts in selectors
    )
