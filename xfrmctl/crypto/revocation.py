"""Whether a certificate is revoked: CRLs (RFC 5280 5) and OCSP (RFC 6960), from files, from the peer, or fetched.

*relaxed*: a certificate is good unless somebody with authority says that it is revoked. *strict*: for each certificate
below the anchor somebody must say, with a statement in force, that it is not. *off*: nobody is asked.

Nothing is fetched here. What is lacking is named as :class:`Source`; who fetches hands it to :class:`Evidence` and
judges again. OCSP is asked first, CRLs where that has brought no answer. A statement in force is not fetched again
before it ends, and a source that has failed is left alone for :data:`RETRY_S`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AuthorityInformationAccessOID

from xfrmctl.crypto import ocsp
from xfrmctl.crypto.certificate import Certificate, CertificateError, stamp
from xfrmctl.crypto.distrust import Distrust, Doubt
from xfrmctl.crypto.ocsp import Answer, Response, Says

MAX_CRL_OCTETS = 4 << 20
MAX_URLS = 3
"""Of each kind that one certificate makes us ask."""

MAX_URL = 1024
RETRY_S = 60.0
MAX_HELD = 256
"""Answers of web servers that are kept; only URLs that we or our CAs have written can fill it."""


class Revocation(Enum):
    """What the lack of a statement means."""

    RELAXED = "relaxed"
    STRICT = "strict"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Crl:
    """A whole CRL; two are equal when their octets are."""

    digest: bytes
    parsed: x509.CertificateRevocationList = field(repr=False, compare=False)
    signed_by: dict[bytes, bool] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, data: bytes) -> "Crl":
        """A CRL in PEM or DER; raises CertificateError for what we could misunderstand."""
        try:
            crl = x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
            critical = [e.oid.dotted_string for e in crl.extensions if e.critical]
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
            raise CertificateError(str(error).splitlines()[0][:120] if str(error) else "no CRL") from None
        if critical:
            raise CertificateError(f"a delta, indirect or partial CRL (critical extension {critical[0]})")
        return cls(crl.fingerprint(hashes.SHA256()), crl)

    def is_signed(self, issuer: Certificate) -> bool:
        """Whether this CA has signed it; computed once for each CA, as it may be large."""
        if issuer.authority not in self.signed_by:
            try:
                self.signed_by[issuer.authority] = self.parsed.is_signature_valid(issuer.key)
            except (ValueError, TypeError, UnsupportedAlgorithm):
                self.signed_by[issuer.authority] = False
        return self.signed_by[issuer.authority]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a statement can be had: a URL with the certificate and its issuer to ask about, or one of a CRL."""

    url: str
    certificate: Certificate | None = None
    issuer: Certificate | None = None

    @property
    def limit(self) -> int:
        """Octets of an answer that are read."""
        return ocsp.MAX_OCTETS if self.certificate is not None else MAX_CRL_OCTETS

    def request(self, nonce: bytes) -> bytes:
        """What to POST there; nothing for a CRL."""
        if self.certificate is None or self.issuer is None:
            return b""
        return ocsp.request(self.certificate, self.issuer, nonce)


@dataclass(slots=True)
class _Held:
    """What a source has answered, when (monotonic), or why there is nothing."""

    at: float
    found: Crl | Response | None
    problem: str = ""


class Evidence:
    """What has been fetched; kept beside the configuration, for what a server says does not change that."""

    def __init__(self) -> None:
        self._held: dict[Source, _Held] = {}

    def learn(self, source: Source, data: bytes, nonce: bytes, now: float) -> None:
        """An answer has come. What cannot be read counts as a failure; whether to believe it is judged later."""
        try:
            found = Crl.parse(data) if source.certificate is None else Response.parse(data, nonce)
        except CertificateError as error:
            self.fail(source, str(error), now)
            return
        self._keep(source, _Held(now, found))

    def fail(self, source: Source, problem: str, now: float) -> None:
        """There was no answer. What was known before stays known until it ends."""
        known = self._held.get(source)
        self._keep(source, _Held(now, known.found if known else None, problem))

    def _keep(self, source: Source, held: _Held) -> None:
        self._held.pop(source, None)
        self._held[source] = held
        while len(self._held) > MAX_HELD:
            del self._held[next(iter(self._held))]

    def found(self, source: Source) -> Crl | Response | None:
        """The last answer of a source."""
        held = self._held.get(source)
        return held.found if held else None

    def may_ask(self, source: Source, now: float) -> bool:
        """Whether it is time to ask this source."""
        held = self._held.get(source)
        return held is None or now >= held.at + RETRY_S

    def problem(self, source: Source) -> str:
        """Why there was no answer the last time, "" where there was one."""
        held = self._held.get(source)
        return held.problem if held else ""


