"""A payload that is carried but not understood: CP, EAP, and types without a name.

The critical bit only counts for types without a name (RFC 7296 2.5, 3.2): an implementation of RFC 7296
*recognizes* EAP and the like, whether it uses them or not.
"""

from dataclasses import dataclass

from xfrmctl.model.iana import PayloadType

KNOWN_TYPES = frozenset(int(kind) for kind in PayloadType if kind)
"""Payload types that have a name, for which the critical bit is ignored."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A payload as it came; ``type`` is its number, 0-255."""

    type: int
    critical: bool
    data: bytes

    @property
    def payload_type(self) -> int:
        """Its number; comparable with PayloadType."""
        return self.type

    @property
    def name(self) -> str:
        """``EAP``, or ``P(99)`` for a type without a name."""
        return PayloadType(self.type).name if self.type in KNOWN_TYPES else f"P({self.type})"

    def encode(self) -> bytes:
        """The body."""
        return self.data
