"""Messages of one IKE SA: ids, the window of one (RFC 7296 2.3), retransmission (2.1), cached answers, protection.

A request may not be abandoned: it is retransmitted byte for byte until it is answered or the IKE SA ends. An answer
is kept byte for byte until the peer's next request, and goes to where the request came from (2.11). The one exception
is RFC 7383 2.5.2: a large message that seems not to get through is cut smaller. A probe of the path's MTU is the case
that lives by it: whole at first and never fragmented by anybody, then small (``exchanges.probe``).
"""

from collections.abc import Sequence

from xfrmctl.ike import fragments, story
from xfrmctl.ike.config import RetransmitPolicy
from xfrmctl.ike.core import Core
from xfrmctl.ike.sa import IkeSa, Outstanding, Request, Sealed
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.model.address import Endpoint
from xfrmctl.model.effects import SendDatagram
from xfrmctl.model.events import MessageSent
from xfrmctl.model.iana import ExchangeType, PayloadType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import encode_payloads
from xfrmctl.wire.natt import frame
from xfrmctl.wire.payloads import Payload

PATIENT = RetransmitPolicy(tries=10)
"""With the other defaults more than five minutes: the responder waits for the initiator to move (RFC 4555 3.11)."""

SMALLER_AT = 3
"""The transmission of a request, or the repetition of an answer, with which a large message is cut smaller."""

REKEY_AT_ID = 2**31
"""The message id, in either direction, at which an IKE SA gets new keys: they must not outgrow 32 bits (2.2)."""


def names(payloads: Sequence[Payload]) -> tuple[str, ...]:
    """Payloads as a log tells them: ``SA, KE, No, N(COOKIE)``."""
    return tuple(p.name for p in payloads)


def send(core: Core, local: Endpoint, remote: Endpoint, message: bytes, probe: int | None = None) -> None:
    """Emit a datagram, framed where the port is shared with ESP (RFC 3948 2.2)."""
    data = frame(message) if local.port == core.config.nat_t_port else message
    core.emit(SendDatagram(local, remote, data, probe))


def send_all(core: Core, local: Endpoint, remote: Endpoint, message: Sealed, probe: int | None = None) -> None:
    """Emit a message, in as many datagrams as it has."""
    for datagram in message.datagrams:
        send(core, local, remote, datagram, probe)


def seal(
    core: Core,
    sa: IkeSa,
    exchange: ExchangeType,
    message_id: int,
    payloads: Sequence[Payload],
    *,
    response: bool,
) -> Sealed:
    """A protected message (RFC 7296 3.14), without framing; in fragments where it is too large (RFC 7383 2.5)."""
    assert sa.protect_out is not None
    header = Header(sa.spi_i, sa.spi_r, PayloadType.SK, exchange, sa.initiator, response, message_id, 0)
    first, plaintext = encode_payloads(payloads)
    if not sa.fragment_size or len(plaintext) <= fragments.ALWAYS_FITS:
        return Sealed((sa.protect_out.seal(header.encode(0), first, plaintext, core.entropy),))
    return _cut(core, sa, header, first, plaintext, sa.fragment_size)


def _cut(core: Core, sa: IkeSa, header: Header, first: int, plaintext: bytes, size: int) -> Sealed:
    assert sa.protect_out is not None
    smallest, port = fragments.MIN_SIZE[sa.remote.address.version], core.config.nat_t_port
    room = max(size, smallest) - fragments.packet_size(sa.local, 0, port)
    datagrams = fragments.seal(sa.protect_out, header, first, plaintext, room, core.entropy)
    if fragments.packet_size(sa.local, len(datagrams[0]), port) <= smallest:
        return Sealed(datagrams)
    return Sealed(datagrams, header, first, plaintext)


def _smaller(core: Core, sa: IkeSa, message: Sealed) -> Sealed:
    """The same message in more fragments, or as it is. More they must be, for that is how they are told apart."""
    if message.header is None:
        return message
    sa.fragment_size = fragments.MIN_SIZE[sa.remote.address.version]
    cut = _cut(core, sa, message.header, message.first, message.plaintext, sa.fragment_size)
    return cut if len(cut.datagrams) > len(message.datagrams) else message


def whole(core: Core, sa: IkeSa, exchange: ExchangeType, payloads: Sequence[Payload], message_id: int) -> Sealed:
    """A request in one datagram, however large; :func:`small` makes fragments of it."""
    assert sa.protect_out is not None
    header = Header(sa.spi_i, sa.spi_r, PayloadType.SK, exchange, sa.initiator, False, message_id, 0)
    first, plaintext = encode_payloads(payloads)
    datagram = sa.protect_out.seal(header.encode(0), first, plaintext, core.entropy)
    return Sealed((datagram,), header, first, plaintext)


def small(core: Core, sa: IkeSa, message: Sealed) -> Sealed:
    """The same message in fragments that every path carries (RFC 7383 2.5.2)."""
    assert message.header is not None
    return _cut(core, sa, message.header, message.first, message.plaintext, 0)


def policy(core: Core, sa: IkeSa) -> RetransmitPolicy:
    """The retransmission policy of the connection; with MOBIKE the default one of a responder is a patient one."""
    found = sa.config.retransmit if sa.config is not None else core.config.retransmit
    waits = sa.mobility is not None and not sa.mobility.decides
    return PATIENT if waits and found == RetransmitPolicy() else found


def begin(core: Core, sa: IkeSa, request: Request) -> None:
    """Queue a conversation of ours and start it if the window is free."""
    sa.queue.append(request)
    pump(core, sa)


