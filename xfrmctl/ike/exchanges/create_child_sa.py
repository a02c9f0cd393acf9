"""CREATE_CHILD_SA (RFC 7296 1.3.1, 1.3.3): a further CHILD SA of an established IKE SA, or one that replaces another.

Here is who asks; who answers is in ``child_request``.

    HDR, SK { [N(REKEY_SA)], SA, Ni, [KEi], TSi, TSr }  -->
                     <--  HDR, SK { SA, Nr, [KEr], TSi, TSr }

What a replacement means for the packets on their way, and for both sides replacing at once, is in ``ike.rekey``. The
same exchange with IKE in its SA payload is ``rekey_ike``'s business.
"""

from dataclasses import dataclass, field

from xfrmctl.crypto import kex
from xfrmctl.ike import failures, lifecycle, mode, rekey, story
from xfrmctl.ike.child import (
    build,
    collision,
    conclude,
    offer,
    proposals,
    shared_secret,
    taken_selectors,
    through_nat,
)
from xfrmctl.ike.config import ChildConfig
from xfrmctl.ike.connection import UNASKED, Acquired
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges.informational import DeleteChild, delete_child
from xfrmctl.ike.negotiate import Narrowed
from xfrmctl.ike.rekey import RivalChild
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import ChildState, IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.ike.transport import begin
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import RekeyCollided
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import ExchangeType, KeGroup, NotifyType, TransformType
from xfrmctl.wire.message import error_of, first_of, notify_of
from xfrmctl.wire.payloads import KeyExchange, Nonce, Notify, Payload


