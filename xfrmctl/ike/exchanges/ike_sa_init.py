"""IKE_SA_INIT (RFC 7296 1.2): keys and nonces in the open, cookies (2.6), INVALID_KE_PAYLOAD, NAT detection (2.23).

    HDR, [N(COOKIE)], SAi1, KEi, Ni, N(NAT_DETECTION_*)  -->
                     <--  HDR, SAr1, KEr, Nr, N(NAT_DETECTION_*)

Nothing here is authenticated yet: an answer that makes no sense is dropped and the request goes on being
retransmitted (2.21.1), and a responder keeps as little as it can.
"""

from collections.abc import Sequence
from dataclasses import replace

from xfrmctl.crypto import kex
from xfrmctl.crypto.keys import derive_ike_keys
from xfrmctl.crypto.protect import Protection
from xfrmctl.ike import authentication, failures, halfopen, lifecycle, natd, story
from xfrmctl.ike.config import Childless, ConnectionConfig
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import mobike
from xfrmctl.ike.exchanges.ike_auth import IkeAuth
from xfrmctl.ike.negotiate import Choice, accepted, choose
from xfrmctl.ike.sa import IkeSa, Outstanding, Sealed
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.transport import answered, begin, names, send, track
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import CookieDemanded, MessageReceived, MessageSent, NegotiationFailed
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import ExchangeType, KeGroup, NotifyType, PayloadType, TransformType
from xfrmctl.model.suite import Proposal, Suite
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import Message, encode, error_of, first_of, notify_of
from xfrmctl.wire.payloads import KeyExchange, Nonce, Notify, Payload, Sa

FRAGMENTATION = Notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
"""Both sides say it, the responder only if the initiator has (RFC 7383 2.3)."""

CHILDLESS = Notify(NotifyType.CHILDLESS_IKEV2_SUPPORTED)
"""Only the responder says it (RFC 6023 3)."""

MAX_RESTARTS = 5
"""Cookie demands and INVALID_KE_PAYLOAD answers that one attempt follows."""


# -- initiator


def start(core: Core, config: ConnectionConfig) -> IkeSa:
    """Begin an IKE SA with the connection's peer."""
    assert config.local is not None
    assert config.remote is not None
    sa = IkeSa(
        serial=core.next_serial(),
        initiator=True,
        spi_i=core.new_spi(),
        local=Endpoint(config.local, core.config.ike_port),
        remote=Endpoint(config.remote, core.config.ike_port),
        created_at=core.now,
        state=IkeState.INIT_SENT,
        config=config,
    )
    sa.nonce_i = core.new_nonce()
    sa.noise = core.entropy(natd.HASH_LEN) if config.force_encap else b""
    sa.ke = kex.generate(KeGroup(config.ike[0].of(TransformType.KE)[0].id), core.entropy)
    core.add(sa)
    core.attach(sa)
    _request(core, sa)
    return sa


def _request(core: Core, sa: IkeSa) -> None:
    assert sa.config is not None
    assert sa.ke is not None
    payloads: list[Payload] = []
    if sa.cookie:
        payloads.append(Notify(NotifyType.COOKIE, sa.cookie))
    numbered = tuple(replace(p, number=n) for n, p in enumerate(sa.config.ike, 1))
    payloads += [
        Sa(numbered),
        KeyExchange(sa.ke.group, sa.ke.public),
        Nonce(sa.nonce_i),
        *natd.notifies(sa.spi_i, bytes(8), sa.local, sa.remote, sa.noise),
    ]
    if sa.config.fragment_size:
        payloads.append(FRAGMENTATION)
    if authentication.signs(sa.config):
        payloads.append(authentication.announcement())
    header = Header(sa.spi_i, bytes(8), PayloadType.NONE, ExchangeType.IKE_SA_INIT, True, False, 0, 0)
    sa.init_request = encode(header, payloads)
    track(core, sa, Outstanding(ExchangeType.IKE_SA_INIT, 0, Sealed((sa.init_request,)), names(payloads), None))
    story.sent(core, sa, ExchangeType.IKE_SA_INIT, 0, payloads, response=False)


