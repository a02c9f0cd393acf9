"""Where an IKE SA or a CHILD SA stands just now, for people and for ``show``: nothing here changes anything."""

from dataclasses import dataclass

from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges.create_child_sa import CreateChild
from xfrmctl.ike.exchanges.informational import DeleteChild
from xfrmctl.ike.exchanges.probe import IS_PROBE
from xfrmctl.ike.exchanges.rekey_ike import RekeyIke
from xfrmctl.ike.sa import ChildSa, IkeSa, Outstanding, Request
from xfrmctl.ike.states import MEANING, ChildState, IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.ike.transport import policy
from xfrmctl.model.iana import ExchangeType


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Our request that waits for its answer: copy ``attempt`` of ``attempts`` went out at ``sent_at``.

    ``next_at`` is when it goes out again, or when the peer counts as dead; None while nothing is armed. Times are
    monotonic seconds.
    """

    exchange: ExchangeType
    message_id: int
    payloads: tuple[str, ...]
    attempt: int
    attempts: int
    sent_at: float
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """``meaning`` is one line; ``*_at`` are monotonic seconds, None for never; ``queued`` conversations wait."""

    meaning: str
    under_way: UnderWay | None
    queued: int
    rekey_at: float | None
    reauth_at: float | None
    dpd_at: float | None


def standing(core: Core, sa: IkeSa) -> Standing:
    """Where an IKE SA stands."""
    outstanding = sa.outstanding
    found: UnderWay | None = None
    if outstanding is not None:
        found = UnderWay(
            exchange=outstanding.exchange,
            message_id=outstanding.message_id,
            payloads=outstanding.payload_names,
            attempt=outstanding.attempts,
            attempts=outstanding.before + policy(core, sa).tries + 1,
            sent_at=outstanding.sent_at,
            next_at=core.timers.at(sa.serial, Timer.RETRANSMIT),
        )
    return Standing(
        meaning=_meaning(sa),
        under_way=found,
        queued=len(sa.queue),
        rekey_at=core.timers.at(sa.serial, Timer.REKEY),
        reauth_at=core.timers.at(sa.serial, Timer.REAUTH),
        dpd_at=core.timers.at(sa.serial, Timer.LIVENESS),
    )


def _meaning(sa: IkeSa) -> str:
    outstanding = sa.outstanding
    times = outstanding.attempts if outstanding is not None else 1
    if sa.mobility is not None and sa.mobility.stranded:
        return "no address of ours has a route to the peer: waiting for one"
    match sa.state:
        case IkeState.INIT_SENT if times > 1:
            return (
                f"IKE_SA_INIT sent {times} times, no answer: is UDP 500 open to the peer and back, does IKE run there?"
            )
        case IkeState.INIT_SENT if sa.init_retries:
            wanted = "a cookie" if sa.cookie else "another key exchange method"
            return f"the peer has asked for {wanted}: IKE_SA_INIT sent again with it, no answer yet"
        case IkeState.AUTH_SENT if times > 1:
            port = sa.remote.port
            return (
                f"keys agreed, IKE_AUTH sent {times} times, no answer: is UDP {port} open to the peer and back, are "
                "large packets lost, or does the peer not want us?"
            )
        case IkeState.ESTABLISHED | IkeState.REKEYED | IkeState.DELETING if outstanding is not None:
            doing = _doing(outstanding)
            again = f" for the {_nth(times)} time, no answer yet" if times > 1 and outstanding.shrink is None else ""
            return f"{MEANING[sa.state]}; {doing}{again}" if doing or again else MEANING[sa.state]
        case IkeState.ESTABLISHED if sa.answering:
            return f"{MEANING[sa.state]}; a request of the peer waits for the kernel"
    return MEANING[sa.state]


def _doing(outstanding: Outstanding) -> str:
    request: Request | None = outstanding.request
    if isinstance(request, RekeyIke):
        return "asking for new keys of the IKE SA"
    if isinstance(request, CreateChild):
        return f"asking for {'new keys of' if request.replaces is not None else 'the'} CHILD SA {request.child.name}"
    if isinstance(request, DeleteChild):
        return "telling the peer that a CHILD SA is gone"
    if not outstanding.payload_names:
        return "asking whether the peer lives"
    if outstanding.payload_names == (IS_PROBE,):
        return "probing the path's MTU"
    return f"{outstanding.exchange.name} ({', '.join(outstanding.payload_names)}) sent"


def _nth(number: int) -> str:
    tens = 10 < number % 100 < 20
    return f"{number}{'th' if tens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


_CHILD: dict[ChildState, str] = {
    ChildState.INSTALLING: "agreed with the peer: waiting for the kernel to take the SAs",
    ChildState.INSTALLED: "both SAs are in the kernel",
    ChildState.REKEYING: "in use; we have asked the peer for its successor",
    ChildState.REPLACED: "a successor has taken its place: waiting for its end",
}


def child_meaning(child: ChildSa) -> str:
    """Where a CHILD SA stands, in one line."""
    if child.pending_outbound is not None:
        return "new keys: we receive on it, and send on it when the peer has deleted its predecessor"
    return _CHILD[child.state]