@dataclass(slots=True)
class CreateChild:
    """Ask for one more child, or for one that ``replaces`` another.

    ``group`` is the key exchange method that the peer has asked for; ``rival`` is what the peer has made meanwhile to
    replace the same child. ``began_at`` is when we first asked.
    """

    child: ChildConfig
    acquired: Acquired = UNASKED
    group: KeGroup | None = None
    replaces: ChildSa | None = None
    rival: RivalChild | None = None
    began_at: float | None = None
    exchange: ExchangeType = ExchangeType.CREATE_CHILD_SA
    spi: int = 0
    nonce: bytes = b""
    ke: kex.PrivateKe | None = field(default=None, repr=False)

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """SA, Ni, KEi where PFS is wanted, TSi, TSr; nothing when events have overtaken us."""
        if sa.state != IkeState.ESTABLISHED or not self._needed(sa):
            return None
        failure = through_nat(sa, self.child)
        if failure is not None:
            lifecycle.failed(core, sa, failure, child=self.child.name, initiator=True)
            return None
        self.began_at = core.now if self.began_at is None else self.began_at
        self.spi, self.nonce = core.new_child_spi(), core.new_nonce()
        groups = [t.id for p in self.child.esp for t in p.of(TransformType.KE)]
        group = self.group or (KeGroup(groups[0]) if groups else None)
        sa_, *selectors = offer(self.child, self.spi, self.acquired.packet, with_ke=True)
        payloads: list[Payload] = [*mode.notices(mode.wanted(self.child, self.replaces)), sa_, Nonce(self.nonce)]
        if self.replaces is not None:
            self.replaces.state = ChildState.REKEYING
            payloads.insert(0, rekey.notify(self.replaces))
        if group:
            self.ke = kex.generate(group, core.entropy)
            payloads.append(KeyExchange(group, self.ke.public))
        return payloads + selectors

    def _needed(self, sa: IkeSa) -> bool:
        old = self.replaces
        if old is None:
            return all(c.config.name != self.child.name for c in sa.children)
        return old in sa.children and old.state == ChildState.INSTALLED and not old.replaced

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """Take the child up, or begin again with the peer's key exchange method."""
        deleted_early, sa.deleted_early = sa.deleted_early, set()
        retry = notify_of(payloads, NotifyType.INVALID_KE_PAYLOAD)
        if retry is not None and self._other_group(core, sa, retry):
            return
        nonce = first_of(payloads, Nonce)
        step = InstallOurs(
            self.child,
            self.spi,
            (self.nonce, nonce.data if nonce else b""),
            self.ke,
            self.acquired.seq,
            with_ke=True,
            replaces=self.replaces,
            began_at=self.began_at if self.began_at is not None else core.now,
            deleted_early=deleted_early,
        )
        old = self.replaces
        if old is None:
            child_answer(core, sa, step, payloads)
            return
        if any(isinstance(p, Notify) and p.type.is_error for p in payloads):
            self._rekey_refused(core, sa, old, payloads)
            return
        redundant = self.rival is not None and rekey.is_redundant(step.nonces, self.rival)
        if self.rival is not None:
            core.emit(RekeyCollided(connection=sa.connection, child=self.child.name, ike=sa.name, ours=not redundant))
        if redundant:
            name = self.child.name
            story.decided(core, sa, lambda: f"both ends renew {name} at once, the lowest nonce is ours: ours goes")
            begin(core, sa, DeleteChild(self.child.protocol, self.spi, 0))
        else:
            child_answer(core, sa, step, payloads)

    def _rekey_refused(self, core: Core, sa: IkeSa, old: ChildSa, payloads: tuple[Payload, ...]) -> None:
        """The old CHILD SA lives on, unless the peer has lost it (RFC 7296 2.25.1) or has replaced it itself."""
        if self.rival is not None or old not in sa.children:
            return
        if notify_of(payloads, NotifyType.CHILD_SA_NOT_FOUND) is not None:
            core.remove_child(sa, old, failures.refused_by_peer(NotifyType.CHILD_SA_NOT_FOUND))
            begin(core, sa, CreateChild(self.child))
            return
        error = next(p for p in payloads if isinstance(p, Notify) and p.type.is_error)
        if error.type != NotifyType.TEMPORARY_FAILURE:
            lifecycle.refused_rekey(core, sa, failures.refused_by_peer(error.type), error.type, child=self.child.name)
        rekey.again_later(core, sa, old)

    def _other_group(self, core: Core, sa: IkeSa, notify: Notify) -> bool:
        group = KeGroup(int.from_bytes(notify.data, "big")) if len(notify.data) == 2 else KeGroup.NONE
        offered = {t.id for p in self.child.esp for t in p.of(TransformType.KE)}
        if group not in offered or self.group is not None:
            return False
        if self.replaces is not None:
            self.replaces.state = ChildState.INSTALLED
        begin(core, sa, CreateChild(self.child, self.acquired, group, self.replaces, self.rival, self.began_at))
        return True


@dataclass(slots=True)
class InstallOurs:
    """What an initiator knows while the answer is read and while the kernel is asked."""

    config: ChildConfig
    spi: int
    nonces: tuple[bytes, bytes]
    ke: kex.PrivateKe | None
    acquire_seq: int
    with_ke: bool = False
    child: ChildSa | None = None
    replaces: ChildSa | None = None
    began_at: float = 0.0
    deleted_early: set[bytes] = field(default_factory=set)

    def done(self, core: Core, sa: IkeSa, refusal: KernelRefusal | None) -> None:
        """The SAs are in the kernel, or the peer must be told that they are not."""
        assert self.child is not None
        if refusal is None:
            core.child_installed(sa, self.child)
            if self.replaces is not None:
                rekey.replaced(core, sa, self.replaces, self.child, self.began_at)
            elif self.config.name in core.connections[sa.connection].held:
                self.child.doomed = failures.taken_down()
            lifecycle.kick(core, sa.connection)
            return
        failure = failures.kernel_refused(refusal)
        delete_child(core, sa, self.child, failure)
        if self.replaces is not None:
            rekey.again_later(core, sa, self.replaces)
        lifecycle.failed(core, sa, failure, child=self.config.name, initiator=self.replaces is None)


