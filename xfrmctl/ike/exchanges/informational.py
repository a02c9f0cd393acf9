"""INFORMATIONAL (RFC 7296 1.4): deletes, liveness checks, notices.

    HDR, SK { [N,] [D,] }  -->
                     <--  HDR, SK { [N,] [D,] }

A CHILD SA is deleted in pairs: each side names its own inbound SPI, the answer names the other one (1.4.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xfrmctl.ike import failures, lifecycle, qcd
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import probe
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.transport import begin, respond
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import ExchangeType, NotifyType, ProtocolId
from xfrmctl.wire.message import notify_of
from xfrmctl.wire.payloads import Delete, Payload

MAX_EARLY = 64
"""How many SPIs that we do not know we remember to have been deleted; one would do."""


@dataclass(slots=True)
class Say:
    """Tell the peer something; with ``then_close`` the IKE SA ends when it has heard."""

    payloads: Sequence[Payload]
    then_close: Failure | None = None
    exchange: ExchangeType = ExchangeType.INFORMATIONAL

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """What was to be said."""
        return list(self.payloads)

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """Heard. The paired deletes of the answer name SAs that are gone here already."""
        if self.then_close is not None:
            lifecycle.close(core, sa, self.then_close)


def alive(core: Core, sa: IkeSa) -> None:
    """Ask whether the peer lives (RFC 7296 2.4): an empty request, unless one is under way anyway."""
    if sa.outstanding is None and not sa.queue:
        begin(core, sa, Say([]))


@dataclass(slots=True)
class DeleteChild:
    """Tell the peer that a CHILD SA is gone here; until it has answered, a rekey of it by the peer must wait."""

    protocol: ProtocolId
    inbound_spi: int
    outbound_spi: int
    exchange: ExchangeType = ExchangeType.INFORMATIONAL

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """D with our inbound SPI (RFC 7296 1.4.1)."""
        return [Delete(self.protocol, (self.inbound_spi.to_bytes(4, "big"),))]

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """The peer has deleted its side, too."""
        sa.closing.discard(self.outbound_spi)


def delete_child(core: Core, sa: IkeSa, child: ChildSa, reason: Failure, *, retire: bool = False) -> None:
    """Take a CHILD SA down on both sides; with ``retire`` our inbound SA stays a moment."""
    core.remove_child(sa, child, reason, retire=retire)
    if sa.state == IkeState.ESTABLISHED:
        sa.closing.add(child.outbound.spi)
        begin(core, sa, DeleteChild(child.inbound.protocol, child.inbound.spi, child.outbound.spi))


def delete_ike(core: Core, sa: IkeSa, reason: Failure) -> None:
    """Take an IKE SA and its children down on both sides. Its children leave the kernel at once."""
    if sa.state not in (IkeState.ESTABLISHED, IkeState.REKEYED):
        core.close(sa, reason)
        return
    for child in tuple(sa.children):
        core.remove_child(sa, child, reason)
    sa.queue.clear()
    sa.move(IkeState.DELETING)
    begin(core, sa, Say([Delete(ProtocolId.IKE, ())], then_close=reason))


def begin_anew(core: Core, sa: IkeSa) -> None:
    """Reauthenticate. Where the peer's address is unknown only the peer can begin, and does when we let go."""
    if sa.config is not None and sa.config.remote is None:
        delete_ike(core, sa, failures.reauthenticated())
    else:
        lifecycle.reauthenticate(core, sa)


def on_request(core: Core, sa: IkeSa, payloads: tuple[Payload, ...], more: Sequence[Payload] = ()) -> None:
    """Do what the peer's deletes say, and answer with that and with ``more``."""
    reply: list[Payload] = [*more]
    qcd.learn(sa, payloads)
    closing = False
    mine: dict[ProtocolId, list[bytes]] = {}
    gone: list[ChildSa] = []
    for payload in payloads:
        if not isinstance(payload, Delete):
            continue
        if payload.protocol == ProtocolId.IKE:
            closing = True
            continue
        for spi in payload.spis:
            child = sa.child_by_outbound(payload.protocol, int.from_bytes(spi, "big"))
            if child is None:
                _deleted_early(sa, spi)
                continue
            if child in gone:
                continue
            mine.setdefault(payload.protocol, []).append(child.inbound.spi.to_bytes(4, "big"))
            gone.append(child)
    if not closing:
        reply += [Delete(protocol, tuple(spis)) for protocol, spis in mine.items()]
    respond(core, sa, ExchangeType.INFORMATIONAL, [*reply, *probe.answer(core, sa, payloads)])
    if notify_of(payloads, NotifyType.AUTHENTICATION_FAILED) is not None:
        assert sa.local_id is not None
        lifecycle.close(core, sa, failures.peer_rejected_auth(sa.local_id, sa.remote_id))
        return
    if closing:
        others = core.of_connection(sa.connection)
        replaced = sa.state == IkeState.REKEYED or any(o.rival is not None and o.rival.sa is sa for o in others)
        lifecycle.close(core, sa, failures.rekeyed("IKE SA") if replaced else failures.peer_deleted("IKE SA"))
        return
    for child in gone:
        _gone(core, sa, child)


def _deleted_early(sa: IkeSa, spi: bytes) -> None:
    """An SPI that we do not know: the answer that tells it to us may be lost, and come again later."""
    request = sa.outstanding.request if sa.outstanding is not None else None
    if request is not None and request.exchange == ExchangeType.CREATE_CHILD_SA and len(sa.deleted_early) < MAX_EARLY:
        sa.deleted_early.add(spi)


def _gone(core: Core, sa: IkeSa, child: ChildSa) -> None:
    """The peer has deleted a CHILD SA: its successor takes over, or it is missed."""
    if child.successor is not None:
        take_over(core, sa, child.successor)
        core.remove_child(sa, child, failures.rekeyed("CHILD SA"), retire=True)
        return
    another = any(c is not child and c.config.name == child.config.name for c in sa.children)
    reason = failures.redundant() if another else failures.peer_deleted("CHILD SA")
    core.remove_child(sa, child, reason)
    lifecycle.child_gone(core, sa, child.config.name, reason)


def take_over(core: Core, sa: IkeSa, new: ChildSa) -> None:
    """The CHILD SA that ``new`` replaces is about to go: from now on send on the new one (RFC 7296 2.8)."""
    if new.pending_outbound is not None:
        core.install(new, Activate(new), (new.pending_outbound,))


@dataclass(slots=True)
class Activate:
    """The outbound SA of a rekeyed CHILD SA is in the kernel, or not."""

    child: ChildSa

    def done(self, core: Core, sa: IkeSa, refusal: KernelRefusal | None) -> None:
        """Without it the CHILD SA is of no use."""
        self.child.pending_outbound = None
        if refusal is not None and self.child in sa.children:
            failure = failures.kernel_refused(refusal)
            delete_child(core, sa, self.child, failure)
            lifecycle.child_gone(core, sa, self.child.config.name, failure)
