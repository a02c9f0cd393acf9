"""X.509 certificates as IKE sees them (RFC 4945): a public key, the identities it vouches for, a time of validity.

Everything is read once, when a certificate comes in; what cannot be read raises :class:`CertificateError` then and
nothing else later. Whether to believe a certificate is another question: see ``trust``.
"""

import hashlib
import re
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from xfrmctl.crypto.signature import PublicKey, unfit
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.iana import IdType
from xfrmctl.model.identity import Identity

_WORDS = {
    "C": NameOID.COUNTRY_NAME,
    "CN": NameOID.COMMON_NAME,
    "DC": NameOID.DOMAIN_COMPONENT,
    "E": NameOID.EMAIL_ADDRESS,
    "GN": NameOID.GIVEN_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "SN": NameOID.SURNAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "UID": NameOID.USER_ID,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
_WEAK = (hashes.MD5, hashes.SHA1)


class CertificateError(XfrmctlError):
    """A certificate that cannot be read, or not be used for signatures in IKE."""

    cause = "a file or an answer is damaged, or of a kind that is not used here"
    cure = "look at it with openssl (x509, crl, ocsp; -text -noout), and have it made anew"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate; two are equal when their octets are.

    ``subject`` is the subject's DER, ``attributes`` the same read. ``names`` are what subjectAltName says, as
    identities of IKE. ``valid_from`` and ``valid_to`` are seconds since the epoch. ``authority`` is how a CERTREQ
    names its key.
    """

    der: bytes = field(repr=False)
    subject_text: str
    issuer_text: str = field(compare=False)
    subject: bytes = field(repr=False, compare=False)
    attributes: tuple[tuple[str, str], ...] = field(repr=False, compare=False)
    names: tuple[Identity, ...] = field(compare=False)
    key: PublicKey = field(repr=False, compare=False)
    valid_from: float = field(compare=False)
    valid_to: float = field(compare=False)
    authority: bytes = field(repr=False, compare=False)
    may_sign: bool = field(compare=False)
    weakness: str = field(compare=False)
    parsed: x509.Certificate = field(repr=False, compare=False)

    @classmethod
    def parse(cls, der: bytes) -> "Certificate":
        """Read one certificate; raises CertificateError."""
        try:
            return _read(der)
        except CertificateError:
            raise
        except (ValueError, TypeError, UnsupportedAlgorithm, OverflowError, x509.InvalidVersion) as error:
            raise CertificateError(_first_line(error)) from None
        except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise CertificateError(_first_line(error)) from None

    @property
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are the same: a root, or a certificate that stands for itself."""
        return self.parsed.subject == self.parsed.issuer

    @property
    def identity(self) -> Identity:
        """The subject as an identity of IKE."""
        return Identity(IdType.DER_ASN1_DN, self.subject, self.subject_text)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex."""
        return hashlib.sha256(self.der).hexdigest()

    def confirms(self, identity: Identity) -> bool:
        """Whether the certificate vouches for an identity (RFC 4945 3.1): by its subject or by its subjectAltName."""
        if identity.type == IdType.DER_ASN1_DN:
            return same_identity(self.identity, identity)
        return any(n.type == identity.type and n.data.lower() == identity.data.lower() for n in self.names)

    def time_of(self, which: str) -> str:
        """``2026-01-31 12:00:00 UTC``; ``which``: from or to."""
        return stamp(self.valid_from if which == "from" else self.valid_to)


def stamp(seconds: float) -> str:
    """A point of time for people."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"


def read_pem(data: bytes) -> tuple[Certificate, ...]:
    """All certificates of a PEM file, in its order, or the one of a DER file; raises CertificateError."""
    if b"-----BEGIN" not in data:
        return (Certificate.parse(data),)
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateError(_first_line(error)) from None
    return tuple(Certificate.parse(c.public_bytes(Encoding.DER)) for c in found)


def parse_name(text: str) -> tuple[tuple[str, str], ...]:
    """Attributes of a distinguished name as people write it (RFC 4514, blanks after commas allowed); ValueError."""
    tight = re.sub(r"(?<!\\)([,+])\s+", r"\1", text.strip())
    name = x509.Name.from_rfc4514_string(tight, attr_name_overrides=_WORDS)
    if not list(name):
        raise ValueError("an empty name")
    return tuple((a.oid.dotted_string, str(a.value)) for a in name)


def same_identity(one: Identity, other: Identity) -> bool:
    """Whether two identities are the same; of distinguished names the kinds of strings do not matter (RFC 5280 7.1).

    A peer that is told its name as text may encode it otherwise than its certificate does: charon does.
    """
    if one == other or one.type != other.type or one.type != IdType.DER_ASN1_DN:
        return one == other
    names = [_folded(i.data) for i in (one, other)]
    return bool(names[0]) and names[0] == names[1]


def _folded(der: bytes) -> list[tuple[str, str]]:
    name = read_name(der)
    return [(a.oid.dotted_string, " ".join(_value(a.value).split()).casefold()) for a in name or ()]


def readable(identity: Identity) -> Identity:
    """The same identity; a distinguished name with its text."""
    name = read_name(identity.data) if identity.type == IdType.DER_ASN1_DN else None
    return Identity(identity.type, identity.data, _text(name)) if name is not None else identity


MAX_NAME = 4096
_SPKI = bytes.fromhex("302a300506032b6570032100") + bytes(32)
_UNSIGNED = bytes.fromhex("300506032b6570") + bytes.fromhex("034100") + bytes(64)


def read_name(der: bytes) -> x509.Name | None:
    """A distinguished name; None for octets that are none.

    The library reads names within larger things only, so it is handed a certificate request with this subject, of
    which nothing else is looked at.
    """
    if not 2 < len(der) <= MAX_NAME:
        return None
    wrapped = _sequence(_sequence(b"\x02\x01\x00" + der + _SPKI + b"\xa0\x00") + _UNSIGNED)
    try:
        found = x509.load_der_x509_csr(wrapped).subject
        return found if found.public_bytes() == der else None
    except (ValueError, TypeError):
        return None


def _sequence(body: bytes) -> bytes:
    """A DER SEQUENCE around less than 64 KiB."""
    size = len(body)
    long = 0 if size < 0x80 else 1 if size < 0x100 else 2
    return b"\x30" + (bytes((0x80 | long,)) if long else b"") + size.to_bytes(long or 1, "big") + body


def spki_digest(key: PublicKey) -> bytes:
    """How a CERTREQ names a CA: SHA-1 of its SubjectPublicKeyInfo (RFC 7296 3.7); no security hangs on it."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha1(spki, usedforsecurity=False).digest()


def _read(der: bytes) -> Certificate:
    with warnings.catch_warnings():  # of what RFC 5280 forbids and old CAs do, such as a serial number of zero
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        parsed = x509.load_der_x509_certificate(der)
    key = parsed.public_key()
    if found := unfit(key):
        raise CertificateError(found)
    subject = parsed.subject
    return Certificate(
        der=bytes(der),
        subject_text=_text(subject),
        issuer_text=_text(parsed.issuer),
        subject=subject.public_bytes(),
        attributes=tuple((a.oid.dotted_string, _value(a.value)) for a in subject),
        names=_names(parsed),
        key=key,  # type: ignore[arg-type]  # unfit() has looked
        valid_from=parsed.not_valid_before_utc.timestamp(),
        valid_to=parsed.not_valid_after_utc.timestamp(),
        authority=spki_digest(key),  # type: ignore[arg-type]
        may_sign=_may_sign(parsed),
        weakness=_weakness(parsed),
        parsed=parsed,
    )


def _value(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def _text(name: x509.Name) -> str:
    text = name.rfc4514_string()
    return text if text.isprintable() else text.encode("ascii", "backslashreplace").decode()


def _names(parsed: x509.Certificate) -> tuple[Identity, ...]:
    try:
        extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    found: list[Identity] = []
    for name in extension.value:
        if isinstance(name, x509.DNSName):
            found.append(Identity(IdType.FQDN, name.value.encode("ascii", "replace")))
        elif isinstance(name, x509.RFC822Name):
            found.append(Identity(IdType.RFC822_ADDR, name.value.encode("ascii", "replace")))
        elif isinstance(name, x509.IPAddress) and hasattr(name.value, "packed"):
            kind = IdType.IPV4_ADDR if name.value.version == 4 else IdType.IPV6_ADDR
            found.append(Identity(kind, name.value.packed))
    return tuple(found)


def _may_sign(parsed: x509.Certificate) -> bool:
    """RFC 4945 5.1.3.2: where there is a key usage, it has digitalSignature or nonRepudiation."""
    try:
        usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.digital_signature or usage.content_commitment


def _weakness(parsed: x509.Certificate) -> str:
    """Why nobody should rely on the signature under this certificate, "" where there is no reason."""
    used = parsed.signature_hash_algorithm
    return f"it is signed with {used.name.upper()}, which can be forged" if isinstance(used, _WEAK) else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
