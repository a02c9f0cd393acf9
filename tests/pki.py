"""Certificates for tests: every key is made once, every certificate when it is asked for."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from xfrmctl.crypto.certificate import Certificate
from xfrmctl.crypto.credential import Credential
from xfrmctl.crypto.rawkey import RawKey
from xfrmctl.crypto.revocation import Crl, Revocation, StatusCheck
from xfrmctl.crypto.signature import PrivateKey, RsaPadding
from xfrmctl.crypto.trust import TrustStore

START = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
KINDS = ("rsa2048", "p256", "p384", "p521", "ed25519", "ed448")

_NOT_CRITICAL = (x509.AuthorityInformationAccess, x509.CRLDistributionPoints, x509.ExtendedKeyUsage, x509.OCSPNoCheck)

_CURVES: dict[str, ec.EllipticCurve] = {
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


@functools.cache
def key(kind: str, number: int = 0) -> PrivateKey:
    """The key of this kind and number."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ed448.Ed448PrivateKey.generate()


def name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


@dataclass
class Issued:
    """A certificate and its key."""

    key: PrivateKey
    parsed: x509.Certificate

    @property
    def certificate(self) -> Certificate:
        return Certificate.parse(self.der)

    @property
    def der(self) -> bytes:
        return self.parsed.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.parsed.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _general(text: str) -> x509.GeneralName:
    if "@" in text:
        return x509.RFC822Name(text)
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def issue(
    common: str,
    issuer: Issued | None = None,
    *,
    kind: str = "p256",
    number: int = 1,
    ca: bool = False,
    names: Sequence[str] = (),
    start: datetime.datetime = START,
    days: float = 3000,
    pss: bool = False,
    usage: bool | None = None,
    extra: Sequence[x509.ExtensionType] = (),
) -> Issued:
    """A certificate by ``issuer``, or by itself. ``usage`` says whether it may sign; None leaves the extension out."""
    own = key(kind, number)
    signer = issuer.key if issuer else own
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(issuer.parsed.subject if issuer else name(common))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + days * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
    if ca:
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        builder = builder.add_extension(_usage(sign=False, certify=True), True)
    elif usage is not None:
        builder = builder.add_extension(_usage(sign=usage, certify=False), True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), False)
    for extension in extra:
        builder = builder.add_extension(extension, not isinstance(extension, _NOT_CRITICAL))
    chosen = None if isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    how = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH) if pss else None
    return Issued(own, builder.sign(signer, chosen, rsa_padding=how))


def _usage(*, sign: bool, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, not sign and not certify, False, False, certify, certify, False, False)


@functools.cache
def root(kind: str = "p256", common: str = "Lab CA", number: int = 0) -> Issued:
    """A CA of its own."""
    return issue(common, kind=kind, number=number, ca=True)


def crl(
    issuer: Issued, *revoked: Issued, start: datetime.datetime = START, days: float = 3000
) -> x509.CertificateRevocationList:
    """A CRL that revokes these."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.parsed.subject)
        .last_update(start)
        .next_update(start + days * DAY)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.parsed.serial_number).revocation_date(start)
        builder = builder.add_revoked_certificate(entry.build())
    eddsa = isinstance(issuer.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(issuer.key, None if eddsa else hashes.SHA256())


def credential(own: Issued, *intermediate: Issued, rsa: RsaPadding = RsaPadding.AUTO) -> Credential:
    return Credential((own.certificate, *(i.certificate for i in intermediate)), own.key, rsa)


def trust(
    *anchors: Issued,
    crls: Sequence[x509.CertificateRevocationList] = (),
    revocation: Revocation = Revocation.RELAXED,
    **more: Any,
) -> TrustStore:
    held = tuple(Crl.parse(c.public_bytes(Encoding.DER)) for c in crls)
    return TrustStore([a.certificate for a in anchors], StatusCheck(revocation, held, **more))


def raw_key(kind: str, number: int = 1) -> RawKey:
    """The public half of :func:`key`."""
    return RawKey.of(key(kind, number).public_key())


def raw_credential(kind: str, number: int = 1, rsa: RsaPadding = RsaPadding.AUTO) -> Credential:
    return Credential((), key(kind, number), rsa, raw_key(kind, number))


def responder(issuer: Issued, *extra: x509.ExtensionType, number: int = 30, **more: Any) -> Issued:
    """The certificate of an OCSP responder whom that CA trusts; ``extra`` instead of what it should have."""
    purposes = extra or (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), x509.OCSPNoCheck())
    return issue("responder", issuer, number=number, extra=purposes, **more)


def ocsp_response(
    about: Issued,
    issuer: Issued,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    signer: Issued | None = None,
    included: Sequence[Issued] = (),
    by_key: bool = True,
    start: datetime.datetime = START,
    days: float | None = 3000,
    nonce: bytes | None = None,
    hashed: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A response of ``signer`` (the CA itself unless somebody else is named), DER."""
    signer = signer or issuer
    revoked = status == ocsp.OCSPCertStatus.REVOKED
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            about.parsed,
            issuer.parsed,
            hashed or hashes.SHA1(),
            status,
            start,
            start + days * DAY if days is not None else None,
            start if revoked else None,
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH if by_key else ocsp.OCSPResponderEncoding.NAME, signer.parsed)
    )
    if included:
        builder = builder.certificates([one.parsed for one in included])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), False)
    eddsa = isinstance(signer.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(signer.key, None if eddsa else hashes.SHA256()).public_bytes(Encoding.DER)


def access(ocsp_url: str | None = None, crl_url: str | None = None) -> list[x509.ExtensionType]:
    """Where a certificate says that its status can be had."""
    found: list[x509.ExtensionType] = []
    if ocsp_url is not None:
        where = x509.UniformResourceIdentifier(ocsp_url)
        found.append(
            x509.AuthorityInformationAccess(
                [x509.AccessDescription(x509.oid.AuthorityInformationAccessOID.OCSP, where)]
            )
        )
    if crl_url is not None:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
        found.append(x509.CRLDistributionPoints([point]))
    return found
