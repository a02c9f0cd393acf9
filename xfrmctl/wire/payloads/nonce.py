"""The Nonce payload, RFC 7296 3.9: 16 to 256 octets."""

from dataclasses import dataclass, field
from typing import ClassVar

from xfrmctl.model.iana import PayloadType
from xfrmctl.wire.errors import WireError

MIN_NONCE = 16
MAX_NONCE = 256


@dataclass(frozen=True, slots=True)
class Nonce:
    """Ni or Nr; the payload does not say which, so its name is ``No``."""

    payload_type: ClassVar[PayloadType] = PayloadType.NONCE
    name: ClassVar[str] = "No"

    data: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "Nonce":
        """Read a body."""
        if not MIN_NONCE <= end - start <= MAX_NONCE:
            raise WireError("bad_length", f"a nonce of {end - start} octets")
        return cls(data[start:end])

    def encode(self) -> bytes:
        """The body."""
        return self.data
