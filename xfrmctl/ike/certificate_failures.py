"""Failures of authentication by certificate or raw public key, in an operator's words; the companion of ``failures``.

An expired certificate and a wrong clock look the same from inside, so whoever speaks of time says what time it takes
it to be, and whether that time is plausible.
"""

from collections.abc import Iterable, Sequence

from xfrmctl.crypto.certificate import Certificate, stamp
from xfrmctl.crypto.credential import Credential
from xfrmctl.crypto.distrust import Distrust, Doubt
from xfrmctl.crypto.rawkey import RawKey
from xfrmctl.model.failure import OLDEST_S, Failure, FailureCode
from xfrmctl.model.iana import AuthMethod, HashAlgorithm, NotifyType
from xfrmctl.model.identity import Identity

DAY_S = 86400.0
_NOBODY = "nobody can say whether the certificate {} is revoked"
_SET_CLOCK = "set the clock: timedatectl set-ntp true (a machine without a battery-backed clock starts in the past)"


def _failure(code: FailureCode, text: str, cause: str, cure: str, **more: tuple[str, ...]) -> Failure:
    return Failure(code=code, notify=NotifyType.AUTHENTICATION_FAILED.name, text=text, cause=cause, cure=cure, **more)


def missing(peer: Identity, encodings: Iterable[str], connection: str) -> Failure:
    """The peer has sent no certificate, or none in an encoding that we use."""
    sent = tuple(encodings)
    what = f"only {', '.join(sent)}" if sent else "none"
    cure = "have the peer send its certificate in the message: send_cert = always, leftsendcert=always"
    if any(name.startswith("HASH_AND_URL") for name in sent):
        cure = "switch hash-and-URL off at the peer: we fetch nothing that a stranger names"
    return _failure(
        FailureCode.CERTIFICATE_MISSING,
        f"the peer {peer} has sent no X.509 certificate",
        f"connection {connection} has a ca: and so needs the peer's certificate; it sent {what}",
        cure,
        theirs=sent,
    )


def too_much(count: int, octets: int, limits: tuple[int, int]) -> Failure:
    """More certificates than we look at."""
    return _failure(
        FailureCode.CERTIFICATE_INVALID,
        f"the peer has sent {count} certificates of {octets} bytes",
        f"more than {limits[0]} certificates or {limits[1]} bytes are not looked at",
        "have the peer send its own certificate and the intermediate ones below our ca: only",
    )


def unreadable(number: int, detail: str) -> Failure:
    """A certificate that cannot be parsed or has no use in IKE. ``number`` counts from 1."""
    return _failure(
        FailureCode.CERTIFICATE_INVALID,
        f"certificate {number} of the peer cannot be used: {detail}",
        "it is damaged, or of a kind that this program does not take",
        "look at it on the peer: openssl x509 -noout -text -in FILE",
    )


def expected(method: AuthMethod, connection: str) -> Failure:
    """The peer proves itself without a certificate where one is wanted."""
    return _failure(
        FailureCode.AUTHENTICATION_FAILED,
        f"the peer authenticates by {method.name}, connection {connection} expects a certificate",
        "the two ends are configured for different kinds of authentication",
        "give the peer a certificate of a CA in auth.ca, or configure auth.psk here",
        theirs=(method.name,),
    )


def distrusted(found: Distrust, wall: float, anchors: Sequence[Certificate], own: Certificate | None) -> Failure:
    """A chain that is not believed, as :class:`~xfrmctl.crypto.trust.TrustStore` has found."""
    subject, issuer = found.subject, found.issuer
    if found.doubt in (Doubt.EXPIRED, Doubt.NOT_YET_VALID):
        return _untimely(found, wall, [*anchors, *([own] if own else [])])
    if found.doubt == Doubt.REVOKED:
        return _failure(
            FailureCode.CERTIFICATE_REVOKED,
            f"the certificate {subject} is revoked {found.detail}",
            f"{found.source} says so",
            "issue a new certificate for the peer; after an error of the CA, put a new CRL or OCSP response in place "
            "and reload",
        )
    if found.doubt == Doubt.NO_STATUS:
        cause = f"{found.detail}, and auth.revocation is strict; the clock says {stamp(wall)}"
        if found.early_s:
            suspicion = "the CA has signed that later than our now: the clock is likely slow"
            cause = f"{cause}; {suspicion}"
            return _failure(FailureCode.REVOCATION_UNKNOWN, _NOBODY.format(subject), cause, _SET_CLOCK)
        return _failure(
            FailureCode.REVOCATION_UNKNOWN,
            _NOBODY.format(subject),
            cause,
            "put a current CRL into a file of auth.crl, or see that the OCSP responder of auth.ocsp or of the "
            "certificate (auth.fetch: true) can be reached; or write revocation: relaxed",
        )
    if found.doubt == Doubt.UNTRUSTED:
        return _failure(
            FailureCode.CERTIFICATE_UNTRUSTED,
            f"no CA of ours vouches for the certificate {subject}",
            f"its issuer {issuer} is not among auth.ca, and no certificate that the peer sent leads there",
            "add that CA to auth.ca, or have the peer send its intermediate certificates",
            ours=tuple(a.subject_text for a in anchors),
            theirs=(issuer,),
        )
    return _failure(
        FailureCode.CERTIFICATE_INVALID,
        f"the certificate {subject} is not acceptable",
        found.detail,
        "issue a certificate that follows RFC 5280 and RFC 4945, with SHA-2 and keys of today's sizes",
    )


