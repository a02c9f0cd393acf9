"""What follows when something fails or ends: who is told, what is tried again, and when.

Starting a negotiation is left to the engine: :func:`kick` arms the connection's RETRY timer for now, and the engine
runs due timers before it ends a step.
"""

from xfrmctl.ike.config import Start
from xfrmctl.ike.core import Core
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.timers import Timer
from xfrmctl.model.events import NegotiationFailed, RetryScheduled
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import NotifyType

AGAIN_S = 10.0
"""Around this long after TEMPORARY_FAILURE a rekey is tried again (RFC 7296 2.25)."""


def kick(core: Core, connection: str) -> None:
    """Look at what the connection wants before this step ends."""
    core.timers.set(connection, Timer.RETRY, core.now)


def failed(core: Core, sa: IkeSa, failure: Failure, *, child: str = "", initiator: bool) -> None:
    """A negotiation ended without an SA: report it; what is wanted for good is tried again later."""
    core.emit(
        NegotiationFailed(
            connection=sa.connection,
            child=child,
            ike=sa.name,
            remote=sa.remote,
            initiator=initiator,
            failure=failure,
        )
    )
    connection = core.connections.get(sa.connection)
    if connection is None:
        return
    connection.last_failure = failure
    connection.failed_at = core.now
    if not initiator:
        return
    if child:
        connection.acquires.pop(child, None)
    else:
        connection.acquires.clear()
    retry_later(core, sa.connection)


def retry_later(core: Core, name: str) -> None:
    """Arm the next try of a connection that wants something, by its back-off."""
    connection, config = core.connections[name], core.config.connections[name]
    if not connection.wanted:
        return
    delay = connection.backoff(config.retry)
    if delay is None:
        connection.wanted.clear()
        connection.retry_at = None
        return
    connection.retry_at = core.now + delay
    core.timers.set(name, Timer.RETRY, connection.retry_at)
    core.emit(RetryScheduled(connection=name, attempt=connection.attempts, delay_s=delay))


def refused_rekey(core: Core, sa: IkeSa, failure: Failure, refusal: NotifyType, *, child: str = "") -> None:
    """The peer has said no to new keys. One that takes no further SAs at all gets a new IKE SA (RFC 7296 4)."""
    failed(core, sa, failure, child=child, initiator=False)
    if refusal == NotifyType.NO_ADDITIONAL_SAS:
        core.timers.set(sa.serial, Timer.REAUTH, core.now)


def close(core: Core, sa: IkeSa, reason: Failure) -> None:
    """End an IKE SA; children that start by themselves are wanted again."""
    name = sa.connection
    lost = {child.config.name for child in sa.children}
    core.close(sa, reason)
    _want_again(core, name, lost, reason)


def child_gone(core: Core, sa: IkeSa, child_name: str, reason: Failure) -> None:
    """A CHILD SA has ended, its IKE SA lives on."""
    _want_again(core, sa.connection, {child_name}, reason)


def _want_again(core: Core, name: str, children: set[str], reason: Failure) -> None:
    connection, config = core.connections.get(name), core.config.connections.get(name)
    if connection is None or config is None:
        return
    if config.remote is None:  # nobody whom we could call; and with thousands of peers no place for a look at each
        connection.last_failure, connection.failed_at = reason, core.now
        return
    alive = {c.config.name for sa in core.of_connection(name) for c in sa.children}
    lost = children - alive
    if lost:
        connection.last_failure = reason
        connection.failed_at = core.now
    for child in config.children:
        if child.name in lost and child.start == Start.START and child.name not in connection.held:
            connection.wanted.add(child.name)
    if connection.wanted and connection.retry_at is None:
        retry_later(core, name)


def watch(core: Core, sa: IkeSa) -> None:
    """Arm the timers of an established IKE SA: liveness, keepalives, rekeying, what it has inherited."""
    assert sa.config is not None
    config = sa.config
    if config.dpd_s is not None:
        core.timers.set(sa.serial, Timer.LIVENESS, core.now + config.dpd_s)
    if sa.nat_local:
        core.timers.set(sa.serial, Timer.KEEPALIVE, core.now + config.keepalive_s)
    if config.rekey_s is not None:
        core.timers.set(sa.serial, Timer.REKEY, core.now + jittered(core, config.rekey_s))
    if config.reauth_s is not None and config.remote is not None:
        due = sa.authenticated_at + jittered(core, config.reauth_s)
        core.timers.set(sa.serial, Timer.REAUTH, max(core.now, due))
    if sa.retired:
        core.timers.set(sa.serial, Timer.RETIRE, sa.retired[0][0])
    if sa.rekey_later:
        core.timers.set(sa.serial, Timer.REKEY_CHILD, min(at for at, _ in sa.rekey_later))


def reauthenticate(core: Core, sa: IkeSa) -> None:
    """Make a new IKE SA with all the children of this one, then let this one go (RFC 7296 2.8.3)."""
    connection = core.connections.get(sa.connection)
    if connection is not None:
        sa.superseded = True
        connection.wanted |= {child.config.name for child in sa.children}
        kick(core, sa.connection)


def again_at(core: Core) -> float:
    """When to try again what a busy peer has put off: a little later, not at the same time as the peer."""
    return core.now + AGAIN_S * (0.5 + int.from_bytes(core.entropy(2), "big") / 65536)


def jittered(core: Core, value: float) -> float:
    """Up to a tenth less, so that neither both ends nor many tunnels rekey at the same moment (RFC 7296 2.8)."""
    return value * (1 - int.from_bytes(core.entropy(2), "big") / 655360)
