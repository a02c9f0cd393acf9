"""The peer's bytes break the protocol; the class carries the Notify that says so (RFC 7296 3.10.1)."""

from typing import TYPE_CHECKING, ClassVar

from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.iana import NotifyType

if TYPE_CHECKING:
    from xfrmctl.wire.header import Header

REASONS = frozenset(
    {
        "short",  # a block ends before its fixed part does
        "bad_length",  # a length field contradicts what is there
        "trailing",  # octets after the end of a block
        "bad_version",  # major version other than 2
        "bad_exchange",  # exchange type that is not understood
        "bad_spi",  # an SPI that is zero or of a wrong size
        "bad_value",  # a field with a value that the RFC rules out
        "bad_count",  # a count field contradicts what is there
        "too_many",  # more elements than we are ready to look at
        "critical",  # unknown payload with the critical bit
        "misplaced",  # SK within SK, or not last
        "duplicate",  # a payload that may stand once stands twice
        "missing",  # a mandatory payload is absent
    }
)
"""Every ``WireError.reason``: a small fixed set, so that it can be a metrics label."""


class WireError(XfrmctlError):
    """A message, or a part of it, is malformed."""

    cause = "the peer's software breaks RFC 7296, or somebody else has sent the message"
    cure = (
        "it is dropped and counted by its reason; "
        "if it is a peer's, capture IKE on UDP 500 and 4500 and report it to its maker"
    )

    notify: ClassVar[NotifyType] = NotifyType.INVALID_SYNTAX

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class UnsupportedCritical(WireError):
    """An unknown payload is critical (RFC 7296 2.5); its type is the Notify's one octet of data."""

    cause = "the peer insists on an extension of IKEv2 that this version does not know"
    cure = "switch that extension off at the peer"

    notify: ClassVar[NotifyType] = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD

    def __init__(self, payload_type: int) -> None:
        super().__init__("critical", f"payload type {payload_type}")
        self.payload_type = payload_type


class InvalidMajorVersion(WireError):
    """The major version is not 2 (RFC 7296 2.5); ``header`` is what a version-independent reading gives."""

    cause = "the peer speaks another version than IKEv2, as IKEv1 is"
    cure = "switch the peer to IKEv2 (keyexchange = ikev2)"

    notify: ClassVar[NotifyType] = NotifyType.INVALID_MAJOR_VERSION

    def __init__(self, header: "Header") -> None:
        super().__init__("bad_version", f"major version {header.major}")
        self.header = header
