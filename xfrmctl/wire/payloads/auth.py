"""The Authentication payload, RFC 7296 3.8."""

from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar

from xfrmctl.model.iana import AuthMethod, PayloadType
from xfrmctl.wire.errors import WireError
from xfrmctl.wire.numbers import AUTH_METHODS

_pack = Struct(">B3x").pack


@dataclass(frozen=True, slots=True)
class Auth:
    """Proof of identity: a MIC or a signature over the signed octets (RFC 7296 2.15)."""

    payload_type: ClassVar[PayloadType] = PayloadType.AUTH
    name: ClassVar[str] = "AUTH"

    method: AuthMethod
    data: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, start: int, end: int) -> "Auth":
        """Read a body: method, three reserved octets, data."""
        if end - start < 4:
            raise WireError("short", "AUTH")
        return cls(AUTH_METHODS[data[start]], data[start + 4 : end])

    def encode(self) -> bytes:
        """The body."""
        return _pack(self.method) + self.data
