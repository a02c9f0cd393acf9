"""A CHILD SA between negotiation and kernel: what we offer, what we accept, and the pair of kernel SAs it becomes.

Shared by IKE_AUTH (its first child, no KE payload, RFC 7296 1.2) and CREATE_CHILD_SA (1.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xfrmctl.crypto import kex
from xfrmctl.crypto.keys import derive_child_keys
from xfrmctl.ike import child_failures, failures, lifecycle, mode
from xfrmctl.ike.config import ChildConfig
from xfrmctl.ike.core import Core
from xfrmctl.ike.mode import Endpoints
from xfrmctl.ike.negotiate import Choice, Narrowed, accepted, choose, covered, narrow_children
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.failure import Failure
from xfrmctl.model.flow import MAX_FLOWS, count
from xfrmctl.model.iana import NotifyType, PayloadType, ProtocolId
from xfrmctl.model.sa import Direction, KernelSa, Lifetime, Mode, SaId, SaKeys
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import Proposal
from xfrmctl.wire.message import first_of
from xfrmctl.wire.payloads import KeyExchange, Notify, Payload, Sa, TrafficSelectors

Pair = tuple[tuple[KernelSa, SaKeys], ...]
Packet = tuple[TrafficSelector, TrafficSelector]


def refusal_notify(refusal: KernelRefusal) -> Notify:
    """What a responder tells the peer when the kernel does not take the SAs."""
    lacking = refusal.code in failures.NO_KERNEL_SUPPORT
    return Notify(NotifyType.NO_PROPOSAL_CHOSEN if lacking else NotifyType.TEMPORARY_FAILURE)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a child cannot be, and the Notify that says so."""

    notify: NotifyType
    failure: Failure
    data: bytes = b""


def proposals(config: ChildConfig, *, with_ke: bool) -> tuple[Proposal, ...]:
    """The child's proposals as this exchange may carry them, without repetition."""
    found: list[Proposal] = []
    for proposal in config.esp:
        shown = proposal if with_ke else proposal.without_ke()
        if shown not in found:
            found.append(shown)
    return tuple(found)


def through_nat(sa: IkeSa, config: ChildConfig) -> Failure | None:
    """Why the child cannot be where the IKE SA goes through a NAT: AH protects the addresses (RFC 4302 3.3.3.1)."""
    if config.protocol != ProtocolId.AH or sa.encap is None:
        return None
    return child_failures.ah_through_nat(config.name, sa.nat_local, sa.nat_remote)


def offer(config: ChildConfig, spi: int, packet: Packet | None = None, *, with_ke: bool) -> list[Payload]:
    """SA, TSi, TSr of an initiator.

    The ``packet`` that has asked for the child goes first, so that a responder that cannot have all of the selectors
    chooses those with it (RFC 7296 2.9).
    """
    local_ts, remote_ts = config.local_ts, config.remote_ts
    if packet is not None and covered(packet[:1], local_ts) and covered(packet[1:], remote_ts):
        local_ts, remote_ts = _first(packet[0], local_ts), _first(packet[1], remote_ts)
    raw = spi.to_bytes(4, "big")
    numbered = [p.with_spi(raw, n) for n, p in enumerate(proposals(config, with_ke=with_ke), 1)]
    return [
        Sa(tuple(numbered)),
        TrafficSelectors(PayloadType.TSI, local_ts),
        TrafficSelectors(PayloadType.TSR, remote_ts),
    ]


def _first(one: TrafficSelector, others: tuple[TrafficSelector, ...]) -> tuple[TrafficSelector, ...]:
    return others if one in others else (one, *others)


def _selectors(payloads: Sequence[Payload], kind: PayloadType) -> tuple[TrafficSelector, ...]:
    for payload in payloads:
        if isinstance(payload, TrafficSelectors) and payload.kind == kind:
            return payload.selectors
    return ()


@dataclass(slots=True)
class Answered:
    """A responder's acceptance: which child, which suite and mode, and the selectors in the peer's order.

    ``endpoints`` are those of a CHILD SA in transport mode.
    """

    narrowed: Narrowed
    choice: Choice
    spi: int
    mode: Mode
    endpoints: Endpoints

    def payloads(self) -> list[Payload]:
        """SA, TSi, TSr of the answer."""
        local_ts, remote_ts = self.narrowed.local_ts, self.narrowed.remote_ts
        if self.mode is Mode.TRANSPORT:
            local_ts, remote_ts = self.endpoints.as_peer_sees(local_ts, remote_ts)
        answer = Proposal(
            self.choice.suite.protocol,
            self.choice.suite.transforms(),
            self.spi.to_bytes(4, "big"),
            self.choice.number,
        )
        return [
            Sa((answer,)),
            TrafficSelectors(PayloadType.TSI, remote_ts),
            TrafficSelectors(PayloadType.TSR, local_ts),
        ]