def child_answer(core: Core, sa: IkeSa, step: InstallOurs, payloads: tuple[Payload, ...]) -> None:
    """An initiator's reading of SA, TSi, TSr in an answer of either exchange."""
    error = error_of(payloads)
    if error is not None:
        lifecycle.failed(core, sa, _refusal(step, error), child=step.config.name, initiator=True)
        return
    outcome = conclude(sa, step.config, payloads, with_ke=step.with_ke, old=step.replaces)
    if not isinstance(outcome, Failure) and outcome.choice.spi in step.deleted_early:
        if step.replaces is not None:
            rekey.again_later(core, sa, step.replaces)
        lifecycle.child_gone(core, sa, step.config.name, failures.peer_deleted("CHILD SA"))
        return
    failure = outcome if isinstance(outcome, Failure) else None
    if not isinstance(outcome, Failure):
        failure = (
            rekey.narrowed(step.replaces, outcome.local_ts, outcome.remote_ts, by_peer=True)
            or taken_selectors(core, sa, step.config, outcome.local_ts, outcome.remote_ts)
            or collision(core, sa, outcome.choice)
        )
    shared = b""
    if not isinstance(outcome, Failure) and failure is None:
        try:
            shared = shared_secret(step.ke if outcome.choice.suite.ke else None, payloads)
        except kex.KeyExchangeError as error_:
            failure = failures.invalid_ke(str(error_))
        if outcome.choice.suite.ke and not shared and failure is None:
            failure = failures.invalid_ke("the peer chose PFS and sent no KE payload")
    if isinstance(outcome, Failure) or failure is not None:
        assert failure is not None
        begin(core, sa, DeleteChild(step.config.protocol, step.spi, 0))
        if step.replaces is not None:
            rekey.again_later(core, sa, step.replaces)
        lifecycle.failed(core, sa, failure, child=step.config.name, initiator=step.replaces is None)
        return
    narrowed = Narrowed(step.config, outcome.local_ts, outcome.remote_ts)
    story.agreed(core, sa, narrowed, outcome.choice.suite, outcome.mode)
    child, pair = build(
        core,
        sa,
        step.config,
        outcome.choice,
        (outcome.local_ts, outcome.remote_ts),
        step.spi,
        step.nonces,
        mode=outcome.mode,
        initiator=True,
        shared=shared,
        acquire_seq=step.acquire_seq,
    )
    step.child = child
    if step.replaces is not None:
        step.replaces.heir = child
    core.add_child(sa, child)
    core.install(child, step, pair)


def _refusal(step: InstallOurs, error: Notify) -> Failure:
    if error.type == NotifyType.NO_PROPOSAL_CHOSEN:
        return failures.peer_refused_proposal(step.config.protocol.name, proposals(step.config, with_ke=step.with_ke))
    if error.type == NotifyType.TS_UNACCEPTABLE:
        return failures.ts_unacceptable((*step.config.local_ts, *step.config.remote_ts), (), by_peer=True)
    return failures.refused_by_peer(error.type)


def our_rekey(sa: IkeSa, old: ChildSa) -> CreateChild | None:
    """Our own request to replace this child, while it is not answered."""
    request = sa.outstanding.request if sa.outstanding is not None else None
    return request if isinstance(request, CreateChild) and request.replaces is old else None


def rekey_later(core: Core, sa: IkeSa) -> None:
    """Rekey the children whose peer was busy the last time (RFC 7296 2.25)."""
    due = [child for at, child in sa.rekey_later if at <= core.now]
    sa.rekey_later = [later for later in sa.rekey_later if later[0] > core.now]
    for child in due:
        begin(core, sa, CreateChild(child.config, replaces=child))
    if sa.rekey_later:
        core.timers.set(sa.serial, Timer.REKEY_CHILD, min(at for at, _ in sa.rekey_later))
