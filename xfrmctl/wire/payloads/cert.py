"""The Certificate and Certificate Request payloads, RFC 7296 3.6 and 3.7.

Of the encodings two are of use here: "X.509 Certificate - Signature" (4), one DER certificate in each payload, and
"Raw Public Key" (15, RFC 7670). "Hash and URL" would have us fetch what a stranger names and is refused; so are the
others.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from xfrmctl.model.iana import CertEncoding, PayloadType
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.numbers import CERT_ENCODINGS

MAX_CERTIFICATES = 10
"""Certificates of one message that we are ready to look at."""

MAX_CERTIFICATE_OCTETS = 65536
"""Octets of all of them together."""

AUTHORITY_LEN = 20
"""A CERTREQ names a CA by the SHA-1 of its SubjectPublicKeyInfo (RFC 7296 3.7)."""

MAX_AUTHORITIES = 100
"""CAs of one CERTREQ that are looked at."""


@dataclass(frozen=True, slots=True)
class Cert:
    """One certificate, as it came."""

    payload_type: ClassVar[PayloadType] = PayloadType.CERT
    name: ClassVar[str] = "CERT"

    encoding: CertEncoding
    data: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "Cert":
        """Read a body: encoding, certificate."""
        if end - start < 1:
            raise WireError("short", "CERT")
        return cls(CERT_ENCODINGS[data[start]], data[start + 1 : end])

    def encode(self) -> bytes:
        """The body."""
        return bytes((self.encoding & 0xFF,)) + self.data


@dataclass(frozen=True, slots=True)
class CertReq:
    """What certificates the sender can make use of; no authority at all means any."""

    payload_type: ClassVar[PayloadType] = PayloadType.CERTREQ
    name: ClassVar[str] = "CERTREQ"

    encoding: CertEncoding
    data: bytes = b""

    @classmethod
    def of(cls, authorities: Iterable[bytes]) -> "CertReq":
        """A request for X.509 certificates of these CAs."""
        return cls(CertEncoding.X509_SIGNATURE, b"".join(authorities))

    @property
    def authorities(self) -> tuple[bytes, ...]:
        """The CAs that are named; an incomplete one at the end is not."""
        end = min(len(self.data) // AUTHORITY_LEN, MAX_AUTHORITIES) * AUTHORITY_LEN
        return tuple(self.data[at : at + AUTHORITY_LEN] for at in range(0, end, AUTHORITY_LEN))

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "CertReq":
        """Read a body: encoding, authorities."""
        if end - start < 1:
            raise WireError("short", "CERTREQ")
        return cls(CERT_ENCODINGS[data[start]], data[start + 1 : end])

    def encode(self) -> bytes:
        """The body."""
        return bytes((self.encoding & 0xFF,)) + self.data