def pump(core: Core, sa: IkeSa) -> None:
    """Start the next queued conversation that still has something to say."""
    while sa.outstanding is None and sa.queue and sa.state != IkeState.CLOSED:
        request = sa.queue.popleft()
        payloads = request.build(core, sa)
        if payloads is None:
            continue
        message = seal(core, sa, request.exchange, sa.next_id, payloads, response=False)
        message_id = sa.next_id
        track(core, sa, Outstanding(request.exchange, message_id, message, names(payloads), request))
        story.sent(core, sa, request.exchange, message_id, payloads, response=False)


def track(core: Core, sa: IkeSa, outstanding: Outstanding) -> None:
    """Send a request for the first time and watch over it."""
    sa.outstanding = outstanding
    sa.next_id = outstanding.message_id + 1
    _renew(core, sa, sa.next_id)
    _transmit(core, sa, outstanding)


def _renew(core: Core, sa: IkeSa, message_id: int) -> None:
    if message_id == REKEY_AT_ID:
        core.timers.set(sa.serial, Timer.REKEY, core.now)


def send_again(core: Core, sa: IkeSa) -> None:
    """The path has changed: what is unanswered begins anew there, or what waits begins (RFC 4555 3.5)."""
    if sa.outstanding is None:
        pump(core, sa)
        return
    sa.outstanding.attempts, sa.outstanding.before = 1, 0
    _transmit(core, sa, sa.outstanding)


def retransmit(core: Core, sa: IkeSa) -> bool:
    """Send the outstanding request once more; False when all attempts are used up.

    Without any path to the peer attempts do not count: the next one is for when there is one.
    """
    outstanding = sa.outstanding
    if outstanding is None:
        return True
    if sa.mobility is not None and sa.mobility.stranded:
        core.timers.set(sa.serial, Timer.RETRANSMIT, core.now + policy(core, sa).max_s)
        return True
    if outstanding.attempts - outstanding.before > policy(core, sa).tries:
        return False
    outstanding.attempts += 1
    if outstanding.shrink is not None:
        outstanding.message, outstanding.probe = outstanding.shrink(core, sa, outstanding), None
    elif outstanding.attempts == SMALLER_AT:
        smaller = _smaller(core, sa, outstanding.message)
        if smaller is not outstanding.message:  # a new probe of the path: timers start over (RFC 7383 2.5.2)
            outstanding.message, outstanding.before = smaller, outstanding.attempts - 1
    _transmit(core, sa, outstanding)
    return True


def _transmit(core: Core, sa: IkeSa, outstanding: Outstanding) -> None:
    send_all(core, sa.local, sa.remote, outstanding.message, outstanding.probe)
    if sa.mobility is not None:
        for path in sa.mobility.detours(sa.local, sa.remote, outstanding.attempts):
            send_all(core, *path, outstanding.message)
    rules = policy(core, sa)
    wait = min(rules.max_s, rules.first_s * rules.factor ** (outstanding.attempts - outstanding.before - 1))
    if outstanding.attempts <= outstanding.before:
        wait = outstanding.patience_s or wait
    outstanding.sent_at = core.now
    core.timers.set(sa.serial, Timer.RETRANSMIT, core.now + wait)
    core.emit(
        MessageSent(
            connection=sa.connection,
            ike=sa.name,
            exchange=outstanding.exchange,
            response=False,
            message_id=outstanding.message_id,
            payloads=outstanding.payload_names,
            remote=sa.remote,
            size=outstanding.message.size,
            attempt=outstanding.attempts,
            fragments=len(outstanding.message.datagrams),
        )
    )


def answered(core: Core, sa: IkeSa) -> Request | None:
    """The outstanding request has its answer: free the window, hand the conversation back."""
    outstanding, sa.outstanding = sa.outstanding, None
    core.timers.cancel(sa.serial, Timer.RETRANSMIT)
    if outstanding is None:
        return None
    took = core.now - outstanding.sent_at
    if outstanding.attempts == 1 and outstanding.exchange == ExchangeType.INFORMATIONAL:
        sa.rtt.took(took)  # the other exchanges tell more of the peer's arithmetic than of the path
    if sa.probing is not None and sa.probing.message_id == outstanding.message_id:
        sa.probing.copies, sa.probing.took_s = outstanding.attempts, took
    return outstanding.request


def respond(core: Core, sa: IkeSa, exchange: ExchangeType, payloads: Sequence[Payload]) -> None:
    """Answer the request whose id is ``expected_id`` and move on to the next id."""
    message = seal(core, sa, exchange, sa.expected_id, payloads, response=True)
    sent(core, sa, exchange, message, payloads)


def sent(core: Core, sa: IkeSa, exchange: ExchangeType, message: Sealed, payloads: Sequence[Payload]) -> None:
    """Send and remember an answer."""
    sa.last_response, sa.repeats = message, 0
    sa.answering = False
    message_id, sa.expected_id = sa.expected_id, sa.expected_id + 1
    _renew(core, sa, sa.expected_id)
    local, remote = sa.asked_from or (sa.local, sa.remote)
    send_all(core, local, remote, message)
    core.emit(
        MessageSent(
            connection=sa.connection,
            ike=sa.name,
            exchange=exchange,
            response=True,
            message_id=message_id,
            payloads=names(payloads),
            remote=remote,
            size=message.size,
            fragments=len(message.datagrams),
        )
    )
    story.sent(core, sa, exchange, message_id, payloads, response=True)


def repeat_response(core: Core, sa: IkeSa, local: Endpoint, remote: Endpoint) -> None:
    """The peer has not got our answer: send the same bytes again."""
    if sa.last_response is None:
        return
    sa.repeats += 1
    if sa.repeats == SMALLER_AT - 1:
        sa.last_response = _smaller(core, sa, sa.last_response)
    send_all(core, local, remote, sa.last_response)
