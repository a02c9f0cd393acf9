"""IKE identities (RFC 7296 3.5) and their spelling: ``fqdn:moon.example.org``, ``dn:CN=moon,O=Lab``, ``172.16.1.1``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from xfrmctl.model.address import IPAddress
from xfrmctl.model.iana import IdType
from xfrmctl.model.nearest import nearest

_PREFIXES = {
    "fqdn": IdType.FQDN,
    "email": IdType.RFC822_ADDR,
    "keyid": IdType.KEY_ID,
    "ipv4": IdType.IPV4_ADDR,
    "ipv6": IdType.IPV6_ADDR,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Type and raw data, compared exactly (FQDN and email: as sent, RFC 7296 3.5).

    ``text`` is how a distinguished name reads (RFC 4514), where somebody has read its DER.
    """

    type: IdType
    data: bytes
    text: str = field(default="", compare=False)

    @classmethod
    def of_address(cls, address: IPAddress) -> "Identity":
        """The identity that is an address."""
        return cls(IdType.IPV4_ADDR if address.version == 4 else IdType.IPV6_ADDR, address.packed)

    def __str__(self) -> str:
        if self.text:
            return f"dn:{self.text}"
        if self.type in (IdType.IPV4_ADDR, IdType.IPV6_ADDR) and len(self.data) in (4, 16):
            return str(ip_address(self.data))
        if self.type in (IdType.FQDN, IdType.RFC822_ADDR):
            text = self.data.decode("ascii", "backslashreplace")
            if text.isprintable():
                return ("fqdn:" if self.type == IdType.FQDN else "email:") + text
        return f"{self.type.name.lower()}:{self.data[:64].hex()}"


Attributes = Sequence[tuple[str, str]]
"""A distinguished name: object identifiers (dotted) and values, in the order of its encoding."""


@dataclass(frozen=True, slots=True)
class IdentityPattern:
    """Identities of one kind: ``fqdn:*.example.org``, ``email:*@example.org``, ``dn:CN=*,O=Example``.

    The ``*`` of a name stands for whatever comes before the rest, labels and their dots too. In a distinguished name it
    stands for one whole value; all attributes must be there, in the order of the encoding or in the reverse (RFC 4514
    and everybody else do not agree on which comes first). Letter case does not matter.
    """

    type: IdType
    text: str
    attributes: tuple[tuple[str, str], ...] = ()

    def matches(self, identity: Identity, attributes: Attributes = ()) -> bool:
        """Whether an identity is one of these; ``attributes`` are those of its distinguished name, if it is one."""
        if identity.type != self.type:
            return False
        if self.type == IdType.DER_ASN1_DN:
            mine, theirs = list(self.attributes), list(attributes)
            return _same_name(mine, theirs) or _same_name(mine, theirs[::-1])
        rest, name = self.text.removeprefix("*").casefold(), identity.data.decode("ascii", "replace").casefold()
        return name.endswith(rest) and len(name) > len(rest) and name.isprintable()

    def __str__(self) -> str:
        prefix = {IdType.FQDN: "fqdn", IdType.RFC822_ADDR: "email"}.get(self.type, "dn")
        return f"{prefix}:{self.text}"


def _same_name(pattern: Attributes, name: Attributes) -> bool:
    if len(pattern) != len(name):
        return False
    return all(
        kind == kind_ and (wanted == "*" or " ".join(wanted.split()).casefold() == " ".join(value.split()).casefold())
        for (kind, wanted), (kind_, value) in zip(pattern, name, strict=True)
    )


def parse_identity(text: str) -> Identity:
    """Read a spelled identity; a bare address or name is taken for what it looks like.

    Raises ValueError with cause and cure.
    """
    kind, colon, rest = text.partition(":")
    chosen = _PREFIXES.get(kind.lower()) if colon else None
    meant = nearest(kind, (*_PREFIXES, "dn"), 0.6) if colon and kind.isalpha() and chosen is None else None
    if meant:  # no name has a colon, and no group of an IPv6 address looks like one of these words
        raise ValueError(f"{kind!r} is no kind of identity: did you mean {meant!r}?")
    try:
        if chosen in (IdType.IPV4_ADDR, IdType.IPV6_ADDR):
            return Identity.of_address(ip_address(rest))
        if chosen == IdType.KEY_ID:
            return Identity(chosen, rest.encode())
        if not text.isprintable():  # no terminators in names (RFC 7296 3.5)
            raise ValueError(text)
        if chosen is not None:
            return Identity(chosen, rest.encode("ascii"))
        try:
            return Identity.of_address(ip_address(text))
        except ValueError:
            data = text.encode("ascii")
            return Identity(IdType.RFC822_ADDR if "@" in text else IdType.FQDN, data)
    except (ValueError, UnicodeEncodeError):
        raise ValueError(
            f"{text!r} is no identity: write fqdn:NAME, email:USER@HOST, keyid:TEXT or an address"
        ) from None