def on_response(core: Core, sa: IkeSa, message: Message, data: bytes) -> None:
    """The peer's answer: keys, or a demand to begin again."""
    config, payloads = sa.config, message.payloads
    if sa.state != IkeState.INIT_SENT or config is None or sa.ke is None:
        core.drop(sa.remote, "unexpected_response")
        return
    core.emit(_received(sa, message, len(data)))
    story.heard(core, sa, ExchangeType.IKE_SA_INIT, 0, payloads, response=True)
    for notify in payloads:
        if isinstance(notify, Notify) and _again(core, sa, notify):
            return
    error = error_of(payloads)
    if error is not None:
        refused = error.type == NotifyType.NO_PROPOSAL_CHOSEN
        _give_up(
            core,
            sa,
            failures.peer_refused_proposal("IKE", config.ike) if refused else failures.refused_by_peer(error.type),
        )
        return
    offer, ke, nonce = first_of(payloads, Sa), first_of(payloads, KeyExchange), first_of(payloads, Nonce)
    if offer is None or ke is None or nonce is None:
        core.drop(sa.remote, "missing_payload", "IKE_SA_INIT answer")
        return
    choice = accepted(config.ike, offer.proposals)
    if choice is None or choice.suite.ke != ke.group or ke.group != sa.ke.group:
        _give_up(core, sa, failures.bad_answer("IKE", config.ike, offer.proposals))
        return
    try:
        shared = sa.ke.shared(ke.data)
    except kex.KeyExchangeError as error_:
        _give_up(core, sa, failures.invalid_ke(str(error_)))
        return
    if config.childless == Childless.FORCE and notify_of(payloads, NotifyType.CHILDLESS_IKEV2_SUPPORTED) is None:
        _give_up(core, sa, failures.not_childless())
        return
    answered(core, sa)
    sa.spi_r = message.header.spi_r
    sa.nonce_r = nonce.data
    sa.init_response = data
    if authentication.signs(config):
        authentication.learn(sa, payloads)
    if notify_of(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) is not None:
        sa.fragment_size = config.fragment_size or 0
    _key(sa, choice.suite, shared)
    story.decided(core, sa, lambda: f"the peer has chosen {choice.suite} from our proposals")
    _float(core, sa, payloads)
    sa.last_seen = core.now
    sa.move(IkeState.AUTH_SENT)
    begin(core, sa, IkeAuth())


def _again(core: Core, sa: IkeSa, notify: Notify) -> bool:
    """COOKIE or INVALID_KE_PAYLOAD: send the request again as the peer wants it."""
    assert sa.config is not None
    if notify.type not in (NotifyType.COOKIE, NotifyType.INVALID_KE_PAYLOAD):
        return False
    sa.init_retries += 1
    if sa.init_retries > MAX_RESTARTS:
        core.drop(sa.remote, "too_many_restarts", notify.type.name)
        return True
    if notify.type == NotifyType.COOKIE:
        if not 1 <= len(notify.data) <= 64:
            core.drop(sa.remote, "bad_cookie")
            return True
        sa.cookie = notify.data
        story.decided(core, sa, lambda: "the peer has many strangers and wants a cookie back: the same again with it")
    else:
        group = KeGroup(int.from_bytes(notify.data, "big")) if len(notify.data) == 2 else KeGroup.NONE
        offered = {t.id for p in sa.config.ike for t in p.of(TransformType.KE)}
        if group not in offered:
            _give_up(
                core,
                sa,
                failures.invalid_ke(f"the peer wants key exchange {group.name}, which we do not offer"),
            )
            return True
        story.decided(core, sa, lambda: f"the peer wants key exchange {group.name}, which we offer: again with it")
        sa.ke = kex.generate(group, core.entropy)
    _request(core, sa)
    return True


def _give_up(core: Core, sa: IkeSa, failure: Failure) -> None:
    core.close(sa, failure)
    lifecycle.failed(core, sa, failure, initiator=True)


