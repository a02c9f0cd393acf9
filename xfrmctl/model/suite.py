"""Transforms, proposals and negotiated suites, and how an operator spells them.

Spelling: keywords joined by ``-``; several of one kind are alternatives in order of preference::

    aes256gcm16-prfsha384-x25519              IKE, AEAD
    aes256-aes128-sha256-modp2048             IKE, AES-CBC; the PRF follows from the integrity algorithm
    aes256gcm16                               ESP without PFS
    chacha20poly1305-x25519-esn-noesn         ESP with PFS, either kind of sequence number
    sha512-sha256                             AH: integrity algorithms and no cipher

AEAD and classic ciphers never share a proposal (RFC 7296 3.3).
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from xfrmctl.model.algorithms import (
    ENCR,
    INTEG,
    KE,
    NEGOTIABLE_ENCR,
    NEGOTIABLE_INTEG,
    PRF,
    PRF_OF_INTEG,
    EncrFacts,
    IntegFacts,
)
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.iana import Encr, Esn, Integ, KeGroup, OpenEnum, Prf, ProtocolId, TransformType
from xfrmctl.model.nearest import nearest


class SuiteError(XfrmctlError):
    """A proposal is spelled wrongly; the message names the keyword and the nearest right one."""


@dataclass(frozen=True, slots=True)
class Transform:
    """One transform; ``key_bits`` is the Key Length attribute (14), None where it is absent.

    ``malformed`` marks a transform with an attribute that is not understood: it parses but is never chosen
    (RFC 7296 3.3.6).
    """

    type: TransformType
    id: int
    key_bits: int | None = None
    malformed: bool = False

    def __str__(self) -> str:
        return transform_keyword(self)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal of an SA payload, in the sender's order of preference."""

    protocol: ProtocolId
    transforms: tuple[Transform, ...]
    spi: bytes = b""
    number: int = 1

    def of(self, kind: TransformType) -> tuple[Transform, ...]:
        """The transforms of one type, in order."""
        return tuple(t for t in self.transforms if t.type == kind)

    def with_spi(self, spi: bytes, number: int) -> "Proposal":
        """The same proposal under another SPI and number."""
        return replace(self, spi=spi, number=number)

    def suites(self) -> "list[Suite]":
        """Every combination of cipher and integrity algorithm that it allows, for the arithmetic of sizes."""
        integs: list[Integ | None] = [Integ(t.id) for t in self.of(TransformType.INTEG)]
        if self.protocol == ProtocolId.AH:
            return [Suite(self.protocol, Encr.NULL, 0, integ) for integ in integs]
        ciphers = [(Encr(t.id), t.key_bits) for t in self.of(TransformType.ENCR)]
        return [
            Suite(self.protocol, encr, bits or ENCR[encr].default_key_bits, integ)
            for encr, bits in ciphers
            for integ in integs or [None]
        ]

    def without_ke(self) -> "Proposal":
        """The proposal as IKE_AUTH carries it: there is no KE payload there (RFC 7296 1.2)."""
        kept = tuple(t for t in self.transforms if t.type != TransformType.KE)
        return self if len(kept) == len(self.transforms) else replace(self, transforms=kept)

    def __str__(self) -> str:
        return "-".join(str(t) for t in self.transforms) or "empty"


@dataclass(frozen=True, slots=True)
class Suite:
    """One algorithm of each kind, as negotiated for an IKE SA or a CHILD SA.

    ``prf`` is None in ESP and AH suites; ``integ`` is None with AEAD ciphers; ``ke`` is None without PFS. ``encr`` is
    NULL in AH suites, which have no such transform.
    """

    protocol: ProtocolId
    encr: Encr
    key_bits: int
    integ: Integ | None = None
    prf: Prf | None = None
    ke: KeGroup | None = None
    esn: bool = False

    @property
    def encr_facts(self) -> EncrFacts:
        """Sizes of the cipher."""
        return ENCR[self.encr]

    @property
    def integ_facts(self) -> IntegFacts | None:
        """Sizes of the integrity algorithm, None with AEAD."""
        return None if self.integ is None else INTEG[self.integ]

    @property
    def icv(self) -> int:
        """Bytes of ICV a packet carries."""
        return self.encr_facts.icv or (INTEG[self.integ].icv if self.integ is not None else 0)

    def __str__(self) -> str:
        return _spelled(self)

    def transforms(self) -> tuple[Transform, ...]:
        """The suite as the transforms of an answer (RFC 7296 3.3.6: one of each type that was offered)."""
        facts = ENCR[self.encr]
        found = []
        if self.protocol != ProtocolId.AH:
            bits = self.key_bits if facts.key_length_attribute else None
            found.append(Transform(TransformType.ENCR, self.encr, bits))
        if self.integ is not None:
            found.append(Transform(TransformType.INTEG, self.integ))
        if self.prf is not None:
            found.append(Transform(TransformType.PRF, self.prf))
        if self.ke is not None:
            found.append(Transform(TransformType.KE, self.ke))
        if self.protocol != ProtocolId.IKE:
            found.append(Transform(TransformType.ESN, Esn.YES if self.esn else Esn.NO))
        return tuple(found)


@lru_cache(maxsize=64)
def _spelled(suite: Suite) -> str:
    words = [str(t) for t in suite.transforms()]
    return "-".join(["ah", *words] if suite.protocol == ProtocolId.AH else words)


