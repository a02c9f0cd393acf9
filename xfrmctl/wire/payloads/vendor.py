"""The Vendor ID payload, RFC 7296 3.12; unknown ones are ignored."""

from dataclasses import dataclass
from typing import ClassVar

from xfrmctl.model.iana import PayloadType


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor's mark."""

    payload_type: ClassVar[PayloadType] = PayloadType.VENDOR
    name: ClassVar[str] = "V"

    data: bytes

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "Vendor":
        """Read a body."""
        return cls(data[start:end])

    def encode(self) -> bytes:
        """The body."""
        return self.data