def _float(core: Core, sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Move to the NAT traversal port when there is a NAT (RFC 7296 2.23), or may be one later (RFC 4555 3.3)."""
    assert sa.config is not None
    found = natd.detect(payloads, sa.spi_i, sa.spi_r, sa.local, sa.remote)
    if found is None:
        return
    sa.nat_local, sa.nat_remote = found[0] or sa.config.force_encap, found[1]
    story.decided(core, sa, lambda: story.nat(*found, forced=sa.noise != b""))
    if sa.nat_local or sa.nat_remote or mobike.wanted(sa.config):
        sa.local = Endpoint(sa.local.address, core.config.nat_t_port)
        sa.remote = Endpoint(sa.remote.address, core.config.nat_t_port)


# -- responder


def on_request(core: Core, local: Endpoint, remote: Endpoint, message: Message, data: bytes) -> None:
    """A peer wants an IKE SA: agree on a suite, or say why not."""
    spi_i, payloads = message.header.spi_i, message.payloads
    known = core.by_init.get((spi_i, remote))
    if known is not None:
        if known.init_request == data:
            send(core, local, remote, known.init_response)
        else:
            core.drop(remote, "init_changed")
        return
    offer, ke, nonce = first_of(payloads, Sa), first_of(payloads, KeyExchange), first_of(payloads, Nonce)
    if offer is None or ke is None or nonce is None:
        core.drop(remote, "missing_payload", "IKE_SA_INIT request")
        return
    verdict = halfopen.admit(core, remote, spi_i, nonce.data, notify_of(payloads, NotifyType.COOKIE))
    if verdict is halfopen.Verdict.DROP:
        core.drop(remote, "half_open_limit")
        return
    if verdict is halfopen.Verdict.DEMAND_COOKIE:
        cookie = core.cookies.make(core.now, nonce.data, remote.address.packed, spi_i)
        core.emit(CookieDemanded(remote=remote))
        _refuse(core, local, remote, spi_i, Notify(NotifyType.COOKIE, cookie))
        return
    _answer(core, local, remote, message, data, offer, ke, nonce)


def _answer(
    core: Core,
    local: Endpoint,
    remote: Endpoint,
    message: Message,
    data: bytes,
    offer: Sa,
    ke: KeyExchange,
    nonce: Nonce,
) -> None:
    spi_i = message.header.spi_i
    candidates = _candidates(core, local, remote)
    if not candidates:
        failure = failures.unknown_peer(remote, local)
        _report(core, remote, "", failure)
        _refuse(core, local, remote, spi_i, Notify(NotifyType.NO_PROPOSAL_CHOSEN))
        return
    choice, fitting = _choose(candidates, offer.proposals, ke.group)
    if choice is None:
        failure = failures.no_proposal("IKE", [p for c in candidates for p in c.ike], offer.proposals)
        _report(core, remote, candidates[0].name if len(candidates) == 1 else "", failure)
        _refuse(core, local, remote, spi_i, Notify(NotifyType.NO_PROPOSAL_CHOSEN))
        return
    assert choice.suite.ke is not None
    if choice.suite.ke != ke.group:
        story.decided_early(
            core,
            (c.name for c in fitting),
            lambda: f"{remote} sends key exchange {ke.group.name}, and {choice.suite} was chosen: it is to come again",
        )
        wanted = int(choice.suite.ke).to_bytes(2, "big")
        _refuse(core, local, remote, spi_i, Notify(NotifyType.INVALID_KE_PAYLOAD, wanted))
        return
    private = kex.generate(ke.group, core.entropy)
    try:
        shared = private.shared(ke.data)
    except kex.KeyExchangeError as error:
        core.drop(remote, "bad_public_value", str(error))
        _refuse(core, local, remote, spi_i, Notify(NotifyType.INVALID_SYNTAX))
        return
    sa = IkeSa(
        serial=core.next_serial(),
        initiator=False,
        spi_i=spi_i,
        spi_r=core.new_spi(),
        local=local,
        remote=remote,
        created_at=core.now,
        state=IkeState.INIT_ANSWERED,
        config=fitting[0] if len(fitting) == 1 else None,
        candidates=fitting,
    )
    sa.init_request, sa.nonce_i, sa.nonce_r = data, nonce.data, core.new_nonce()
    sa.noise = core.entropy(natd.HASH_LEN) if any(c.force_encap for c in fitting) else b""
    found = natd.detect(message.payloads, spi_i, message.header.spi_r, local, remote)
    if found is not None:
        sa.nat_local, sa.nat_remote = found[0] or bool(sa.noise), found[1]
    answer = Proposal(offer.proposals[0].protocol, choice.suite.transforms(), b"", choice.number)
    payloads: list[Payload] = [Sa((answer,)), KeyExchange(ke.group, private.public), Nonce(sa.nonce_r)]
    if found is not None:
        payloads += natd.notifies(spi_i, sa.spi_r, local, remote, sa.noise)
    payloads += _extensions(sa, message.payloads, fitting)
    header = Header(spi_i, sa.spi_r, PayloadType.NONE, ExchangeType.IKE_SA_INIT, False, True, 0, 0)
    sa.init_response = encode(header, payloads)
    sa.last_response = Sealed((sa.init_response,))
    sa.expected_id = 1
    _key(sa, choice.suite, shared)
    sa.last_seen = core.now
    core.add(sa)
    core.emit(_received(sa, message, len(data)))
    story.heard(core, sa, ExchangeType.IKE_SA_INIT, 0, message.payloads, response=False)
    may_be = ", ".join(c.name for c in fitting)
    story.decided(core, sa, lambda: f"by its addresses and algorithms the peer may be: {may_be}")
    story.decided(core, sa, lambda: f"we choose {choice.suite}: the first of ours that the peer offers, too")
    if found is not None:
        story.decided(core, sa, lambda: story.nat(*found, forced=sa.noise != b""))
    send(core, local, remote, sa.init_response)
    core.emit(
        MessageSent(
            connection=sa.connection,
            ike=sa.name,
            exchange=ExchangeType.IKE_SA_INIT,
            response=True,
            message_id=0,
            payloads=names(payloads),
            remote=remote,
            size=len(sa.init_response),
        )
    )
    story.sent(core, sa, ExchangeType.IKE_SA_INIT, 0, payloads, response=True)


def _extensions(sa: IkeSa, offered: Sequence[Payload], fitting: Sequence[ConnectionConfig]) -> list[Payload]:
    """What we can do beyond RFC 7296, of what the peer has offered."""
    payloads: list[Payload] = []
    if notify_of(offered, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) is not None:
        sa.fragment_size = min((c.fragment_size for c in fitting if c.fragment_size), default=0)
    if sa.fragment_size:
        payloads.append(FRAGMENTATION)
    if any(c.childless != Childless.NEVER for c in fitting):
        payloads.append(CHILDLESS)
    if any(authentication.signs(c) for c in fitting):
        authentication.learn(sa, offered)
        payloads += authentication.request_certificates(fitting)
        if sa.peer_hashes is not None:
            payloads.append(authentication.announcement())
    return payloads


def _candidates(core: Core, local: Endpoint, remote: Endpoint) -> tuple[ConnectionConfig, ...]:
    """Connections between these addresses, those that name both first."""
    found = [
        c
        for peer in (remote.address, None)
        for c in core.by_peer.get(peer, ())
        if c.roams or c.local in (None, local.address) or local.address in c.alternates
    ]
    found.sort(key=lambda c: (c.remote is None, c.local is None))
    return tuple(found)


def _choose(
    candidates: Sequence[ConnectionConfig], offered: Sequence[Proposal], present: KeGroup
) -> tuple[Choice | None, tuple[ConnectionConfig, ...]]:
    """The first candidate's choice, and the candidates that could live with it."""
    for candidate in candidates:
        choice = choose(candidate.ike, offered, present)
        if choice is not None and len(candidates) == 1:
            return choice, (candidate,)
        if choice is not None:
            suite = [Proposal(offered[0].protocol, choice.suite.transforms())]
            return choice, tuple(c for c in candidates if choose(c.ike, suite) is not None)
    return None, ()


def _refuse(core: Core, local: Endpoint, remote: Endpoint, spi_i: bytes, notify: Notify) -> None:
    """Answer without keeping anything (RFC 7296 2.6: the responder's SPI stays zero)."""
    header = Header(spi_i, bytes(8), PayloadType.NONE, ExchangeType.IKE_SA_INIT, False, True, 0, 0)
    send(core, local, remote, encode(header, [notify]))


def _report(core: Core, remote: Endpoint, connection: str, failure: Failure) -> None:
    core.emit(
        NegotiationFailed(connection=connection, child="", ike="", remote=remote, initiator=False, failure=failure)
    )
    known = core.connections.get(connection)
    if known is not None:
        known.last_failure, known.failed_at = failure, core.now


# -- both


def _key(sa: IkeSa, suite: Suite, shared: bytes) -> None:
    """Keys of the IKE SA (RFC 7296 2.14); the private value is forgotten."""
    keys = derive_ike_keys(suite, shared, sa.nonce_i, sa.nonce_r, sa.spi_i, sa.spi_r)
    of_initiator = Protection(suite, keys.ei, keys.ai)
    of_responder = Protection(suite, keys.er, keys.ar)
    sa.suite, sa.keys, sa.ke = suite, keys, None
    sa.protect_out, sa.protect_in = (of_initiator, of_responder) if sa.initiator else (of_responder, of_initiator)


def _received(sa: IkeSa, message: Message, size: int) -> MessageReceived:
    return MessageReceived(
        connection=sa.connection,
        ike=sa.name,
        exchange=message.header.exchange,
        response=message.header.is_response,
        message_id=message.header.message_id,
        payloads=names(message.payloads),
        remote=sa.remote,
        size=size,
    )
