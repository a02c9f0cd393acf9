"""Who proves what in IKE_AUTH: shared keys (RFC 7296 2.15), certificates (3.6-3.8, RFC 7427, 4945), raw keys (7670).

Each side proves itself in its own way. We prove ourselves with ``credential`` where there is one, else with the shared
key; of the peer we want a certificate where there is a ``trust``, a signature by one of ``remote_keys`` where there
are some, else knowledge of the shared key.

What the peer has brought is looked at in this order, so that an expensive step is only taken after a cheap one has
passed: identity against configuration, the chain read, the path to a CA of ours, identity against certificate,
signature; only then is anything fetched to see whether a certificate is revoked. One :class:`PeerProof` is held against
all connections that the peer might mean, and does each step once.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xfrmctl.crypto import ocsp, signature
from xfrmctl.crypto.auth import psk_auth, psk_verify, signed_octets
from xfrmctl.crypto.certificate import Certificate, CertificateError, readable
from xfrmctl.crypto.credential import Credential
from xfrmctl.crypto.distrust import Distrust
from xfrmctl.crypto.rawkey import RawKey, fingerprint
from xfrmctl.crypto.revocation import Evidence, Known, Undecided
from xfrmctl.crypto.signature import PublicKey, RsaPadding
from xfrmctl.ike import certificate_failures as why
from xfrmctl.ike import failures
from xfrmctl.ike.config import ConnectionConfig
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import AuthMethod, CertEncoding, IdType, NotifyType, Prf
from xfrmctl.model.identity import Identity
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.message import notify_of
from xfrmctl.wire.payloads import Auth, Cert, CertReq, Id, Notify, Payload
from xfrmctl.wire.payloads.cert import MAX_CERTIFICATE_OCTETS, MAX_CERTIFICATES
from xfrmctl.wire.signatures import hashes_notify, join_signature, read_hashes, split_signature

if TYPE_CHECKING:
    from xfrmctl.crypto.trust import TrustStore

MAX_ASKED = 20
"""CAs that one request for certificates names; with more of them it names none, which asks for any."""

SHA1_REFUSED = "RSA with SHA-1 (auth.sha1 is false)"

# -- IKE_SA_INIT


def announcement() -> Notify:
    """N(SIGNATURE_HASH_ALGORITHMS): what we can verify (RFC 7427 4)."""
    return hashes_notify(signature.ANNOUNCED)


def signs(config: ConnectionConfig) -> bool:
    """Whether either side of a connection signs."""
    return config.credential is not None or config.trust is not None or bool(config.remote_keys)


def learn(sa: IkeSa, payloads: Sequence[Payload]) -> None:
    """Remember what the peer says about certificates in IKE_SA_INIT."""
    notify = notify_of(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS)
    sa.peer_hashes = read_hashes(notify) if notify is not None else None
    learn_wishes(sa, payloads)


def learn_wishes(sa: IkeSa, payloads: Iterable[Payload]) -> None:
    """Remember which CAs the peer wants certificates of, and whether it takes raw public keys."""
    requests = [p for p in payloads if isinstance(p, CertReq)]
    x509 = [r for r in requests if r.encoding == CertEncoding.X509_SIGNATURE]
    sa.peer_authorities = tuple(a for r in x509 for a in r.authorities)
    sa.peer_takes_keys = any(r.encoding == CertEncoding.RAW_PUBLIC_KEY for r in requests)


def request_certificates(configs: Iterable[ConnectionConfig]) -> list[Payload]:
    """CERTREQ for the CAs of these connections and for raw public keys; nothing where none wants the peer to sign."""
    wanted = tuple(configs)
    trusts = [c.trust for c in wanted if c.trust is not None]
    requests: list[Payload] = []
    if trusts:
        authorities = dict.fromkeys(a for t in trusts for a in t.authorities)
        requests.append(CertReq.of(authorities if len(authorities) <= MAX_ASKED else ()))
    if any(t.check.wants_responses for t in trusts):
        requests.append(CertReq(CertEncoding.OCSP_CONTENT))  # of whatever responder (RFC 4806 3.1)
    if any(c.remote_keys for c in wanted):
        requests.append(CertReq(CertEncoding.RAW_PUBLIC_KEY))  # names no authority (RFC 7670 3)
    return requests


# -- the octets

MacInput = tuple[Prf, bytes, bytes, bytes, bytes]


def _covered(sa: IkeSa, identity: Id, *, of_initiator: bool) -> MacInput:
    """PRF, message, nonce, key and identity that one side's proof covers (RFC 7296 2.15)."""
    assert sa.suite is not None
    assert sa.suite.prf is not None
    assert sa.keys is not None
    if of_initiator:
        return sa.suite.prf, sa.init_request, sa.nonce_r, sa.keys.pi, identity.body
    return sa.suite.prf, sa.init_response, sa.nonce_i, sa.keys.pr, identity.body


# -- ours


