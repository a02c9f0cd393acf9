"""Key material, RFC 7296 2.14 (IKE SA), 2.17 (CHILD SA), 2.18 (rekeyed IKE SA).

An AEAD cipher has no SK_a, and its SK_e carry the salt after the key (RFC 5282 7.1, RFC 7634 2); likewise
in KEYMAT (RFC 4106 8.1).
"""

from dataclasses import dataclass, field

from xfrmctl.crypto.prf import prf, prf_key_length, prf_plus
from xfrmctl.model.iana import Prf
from xfrmctl.model.sa import SaKeys
from xfrmctl.model.suite import Suite


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr (RFC 7296 2.14): ``i`` initiator, ``r`` responder."""

    d: bytes = field(repr=False)
    ai: bytes = field(repr=False)
    ar: bytes = field(repr=False)
    ei: bytes = field(repr=False)
    er: bytes = field(repr=False)
    pi: bytes = field(repr=False)
    pr: bytes = field(repr=False)


def derive_ike_keys(suite: Suite, shared: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes) -> IkeKeys:
    """Keys of an IKE SA made by IKE_SA_INIT: SKEYSEED = prf(Ni | Nr, g^ir)."""
    return _expand(suite, prf(_prf_of(suite), ni + nr, shared), ni, nr, spi_i, spi_r)


def derive_rekeyed_ike_keys(
    suite: Suite,
    old_prf: Prf,
    old_sk_d: bytes,
    shared: bytes,
    ni: bytes,
    nr: bytes,
    spi_i: bytes,
    spi_r: bytes,
) -> IkeKeys:
    """Keys of an IKE SA made by CREATE_CHILD_SA: SKEYSEED = prf(SK_d of the old one, g^ir | Ni | Nr).

    The old SA's prf makes SKEYSEED, the new one's all the rest; nonces, SPIs and ``shared`` are the new
    ones, and initiator is who began the rekeying (RFC 7296 2.18).
    """
    return _expand(suite, prf(old_prf, old_sk_d, shared + ni + nr), ni, nr, spi_i, spi_r)


def derive_child_keys(
    suite: Suite, prf: Prf, sk_d: bytes, ni: bytes, nr: bytes, shared: bytes = b""
) -> tuple[SaKeys, SaKeys]:
    """Keys of a CHILD SA: (initiator to responder, responder to initiator) of the exchange that made it.

    KEYMAT = prf+(SK_d, g^ir | Ni | Nr); ``shared`` is b"" without PFS. ``prf`` is the IKE SA's.
    """
    encryption, integrity = _sizes(suite)
    size = encryption + integrity
    material = prf_plus(prf, sk_d, shared + ni + nr, 2 * size)
    return (
        SaKeys(material[:encryption], material[encryption:size]),
        SaKeys(material[size : size + encryption], material[size + encryption :]),
    )


def _prf_of(suite: Suite) -> Prf:
    if suite.prf is None:
        raise ValueError(f"an IKE suite needs a PRF: {suite}")
    return suite.prf


def _sizes(suite: Suite) -> tuple[int, int]:
    """Octets of one encryption key with its salt, and of one integrity key."""
    facts = suite.integ_facts
    return suite.key_bits // 8 + suite.encr_facts.salt, 0 if facts is None else facts.key


def _expand(suite: Suite, skeyseed: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes) -> IkeKeys:
    """{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)."""
    algorithm = _prf_of(suite)
    own = prf_key_length(algorithm)
    encryption, integrity = _sizes(suite)
    a = own + integrity
    b = a + integrity
    c = b + encryption
    d = c + encryption
    e = d + own
    t = prf_plus(algorithm, skeyseed, ni + nr + spi_i + spi_r, e + own)
    return IkeKeys(t[:own], t[own:a], t[a:b], t[b:c], t[c:d], t[d:e], t[e:])
