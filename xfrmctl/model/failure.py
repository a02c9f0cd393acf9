"""Why something failed: one value that log, ``show`` and a metrics label all tell the same way."""

from dataclasses import dataclass
from enum import Enum

OLDEST_S = 1767225600.0
"""2026-01-01: this program is younger, a clock that says otherwise is wrong."""


class FailureCode(Enum):
    """Every way a negotiation can fail; the value is the metrics label."""

    NO_PROPOSAL_CHOSEN = "no_proposal_chosen"
    TS_UNACCEPTABLE = "ts_unacceptable"
    AUTHENTICATION_FAILED = "authentication_failed"
    IDENTITY_MISMATCH = "identity_mismatch"
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_INVALID = "certificate_invalid"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_REVOKED = "certificate_revoked"
    REVOCATION_UNKNOWN = "revocation_unknown"
    IDENTITY_NOT_CERTIFIED = "identity_not_certified"
    SIGNATURE_INVALID = "signature_invalid"
    NO_COMMON_SIGNATURE = "no_common_signature"
    SELECTORS_TAKEN = "selectors_taken"
    IDENTITY_IN_USE = "identity_in_use"
    UNKNOWN_PEER = "unknown_peer"
    INVALID_KE = "invalid_ke"
    INVALID_SYNTAX = "invalid_syntax"
    NO_RESPONSE = "no_response"
    PEER_DEAD = "peer_dead"
    PEER_DELETED = "peer_deleted"
    PEER_RESTARTED = "peer_restarted"
    PATH_LOST = "path_lost"
    KERNEL_REFUSED = "kernel_refused"
    REFUSED_BY_PEER = "refused_by_peer"
    LIFETIME_EXPIRED = "lifetime_expired"
    REKEYED = "rekeyed"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failure in an operator's words.

    ``text`` says what happened, ``cause`` why as far as is known, ``cure`` what to do. ``ours`` and ``theirs`` are
    what each side offered or demanded (proposals, selectors, identities), spelled as in a configuration file.
    """

    code: FailureCode
    text: str
    cause: str = ""
    cure: str = ""
    notify: str = ""
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
