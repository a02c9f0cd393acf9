"""Finite-field Diffie-Hellman over the groups of RFC 3526, generator 2.

``cryptography`` 50 announces that it will drop finite-field Diffie-Hellman one day, by a warning when these
names are looked up. They are looked up once, here; the day they are gone, this file goes too.

The private value is the library's own (it takes as many bits as the group's strength asks for). Checks on
the peer's value: as many octets as the modulus (RFC 7296 3.4), and 1 < y < p - 1 (RFC 6989 2.1; p is a safe
prime).
"""

import warnings
from functools import cache

from cryptography.utils import CryptographyDeprecationWarning

from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.iana import KeGroup

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.primitives.asymmetric.dh import (
        DHParameterNumbers,
        DHParameters,
        DHPrivateKey,
        DHPublicNumbers,
    )


class KeyExchangeError(XfrmctlError):
    """The peer's public value is no value of the method."""

    cause = "the peer's software is wrong, or somebody else has sent the message"
    cure = (
        "it is dropped or refused, and nothing is lost by it; "
        "if it stays, choose another key exchange method on both ends"
    )


_P2048 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
_P3072 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7"
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C"
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
    16,
)
_P4096 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7"
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C"
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7"
    "88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6"
    "287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9"
    "93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
    16,
)

PRIMES: dict[KeGroup, int] = {
    KeGroup.MODP_2048: _P2048,
    KeGroup.MODP_3072: _P3072,
    KeGroup.MODP_4096: _P4096,
}
"""Moduli, RFC 3526 3 to 5."""

_NUMBERS = {group: DHParameterNumbers(prime, 2) for group, prime in PRIMES.items()}


@cache
def _parameters(group: KeGroup) -> DHParameters:
    return _NUMBERS[group].parameters()


class ModpKey:
    """A private value of one MODP group."""

    __slots__ = ("_key", "group", "public")

    def __init__(self, group: KeGroup) -> None:
        self._key: DHPrivateKey = _parameters(group).generate_private_key()
        self.group = group
        size = PRIMES[group].bit_length() // 8
        self.public = self._key.public_key().public_numbers().y.to_bytes(size, "big")

    def shared(self, peer_public: bytes) -> bytes:
        """g^ir, padded with leading zeros to the size of the modulus (RFC 7296 2.14)."""
        size = len(self.public)
        if len(peer_public) != size:
            raise KeyExchangeError(f"{self.group.name}: public value of {len(peer_public)} octets, not {size}")
        value = int.from_bytes(peer_public, "big")
        if not 1 < value < PRIMES[self.group] - 1:
            raise KeyExchangeError(f"{self.group.name}: public value out of range")
        try:
            secret = self._key.exchange(DHPublicNumbers(value, _NUMBERS[self.group]).public_key())
        except ValueError as error:
            raise KeyExchangeError(f"{self.group.name}: public value refused") from error
        return secret.rjust(size, b"\0")