def prove(
    sa: IkeSa,
    config: ConnectionConfig,
    identity: Id,
    *,
    of_initiator: bool,
    like: str = "",
    peer: Identity | None = None,
) -> list[Payload] | Failure:
    """Our certificates if we have any, and AUTH; ``like`` is how ``peer`` has signed, where it has."""
    prf, *rest = _covered(sa, identity, of_initiator=of_initiator)
    credential = config.credential
    if credential is None:
        sa.local_proof = "psk"
        return [Auth(AuthMethod.SHARED_KEY_MIC, psk_auth(prf, config.psk_of(peer), *rest))]
    octets = signed_octets(prf, *rest)
    key = credential.public
    if sa.peer_hashes is None:
        old = signature.sign_old(credential.key, octets, sha1=config.sha1)
        if old is None:
            return why.no_signature(signature.describe(key), None, credential.name)
        method, data = old
        sa.local_proof = method.name.lower().replace("_", "-")
    else:
        padding = credential.rsa
        if padding == RsaPadding.AUTO and like.startswith(signature.Kind.RSA_PKCS1.value):
            padding = RsaPadding.PKCS1
        scheme = signature.choose(key, sa.peer_hashes, padding)
        if scheme is None:
            return why.no_signature(signature.describe(key), sa.peer_hashes, credential.name)
        method = AuthMethod.DIGITAL_SIGNATURE
        data = join_signature(scheme.identifier, signature.sign(credential.key, scheme, octets))
        sa.local_proof = scheme.name
    return [*_certificates(sa, credential), Auth(method, data)]


def _certificates(sa: IkeSa, credential: Credential) -> list[Payload]:
    """What the peer may need to verify our signature. A raw key is sent to those that ask: the others have it."""
    if credential.raw is not None:
        return [Cert(CertEncoding.RAW_PUBLIC_KEY, credential.raw.der)] if sa.peer_takes_keys else []
    return [Cert(CertEncoding.X509_SIGNATURE, c.der) for c in _until(credential.chain, sa.peer_authorities)]


def _until(chain: Sequence[Certificate], authorities: Sequence[bytes]) -> Sequence[Certificate]:
    """Our certificate and what leads from it to the first CA that the peer names as its own."""
    for number, certificate in enumerate(chain):
        if number and certificate.authority in authorities:
            return chain[:number]
    return chain


# -- the peer's


