"""IKE identities (RFC 7296 3.5) and their spelling: ``fqdn:moon.example.org``, ``email:…``, ``172.16.1.1``."""

from dataclasses import dataclass
from ipaddress import ip_address

from xfrmctl.model.address import IPAddress
from xfrmctl.model.iana import IdType

_PREFIXES = {
    "fqdn": IdType.FQDN,
    "email": IdType.RFC822_ADDR,
    "keyid": IdType.KEY_ID,
    "ipv4": IdType.IPV4_ADDR,
    "ipv6": IdType.IPV6_ADDR,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Type and raw data, compared exactly (FQDN and email: as sent, RFC 7296 3.5)."""

    type: IdType
    data: bytes

    @classmethod
    def of_address(cls, address: IPAddress) -> "Identity":
        """The identity that is an address."""
        return cls(IdType.IPV4_ADDR if address.version == 4 else IdType.IPV6_ADDR, address.packed)

    def __str__(self) -> str:
        if self.type in (IdType.IPV4_ADDR, IdType.IPV6_ADDR) and len(self.data) in (4, 16):
            return str(ip_address(self.data))
        if self.type in (IdType.FQDN, IdType.RFC822_ADDR):
            text = self.data.decode("ascii", "backslashreplace")
            if text.isprintable():
                return ("fqdn:" if self.type == IdType.FQDN else "email:") + text
        return f"{self.type.name.lower()}:{self.data[:64].hex()}"


def parse_identity(text: str) -> Identity:
    """Read a spelled identity; a bare address or name is taken for what it looks like.

    Raises ValueError with cause and cure.
    """
    kind, colon, rest = text.partition(":")
    chosen = _PREFIXES.get(kind.lower()) if colon else None
    try:
        if chosen in (IdType.IPV4_ADDR, IdType.IPV6_ADDR):
            return Identity.of_address(ip_address(rest))
        if chosen is not None:
            return Identity(chosen, rest.encode("ascii") if chosen != IdType.KEY_ID else rest.encode())
        try:
            return Identity.of_address(ip_address(text))
        except ValueError:
            data = text.encode("ascii")
            return Identity(IdType.RFC822_ADDR if "@" in text else IdType.FQDN, data)
    except (ValueError, UnicodeEncodeError):
        raise ValueError(
            f"{text!r} is no identity: write fqdn:NAME, email:USER@HOST, keyid:TEXT or an address"
        ) from None