def judge(
    core: Core, sa: IkeSa, payloads: Sequence[Payload], *, with_ke: bool, old: ChildSa | None = None
) -> Answered | Refused:
    """A responder's decision about an offered child (RFC 7296 2.7, 2.9).

    ``old`` is the CHILD SA that a rekey is about; without it all children of the connection are looked at.
    """
    assert sa.config is not None
    children = sa.config.children if old is None else (old.config,)
    offered = first_of(payloads, Sa)
    tsi, tsr = _selectors(payloads, PayloadType.TSI), _selectors(payloads, PayloadType.TSR)
    modes = {child.name: mode.agreed(child, old, payloads) for child in children}
    ends = Endpoints.read(sa, tsr, tsi)
    fitting = [
        *narrow_children([c for c in children if modes[c.name] is Mode.TRANSPORT], ends.remote, ends.local),
        *narrow_children([c for c in children if modes[c.name] is Mode.TUNNEL], tsi, tsr),
    ]
    if not fitting and (left := narrow_children(children, ends.remote, ends.local)):
        return Refused(NotifyType.NO_PROPOSAL_CHOSEN, child_failures.mode_refused(left[0].child.name, by_peer=False))
    if not fitting or offered is None:
        ours = [t for c in children for t in (*c.local_ts, *c.remote_ts)]
        return Refused(NotifyType.TS_UNACCEPTABLE, failures.ts_unacceptable(ours, (*tsr, *tsi), by_peer=False))
    ke = first_of(payloads, KeyExchange) if with_ke else None
    taken: Failure | None = None
    for narrowed in fitting:
        taken = taken_selectors(core, sa, narrowed.child, narrowed.local_ts, narrowed.remote_ts)
        if taken is not None:
            continue
        choice = choose(
            proposals(narrowed.child, with_ke=with_ke),
            [p if with_ke else p.without_ke() for p in offered.proposals],
            ke.group if ke else None,
        )
        agreed = modes[narrowed.child.name]
        if choice is not None and len(choice.spi) == 4 and agreed is not None:
            if (collides := collision(core, sa, choice)) is not None:
                return Refused(NotifyType.TEMPORARY_FAILURE, collides)
            refused = _impossible(sa, narrowed)
            if refused is not None:
                return refused
            return Answered(narrowed, choice, core.new_child_spi(), agreed, ends)
    if taken is not None:
        return Refused(NotifyType.TS_UNACCEPTABLE, taken)
    ours_all = [p for n in fitting for p in proposals(n.child, with_ke=with_ke)]
    what = fitting[0].child.protocol.name
    return Refused(NotifyType.NO_PROPOSAL_CHOSEN, failures.no_proposal(what, ours_all, offered.proposals))


def taken_selectors(
    core: Core,
    sa: IkeSa,
    config: ChildConfig,
    local_ts: tuple[TrafficSelector, ...],
    remote_ts: tuple[TrafficSelector, ...],
) -> Failure | None:
    """Why this peer may not have these selectors: another one of the same connection has some of them."""
    rival = core.peers.rival(sa, config, local_ts, remote_ts)
    if rival is None:
        return None
    assert sa.remote_id is not None
    identity, claim = rival
    held = (*claim.local_ts, *claim.remote_ts)
    return failures.selectors_taken(sa.remote_id, identity, (*local_ts, *remote_ts), held)


def collision(core: Core, sa: IkeSa, choice: Choice) -> Failure | None:
    """Why the peer's SPI cannot be: an SA to this address has it, and would be taken for the new one."""
    spi = int.from_bytes(choice.spi, "big")
    taken = SaId(sa.remote.address, choice.suite.protocol, spi) in core.children
    return failures.spi_taken(spi) if taken else None


def _too_many(
    config: ChildConfig, local_ts: Sequence[TrafficSelector], remote_ts: Sequence[TrafficSelector]
) -> Failure | None:
    """Why the kernel is not asked to hold these selectors."""
    entries = count(local_ts, remote_ts)
    if entries <= MAX_FLOWS or entries <= (most := count(config.local_ts, config.remote_ts)):
        return None
    return child_failures.too_many_selectors(config.name, entries, max(MAX_FLOWS, most))


def _impossible(sa: IkeSa, narrowed: Narrowed) -> Refused | None:
    """What no choice of algorithms would mend."""
    failure = _too_many(narrowed.child, narrowed.local_ts, narrowed.remote_ts)
    if failure is not None:
        return Refused(NotifyType.TS_UNACCEPTABLE, failure)
    nat = through_nat(sa, narrowed.child)
    return Refused(NotifyType.NO_PROPOSAL_CHOSEN, nat) if nat is not None else None


@dataclass(slots=True)
class Concluded:
    """An initiator's reading of the answer: everything that the SAs need."""

    choice: Choice
    mode: Mode
    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]


