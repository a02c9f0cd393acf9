"""Any ESP or AH suite the tables know, also those never offered (3DES, MD5, SHA-1, NULL): for arithmetic only."""

from xfrmctl.model.algorithms import ENCR, INTEG, KE
from xfrmctl.model.iana import Encr, Integ, ProtocolId
from xfrmctl.model.nearest import nearest
from xfrmctl.model.suite import Suite, SuiteError

_CIPHERS: dict[str, tuple[Encr, int]] = {
    facts.keyword.format(bits): (encr, bits) for encr, facts in ENCR.items() for bits in facts.key_bits
}
_INTEGRITY: dict[str, Integ] = {facts.keyword: integ for integ, facts in INTEG.items()}
_SIZELESS = {*KE.values(), "esn", "noesn"}
"""Words of a proposal that do not change the size of a packet (RFC 4303 2.2.1: only 32 bits are sent)."""


def parse_suite(text: str) -> Suite:
    """Read ``aes256gcm16``, ``aes128-sha256``, ``3des-md5``, ``ah-sha256``; key exchange and ESN words are ignored.

    Raises SuiteError naming the wrong word and the cure.
    """
    cipher: tuple[Encr, int] | None = None
    integ: Integ | None = None
    words = text.strip().lower().split("-")
    ah = words[0] == "ah"
    for word in words[ah:]:
        if word in _CIPHERS and cipher is None:
            cipher = _CIPHERS[word]
        elif word in _INTEGRITY and integ is None:
            integ = _INTEGRITY[word]
        elif word in _CIPHERS or word in _INTEGRITY:
            raise SuiteError(f"suite {text!r} has two of a kind ({word}): write one suite at a time")
        elif word not in _SIZELESS:
            known = [*_CIPHERS, *_INTEGRITY]
            near = nearest(word, known)
            hint = f"did you mean {near!r}? " if near else ""
            raise SuiteError(f"unknown word {word!r} in suite {text!r}: {hint}Known: {', '.join(known)}")
    if ah:
        return _ah(text, cipher, integ)
    if cipher is None:
        raise SuiteError(f"suite {text!r} has no cipher: begin with one such as aes256gcm16")
    if ENCR[cipher[0]].is_aead and integ is not None:
        raise SuiteError(f"suite {text!r}: an AEAD cipher takes no integrity algorithm: leave it out")
    if not ENCR[cipher[0]].is_aead and integ is None:
        raise SuiteError(f"suite {text!r} has no integrity algorithm: add one such as sha256")
    return Suite(ProtocolId.ESP, cipher[0], cipher[1], integ)


def _ah(text: str, cipher: tuple[Encr, int] | None, integ: Integ | None) -> Suite:
    if cipher is not None:
        raise SuiteError(f"suite {text!r}: AH encrypts nothing: leave the cipher out")
    if integ is None:
        raise SuiteError(f"suite {text!r} has no integrity algorithm: write one such as ah-sha256")
    return Suite(ProtocolId.AH, Encr.NULL, 0, integ)
