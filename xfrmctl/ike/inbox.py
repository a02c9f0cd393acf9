"""What has come from the network: to which IKE SA it belongs, whether it is authentic, who deals with it.

Order of the checks (RFC 7296 2.21.4, 2.3): SPIs, message id, integrity, payloads. Nothing of a message is believed
before its integrity has been checked, and whatever fails is dropped with a reason.
"""

from xfrmctl.crypto.protect import IntegrityError
from xfrmctl.ike import failures, lifecycle, moving, qcd, story, unsolicited
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import child_request, ike_auth, ike_sa_init, mobike, moved, probe, rekey_ike
from xfrmctl.ike.fragments import MIN_SIZE, REASSEMBLY_S, Whole, packet_size
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.timers import Timer
from xfrmctl.ike.transport import answered, names, pump, repeat_response, respond
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import MessageReceived
from xfrmctl.model.iana import ExchangeType, ProtocolId
from xfrmctl.wire import cardinality
from xfrmctl.wire.errors import InvalidMajorVersion, UnsupportedCritical, WireError
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import Fragment, Message, decode_payloads, parse
from xfrmctl.wire.natt import KEEPALIVE, unframe
from xfrmctl.wire.payloads import Delete, Notify, Payload

HANDLERS = {
    ExchangeType.IKE_AUTH: ike_auth.on_request,
    ExchangeType.CREATE_CHILD_SA: child_request.on_request,
    ExchangeType.INFORMATIONAL: moved.on_request,
}


def receive(core: Core, local: Endpoint, remote: Endpoint, data: bytes) -> None:
    """Take one UDP payload."""
    message: bytes | None = data
    if local.port == core.config.nat_t_port:
        message = unframe(data)
        if message is None:
            if data != KEEPALIVE:
                core.drop(remote, "esp_in_user_space")
            return
    assert message is not None
    try:
        parsed = parse(message)
    except InvalidMajorVersion as error:
        core.drop(remote, error.reason, str(error))
        unsolicited.unknown_version(core, local, remote, error.header, len(message))
        return
    except WireError as error:
        core.drop(remote, error.reason, str(error))
        if isinstance(error, UnsupportedCritical):
            unsolicited.unsupported_critical(core, local, remote, Header.parse(message), error.payload_type)
        return
    _route(core, local, remote, parsed, message)


def _route(core: Core, local: Endpoint, remote: Endpoint, message: Message, data: bytes) -> None:
    """Hand a parsed message to the IKE SA it belongs to, or account for why it belongs to none."""
    header = message.header
    if header.exchange == ExchangeType.IKE_SA_INIT:
        _route_init(core, local, remote, message, data)
        return
    sa = core.by_spi.get(header.spi_r if header.is_initiator else header.spi_i)
    if sa is None or sa.initiator == header.is_initiator:
        core.drop(remote, "unknown_spi")
        if sa is None and message.sk is not None:
            unsolicited.unknown_spi(core, local, remote, header, len(data))
        return
    same = (header.spi_i, header.spi_r) == (sa.spi_i, sa.spi_r)
    if same and message.sk is None and header.is_response and qcd.presented(core, sa, message):
        return
    if not same or message.sk is None:
        core.drop(remote, "unprotected" if message.sk is None else "unknown_spi")
        return
    if header.is_response:
        outstanding = sa.outstanding
        if outstanding is None or header.message_id != outstanding.message_id:
            if probe.awaits_another(sa, header.message_id) and _authentic(sa, message, data) is not None:
                probe.another_answer(core, sa)
            else:
                core.drop(remote, "unexpected_response")
            return
    elif header.message_id != sa.expected_id:
        if header.message_id == sa.expected_id - 1 and _repeats(sa, message, data):
            repeat_response(core, sa, local, remote)
        else:
            core.drop(remote, "message_id")
        return
    elif sa.answering:
        core.drop(remote, "in_progress")
        return
    fragment = message.sk.fragment
    refusal = _fragment_refusal(core, sa, header, fragment) if fragment is not None else None
    if refusal is not None:
        core.drop(remote, refusal)
        return
    plaintext = _authentic(sa, message, data)
    if plaintext is None:
        core.drop(remote, "integrity")
    elif fragment is not None:
        _fragment(core, sa, local, remote, header, fragment, message.sk.first, plaintext)
    else:
        core.reassembly.forget(sa.serial, header.is_response)
        _protected(core, sa, local, remote, header, Whole(message.sk.first, plaintext, len(data), 1))


def _route_init(core: Core, local: Endpoint, remote: Endpoint, message: Message, data: bytes) -> None:
    header = message.header
    try:
        cardinality.check(header.exchange, header.is_response, message.payloads)
    except WireError as error:
        core.drop(remote, error.reason, str(error))
        return
    if header.message_id != 0 or message.sk is not None or header.is_response == header.is_initiator:
        core.drop(remote, "malformed_init")
    elif not header.is_response:
        if any(header.spi_r) or not any(header.spi_i):
            core.drop(remote, "malformed_init")
        else:
            ike_sa_init.on_request(core, local, remote, message, data)
    else:
        sa = core.by_spi.get(header.spi_i)
        if sa is None or not sa.initiator or sa.remote != remote:
            core.drop(remote, "unknown_spi")
        else:
            ike_sa_init.on_response(core, sa, message, data)


def _authentic(sa: IkeSa, message: Message, data: bytes) -> bytes | None:
    if sa.protect_in is None or message.sk is None:
        return None
    try:
        return sa.protect_in.open(data, message.sk.offset)
    except IntegrityError:
        return None