def conclude(
    sa: IkeSa, config: ChildConfig, payloads: Sequence[Payload], *, with_ke: bool, old: ChildSa | None = None
) -> Concluded | Failure:
    """Check a responder's answer against what we offered; nothing wider is accepted (RFC 7296 2.9)."""
    answer = first_of(payloads, Sa)
    mine = proposals(config, with_ke=with_ke)
    theirs = answer.proposals if answer else ()
    choice = accepted(mine, [p if with_ke else p.without_ke() for p in theirs])
    if choice is None or len(choice.spi) != 4:
        return failures.bad_answer(config.protocol.name, mine, theirs)
    tsi, tsr = _selectors(payloads, PayloadType.TSI), _selectors(payloads, PayloadType.TSR)
    agreed = mode.agreed(config, old, payloads)
    if mode.wanted(config, old) is Mode.TUNNEL and mode.is_transport(payloads):
        return failures.invalid_syntax("N(USE_TRANSPORT_MODE) in an answer, and nobody has asked for it")
    if agreed is None:
        return child_failures.mode_refused(config.name, by_peer=True)
    if agreed is Mode.TRANSPORT:
        ends = Endpoints.read(sa, tsi, tsr)
        tsi, tsr = ends.local, ends.remote
    if not tsi or not tsr or not (covered(tsi, config.local_ts) and covered(tsr, config.remote_ts)):
        return failures.ts_widened((*config.local_ts, *config.remote_ts), (*tsi, *tsr))
    return _too_many(config, tsi, tsr) or Concluded(choice, agreed, tsi, tsr)


def shared_secret(ke: kex.PrivateKe | None, payloads: Sequence[Payload]) -> bytes:
    """The KE payload's contribution; empty without PFS. Raises KeyExchangeError."""
    peer = first_of(payloads, KeyExchange)
    if ke is None or peer is None:
        return b""
    if peer.group != ke.group:
        raise kex.KeyExchangeError(f"KE payload of {peer.group.name}, {ke.group.name} was chosen")
    return ke.shared(peer.data)


def build(
    core: Core,
    sa: IkeSa,
    config: ChildConfig,
    choice: Choice,
    selectors: tuple[tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]],
    spi: int,
    nonces: tuple[bytes, bytes],
    *,
    mode: Mode,
    initiator: bool,
    shared: bytes = b"",
    acquire_seq: int = 0,
) -> tuple[ChildSa, Pair]:
    """The CHILD SA and its two kernel SAs.

    ``selectors`` are (local, remote); ``nonces`` (initiator's, responder's) of the exchange that makes the child;
    ``initiator`` says who began *that exchange*.
    """
    assert sa.suite is not None
    assert sa.suite.prf is not None
    assert sa.keys is not None
    suite = choice.suite
    to_responder, to_initiator = derive_child_keys(suite, sa.suite.prf, sa.keys.d, nonces[0], nonces[1], shared)
    keys_out, keys_in = (to_responder, to_initiator) if initiator else (to_initiator, to_responder)
    encap = sa.encap if sa.local.port == core.config.nat_t_port else None  # never on port 500 (RFC 7296 2.23)
    lifetime = _jittered(core, config.lifetime)
    config = (sa.config.child(config.name) if sa.config is not None else None) or config  # it may be newer
    reqid = core.peers.reqid(sa, config)
    df = core.outer_df(config, reqid)
    peer_spi = int.from_bytes(choice.spi, "big")

    def half(direction: Direction) -> KernelSa:
        inbound = direction == Direction.IN
        ports = encap
        if encap is not None and inbound:
            ports = type(encap)(encap.destination_port, encap.source_port)
        return KernelSa(
            direction=direction,
            source=sa.remote.address if inbound else sa.local.address,
            destination=sa.local.address if inbound else sa.remote.address,
            spi=spi if inbound else peer_spi,
            reqid=reqid,
            suite=suite,
            mode=mode,
            protocol=suite.protocol,
            if_id=config.if_id,
            encap=ports,
            replay_window=config.replay_window,
            lifetime=lifetime,
            df=df,
            options=config.options,
            acquire_seq=0 if inbound else acquire_seq,
            selector=_selector_of(mode, *(reversed(selectors) if inbound else selectors)),
        )

    inbound, outbound = half(Direction.IN), half(Direction.OUT)
    child = ChildSa(
        config=config,
        reqid=reqid,
        suite=suite,
        inbound=inbound.id,
        outbound=outbound.id,
        local_ts=selectors[0],
        remote_ts=selectors[1],
        encap=encap,
        initiator=initiator,
        created_at=core.now,
        mode=mode,
        df=df,
        lifetime=lifetime,
    )
    return child, ((inbound, keys_in), (outbound, keys_out))


def _selector_of(
    mode: Mode, source: Sequence[TrafficSelector], destination: Sequence[TrafficSelector]
) -> tuple[TrafficSelector, TrafficSelector] | None:
    """What an SA itself can be narrowed to: the kernel has room for one pair; more are left to the policies."""
    if mode is Mode.TUNNEL or len(source) != 1 or len(destination) != 1:
        return None
    return source[0], destination[0]


def _jittered(core: Core, lifetime: Lifetime) -> Lifetime:
    """The same limits with the soft ones a little lower, differently each time."""
    return replace(
        lifetime,
        soft_seconds=int(lifecycle.jittered(core, lifetime.soft_seconds)),
        soft_bytes=int(lifecycle.jittered(core, lifetime.soft_bytes)),
        soft_packets=int(lifecycle.jittered(core, lifetime.soft_packets)),
    )
