"""CREATE_CHILD_SA, answered (RFC 7296 1.3.1, 1.3.3): the peer wants a further CHILD SA, or one in place of another.

What it wants is judged, put into the kernel, and only then answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xfrmctl.crypto import kex
from xfrmctl.ike import failures, lifecycle, mode, rekey, story
from xfrmctl.ike.child import Answered, Refused, build, judge, refusal_notify, shared_secret
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import rekey_ike
from xfrmctl.ike.exchanges.create_child_sa import CreateChild, our_rekey
from xfrmctl.ike.exchanges.informational import take_over
from xfrmctl.ike.rekey import RivalChild
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import ChildState, IkeState
from xfrmctl.ike.transport import respond
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.iana import ExchangeType, NotifyType, ProtocolId
from xfrmctl.wire.message import first_of, notify_of
from xfrmctl.wire.payloads import KeyExchange, Nonce, Notify, Payload, Sa


def on_request(core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
    """Judge the child, install it, answer."""
    offered = first_of(payloads, Sa)
    if offered is not None and any(p.protocol == ProtocolId.IKE for p in offered.proposals):
        rekey_ike.on_request(core, sa, payloads)
        return
    old = _replaced(sa, payloads)
    refusal = _early_refusal(sa, payloads, old)
    nonce = first_of(payloads, Nonce)
    if refusal is not None or nonce is None:
        respond(core, sa, ExchangeType.CREATE_CHILD_SA, [refusal or Notify(NotifyType.INVALID_SYNTAX)])
        return
    verdict = judge(core, sa, payloads, with_ke=True, old=old)
    if isinstance(verdict, Answered):
        narrower = rekey.narrowed(old, verdict.narrowed.local_ts, verdict.narrowed.remote_ts, by_peer=False)
        verdict = Refused(NotifyType.TS_UNACCEPTABLE, narrower) if narrower is not None else verdict
    if isinstance(verdict, Refused):
        respond(core, sa, ExchangeType.CREATE_CHILD_SA, [Notify(verdict.notify, verdict.data)])
        lifecycle.failed(core, sa, verdict.failure, initiator=False)
        return
    group, ke, shared = verdict.choice.suite.ke, None, b""
    if group:
        theirs = first_of(payloads, KeyExchange)
        if theirs is None or theirs.group != group:
            wanted = Notify(NotifyType.INVALID_KE_PAYLOAD, int(group).to_bytes(2, "big"))
            respond(core, sa, ExchangeType.CREATE_CHILD_SA, [wanted])
            return
        ke = kex.generate(group, core.entropy)
        try:
            shared = shared_secret(ke, payloads)
        except kex.KeyExchangeError as error:
            respond(core, sa, ExchangeType.CREATE_CHILD_SA, [Notify(NotifyType.INVALID_SYNTAX)])
            lifecycle.failed(core, sa, failures.invalid_ke(str(error)), initiator=False)
            return
    mine = core.new_nonce()
    story.agreed(core, sa, verdict.narrowed, verdict.choice.suite, verdict.mode)
    child, pair = build(
        core,
        sa,
        verdict.narrowed.child,
        verdict.choice,
        (verdict.narrowed.local_ts, verdict.narrowed.remote_ts),
        verdict.spi,
        (nonce.data, mine),
        mode=verdict.mode,
        initiator=False,
        shared=shared,
    )
    core.add_child(sa, child)
    if old is not None:
        child.pending_outbound = pair[1]
        pair = pair[:1]
        old.heir = child
        request = our_rekey(sa, old)
        if request is not None:
            request.rival = RivalChild(child, min(nonce.data, mine))
    core.install(child, AnswerChild(child, verdict, (nonce.data, mine), ke, old), pair)


def _replaced(sa: IkeSa, payloads: Sequence[Payload]) -> ChildSa | None:
    """The CHILD SA that the request is to replace."""
    named = notify_of(payloads, NotifyType.REKEY_SA)
    return sa.child_by_outbound(named.protocol, int.from_bytes(named.spi, "big")) if named is not None else None


def _early_refusal(sa: IkeSa, payloads: Sequence[Payload], old: ChildSa | None) -> Notify | None:
    """Refusals that need no look at the offer (RFC 7296 2.25)."""
    request = sa.outstanding.request if sa.outstanding is not None else None
    if sa.state != IkeState.ESTABLISHED or isinstance(request, rekey_ike.RekeyIke):
        return Notify(NotifyType.TEMPORARY_FAILURE)
    named = notify_of(payloads, NotifyType.REKEY_SA)
    if named is None:
        return None
    if int.from_bytes(named.spi, "big") in sa.closing:
        return Notify(NotifyType.TEMPORARY_FAILURE)
    if old is None and isinstance(request, CreateChild):
        return Notify(NotifyType.TEMPORARY_FAILURE)  # it may be what the answer that we wait for tells of
    if old is not None and (not old.installed or old.heir is not None):
        return Notify(NotifyType.TEMPORARY_FAILURE)  # our kernel is just taking it, or what replaces it
    if old is None or old.successor is not None:
        return Notify(NotifyType.CHILD_SA_NOT_FOUND, b"", named.protocol, named.spi)
    return None


@dataclass(slots=True)
class AnswerChild:
    """The kernel holds the child, or not: now CREATE_CHILD_SA can be answered."""

    child: ChildSa
    verdict: Answered
    nonces: tuple[bytes, bytes]
    ke: kex.PrivateKe | None
    old: ChildSa | None = None

    def done(self, core: Core, sa: IkeSa, refusal: KernelRefusal | None) -> None:
        """Answer with the child, or with the Notify that fits the kernel's refusal."""
        if refusal is None:
            sa_, *selectors = self.verdict.payloads()
            payloads: list[Payload] = [*mode.notices(self.verdict.mode), sa_, Nonce(self.nonces[1])]
            if self.ke is not None:
                payloads.append(KeyExchange(self.ke.group, self.ke.public))
            respond(core, sa, ExchangeType.CREATE_CHILD_SA, payloads + selectors)
            core.child_installed(sa, self.child)
            if self.old is not None:
                self._succeed(core, sa, self.old)
            return
        failure = failures.kernel_refused(refusal)
        core.remove_child(sa, self.child, failure)
        respond(core, sa, ExchangeType.CREATE_CHILD_SA, [refusal_notify(refusal)])
        lifecycle.failed(core, sa, failure, child=self.child.config.name, initiator=False)
        if self.old is not None:
            self._not_succeeded(core, sa, self.old)

    def _succeed(self, core: Core, sa: IkeSa, old: ChildSa) -> None:
        """Take the old one's place, unless we are just replacing it ourselves: then the nonces decide."""
        if old.heir is self.child:
            old.heir = None
        if old.successor is not None:
            return  # ours has won, and was quicker: the peer will delete this one
        if old not in sa.children:
            take_over(core, sa, self.child)
            return
        old.successor = self.child
        rekey.tell(core, sa, old, self.child, began_at=None)
        if our_rekey(sa, old) is None:
            old.state = ChildState.REPLACED

    def _not_succeeded(self, core: Core, sa: IkeSa, old: ChildSa) -> None:
        """The old one goes on; ours, if it has given way to this one, is asked for again."""
        request = our_rekey(sa, old)
        if request is not None:
            request.rival = None
        elif old.state == ChildState.REKEYING:
            rekey.again_later(core, sa, old)
