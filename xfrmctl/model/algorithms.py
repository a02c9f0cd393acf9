"""What is known of each algorithm: the facts the codec, the KDF, the kernel tables and path-MTU share.

One row an algorithm. Sizes are bytes unless the name says bits. Sources: RFC 4106 (AES-GCM), RFC 3602
(AES-CBC), RFC 7634 (ChaCha20-Poly1305), RFC 4868 (HMAC-SHA2), RFC 2404, RFC 2403, RFC 2451 (3DES), RFC 2410.
"""

from dataclasses import dataclass

from xfrmctl.model.iana import Encr, Integ, KeGroup, Prf


@dataclass(frozen=True, slots=True)
class EncrFacts:
    """Sizes of an encryption algorithm in ESP and in SK payloads.

    ``keyword`` carries ``{}`` where the key size in bits stands. ``salt`` is the implicit nonce that follows
    the key in the keying material. ``icv`` is 0 for an algorithm that needs an integrity algorithm beside it.
    """

    keyword: str
    key_bits: tuple[int, ...]
    default_key_bits: int
    key_length_attribute: bool
    iv: int
    block: int
    salt: int = 0
    icv: int = 0

    @property
    def is_aead(self) -> bool:
        """Whether the algorithm authenticates by itself (RFC 5282, RFC 7634)."""
        return self.icv > 0


@dataclass(frozen=True, slots=True)
class IntegFacts:
    """Key and truncated ICV of an integrity algorithm."""

    keyword: str
    key: int
    icv: int
    hash_name: str


@dataclass(frozen=True, slots=True)
class PrfFacts:
    """Preferred key length (= output length) of a PRF, RFC 7296 2.13."""

    keyword: str
    key: int
    hash_name: str


ENCR: dict[Encr, EncrFacts] = {
    Encr.AES_GCM_16: EncrFacts("aes{}gcm16", (128, 192, 256), 128, True, iv=8, block=1, salt=4, icv=16),
    Encr.CHACHA20_POLY1305: EncrFacts("chacha20poly1305", (256,), 256, False, iv=8, block=1, salt=4, icv=16),
    Encr.AES_CBC: EncrFacts("aes{}", (128, 192, 256), 128, True, iv=16, block=16),
    Encr.DES3: EncrFacts("3des", (192,), 192, False, iv=8, block=8),
    Encr.NULL: EncrFacts("null", (0,), 0, False, iv=0, block=1),
}

INTEG: dict[Integ, IntegFacts] = {
    Integ.HMAC_SHA2_256_128: IntegFacts("sha256", 32, 16, "sha256"),
    Integ.HMAC_SHA2_384_192: IntegFacts("sha384", 48, 24, "sha384"),
    Integ.HMAC_SHA2_512_256: IntegFacts("sha512", 64, 32, "sha512"),
    Integ.HMAC_SHA1_96: IntegFacts("sha1", 20, 12, "sha1"),
    Integ.HMAC_MD5_96: IntegFacts("md5", 16, 12, "md5"),
}

PRF: dict[Prf, PrfFacts] = {
    Prf.HMAC_SHA2_256: PrfFacts("prfsha256", 32, "sha256"),
    Prf.HMAC_SHA2_384: PrfFacts("prfsha384", 48, "sha384"),
    Prf.HMAC_SHA2_512: PrfFacts("prfsha512", 64, "sha512"),
}

PRF_OF_INTEG: dict[Integ, Prf] = {
    Integ.HMAC_SHA2_256_128: Prf.HMAC_SHA2_256,
    Integ.HMAC_SHA2_384_192: Prf.HMAC_SHA2_384,
    Integ.HMAC_SHA2_512_256: Prf.HMAC_SHA2_512,
}
"""The PRF an IKE proposal gets when its spelling names none."""

KE: dict[KeGroup, str] = {
    KeGroup.X25519: "x25519",
    KeGroup.ECP_256: "ecp256",
    KeGroup.ECP_384: "ecp384",
    KeGroup.MODP_2048: "modp2048",
    KeGroup.MODP_3072: "modp3072",
}
"""Key exchange methods that can be negotiated, with their keywords."""

NEGOTIABLE_ENCR = (Encr.AES_GCM_16, Encr.CHACHA20_POLY1305, Encr.AES_CBC)
NEGOTIABLE_INTEG = (Integ.HMAC_SHA2_256_128, Integ.HMAC_SHA2_384_192, Integ.HMAC_SHA2_512_256)
"""The rest of the tables exists for arithmetic (``xfrmctl mtu``) only: 3DES, MD5, SHA-1 and NULL are not offered."""
