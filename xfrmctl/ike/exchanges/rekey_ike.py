"""Rekeying of the IKE SA (RFC 7296 1.3.2, 2.8, 2.18): a CREATE_CHILD_SA whose SA payload offers IKE.

    HDR, SK { SA, Ni, KEi }  -->
                     <--  HDR, SK { SA, Nr, KEr }

The new IKE SA begins established, with message ids of its own, and inherits the CHILD SAs; the initiator deletes the
old one. When both sides rekey at once, the IKE SA with the lowest of the four nonces is redundant (2.8.1): whoever
asked for it deletes it, and the CHILD SAs move to the other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from xfrmctl.crypto import kex
from xfrmctl.crypto.keys import derive_rekeyed_ike_keys
from xfrmctl.crypto.protect import Protection
from xfrmctl.ike import failures, lifecycle, qcd
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import mobike
from xfrmctl.ike.exchanges.informational import Say, delete_ike
from xfrmctl.ike.negotiate import accepted, choose
from xfrmctl.ike.sa import ChildSa, IkeSa, Rival
from xfrmctl.ike.states import ChildState, IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.ike.transport import begin, pump, respond
from xfrmctl.model.events import IkeSaRekeyed, RekeyCollided
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import ExchangeType, KeGroup, NotifyType, ProtocolId, TransformType
from xfrmctl.model.suite import Proposal, Suite
from xfrmctl.wire.message import error_of, first_of, notify_of
from xfrmctl.wire.payloads import KeyExchange, Nonce, Notify, Payload, Sa

SUPERSEDED_S = 30.0
"""How long a peer may take to delete an IKE SA that it has replaced."""


# -- initiator


@dataclass(slots=True)
class RekeyIke:
    """Ask for new keys. ``group`` is the key exchange method that the peer has asked for; ``began_at``: first asked."""

    group: KeGroup | None = None
    began_at: float | None = None
    exchange: ExchangeType = ExchangeType.CREATE_CHILD_SA
    spi: bytes = b""
    nonce: bytes = b""
    ke: kex.PrivateKe | None = field(default=None, repr=False)

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """SA, Ni, KEi; nothing when the peer has replaced the IKE SA meanwhile."""
        if sa.state != IkeState.ESTABLISHED or sa.config is None or sa.suite is None:
            return None
        self.began_at = core.now if self.began_at is None else self.began_at
        self.spi, self.nonce = core.new_spi(), core.new_nonce()
        sa.offered_spi = self.spi
        self.ke = kex.generate(self.group or sa.suite.ke or KeGroup.X25519, core.entropy)
        numbered = tuple(p.with_spi(self.spi, n) for n, p in enumerate(sa.config.ike, 1))
        return [Sa(numbered), Nonce(self.nonce), KeyExchange(self.ke.group, self.ke.public)]

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """A new IKE SA, or the peer's reason why not."""
        assert sa.config is not None
        rival, sa.rival, sa.offered_spi = sa.rival, None, b""
        if rival is not None and rival.sa.state != IkeState.ESTABLISHED:
            rival = None  # the peer has read our answer before we have read its own, and deleted its redundant one
        if self._other_group(core, sa, payloads):
            sa.rival = rival
            return
        outcome = self._read(sa, payloads)
        if isinstance(outcome, Failure):
            if rival is not None:
                inherit(core, sa, rival.sa)
            else:
                _again_later(core, sa)
                refusal = error_of(payloads)
                lifecycle.refused_rekey(core, sa, outcome, refusal.type if refusal else NotifyType(0))
            return
        suite, spi_r, nonce, shared = outcome
        new = _successor(core, sa, suite, shared, (self.nonce, nonce), (self.spi, spi_r), initiator=True)
        redundant = rival is not None and min(self.nonce, nonce) < rival.lowest_nonce
        if rival is not None:
            core.emit(RekeyCollided(connection=sa.connection, child="", ike=sa.name, ours=not redundant))
        if rival is not None and redundant:
            core.attach(new)
            delete_ike(core, new, failures.redundant())
            inherit(core, sa, rival.sa)
            return
        qcd.learn(new, payloads)
        if rival is not None:  # the peer deletes it, unless our delete of the old one overtakes our answer there
            rival.sa.move(IkeState.REKEYED)
            core.timers.set(rival.sa.serial, Timer.SUPERSEDED, core.now + SUPERSEDED_S)
        inherit(core, sa, new, self.began_at)
        ours = qcd.notices(core, new.spi_i, new.spi_r)
        if ours:
            begin(core, new, Say(ours))
        delete_ike(core, sa, failures.rekeyed("IKE SA"))

    def _other_group(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> bool:
        wanted = notify_of(payloads, NotifyType.INVALID_KE_PAYLOAD)
        if wanted is None or self.group is not None or len(wanted.data) != 2 or sa.config is None:
            return False
        group = KeGroup(int.from_bytes(wanted.data, "big"))
        if group not in {t.id for p in sa.config.ike for t in p.of(TransformType.KE)}:
            return False
        begin(core, sa, RekeyIke(group, self.began_at))
        return True

    def _read(self, sa: IkeSa, payloads: tuple[Payload, ...]) -> tuple[Suite, bytes, bytes, bytes] | Failure:
        """Suite, the peer's SPI, its nonce, the shared secret."""
        assert sa.config is not None
        assert self.ke is not None
        error = error_of(payloads)
        if error is not None:
            return failures.refused_by_peer(error.type)
        offer, ke, nonce = first_of(payloads, Sa), first_of(payloads, KeyExchange), first_of(payloads, Nonce)
        choice = accepted(sa.config.ike, offer.proposals) if offer is not None else None
        if choice is None or ke is None or nonce is None or len(choice.spi) != 8:
            return failures.bad_answer("IKE", sa.config.ike, offer.proposals if offer else ())
        if choice.suite.ke != ke.group or ke.group != self.ke.group:
            return failures.invalid_ke(f"KE payload of {ke.group.name}, {self.ke.group.name} was asked for")
        try:
            return choice.suite, choice.spi, nonce.data, self.ke.shared(ke.data)
        except kex.KeyExchangeError as error_:
            return failures.invalid_ke(str(error_))


def _again_later(core: Core, sa: IkeSa) -> None:
    core.timers.set(sa.serial, Timer.REKEY, lifecycle.again_at(core))


# -- responder


def on_request(core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
    """The peer wants new keys: agree, or say why not now (RFC 7296 2.25.2)."""
    assert sa.config is not None
    offer, ke, nonce = first_of(payloads, Sa), first_of(payloads, KeyExchange), first_of(payloads, Nonce)
    if sa.state != IkeState.ESTABLISHED or _busy_with_children(sa):
        _refuse(core, sa, Notify(NotifyType.TEMPORARY_FAILURE))
        return
    if offer is None or ke is None or nonce is None:
        _refuse(core, sa, Notify(NotifyType.INVALID_SYNTAX))
        return
    choice = choose(sa.config.ike, offer.proposals, ke.group)
    if choice is None or len(choice.spi) != 8 or choice.suite.ke is None:
        _refuse(core, sa, Notify(NotifyType.NO_PROPOSAL_CHOSEN))
        lifecycle.failed(core, sa, failures.no_proposal("IKE", sa.config.ike, offer.proposals), initiator=False)
        return
    if choice.suite.ke != ke.group:
        _refuse(core, sa, Notify(NotifyType.INVALID_KE_PAYLOAD, int(choice.suite.ke).to_bytes(2, "big")))
        return
    private = kex.generate(ke.group, core.entropy)
    try:
        shared = private.shared(ke.data)
    except kex.KeyExchangeError as error:
        _refuse(core, sa, Notify(NotifyType.INVALID_SYNTAX))
        lifecycle.failed(core, sa, failures.invalid_ke(str(error)), initiator=False)
        return
    mine, spi = core.new_nonce(), core.new_spi()
    answer = Proposal(ProtocolId.IKE, choice.suite.transforms(), spi, choice.number)
    new = _successor(core, sa, choice.suite, shared, (nonce.data, mine), (choice.spi, spi), initiator=False)
    core.attach(new)
    respond(
        core,
        sa,
        ExchangeType.CREATE_CHILD_SA,
        [
            Sa((answer,)),
            Nonce(mine),
            KeyExchange(ke.group, private.public),
            *qcd.notices(core, new.spi_i, new.spi_r),
        ],
    )
    if sa.outstanding is not None and isinstance(sa.outstanding.request, RekeyIke):
        sa.rival = Rival(new, min(nonce.data, mine))
        return
    inherit(core, sa, new)


def concede(core: Core, sa: IkeSa, rival: Rival) -> None:
    """The peer deletes an IKE SA before its answer to our rekey of it has come.

    It has replaced the IKE SA itself then, and compared the nonces: what it has made for that goes on.
    """
    sa.rival = None
    if rival.sa.state == IkeState.ESTABLISHED:
        inherit(core, sa, rival.sa)


def _refuse(core: Core, sa: IkeSa, notify: Notify) -> None:
    respond(core, sa, ExchangeType.CREATE_CHILD_SA, [notify])


def _busy_with_children(sa: IkeSa) -> bool:
    """Whether a CHILD SA of ours is just being made, rekeyed or deleted on this IKE SA (RFC 7296 2.25.2)."""
    if sa.closing or any(child.state == ChildState.INSTALLING for child in sa.children):
        return True
    request = sa.outstanding.request if sa.outstanding is not None else None
    creating = request is not None and request.exchange == ExchangeType.CREATE_CHILD_SA
    return creating and not isinstance(request, RekeyIke)


# -- both


def _successor(
    core: Core,
    old: IkeSa,
    suite: Suite,
    shared: bytes,
    nonces: tuple[bytes, bytes],
    spis: tuple[bytes, bytes],
    *,
    initiator: bool,
) -> IkeSa:
    """The new IKE SA; whoever began the rekey is its initiator. Nonces and SPIs are (initiator's, responder's)."""
    assert old.suite is not None
    assert old.suite.prf is not None
    assert old.keys is not None
    keys = derive_rekeyed_ike_keys(suite, old.suite.prf, old.keys.d, shared, *nonces, *spis)
    of_initiator, of_responder = Protection(suite, keys.ei, keys.ai), Protection(suite, keys.er, keys.ar)
    new = IkeSa(
        serial=core.next_serial(),
        initiator=initiator,
        spi_i=spis[0],
        spi_r=spis[1],
        local=old.local,
        remote=old.remote,
        created_at=core.now,
        state=IkeState.ESTABLISHED,
        config=old.config,
        suite=suite,
        keys=keys,
        protect_out=of_initiator if initiator else of_responder,
        protect_in=of_responder if initiator else of_initiator,
        local_id=old.local_id,
        local_proof=old.local_proof,
        remote_proof=old.remote_proof,
        remote_id=old.remote_id,
        nat_local=old.nat_local,
        nat_remote=old.nat_remote,
        fragment_size=old.fragment_size,
        established_at=core.now,
        authenticated_at=old.authenticated_at,
        last_seen=core.now,
    )
    core.add(new)
    core.peers.join(new, successor_of=old)
    return new


def inherit(core: Core, old: IkeSa, new: IkeSa, began_at: float | None = None) -> None:
    """The CHILD SAs, and what was still to be said about them, move to the new IKE SA.

    ``began_at`` is when we have asked for it, None where the peer has.
    """
    core.attach(new)
    if old.state == IkeState.ESTABLISHED:
        old.move(IkeState.REKEYED)
    children: Sequence[ChildSa] = tuple(old.children)
    old.children.clear()
    for child in children:
        if child.state == ChildState.REKEYING:
            child.state = ChildState.INSTALLED
        core.add_child(new, child)
    new.retired, old.retired = old.retired, []
    new.rekey_later, old.rekey_later = old.rekey_later, []
    new.closing |= old.closing
    new.queue.extend(old.queue)
    old.queue.clear()
    mobike.inherit(old, new)
    for timer in (Timer.LIVENESS, Timer.KEEPALIVE, Timer.REKEY, Timer.REAUTH, Timer.RETIRE, Timer.REKEY_CHILD):
        core.timers.cancel(old.serial, timer)
    core.timers.set(old.serial, Timer.SUPERSEDED, core.now + SUPERSEDED_S)
    lifecycle.watch(core, new)
    took_s = core.now - began_at if began_at is not None else None
    core.emit(IkeSaRekeyed(connection=new.connection, old=old.name, new=new.name, suite=new.suite, took_s=took_s))
    pump(core, new)
    lifecycle.kick(core, new.connection)
    pump(core, new)
