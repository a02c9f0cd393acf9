"""One identity, one IKE SA? What becomes of those that an identity has already when it proves itself once more.

N(INITIAL_CONTACT) says that the peer has no other IKE SA with us (RFC 7296 2.4): whatever we have is then history, by
the word of somebody who has proved the identity. (Where many share one, with ``unique: no``, it can only speak for the
address and port that it comes from.) Without it the connection's ``unique`` decides.

Neither helps where both ends begin at the same moment, as after a power cut or a reload of both: each says
N(INITIAL_CONTACT) before it has proved anything to the other, and two IKE SAs stand (RFC 7296 has no rule for it).
"""

from xfrmctl.ike import failures, lifecycle
from xfrmctl.ike.config import Unique
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import informational
from xfrmctl.ike.peers import is_one_of_many
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.model.failure import Failure

OVERLAP_S = 10.0
"""How long the old IKE SA of a peer at the same address stays: a reauthentication, make before break (2.8.3)."""


def crossed(core: Core, sa: IkeSa) -> None:
    """Both ends have begun at once: of the two IKE SAs one lets go, once the other has its children.

    Which one is as with rekeys that cross, the one with the lowest of the four nonces, and whoever has begun it lets go
    (RFC 7296 2.8.1). A peer that does not know this rule keeps it: then we do, after a while.
    """
    assert sa.config is not None
    if is_one_of_many(sa.config):
        return
    for other in core.of_connection(sa.connection):
        if other.state != IkeState.ESTABLISHED or other.superseded or other.initiator == sa.initiator:
            continue
        if other.established_at is None or other.established_at < sa.created_at:
            continue  # the peer knew of it, and begins anew all the same
        redundant = min((sa, other), key=lambda each: min(each.nonce_i, each.nonce_r))
        core.timers.set(redundant.serial, Timer.REAUTH, core.now + (0.0 if redundant.initiator else OVERLAP_S))


def admit(core: Core, sa: IkeSa, *, afresh: bool) -> Failure | None:
    """Make room for an IKE SA whose peer has just proved who it is; or say why it must not be.

    ``afresh``: with INITIAL_CONTACT. The peer has then just said that it would not understand a Delete, so none is
    sent: the answer would never come.
    """
    assert sa.config is not None
    assert sa.remote_id is not None
    shared = sa.config.unique == Unique.NO and is_one_of_many(sa.config)
    for other in core.peers.alike(sa):
        if other.established_at is None:
            continue
        moved = other.remote.address != sa.remote.address
        if afresh and (other.remote == sa.remote or not shared):
            lifecycle.close(core, other, failures.superseded())
        elif sa.config.unique == Unique.KEEP and moved:
            return failures.identity_in_use(sa.remote_id, other.remote)
        elif sa.config.unique == Unique.REPLACE and moved:
            informational.delete_ike(core, other, failures.replaced(sa.remote))
        elif sa.config.unique == Unique.REPLACE:
            core.timers.set(other.serial, Timer.SUPERSEDED, core.now + OVERLAP_S)
    return None
