"""INFORMATIONAL (RFC 7296 1.4): deletes, liveness checks, notices.

    HDR, SK { [N,] [D,] }  -->
                     <--  HDR, SK { [N,] [D,] }

A CHILD SA is deleted in pairs: each side names its own inbound SPI, the answer names the other one (1.4.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xfrmctl.ike import failures, lifecycle
from xfrmctl.ike.core import Core
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.transport import begin, respond
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import ExchangeType, NotifyType, ProtocolId
from xfrmctl.wire.message import notify_of
from xfrmctl.wire.payloads import Delete, Payload


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


def delete_child(core: Core, sa: IkeSa, child: ChildSa, reason: Failure) -> None:
    """Take a CHILD SA down on both sides."""
    spi = child.inbound.spi.to_bytes(4, "big")
    core.remove_child(sa, child, reason)
    if sa.state == IkeState.ESTABLISHED:
        begin(core, sa, Say([Delete(ProtocolId.ESP, (spi,))]))


def delete_ike(core: Core, sa: IkeSa, reason: Failure) -> None:
    """Take an IKE SA and its children down on both sides. Its children leave the kernel at once."""
    if sa.state != IkeState.ESTABLISHED:
        core.close(sa, reason)
        return
    for child in tuple(sa.children):
        core.remove_child(sa, child, reason)
    sa.queue.clear()
    sa.move(IkeState.DELETING)
    begin(core, sa, Say([Delete(ProtocolId.IKE, ())], then_close=reason))


def on_request(core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
    """Do what the peer's deletes say, and answer."""
    reply: list[Payload] = []
    closing = False
    mine: list[bytes] = []
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
                continue
            mine.append(child.inbound.spi.to_bytes(4, "big"))
            core.remove_child(sa, child, failures.peer_deleted("CHILD SA"))
            gone.append(child)
    if mine and not closing:
        reply.append(Delete(ProtocolId.ESP, tuple(mine)))
    respond(core, sa, ExchangeType.INFORMATIONAL, reply)
    if notify_of(payloads, NotifyType.AUTHENTICATION_FAILED) is not None:
        assert sa.local_id is not None
        lifecycle.close(core, sa, failures.peer_rejected_auth(sa.local_id, sa.remote_id))
        return
    if closing:
        lifecycle.close(core, sa, failures.peer_deleted("IKE SA"))
        return
    for child in gone:
        lifecycle.child_gone(core, sa, child.config.name, failures.peer_deleted("CHILD SA"))