@dataclass(frozen=True, slots=True)
class Known:
    """What may be used besides files: fetched answers, and responses that the peer has brought (RFC 4806)."""

    evidence: Evidence
    now: float
    brought: tuple[Response, ...] = ()


@dataclass(frozen=True, slots=True)
class Undecided:
    """These sources should be asked before a chain is judged."""

    sources: tuple[Source, ...]


@dataclass(slots=True)
class _Hearing:
    """What has come out about one certificate so far."""

    revoked: Distrust | None = None
    good: bool = False
    problem: str = ""
    early_s: float = 0.0

    def untimely(self, problem: str, early_s: float) -> None:
        self.problem, self.early_s = problem, max(self.early_s, early_s)


@dataclass(frozen=True, slots=True)
class StatusCheck:
    """How the certificates of one connection are checked. ``fetch``: also at the URLs that they name themselves."""

    mode: Revocation = Revocation.RELAXED
    crls: tuple[Crl, ...] = ()
    responses: tuple[Response, ...] = ()
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    fetch: bool = False

    @property
    def wants_responses(self) -> bool:
        """Whether a peer that has OCSP responses for its certificates should send them."""
        return self.mode != Revocation.OFF and bool(self.mode == Revocation.STRICT or self.ocsp_urls or self.fetch)

    @property
    def digest(self) -> str:
        """Names the content."""
        parts = [self.mode.value.encode(), *(c.digest for c in self.crls), b"", *(r.digest for r in self.responses)]
        parts += [b"", *(u.encode() for u in self.crl_urls), b"", *(u.encode() for u in self.ocsp_urls)]
        return hashlib.sha256(b"".join(hashlib.sha256(p).digest() for p in (*parts, bytes([self.fetch])))).hexdigest()

    def judge(
        self, certificate: Certificate, issuer: Certificate, wall: float, known: Known | None
    ) -> Distrust | Undecided | None:
        """Whether a certificate of that issuer is good at this time."""
        if self.mode == Revocation.OFF:
            return None
        sources = [*self._ocsp_sources(certificate, issuer)], [*self._crl_sources(certificate)]
        fetched = [known.evidence.found(s) for group in sources for s in group] if known else []
        brought = known.brought if known else ()
        responses = (*self.responses, *brought, *(f for f in fetched if isinstance(f, Response)))
        crls = (*self.crls, *(f for f in fetched if isinstance(f, Crl)))
        hearing = _Hearing(problem=f"there is neither a CRL of {issuer.subject_text} nor an OCSP response")
        _hear_crls(hearing, crls, certificate, issuer, wall)
        for response in responses:
            answer = response.about(certificate, issuer, wall)
            if answer is not None:
                _hear_answer(hearing, answer, certificate, issuer, _is_revoked(answer.delegate, crls, issuer, wall))
        if hearing.revoked is not None or hearing.good:
            return hearing.revoked
        if known is not None:
            for group in sources:
                if lacking := tuple(s for s in group if known.evidence.may_ask(s, known.now)):
                    return Undecided(lacking)
        if self.mode == Revocation.RELAXED:
            return None
        problems = [known.evidence.problem(s) for group in sources for s in group] if known else []
        detail = "; ".join([hearing.problem, *(p for p in problems if p)])
        return Distrust.of(Doubt.NO_STATUS, certificate, detail, early_s=hearing.early_s)

    def _ocsp_sources(self, certificate: Certificate, issuer: Certificate) -> Iterator[Source]:
        named = _access_urls(certificate.parsed) if self.fetch else ()
        for url in _usable((*self.ocsp_urls, *named)):
            yield Source(url, certificate, issuer)

    def _crl_sources(self, certificate: Certificate) -> Iterator[Source]:
        named = _crl_urls(certificate.parsed) if self.fetch else ()
        for url in _usable((*self.crl_urls, *named)):
            yield Source(url)