_ENUM_OF: dict[TransformType, type[OpenEnum]] = {
    TransformType.ENCR: Encr,
    TransformType.PRF: Prf,
    TransformType.INTEG: Integ,
    TransformType.KE: KeGroup,
    TransformType.ESN: Esn,
}


def transform_keyword(transform: Transform) -> str:
    """The keyword of a transform; strangers are shown by registry name or number."""
    match transform.type:
        case TransformType.ENCR if (facts := ENCR.get(Encr(transform.id))) is not None:
            return facts.keyword.format(transform.key_bits or facts.default_key_bits)
        case TransformType.PRF if (prf := PRF.get(Prf(transform.id))) is not None:
            return prf.keyword
        case TransformType.INTEG if (integ := INTEG.get(Integ(transform.id))) is not None:
            return integ.keyword
        case TransformType.KE if (ke := KE.get(KeGroup(transform.id))) is not None:
            return ke
        case TransformType.ESN if transform.id <= 1:
            return "esn" if transform.id else "noesn"
    kind = _ENUM_OF.get(transform.type)
    name = kind(transform.id).name.lower() if kind else str(transform.id)
    bits = f"({transform.key_bits})" if transform.key_bits else ""
    return f"{transform.type.name.lower()}:{name}{bits}"


def _keywords() -> dict[str, Transform]:
    table: dict[str, Transform] = {}
    for encr in NEGOTIABLE_ENCR:
        facts = ENCR[encr]
        for bits in facts.key_bits:
            attribute = bits if facts.key_length_attribute else None
            table[facts.keyword.format(bits)] = Transform(TransformType.ENCR, encr, attribute)
    for integ in NEGOTIABLE_INTEG:
        table[INTEG[integ].keyword] = Transform(TransformType.INTEG, integ)
    for prf, prf_facts in PRF.items():
        table[prf_facts.keyword] = Transform(TransformType.PRF, prf)
    for group, keyword in KE.items():
        table[keyword] = Transform(TransformType.KE, group)
    table["noesn"] = Transform(TransformType.ESN, Esn.NO)
    table["esn"] = Transform(TransformType.ESN, Esn.YES)
    return table


KEYWORDS: dict[str, Transform] = _keywords()
"""Every keyword an operator may write."""


def parse_proposal(text: str, protocol: ProtocolId) -> Proposal:
    """Read one spelled proposal for IKE, ESP or AH.

    Raises SuiteError naming the wrong keyword, what is missing, and the cure.
    """
    found: list[Transform] = []
    for word in text.strip().lower().split("-"):
        transform = KEYWORDS.get(word)
        if transform is None:
            near = nearest(word, KEYWORDS)
            hint = f"; did you mean {near!r}?" if near else ""
            raise SuiteError(f"unknown keyword {word!r} in proposal {text!r}{hint} Known: {', '.join(KEYWORDS)}")
        if transform not in found:
            found.append(transform)
    kinds = {t.type for t in found}
    ciphers = [ENCR[Encr(t.id)] for t in found if t.type == TransformType.ENCR]
    if protocol == ProtocolId.AH:
        _check_ah(text, kinds)
    elif not ciphers:
        raise SuiteError(f"proposal {text!r} has no cipher: begin with one such as aes256gcm16")
    aead = {c.is_aead for c in ciphers}
    if len(aead) > 1:
        raise SuiteError(f"proposal {text!r} mixes AEAD and classic ciphers (RFC 7296 3.3): write two proposals")
    if aead == {True} and TransformType.INTEG in kinds:
        raise SuiteError(f"proposal {text!r}: an AEAD cipher takes no integrity algorithm: leave it out")
    if aead == {False} and TransformType.INTEG not in kinds:
        raise SuiteError(f"proposal {text!r}: a CBC cipher needs an integrity algorithm: add sha256")
    if protocol == ProtocolId.IKE:
        _complete_ike(text, found, kinds)
    else:
        if TransformType.PRF in kinds:
            raise SuiteError(f"{protocol.name} proposal {text!r} names a PRF: PRFs belong into ike.proposals")
        if TransformType.ESN not in kinds:
            found.append(Transform(TransformType.ESN, Esn.NO))
    found.sort(key=lambda t: t.type)
    return Proposal(protocol, tuple(found))


def _check_ah(text: str, kinds: set[TransformType]) -> None:
    if TransformType.ENCR in kinds:
        raise SuiteError(f"AH proposal {text!r} names a cipher: AH encrypts nothing, write it under esp")
    if TransformType.INTEG not in kinds:
        raise SuiteError(f"AH proposal {text!r} has no integrity algorithm: begin with one such as sha256")


def _complete_ike(text: str, found: list[Transform], kinds: set[TransformType]) -> None:
    if TransformType.ESN in kinds:
        raise SuiteError(f"IKE proposal {text!r} names esn/noesn: these belong into esp proposals")
    if TransformType.KE not in kinds:
        raise SuiteError(f"IKE proposal {text!r} has no key exchange: add one such as x25519")
    if TransformType.PRF not in kinds:
        implied = [PRF_OF_INTEG[Integ(t.id)] for t in found if t.type == TransformType.INTEG]
        if not implied:
            raise SuiteError(f"IKE proposal {text!r} has no PRF: add one such as prfsha384")
        found.extend(Transform(TransformType.PRF, prf) for prf in implied)
