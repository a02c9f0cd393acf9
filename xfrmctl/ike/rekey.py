"""Replacing a CHILD SA without losing a packet, and who wins when both sides begin at once (RFC 7296 2.8, 2.8.1).

    initiator                                   responder
    CREATE_CHILD_SA { N(REKEY_SA), SA, … } -->  installs the new inbound SA, goes on sending on the old one
                                           <--  CREATE_CHILD_SA { SA, … }
    installs both new SAs, sends on them
    INFORMATIONAL { D(old) }               -->  now sends on the new SA; its old inbound SA stays a moment
                                           <--  INFORMATIONAL { D(old) }
    its old inbound SA stays a moment

Each direction changes over only when the other end can receive, and both ends keep the old inbound SA for RETIRE_S.

Simultaneous rekeys make two new CHILD SAs. The one whose exchange has the lowest of the four nonces is redundant, and
the side that asked for it deletes it; the other side deletes the old one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from xfrmctl.ike import failures, lifecycle
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges.informational import delete_child
from xfrmctl.ike.negotiate import covered
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import ChildState
from xfrmctl.ike.timers import Timer
from xfrmctl.model.events import ChildSaRekeyed
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import NotifyType
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.wire.payloads import Notify


@dataclass(frozen=True, slots=True)
class RivalChild:
    """The CHILD SA that the peer made while we asked for one, and the lower nonce of its exchange."""

    child: ChildSa
    lowest_nonce: bytes


def notify(old: ChildSa) -> Notify:
    """N(REKEY_SA) names the SA by the SPI on which the sender receives (RFC 7296 1.3.3)."""
    return Notify(NotifyType.REKEY_SA, b"", old.inbound.protocol, old.inbound.spi.to_bytes(4, "big"))


def is_redundant(nonces: tuple[bytes, bytes], rival: RivalChild) -> bool:
    """Whether the SA of our exchange is the one to go (RFC 7296 2.8.1)."""
    return min(nonces) < rival.lowest_nonce


def narrowed(
    old: ChildSa | None,
    local_ts: Sequence[TrafficSelector],
    remote_ts: Sequence[TrafficSelector],
    *,
    by_peer: bool,
) -> Failure | None:
    """Why these selectors cannot replace those of ``old``: they leave some of its traffic out (RFC 7296 2.9.2)."""
    if old is None or (covered(old.local_ts, local_ts) and covered(old.remote_ts, remote_ts)):
        return None
    return failures.ts_narrowed((*old.local_ts, *old.remote_ts), (*local_ts, *remote_ts), by_peer=by_peer)


def replaced(core: Core, sa: IkeSa, old: ChildSa, new: ChildSa, began_at: float) -> None:
    """Our rekey has succeeded: delete the old CHILD SA on both sides."""
    old.successor, old.heir = new, None
    tell(core, sa, old, new, began_at=began_at)
    if old in sa.children:
        old.state = ChildState.REPLACED
        delete_child(core, sa, old, failures.rekeyed("CHILD SA"), retire=True)


def tell(core: Core, sa: IkeSa, old: ChildSa, new: ChildSa, *, began_at: float | None) -> None:
    """Report the change of keys; ``began_at`` is when we have asked for it, None where the peer has."""
    core.emit(
        ChildSaRekeyed(
            connection=sa.connection,
            child=new.config.name,
            ike=sa.name,
            old=old.inbound,
            new=new.inbound,
            initiator=began_at is not None,
            took_s=core.now - began_at if began_at is not None else None,
        )
    )


def again_later(core: Core, sa: IkeSa, old: ChildSa) -> None:
    """The peer is busy: the old CHILD SA lives on and is rekeyed a little later, not at the same time as the peer."""
    if old not in sa.children:
        return
    old.state = ChildState.INSTALLED
    sa.rekey_later.append((lifecycle.again_at(core), old))
    core.timers.set(sa.serial, Timer.REKEY_CHILD, min(at for at, _ in sa.rekey_later))
