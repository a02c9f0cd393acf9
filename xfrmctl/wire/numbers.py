"""IANA numbers to enum members by one dict lookup (an enum call costs eight times as much).

A number without a name goes through the open enum's constructor and is *not* remembered: a peer must not be
able to make a table grow.
"""

from typing import TypeVar

from xfrmctl.model.iana import (
    AuthMethod,
    CertEncoding,
    ExchangeType,
    HashAlgorithm,
    IdType,
    KeGroup,
    NotifyType,
    OpenEnum,
    ProtocolId,
    TransformType,
)

E = TypeVar("E", bound=OpenEnum)


class Members(dict[int, E]):
    """``members[n]`` is ``kind(n)``, fast for the numbers that have a name."""

    __slots__ = ("_kind",)

    def __init__(self, kind: type[E]) -> None:
        super().__init__((int(member), member) for member in kind)
        self._kind = kind

    def __missing__(self, number: int) -> E:
        return self._kind(number)


AUTH_METHODS = Members(AuthMethod)
CERT_ENCODINGS = Members(CertEncoding)
EXCHANGES = Members(ExchangeType)
HASH_ALGORITHMS = Members(HashAlgorithm)
ID_TYPES = Members(IdType)
KE_GROUPS = Members(KeGroup)
NOTIFY_TYPES = Members(NotifyType)
PROTOCOLS = Members(ProtocolId)
TRANSFORM_TYPES = Members(TransformType)
