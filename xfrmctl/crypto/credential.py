"""What we prove ourselves with when we sign: a private key, and what tells the peer whose it is."""

from dataclasses import dataclass, field

from xfrmctl.crypto.certificate import Certificate
from xfrmctl.crypto.rawkey import RawKey
from xfrmctl.crypto.signature import PrivateKey, PublicKey, RsaPadding


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key with its certificates, or with a raw public key that the peer knows.

    ``chain`` is our certificate and those that lead from it towards a root, empty with a raw public key.
    """

    chain: tuple[Certificate, ...]
    key: PrivateKey = field(repr=False, compare=False)
    rsa: RsaPadding = RsaPadding.AUTO
    raw: RawKey | None = None

    @property
    def certificate(self) -> Certificate | None:
        """Our own certificate, None with a raw public key."""
        return self.chain[0] if self.chain else None

    @property
    def public(self) -> PublicKey:
        """The public key that our signatures verify with."""
        return self.key.public_key()

    @property
    def name(self) -> str:
        """The subject of the certificate, or the kind and the fingerprint of the key."""
        return self.chain[0].subject_text if self.chain else f"our {self.raw}"

    def __repr__(self) -> str:
        """Names the content: configurations are compared by it."""
        return f"Credential({[c.fingerprint for c in self.chain]}, {self.rsa.value}, {self.raw!r})"