def _repeats(sa: IkeSa, message: Message, data: bytes) -> bool:
    """Whether the request is the one that we have answered last; of its fragments the first counts (RFC 7383 2.6.1)."""
    if message.sk is not None and message.sk.fragment is not None and message.sk.fragment.number != 1:
        return False
    return _authentic(sa, message, data) is not None


def _fragment_refusal(core: Core, sa: IkeSa, header: Header, fragment: Fragment) -> str | None:
    if not sa.fragment_size:
        return "unexpected_fragment"
    return core.reassembly.refusal(sa.serial, header, fragment)


def _fragment(
    core: Core,
    sa: IkeSa,
    local: Endpoint,
    remote: Endpoint,
    header: Header,
    fragment: Fragment,
    first: int,
    plaintext: bytes,
) -> None:
    """An authentic fragment: keep it, and go on when it was the last one missing."""
    whole = core.reassembly.add(sa.serial, header, fragment, first, plaintext)
    for serial in core.reassembly.evict():
        core.drop(core.sas[serial].remote, "fragments_evicted")
    if isinstance(whole, str):
        core.drop(remote, whole)
        return
    if fragment.number < fragment.total:
        learned = packet_size(local, header.length, core.config.nat_t_port)
        sa.fragment_size = min(sa.fragment_size, max(learned, MIN_SIZE[remote.address.version]))
    if whole is not None:
        _protected(core, sa, local, remote, header, whole)
    else:
        core.timers.set(sa.serial, Timer.REASSEMBLY, core.now + REASSEMBLY_S)


def _protected(core: Core, sa: IkeSa, local: Endpoint, remote: Endpoint, header: Header, whole: Whole) -> None:
    """An authentic message: everything from here on is the peer's own doing."""
    if not header.is_response and sa.established_at is None and not _may_authenticate(sa, header):
        core.drop(remote, "unexpected_exchange", header.exchange.name)
        return
    sa.last_seen = core.now
    if not header.is_response:
        sa.asked_from = (local, remote)
        if remote != sa.remote and sa.mobility is None:
            moving.follow(core, sa, local, remote)
    if sa.established_at is not None and sa.config is not None and sa.config.dpd_s is not None:
        core.timers.set(sa.serial, Timer.LIVENESS, core.now + sa.config.dpd_s)
    try:
        payloads = decode_payloads(whole.first, whole.plaintext)
        cardinality.check(header.exchange, header.is_response, payloads)
    except WireError as error:
        _malformed(core, sa, header, error)
        return
    core.emit(
        MessageReceived(
            connection=sa.connection,
            ike=sa.name,
            exchange=header.exchange,
            response=header.is_response,
            message_id=header.message_id,
            payloads=names(payloads),
            remote=remote,
            size=whole.size,
            fragments=whole.fragments,
        )
    )
    story.heard(core, sa, header.exchange, header.message_id, payloads, response=header.is_response)
    if header.is_response:
        _response(core, sa, (local, remote), header, payloads)
    else:
        _request(core, sa, header, payloads)


def _may_authenticate(sa: IkeSa, header: Header) -> bool:
    """The one request that comes before the peer has proved itself (RFC 7296 1.4)."""
    return header.exchange == ExchangeType.IKE_AUTH and sa.state == IkeState.INIT_ANSWERED


def _response(
    core: Core, sa: IkeSa, path: tuple[Endpoint, Endpoint], header: Header, payloads: tuple[Payload, ...]
) -> None:
    if sa.outstanding is None or header.exchange != sa.outstanding.exchange:
        core.drop(sa.remote, "unexpected_response", header.exchange.name)
        return
    detour = sa.mobility is not None and path in sa.mobility.detours(sa.local, sa.remote, sa.outstanding.attempts)
    request = answered(core, sa)
    if detour:
        mobike.take_detour(core, sa, path)
    if request is not None:
        request.on_response(core, sa, payloads)
    pump(core, sa)


def _request(core: Core, sa: IkeSa, header: Header, payloads: tuple[Payload, ...]) -> None:
    if header.exchange == ExchangeType.IKE_AUTH and sa.established_at is not None:
        _malformed(core, sa, header, WireError("bad_exchange", header.exchange.name))
        return
    sa.answering = True
    if sa.rival is not None and any(isinstance(p, Delete) and p.protocol == ProtocolId.IKE for p in payloads):
        rekey_ike.concede(core, sa, sa.rival)
    HANDLERS[header.exchange](core, sa, payloads)


def _malformed(core: Core, sa: IkeSa, header: Header, error: WireError) -> None:
    """An authentic message that cannot be read (RFC 7296 2.21.2, 2.21.3): INVALID_SYNTAX ends the IKE SA.

    An unknown critical payload in a request leaves it as it is, unless it was still to be made.
    """
    core.drop(sa.remote, error.reason, str(error))
    if not header.is_response:
        critical = isinstance(error, UnsupportedCritical)
        data = bytes([error.payload_type]) if isinstance(error, UnsupportedCritical) else b""
        respond(core, sa, header.exchange, [Notify(error.notify, data)])
        if critical and sa.established_at is not None:
            return
    failure = failures.invalid_syntax(str(error))
    initiator = sa.initiator and sa.established_at is None
    lifecycle.close(core, sa, failure)
    lifecycle.failed(core, sa, failure, initiator=initiator)
