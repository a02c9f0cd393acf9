"""Sealing and opening SK and SKF: RFC 7296 3.14, RFC 7383 2.5; AEAD ciphers: RFC 5282, ChaCha20-Poly1305: RFC 7634.

The datagram, and what covers what::

    IKE header | clear payloads | SK header | IV | ciphertext of (payloads | padding | pad length) | ICV
    '------------- associated data (AEAD) -----'
    '------------- MAC (CBC) --------------------------------------------------------------------'

AEAD: the nonce is salt | IV, the IV a counter under this key, so that it never repeats; no padding. CBC:
the IV is random, the MAC is checked before anything is decrypted, padding fills the last block with zeros.

SKF has four octets more behind its generic header, number and total of the fragment, covered like that header; each
fragment is a datagram sealed on its own.

One Protection is one direction of one IKE SA: what seals is never what opens. The library's cipher, some kilobytes, is
made for the first message: a half-open IKE SA may never see one.
"""

from hmac import compare_digest, digest
from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from xfrmctl.crypto.entropy import Entropy
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.iana import Encr
from xfrmctl.model.suite import Suite

_pack_header = Struct(">BxH").pack
_pack_length = Struct(">I").pack
_pack_counter = Struct(">Q").pack

_LENGTH_AT = 24
_HEADER_LEN = 28
_GENERIC_LEN = 4


class IntegrityError(XfrmctlError):
    """A protected message is not what the holder of the keys sent."""

    cause = "it was changed on the way, is forged, or the peer has other keys than we"
    cure = "it is dropped and counted; if it is every message of a peer, take the connection down and up again"


class Protection:
    """One direction's keys. ``counter`` is the next AEAD IV: whoever writes the state down must keep it."""

    __slots__ = (
        "_aead",
        "_aes",
        "_block",
        "_encr",
        "_hash",
        "_icv",
        "_integrity_key",
        "_iv",
        "_key",
        "_salt",
        "counter",
    )

    def __init__(self, suite: Suite, encryption_key: bytes, integrity_key: bytes, *, counter: int = 0) -> None:
        """``encryption_key`` is SK_ei or SK_er with its salt, ``integrity_key`` SK_ai or SK_ar (AEAD: b"").

        ValueError for keys that do not fit the suite, or a cipher that does not protect IKE.
        """
        facts = suite.encr_facts
        integ = suite.integ_facts
        if len(encryption_key) != suite.key_bits // 8 + facts.salt:
            raise ValueError(f"{len(encryption_key)} octets of encryption key for {suite}")
        if facts.is_aead == (integ is not None) or len(integrity_key) != (integ.key if integ else 0):
            raise ValueError(f"{len(integrity_key)} octets of integrity key for {suite}")
        self.counter = counter
        self._iv = facts.iv
        self._block = facts.block
        self._icv = suite.icv
        self._integrity_key = integrity_key
        self._hash = integ.hash_name if integ is not None else ""
        self._aead: AESGCM | ChaCha20Poly1305 | None = None
        self._aes: AES | None = None
        self._encr = suite.encr
        self._key = encryption_key[: suite.key_bits // 8]
        self._salt = encryption_key[len(self._key) :]
        if suite.encr not in (Encr.AES_GCM_16, Encr.CHACHA20_POLY1305, Encr.AES_CBC):
            raise ValueError(f"{suite} cannot protect IKE")

    def _ready(self) -> None:
        match self._encr:
            case Encr.AES_GCM_16:
                self._aead = AESGCM(self._key)
            case Encr.CHACHA20_POLY1305:
                self._aead = ChaCha20Poly1305(self._key)
            case _:
                self._aes = AES(self._key)

    def __repr__(self) -> str:
        return f"Protection(counter={self.counter})"

    def capacity(self, size: int) -> int:
        """How many octets of plaintext a datagram of at most ``size`` octets carries in SK; SKF carries four less."""
        room = size - _HEADER_LEN - _GENERIC_LEN - self._iv - self._icv
        return room - room % self._block - 1

    @property
    def block(self) -> int:
        """Datagrams differ in size by multiples of this."""
        return self._block

    @property
    def smallest(self) -> int:
        """Octets of a datagram without SK's ciphertext: any datagram is this and whole blocks."""
        return _HEADER_LEN + _GENERIC_LEN + self._iv + self._icv

    def seal(self, clear: bytes, first: int, plaintext: bytes, entropy: Entropy, fragment: bytes = b"") -> bytes:
        """The whole datagram.

        ``clear`` is the IKE header (and clear payloads, if any) whose last "next payload" is SK already;
        its length field is filled in here. ``first`` is the type of the first payload in ``plaintext``, 0
        if that is empty. ``fragment`` are the four octets with which the body of SKF begins.
        """
        if self._aead is None and self._aes is None:
            self._ready()
        padding = -(len(plaintext) + 1) % self._block
        size = _GENERIC_LEN + len(fragment) + self._iv + len(plaintext) + padding + 1 + self._icv
        head = b"".join(
            (
                clear[:_LENGTH_AT],
                _pack_length(len(clear) + size),
                clear[_HEADER_LEN:],
                _pack_header(first, size),
                fragment,
            )
        )
        padded = b"".join((plaintext, bytes(padding), bytes((padding,))))
        if self._aead is not None:
            iv = _pack_counter(self.counter)
            self.counter += 1
            return b"".join((head, iv, self._aead.encrypt(self._salt + iv, padded, head)))
        assert self._aes is not None
        iv = entropy(self._iv)
        encryptor = Cipher(self._aes, CBC(iv)).encryptor()
        covered = b"".join((head, iv, encryptor.update(padded), encryptor.finalize()))
        return covered + digest(self._integrity_key, covered, self._hash)[: self._icv]

    def open(self, data: bytes, body_offset: int) -> bytes:
        """The plaintext of a datagram whose body of SK or SKF starts at ``body_offset``, without padding.

        Raises IntegrityError, and tells the peer nothing of why.
        """
        start = body_offset + self._iv
        end = len(data) - self._icv
        if body_offset < _HEADER_LEN + _GENERIC_LEN or end <= start or (end - start) % self._block:
            raise IntegrityError("the encrypted part has an impossible size")
        iv = data[body_offset:start]
        if self._aead is None and self._aes is None:
            self._ready()
        if self._aead is not None:
            try:
                padded = self._aead.decrypt(self._salt + iv, data[start:], data[:body_offset])
            except InvalidTag:
                raise IntegrityError("the integrity check failed") from None
        else:
            assert self._aes is not None
            expected = digest(self._integrity_key, data[:end], self._hash)[: self._icv]
            if not compare_digest(expected, data[end:]):
                raise IntegrityError("the integrity check failed")
            decryptor = Cipher(self._aes, CBC(iv)).decryptor()
            padded = decryptor.update(data[start:end]) + decryptor.finalize()
        kept = len(padded) - 1 - padded[-1]
        if kept < 0:
            raise IntegrityError("the padding is longer than what it pads")
        return padded[:kept]
