"""Why a certificate chain is not believed."""

from dataclasses import dataclass
from enum import Enum

from xfrmctl.crypto.certificate import Certificate


class Doubt(Enum):
    """The kinds of reasons."""

    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    REVOKED = "revoked"
    NO_STATUS = "no_status"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Distrust:
    """A chain is not believed: why, and which certificate it is about.

    ``detail`` goes into a sentence; ``source`` is who says that a certificate is revoked. ``early_s`` is how far the
    clock of this host stands before what the CA has signed last: 0 where nothing speaks against the clock.
    """

    doubt: Doubt
    subject: str
    issuer: str
    detail: str = ""
    certificate: Certificate | None = None
    source: str = ""
    early_s: float = 0.0

    @classmethod
    def of(
        cls, doubt: Doubt, certificate: Certificate, detail: str, *, source: str = "", early_s: float = 0.0
    ) -> "Distrust":
        """A reason to doubt this certificate."""
        return cls(doubt, certificate.subject_text, certificate.issuer_text, detail, certificate, source, early_s)
