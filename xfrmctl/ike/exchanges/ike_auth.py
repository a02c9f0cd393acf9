"""IKE_AUTH (RFC 7296 1.2) and the first CHILD SA; the proofs themselves are made and judged in ``authentication``.

    HDR, SK { IDi, [N(INITIAL_CONTACT)], [CERTREQ], [IDr], [CERT+], AUTH, SAi2, TSi, TSr }  -->
                                     <--  HDR, SK { IDr, [CERT+], AUTH, SAr2, TSi, TSr }

A child that cannot be made does not end the IKE SA: the answer then carries the error Notify in place of
SAr2, TSi, TSr (1.2). With RFC 6023 there is none in either message, and CREATE_CHILD_SA makes the first one. The
responder answers when the kernel has taken the SAs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from xfrmctl.crypto.certificate import same_identity
from xfrmctl.crypto.revocation import Undecided
from xfrmctl.ike import authentication, certificate_failures, failures, lifecycle, mode, qcd, story, unique
from xfrmctl.ike.authentication import PeerProof
from xfrmctl.ike.child import Answered, Refused, build, judge, offer, refusal_notify, through_nat
from xfrmctl.ike.config import ChildConfig, Childless, ConnectionConfig
from xfrmctl.ike.connection import UNASKED, Acquired
from xfrmctl.ike.core import Core
from xfrmctl.ike.exchanges import mobike
from xfrmctl.ike.exchanges.create_child_sa import InstallOurs, child_answer
from xfrmctl.ike.exchanges.informational import Say, delete_ike
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import IkeState
from xfrmctl.ike.transport import begin, respond
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.events import IkeSaEstablished
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import AuthMethod, ExchangeType, NotifyType, PayloadType
from xfrmctl.wire.message import error_of, first_of, notify_of
from xfrmctl.wire.payloads import Auth, Id, Notify, Payload, Sa

# -- both


def _id(payloads: Sequence[Payload], kind: PayloadType) -> Id | None:
    return next((p for p in payloads if isinstance(p, Id) and p.kind == kind), None)


def _established(core: Core, sa: IkeSa) -> None:
    """Both ends have proved who they are: start the watch over the peer."""
    assert sa.config is not None
    assert sa.suite is not None
    assert sa.local_id is not None
    assert sa.remote_id is not None
    sa.move(IkeState.ESTABLISHED)
    sa.established_at = sa.authenticated_at = sa.last_seen = core.now
    sa.init_request = sa.init_response = b""
    lifecycle.watch(core, sa)
    core.emit(
        IkeSaEstablished(
            connection=sa.connection,
            ike=sa.name,
            initiator=sa.initiator,
            local=sa.local,
            remote=sa.remote,
            local_id=sa.local_id,
            remote_id=sa.remote_id,
            suite=sa.suite,
            nat_local=sa.nat_local,
            nat_remote=sa.nat_remote,
            handshake_s=core.now - sa.created_at,
        )
    )
    mobike.established(core, sa)
    unique.crossed(core, sa)
    lifecycle.kick(core, sa.connection)


# -- initiator


@dataclass(slots=True)
class IkeAuth:
    """Our side of the exchange. The child, if any, is chosen when the request is built: the first that is wanted."""

    exchange: ExchangeType = ExchangeType.IKE_AUTH
    child: ChildConfig | None = None
    spi: int = 0
    acquired: Acquired = UNASKED
    identity: Id | None = field(default=None, repr=False)

    def build(self, core: Core, sa: IkeSa) -> list[Payload] | None:
        """IDi, IDr, AUTH and the first child."""
        assert sa.config is not None
        config, connection = sa.config, core.connections.get(sa.connection)
        demanded = connection.demanded if connection else []
        if config.childless != Childless.FORCE:
            self.child = next((c for c in config.children if c.name in demanded), config.children[0])
            self.acquired = connection.acquires.get(self.child.name, UNASKED) if connection else UNASKED
            failure = through_nat(sa, self.child)
            if failure is not None:
                _fail(core, sa, failure)
                return None
            self.spi = core.new_child_spi()
        self.identity = Id(PayloadType.IDI, config.local_id)
        sa.local_id = config.local_id
        payloads: list[Payload] = [self.identity]
        if not any(o.established_at is not None for o in core.of_connection(sa.connection)):
            payloads.append(Notify(NotifyType.INITIAL_CONTACT))
        payloads += authentication.request_certificates([config])
        if config.remote_id is not None:
            payloads.append(Id(PayloadType.IDR, config.remote_id))
        proof = authentication.prove(sa, config, self.identity, of_initiator=True)
        if isinstance(proof, Failure):
            _fail(core, sa, proof)
            return None
        payloads += proof
        if self.child is not None:
            wish = offer(self.child, self.spi, self.acquired.packet, with_ke=False)
            payloads += [*mode.notices(self.child.mode), *wish]
        payloads += qcd.notices(core, sa.spi_i, sa.spi_r)
        return [*payloads, mobike.SUPPORTED] if mobike.offers(core, sa, config) else payloads

    def on_response(self, core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
        """Verify the responder, then take up the child."""
        assert sa.config is not None
        identity, auth = _id(payloads, PayloadType.IDR), first_of(payloads, Auth)
        error = error_of(payloads)
        if identity is None or auth is None:
            _fail(core, sa, _refusal(sa, error))
            return
        proof = PeerProof.of(identity, auth, payloads, of_initiator=False)
        failure = proof.judge(sa, sa.config, core.wall(), core.fetching.evidence, core.now)
        if isinstance(failure, Undecided):
            core.fetching.want(core, sa, failure.sources, partial(self.on_response, core, sa, payloads))
            return
        sa.answering = False
        if failure is not None:
            begin(core, sa, Say([Notify(NotifyType.AUTHENTICATION_FAILED)], then_close=failure))
            sa.move(IkeState.DELETING)
            lifecycle.failed(core, sa, failure, initiator=True)
            return
        sa.remote_id, sa.remote_proof = proof.who, proof.how
        story.decided(core, sa, lambda: f"the peer is {proof.who}, which we want, and proves it: {proof.how}")
        qcd.learn(sa, payloads)
        if mobike.offers(core, sa, sa.config) and notify_of(payloads, NotifyType.MOBIKE_SUPPORTED) is not None:
            mobike.agree(core, sa, payloads)
        core.peers.join(sa)
        _established(core, sa)
        if error is not None and not error.type.is_known:  # the whole request has failed (RFC 7296 3.10.1)
            failure = failures.refused_by_peer(error.type)
            delete_ike(core, sa, failure)
            lifecycle.failed(core, sa, failure, initiator=True)
        elif self.child is not None:
            step = InstallOurs(self.child, self.spi, (sa.nonce_i, sa.nonce_r), None, self.acquired.seq)
            child_answer(core, sa, step, payloads)


def _refusal(sa: IkeSa, error: Notify | None) -> Failure:
    assert sa.config is not None
    if error is None:
        return failures.invalid_syntax("IKE_AUTH answer without IDr and AUTH")
    if error.type == NotifyType.AUTHENTICATION_FAILED and sa.config.credential is not None:
        expected = str(sa.config.remote_id or sa.config.remote_pattern or "")
        return certificate_failures.peer_rejected(sa.config.local_id, expected, sa.config.credential)
    if error.type == NotifyType.AUTHENTICATION_FAILED:
        return failures.peer_rejected_auth(sa.config.local_id, sa.config.remote_id)
    return failures.refused_by_peer(error.type)


def _fail(core: Core, sa: IkeSa, failure: Failure) -> None:
    core.close(sa, failure)
    lifecycle.failed(core, sa, failure, initiator=sa.initiator)


# -- responder


def on_request(core: Core, sa: IkeSa, payloads: tuple[Payload, ...]) -> None:
    """Verify the initiator, judge the child, install it, answer."""
    identity, wanted = _id(payloads, PayloadType.IDI), _id(payloads, PayloadType.IDR)
    auth = first_of(payloads, Auth)
    if identity is None or auth is None:
        _reject(core, sa, failures.wrong_method(AuthMethod(0), sa.connection or "?"))
        return
    proof = PeerProof.of(identity, auth, payloads, of_initiator=True)
    outcome = _identify(core, sa, wanted, proof)
    if isinstance(outcome, Undecided):
        core.fetching.want(core, sa, outcome.sources, partial(on_request, core, sa, payloads))
        return
    if isinstance(outcome, Failure):
        _reject(core, sa, outcome)
        return
    sa.config, sa.candidates = outcome, ()
    story.decided(core, sa, lambda: f"the peer is {proof.who}, proved by {proof.how}: this is {outcome.name}")
    if outcome.credential is not None:
        authentication.learn_wishes(sa, payloads)
    mine = Id(PayloadType.IDR, outcome.local_id)
    ours = authentication.prove(sa, outcome, mine, of_initiator=False, like=proof.how, peer=identity.identity)
    if isinstance(ours, Failure):
        _reject(core, sa, ours)
        return
    sa.local_id, sa.remote_id, sa.remote_proof = outcome.local_id, proof.who, proof.how
    duplicate = unique.admit(core, sa, afresh=notify_of(payloads, NotifyType.INITIAL_CONTACT) is not None)
    if duplicate is not None:
        _reject(core, sa, duplicate)
        return
    core.no_longer_half_open(sa)
    core.attach(sa)
    core.peers.join(sa)
    qcd.learn(sa, payloads)
    answer: list[Payload] = [mine, *ours, *qcd.notices(core, sa.spi_i, sa.spi_r)]
    if mobike.offers(core, sa, outcome) and notify_of(payloads, NotifyType.MOBIKE_SUPPORTED) is not None:
        mobike.agree(core, sa, payloads)
        answer.append(mobike.SUPPORTED)
    if first_of(payloads, Sa) is None and outcome.childless != Childless.NEVER:
        respond(core, sa, ExchangeType.IKE_AUTH, answer)
        _established(core, sa)
        return
    verdict: Answered | Refused = Refused(NotifyType.NO_ADDITIONAL_SAS, failures.childless_wanted())
    if outcome.childless != Childless.FORCE:
        verdict = judge(core, sa, payloads, with_ke=False)
    if isinstance(verdict, Refused):
        respond(core, sa, ExchangeType.IKE_AUTH, [*answer, Notify(verdict.notify, verdict.data)])
        _established(core, sa)
        lifecycle.failed(core, sa, verdict.failure, initiator=False)
        return
    sa.move(IkeState.AUTH_RECEIVED)
    story.agreed(core, sa, verdict.narrowed, verdict.choice.suite, verdict.mode)
    child, pair = build(
        core,
        sa,
        verdict.narrowed.child,
        verdict.choice,
        (verdict.narrowed.local_ts, verdict.narrowed.remote_ts),
        verdict.spi,
        (sa.nonce_i, sa.nonce_r),
        mode=verdict.mode,
        initiator=False,
    )
    core.add_child(sa, child)
    core.install(child, AnswerAuth(child, verdict, answer), pair)


@dataclass(slots=True)
class AnswerAuth:
    """The kernel holds the first child, or not: now IKE_AUTH can be answered."""

    child: ChildSa
    verdict: Answered
    payloads: list[Payload]

    def done(self, core: Core, sa: IkeSa, refusal: KernelRefusal | None) -> None:
        """Answer, and only then call the IKE SA established."""
        if refusal is None:
            child = [*mode.notices(self.verdict.mode), *self.verdict.payloads()]
            respond(core, sa, ExchangeType.IKE_AUTH, self.payloads + child)
            _established(core, sa)
            core.child_installed(sa, self.child)
            return
        failure = failures.kernel_refused(refusal)
        core.remove_child(sa, self.child, failure)
        respond(core, sa, ExchangeType.IKE_AUTH, [*self.payloads, refusal_notify(refusal)])
        _established(core, sa)
        lifecycle.failed(core, sa, failure, child=self.child.config.name, initiator=False)


def _identify(core: Core, sa: IkeSa, wanted: Id | None, proof: PeerProof) -> ConnectionConfig | Failure | Undecided:
    """The candidate that the identities and the key point at (RFC 7296 2.15: the key goes with the identity)."""
    candidates = [core.config.connections.get(c.name, c) for c in sa.candidates]
    if wanted is not None:
        named = [c for c in candidates if same_identity(c.local_id, wanted.identity)]
        if not named:
            return failures.identity_mismatch([c.local_id for c in candidates], wanted.identity, whose="local")
        candidates = named
    outcome: Failure | None = None
    wall = core.wall()
    for config in sorted(candidates, key=_vagueness):
        failure = proof.judge(sa, config, wall, core.fetching.evidence, core.now)
        if failure is None:
            return config
        if isinstance(failure, Undecided):
            return failure
        story.decided(core, sa, partial("it is not {}: {}".format, config.name, failure.text))
        if outcome is None or outcome.code == FailureCode.IDENTITY_MISMATCH:
            outcome = failure
            sa.config = config
    return outcome or failures.unknown_peer(sa.remote, sa.local)


def _vagueness(config: ConnectionConfig) -> int:
    """Connections for one peer come before those for some, and these before those for any."""
    return 0 if config.remote_id is not None else 1 if config.remote_pattern is not None else 2


def _reject(core: Core, sa: IkeSa, failure: Failure) -> None:
    """Say AUTHENTICATION_FAILED, nothing more (RFC 7296 2.21.2), and forget the IKE SA."""
    respond(core, sa, ExchangeType.IKE_AUTH, [Notify(NotifyType.AUTHENTICATION_FAILED)])
    core.close(sa, failure)
    lifecycle.failed(core, sa, failure, initiator=False)