def _untimely(found: Distrust, wall: float, witnesses: Sequence[Certificate]) -> Failure:
    certificate = found.certificate
    assert certificate is not None
    early = found.doubt == Doubt.NOT_YET_VALID
    code = FailureCode.CERTIFICATE_NOT_YET_VALID if early else FailureCode.CERTIFICATE_EXPIRED
    bound = certificate.valid_from if early else certificate.valid_to
    verb = "is valid from" if early else "was valid until"
    text = f"the certificate {found.subject} {'is not valid yet' if early else 'has expired'}"
    cause = f"it {verb} {stamp(bound)}, and the clock of this host says {stamp(wall)}"
    suspicion = _suspicion(wall, early, abs(wall - bound), [w for w in witnesses if w != certificate])
    if suspicion:
        return _failure(code, f"{text}, or the clock of this host is wrong", f"{cause}; {suspicion}", _SET_CLOCK)
    renew = "renew the certificate of the peer"
    return _failure(code, text, cause, "wait, or check the clocks of this host and of the CA" if early else renew)


def _suspicion(wall: float, early: bool, off_s: float, witnesses: Sequence[Certificate]) -> str:
    """Why the clock is the likely culprit, "" where nothing speaks for it."""
    if wall < OLDEST_S:
        return "this program is younger than that time: the clock is wrong"
    for witness in witnesses:
        if early and wall < witness.valid_from:
            return f"our own {witness.subject_text} would not be valid yet either: the clock is likely slow"
        if not early and wall > witness.valid_to:
            return f"our own {witness.subject_text} would have expired as well: the clock is likely fast"
    if early and off_s < DAY_S:
        return f"only {off_s:.0f} s are missing: one of the clocks is likely off"
    return ""


def not_certified(identity: Identity, certificate: Certificate) -> Failure:
    """The peer's certificate is good, but it is not for whom the peer says it is (RFC 4945 3.1)."""
    names = (str(certificate.identity), *(str(n) for n in certificate.names))
    return _failure(
        FailureCode.IDENTITY_NOT_CERTIFIED,
        f"the peer says it is {identity}, and its certificate does not say so",
        "the identity is neither the certificate's subject nor among its subjectAltName",
        f"have the peer say {names[-1]}, or issue a certificate with subjectAltName {identity}",
        theirs=names,
    )


def bad_signature(identity: Identity, holder: str, how: str) -> Failure:
    """The signature is not that of the expected key. ``holder`` is the certificate's subject, or the raw key."""
    return _failure(
        FailureCode.SIGNATURE_INVALID,
        f"the signature of {identity} does not verify",
        f"it is not made with the private key of {holder} ({how}), or a message was tampered with",
        "give the peer the private key that belongs to its certificate or public key",
    )


def expected_key(method: AuthMethod, connection: str) -> Failure:
    """The peer proves itself without a signature where one by a key that we know is wanted."""
    return _failure(
        FailureCode.AUTHENTICATION_FAILED,
        f"the peer authenticates by {method.name}, connection {connection} expects a signature",
        "the two ends are configured for different kinds of authentication",
        "give the peer the private key of auth.remote_pubkey, or configure auth.psk here",
        theirs=(method.name,),
    )


def unknown_key(identity: Identity, shown: str, known: Sequence[RawKey]) -> Failure:
    """None of the keys that we know has signed. ``shown`` is the fingerprint of the key that the peer sent, if any."""
    what = f"it shows the key SHA256:{shown}" if shown else "it does not show its key"
    return _failure(
        FailureCode.SIGNATURE_INVALID,
        f"{identity} has not signed with a key of auth.remote_pubkey",
        f"{what}, and its signature verifies with none of ours; or a message was tampered with",
        "compare the fingerprints over another channel; if the peer has a new key, put it into auth.remote_pubkey",
        ours=tuple(f"SHA256:{k.fingerprint}" for k in known),
        theirs=(f"SHA256:{shown}",) if shown else (),
    )


def unknown_signature(detail: str) -> Failure:
    """A signature algorithm that we do not verify."""
    return _failure(
        FailureCode.NO_COMMON_SIGNATURE,
        f"the peer has signed in a way that is not accepted: {detail}",
        "accepted are RSA (PSS and PKCS#1), ECDSA with SHA-256, SHA-384 and SHA-512, Ed25519 and Ed448",
        "have the peer sign with one of these; for an old peer that only has SHA-1 there is auth.sha1: true",
        theirs=(detail,),
    )


def no_signature(key: str, announced: Iterable[HashAlgorithm] | None, holder: str) -> Failure:
    """We cannot sign in a way that the peer could verify. ``holder`` is the certificate's subject, or the raw key."""
    theirs = tuple(sorted(h.name for h in announced)) if announced is not None else ()
    what = f"hash algorithms {', '.join(theirs) or 'none'}" if announced is not None else "no hash algorithms at all"
    return _failure(
        FailureCode.NO_COMMON_SIGNATURE,
        f"the peer cannot verify a signature of our key ({key})",
        f"it announces {what} (RFC 7427 4), and {holder} needs another",
        "use an RSA or ECDSA P-256 key for this peer, or update the peer",
        ours=(key,),
        theirs=theirs,
    )


def peer_rejected(local_id: Identity, remote_id: str, credential: Credential) -> Failure:
    """The peer answered AUTHENTICATION_FAILED to our signature; it does not say why (RFC 7296 2.21.2)."""
    certificate = credential.certificate
    if certificate is not None:
        what = f"our certificate {certificate.subject_text} (issued by {certificate.issuer_text})"
        check = "check that the peer trusts that CA, has the right time and expects that identity"
    else:
        what, check = credential.name, "check that the peer has that public key for that identity"
    return _failure(
        FailureCode.AUTHENTICATION_FAILED,
        "the peer answered AUTHENTICATION_FAILED",
        f"it does not accept {what} for {local_id}, or knows no connection for it"
        + (f" and its own {remote_id}" if remote_id else ""),
        f"{check}; its log says which it was",
    )