def _hear_crls(
    hearing: _Hearing, crls: Iterable[Crl], certificate: Certificate, issuer: Certificate, wall: float
) -> None:
    """What the CRLs of this issuer say. One that revokes counts even when it has ended."""
    for held in crls:
        crl = held.parsed
        if crl.issuer != certificate.parsed.issuer or not held.is_signed(issuer):
            continue
        entry = crl.get_revoked_certificate_by_serial_number(certificate.parsed.serial_number)
        if entry is not None:
            detail = f"since {stamp(entry.revocation_date_utc.timestamp())}"
            source = f"the CRL of {issuer.subject_text}"
            hearing.revoked = Distrust.of(Doubt.REVOKED, certificate, detail, source=source)
            return
        begins = crl.last_update_utc.timestamp()
        ends = crl.next_update_utc.timestamp() if crl.next_update_utc else None
        if begins > wall:
            hearing.untimely(f"the CRL of {issuer.subject_text} begins at {stamp(begins)}", begins - wall)
        elif ends is not None and ends < wall:
            hearing.untimely(f"the CRL of {issuer.subject_text} ended at {stamp(ends)}", 0.0)
        else:
            hearing.good = True


def _is_revoked(delegate: Certificate | None, crls: Iterable[Crl], issuer: Certificate, wall: float) -> bool:
    """Whether a CRL revokes the certificate of an OCSP responder."""
    hearing = _Hearing()
    if delegate is not None:
        _hear_crls(hearing, crls, delegate, issuer, wall)
    return hearing.revoked is not None


def _hear_answer(
    hearing: _Hearing, answer: Answer, certificate: Certificate, issuer: Certificate, responder_revoked: bool
) -> None:
    """What an OCSP response says."""
    if responder_revoked:
        hearing.problem = "the OCSP response is signed by a responder that is itself revoked"
    elif answer.says == Says.REVOKED:
        source = f"an OCSP response for {issuer.subject_text}"
        hearing.revoked = Distrust.of(Doubt.REVOKED, certificate, answer.detail, source=source)
    elif answer.says == Says.GOOD:
        hearing.good = True
    elif answer.says == Says.UNTIMELY:
        hearing.untimely(f"the OCSP response {answer.detail}", answer.early_s)
    elif answer.says == Says.UNKNOWN:
        hearing.problem = f"the OCSP responder {answer.detail}"
    else:
        hearing.problem = f"the OCSP response is not believed: {answer.detail}"


def is_usable(url: str) -> bool:
    """Whether we would fetch this: plain HTTP, for what is fetched is signed (RFC 5280 8, RFC 6960 A.1)."""
    return len(url) <= MAX_URL and url.lower().startswith("http://") and url.isascii() and url.isprintable()


def _usable(urls: Iterable[str]) -> list[str]:
    return [u for u in dict.fromkeys(urls) if is_usable(u)][:MAX_URLS]


def _access_urls(parsed: x509.Certificate) -> list[str]:
    """The OCSP responders that a certificate names (RFC 5280 4.2.2.1)."""
    try:
        access = parsed.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    found = [d.access_location for d in access if d.access_method == AuthorityInformationAccessOID.OCSP]
    return [name.value for name in found if isinstance(name, x509.UniformResourceIdentifier)]


def _crl_urls(parsed: x509.Certificate) -> list[str]:
    """The whole CRLs of its own issuer that a certificate names (RFC 5280 4.2.1.13)."""
    try:
        points = parsed.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return []
    whole = [n for p in points if not p.reasons and not p.crl_issuer for n in p.full_name or ()]
    return [name.value for name in whole if isinstance(name, x509.UniformResourceIdentifier)]