@dataclass(slots=True)
class PeerProof:
    """Identity, AUTH and certificates of the peer. ``how`` says how it has proved itself, once it has."""

    identity: Id
    auth: Auth
    certificates: list[Cert]
    of_initiator: bool
    how: str = ""
    _chain: "tuple[Certificate, ...] | Failure | None" = None
    _paths: "dict[TrustStore, Failure | Undecided | None]" = field(default_factory=dict)
    _signatures: "dict[bytes, Failure | str]" = field(default_factory=dict)

    @classmethod
    def of(cls, identity: Id, auth: Auth, payloads: Iterable[Payload], *, of_initiator: bool) -> "PeerProof":
        """Collect what a message brings."""
        return cls(identity, auth, [p for p in payloads if isinstance(p, Cert)], of_initiator)

    @property
    def who(self) -> Identity:
        """The peer's identity; a distinguished name reads well once the certificate has been read."""
        identity, chain = self.identity.identity, self._chain
        if identity.type == IdType.DER_ASN1_DN and isinstance(chain, tuple):
            return readable(identity)
        return identity

    def judge(
        self, sa: IkeSa, config: ConnectionConfig, wall: float, evidence: Evidence, now: float
    ) -> Failure | Undecided | None:
        """Why this is not a proof for that connection, or None; Undecided: a good one, unless it is revoked."""
        wanted = config.remote_id if config.remote_pattern is None else None
        if wanted is not None and self.identity.identity != wanted:
            return failures.identity_mismatch([wanted], self.who, whose="remote")
        if config.trust is None:
            if config.remote_pattern is not None and not config.remote_pattern.matches(self.identity.identity):
                return failures.identity_mismatch([config.remote_pattern], self.who, whose="remote")
            return self._judge_keys(sa, config) if config.remote_keys else self._judge_psk(sa, config)
        known = Known(evidence, now, self._brought(config.trust))
        return self._judge_certificate(sa, config, config.trust, wall, known)

    def _judge_psk(self, sa: IkeSa, config: ConnectionConfig) -> Failure | None:
        if self.auth.method != AuthMethod.SHARED_KEY_MIC:
            return failures.wrong_method(self.auth.method, config.name)
        prf, message, nonce, key, body = _covered(sa, self.identity, of_initiator=self.of_initiator)
        psk = config.psk_of(self.identity.identity)
        if not psk:
            return failures.no_psk(self.identity.identity, config.name)
        if not psk_verify(prf, psk, message, nonce, key, body, self.auth.data):
            return failures.psk_mismatch(config.local_id, self.identity.identity)
        self.how = "psk"
        return None

    def _judge_certificate(
        self, sa: IkeSa, config: ConnectionConfig, trust: "TrustStore", wall: float, known: Known
    ) -> Failure | Undecided | None:
        if self.auth.method != AuthMethod.DIGITAL_SIGNATURE and self.auth.method not in signature.OLD_METHODS:
            return why.expected(self.auth.method, config.name)
        chain = self._read(config)
        if isinstance(chain, Failure):
            return chain
        leaf, who, pattern = chain[0], self.who, config.remote_pattern
        if pattern is not None and not pattern.matches(who, leaf.attributes if leaf.confirms(who) else ()):
            return failures.identity_mismatch([pattern], who, whose="remote")
        if trust not in self._paths:
            found, own = trust.judge(chain, wall, known), config.credential.certificate if config.credential else None
            told = why.distrusted(found, wall, trust.anchors, own) if isinstance(found, Distrust) else found
            self._paths[trust] = told
        path = self._paths[trust]
        if isinstance(path, Failure):
            return path
        if not leaf.confirms(who):
            return why.not_certified(who, leaf)
        return self._judge_signature(sa, config, leaf.key, leaf.authority, leaf.subject_text) or path

    def _brought(self, trust: "TrustStore") -> tuple[ocsp.Response, ...]:
        """OCSP responses that the peer has sent along (RFC 4806); what cannot be read is nothing."""
        found: list[ocsp.Response] = []
        if trust.check.wants_responses:
            for sent in [c for c in self.certificates if c.encoding == CertEncoding.OCSP_CONTENT][:MAX_CERTIFICATES]:
                with suppress(CertificateError):
                    found.append(ocsp.Response.parse(sent.data))
        return tuple(found)

    def _judge_keys(self, sa: IkeSa, config: ConnectionConfig) -> Failure | None:
        """Whether one of the keys that we know has signed (RFC 7670). What the peer sends as its key proves nothing:
        it only tells which of them to try, and what to say if it is none of them.
        """
        if self.auth.method != AuthMethod.DIGITAL_SIGNATURE and self.auth.method not in signature.OLD_METHODS:
            return why.expected_key(self.auth.method, config.name)
        known: tuple[RawKey, ...] = config.remote_keys
        sent = [c.data for c in self.certificates if c.encoding == CertEncoding.RAW_PUBLIC_KEY][:1]
        tried = [k for k in known if k.der in sent] or known
        failure: Failure | None = None
        for raw in tried:
            failure = self._judge_signature(sa, config, raw.key, raw.der, str(raw))
            if failure is None or failure.code != FailureCode.SIGNATURE_INVALID:
                return failure
        shown = fingerprint(sent[0]) if sent else ""
        return why.unknown_key(self.who, shown, known) if tried is known else failure

    def _read(self, config: ConnectionConfig) -> tuple[Certificate, ...] | Failure:
        if self._chain is None:
            self._chain = self._read_chain(config)
        return self._chain

    def _read_chain(self, config: ConnectionConfig) -> tuple[Certificate, ...] | Failure:
        usable = [c.data for c in self.certificates if c.encoding == CertEncoding.X509_SIGNATURE]
        octets = sum(map(len, usable))
        if not usable or self.certificates[0].encoding != CertEncoding.X509_SIGNATURE:
            return why.missing(self.identity.identity, (c.encoding.name for c in self.certificates), config.name)
        if len(self.certificates) > MAX_CERTIFICATES or octets > MAX_CERTIFICATE_OCTETS:
            return why.too_much(len(self.certificates), octets, (MAX_CERTIFICATES, MAX_CERTIFICATE_OCTETS))
        chain: list[Certificate] = []
        for number, der in enumerate(usable, 1):
            try:
                chain.append(Certificate.parse(der))
            except CertificateError as error:
                return why.unreadable(number, str(error))
        return tuple(chain)

    def _judge_signature(
        self, sa: IkeSa, config: ConnectionConfig, key: PublicKey, which: bytes, holder: str
    ) -> Failure | None:
        """``which`` tells the keys of this proof apart, ``holder`` says whose key it is."""
        if which not in self._signatures:
            self._signatures[which] = self._verify(sa, key, holder)
        found = self._signatures[which]
        if isinstance(found, Failure):
            return found
        if found.endswith("-sha1") and (not config.sha1 or sa.peer_hashes is not None):
            return why.unknown_signature(SHA1_REFUSED)
        self.how = found
        return None

    def _verify(self, sa: IkeSa, key: PublicKey, holder: str) -> Failure | str:
        """The name of the scheme, or what is wrong with the signature."""
        prf, *rest = _covered(sa, self.identity, of_initiator=self.of_initiator)
        octets, method = signed_octets(prf, *rest), self.auth.method
        if method != AuthMethod.DIGITAL_SIGNATURE:
            old = signature.verify_old(key, method, octets, self.auth.data)
            return old.name if old else why.bad_signature(self.who, holder, method.name)
        try:
            identifier, data = split_signature(self.auth.data)
        except WireError as error:
            return why.unknown_signature(str(error))
        scheme = signature.BY_IDENTIFIER.get(identifier)
        if scheme is None:
            return why.unknown_signature(f"AlgorithmIdentifier {identifier.hex()}")
        if not signature.verify(key, scheme, octets, data):
            return why.bad_signature(self.who, holder, scheme.name)
        return scheme.name
