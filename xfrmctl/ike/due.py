"""What is due: the timers of IKE SAs and of connections, and what a connection wants and has not got yet."""

from xfrmctl.ike import failures, lifecycle, roaming
from xfrmctl.ike.connection import UNASKED
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import ike_sa_init, informational, mobike
from xfrmctl.ike.exchanges.create_child_sa import CreateChild, rekey_later
from xfrmctl.ike.exchanges.probe import no_more_answers
from xfrmctl.ike.exchanges.rekey_ike import RekeyIke
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.ike.transport import begin, pump, retransmit
from xfrmctl.model.effects import SendDatagram
from xfrmctl.model.events import PeerSilent
from xfrmctl.wire.natt import KEEPALIVE


def settle(core: Core) -> None:
    """Run everything that is due, until nothing is."""
    while due := core.timers.expire(core.now):
        for owner, timer in due:
            if isinstance(owner, str):
                _try(core, owner)
                continue
            sa = core.sas.get(owner)
            if sa is not None:
                _due(core, sa, timer)


def _due(core: Core, sa: IkeSa, timer: Timer) -> None:
    assert sa.config is not None or timer in (Timer.HALF_OPEN, Timer.REASSEMBLY)
    if timer == Timer.RETRANSMIT:
        if sa.outstanding is None or sa.outstanding.attempts > sa.outstanding.before or not sa.outstanding.shrink:
            roaming.silent(core, sa)
        if not retransmit(core, sa):
            _silent(core, sa)
    elif timer == Timer.HALF_OPEN:
        core.drop(sa.remote, "half_open_timeout")
        core.close(sa, failures.no_response(sa.remote, 1, "IKE_AUTH"))
    elif timer == Timer.LIVENESS and sa.config is not None and sa.config.dpd_s is not None:
        mobike.alive(core, sa)
        core.timers.set(sa.serial, Timer.LIVENESS, core.now + sa.config.dpd_s)
    elif timer == Timer.REKEY and sa.state == IkeState.ESTABLISHED:
        begin(core, sa, RekeyIke())
    elif timer == Timer.REAUTH and sa.state == IkeState.ESTABLISHED:
        informational.begin_anew(core, sa)
    elif timer == Timer.REKEY_CHILD:
        rekey_later(core, sa)
    elif timer == Timer.REASSEMBLY and core.reassembly.forget_all(sa.serial):
        core.drop(sa.remote, "fragments_timeout")
    elif timer == Timer.PROBE:
        no_more_answers(core, sa)
    elif timer == Timer.RETIRE:
        core.bury_retired(sa)
    elif timer == Timer.SUPERSEDED and sa.state in (IkeState.REKEYED, IkeState.ESTABLISHED):
        rekeyed = sa.state == IkeState.REKEYED
        informational.delete_ike(core, sa, failures.rekeyed("IKE SA") if rekeyed else failures.reauthenticated())
    elif timer == Timer.KEEPALIVE and sa.config is not None:
        core.emit(SendDatagram(sa.local, sa.remote, KEEPALIVE))
        core.timers.set(sa.serial, Timer.KEEPALIVE, core.now + sa.config.keepalive_s)


def _silent(core: Core, sa: IkeSa) -> None:
    """All retransmissions went unanswered."""
    outstanding = sa.outstanding
    assert outstanding is not None
    request = outstanding.request
    if isinstance(request, informational.Say) and request.then_close is not None:
        # Whoever answers this delete forgets the IKE SA with it: if that one answer is lost, nobody repeats it.
        lifecycle.close(core, sa, request.then_close)
        return
    core.emit(
        PeerSilent(
            connection=sa.connection,
            ike=sa.name,
            remote=sa.remote,
            exchange=outstanding.exchange,
            attempts=outstanding.attempts,
        )
    )
    if sa.established_at is None:
        failure = failures.no_response(sa.remote, outstanding.attempts, outstanding.exchange.name)
        core.close(sa, failure)
        lifecycle.failed(core, sa, failure, initiator=True)
        return
    lifecycle.close(core, sa, failures.peer_dead(sa.remote, outstanding.attempts))


def _try(core: Core, name: str) -> None:
    """Negotiate what a connection wants, over the IKE SA it has or a new one."""
    connection, config = core.connections.get(name), core.config.connections.get(name)
    if connection is None or config is None or config.remote is None or config.local is None:
        return
    connection.retry_at = None
    everything = core.of_connection(name)
    sas = [sa for sa in everything if not sa.superseded]
    up = {c.config.name for sa in sas for c in sa.children if c.installed}
    for child in connection.demanded:
        if child in up:
            connection.child_up(child)
    demanded = set(connection.demanded)
    for old in everything:
        if old.superseded and old.state == IkeState.ESTABLISHED and {c.config.name for c in old.children} <= up:
            informational.delete_ike(core, old, failures.reauthenticated())
    if not demanded or any(sa.initiator and sa.established_at is None for sa in sas):
        return
    established = [sa for sa in sas if sa.state == IkeState.ESTABLISHED]
    if not established:
        ike_sa_init.start(core, config)
        return
    sa = established[-1]
    under_way = {r.child.name for r in _requests(sa) if isinstance(r, CreateChild)}
    under_way |= {c.config.name for c in sa.children}
    for child_config in config.children:
        if child_config.name in demanded and child_config.name not in under_way:
            sa.queue.append(CreateChild(child_config, connection.acquires.get(child_config.name, UNASKED)))
    pump(core, sa)


def _requests(sa: IkeSa) -> list[object]:
    current = sa.outstanding.request if sa.outstanding is not None else None
    return [current, *sa.queue]
