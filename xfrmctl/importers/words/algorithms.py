"""Proposals: words of strongSwan and libreswan -> proposals of ours, and what of theirs we cannot offer.

Both are read into kinds of keywords of ours first; what a proposal lacks is filled in as the daemon fills it in.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from xfrmctl.importers.neutral import Offer
from xfrmctl.model.iana import ProtocolId, TransformType
from xfrmctl.model.suite import KEYWORDS

IKE, ESP, AH = ProtocolId.IKE, ProtocolId.ESP, ProtocolId.AH

_ALIASES = {
    **{f"aes{bits}gcm{icv}": f"aes{bits}gcm16" for bits in (128, 192, 256) for icv in ("", "128")},
    "aes": "aes128",
    "curve25519": "x25519",
    **{f"sha2_{bits}": f"sha{bits}" for bits in (256, 384, 512)},
    "chacha20poly1305": "chacha20poly1305",
}
_GROUPS = {14: "modp2048", 15: "modp3072", 19: "ecp256", 20: "ecp384", 31: "x25519"}
_GROUP_NAMES = {"curve25519": 31, "ecp256": 19, "ecp384": 20, "ecp521": 21, "x25519": 31}
_MODP = {768: 1, 1024: 2, 1536: 5, 2048: 14, 3072: 15, 4096: 16, 6144: 17, 8192: 18}
_WEAK = re.compile(
    r"(3?des|md5|sha1?|prfmd5|prfsha1|modp(768|1024|1536).*|null|md5_128|sha1_160|dh[125]|dh2[234]|blowfish.*|cast.*)"
)
_KINDS = {
    TransformType.ENCR: "ciphers",
    TransformType.INTEG: "integrity",
    TransformType.PRF: "prfs",
    TransformType.KE: "groups",
    TransformType.ESN: "esn",
}
#: charon's defaults, as far as we have them (libstrongswan, crypto/proposal/proposal.c).
CHARON_IKE = (
    "aes128-aes192-aes256-sha256-sha384-sha512-x25519-ecp256-ecp384-modp3072-modp2048",
    "aes128gcm16-aes192gcm16-aes256gcm16-chacha20poly1305"
    "-prfsha256-prfsha384-prfsha512-x25519-ecp256-ecp384-modp3072-modp2048",
)
CHARON_ESP = ("aes128gcm16-aes192gcm16-aes256gcm16", "aes128-aes192-aes256-sha256-sha384-sha512")
CHARON_AH = ("sha256-sha384-sha512",)
#: pluto's, as `ipsec algparse` 4.10 shows what it fills in.
_PLUTO_PRFS = ("prfsha512", "prfsha256")
_PLUTO_INTEGRITY = ("sha512", "sha256")
_PLUTO_GROUPS = ("modp2048", "modp3072", "ecp256", "ecp384", "x25519")
PLUTO_IKE = ("aes_gcm256", "aes_gcm128", "chacha20_poly1305", "aes256", "aes128")
PLUTO_ESP = ("aes_gcm256", "aes_gcm128", "chacha20_poly1305", "aes256", "aes128")


@dataclass(slots=True)
class _Words:
    """The keywords of one proposal by kind; ``asked`` are the kinds of which there was any word at all."""

    ciphers: list[str] = field(default_factory=list)
    integrity: list[str] = field(default_factory=list)
    prfs: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    esn: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)

    def add(self, word: str) -> None:
        """A keyword of ours."""
        kind = _KINDS[KEYWORDS[word].type]
        self.asked.add(kind)
        kept: list[str] = getattr(self, kind)
        if word not in kept:
            kept.append(word)

    def lose(self, word: str, kind: str) -> None:
        """A word that we cannot offer."""
        self.asked.add(kind)
        reason = "too weak" if _WEAK.fullmatch(word) else "not to be had here"
        self.lost.append(f"{word} is {reason}")


def charon(text: str, protocol: ProtocolId, *, strict: bool = True) -> Offer:
    """Proposals of swanctl.conf (``strict``), or of ipsec.conf, where defaults follow unless ``!`` ends it."""
    text = text.strip()
    only = strict or text.endswith("!")
    found = Offer()
    for part in text.removesuffix("!").split(","):
        word = part.strip().lower()
        if word == "default":
            found = _joined(found, Offer(proposals=_defaults(protocol)))
        elif word:
            found = _joined(found, _assembled(_charon_words(word), word, protocol))
    return found if only else _joined(found, Offer(proposals=_defaults(protocol)))


def charon_default(protocol: ProtocolId) -> Offer:
    """What charon offers where nothing is written."""
    return Offer(proposals=_defaults(protocol))


def pluto(text: str, protocol: ProtocolId, *, groups: Sequence[str] = (), esn: str = "") -> Offer:
    """Proposals of libreswan; ``groups`` are those of IKE where PFS is on, for child proposals without any.

    ``esn`` is appended to child proposals.
    """
    parts = [part.strip().lower() for part in text.split(",") if part.strip()]
    found = Offer()
    for part in parts or (PLUTO_IKE if protocol == IKE else PLUTO_ESP if protocol == ESP else ("",)):
        words = _pluto_words(part, protocol)
        _filled_in(words, protocol, groups)
        if protocol != IKE:
            words.esn = [w for w in esn.split("-") if w]
        found = _joined(found, _assembled(words, part or "the default", protocol))
    return found


def groups_of(offer: Offer) -> tuple[str, ...]:
    """The key exchange methods in an offer, in order."""
    words = [word for proposal in offer.proposals for word in proposal.split("-")]
    return tuple(dict.fromkeys(w for w in words if KEYWORDS[w].type == TransformType.KE))


def group_word(number: int) -> str:
    """strongSwan's word for a group of IANA, for VyOS's ``dh-group``; unknown ones keep their number."""
    by_number = {n: f"modp{bits}" for bits, n in _MODP.items()} | {21: "ecp521", 32: "curve448"}
    return _GROUPS.get(number) or by_number.get(number, f"dh{number}")


def _joined(one: Offer, other: Offer) -> Offer:
    return Offer(
        proposals=tuple(dict.fromkeys((*one.proposals, *other.proposals))),
        lost=tuple(dict.fromkeys((*one.lost, *other.lost))),
    )


def _defaults(protocol: ProtocolId) -> tuple[str, ...]:
    return {IKE: CHARON_IKE, ESP: CHARON_ESP}.get(protocol, CHARON_AH)


def _charon_words(text: str) -> _Words:
    words = _Words()
    for word in text.split("-"):
        known = _ALIASES.get(word, word)
        if known in KEYWORDS:
            words.add(known)
        elif word != "modpnone":
            words.lose(word, _guessed(word))
    return words


def _guessed(word: str) -> str:
    """Which kind a word is of that we do not have."""
    if word.startswith(("modp", "ecp", "curve", "dh", "ke1_", "ke2_", "mlkem", "x448", "newhope", "ntru")):
        return "groups"
    if word.startswith("prf"):
        return "prfs"
    if word.startswith(("sha", "md5", "aesxcbc", "aescmac", "camelliaxcbc", "aes128gmac", "aes256gmac")):
        return "integrity"
    return "ciphers"


def _assembled(words: _Words, text: str, protocol: ProtocolId) -> Offer:
    """Proposals of ours: one with AEAD ciphers, one with the others, as RFC 7296 3.3 wants."""
    lost = [f"{text}: {reason}" for reason in words.lost]
    if "groups" in words.asked and not words.groups:
        return Offer(lost=(*lost, f"{text}: no key exchange method is left"))
    if protocol == IKE and not words.groups:
        return Offer(lost=(*lost, f"{text}: a key exchange method is missing"))
    made: list[list[str]] = []
    if protocol == AH:
        made = [[*words.integrity, *words.groups, *words.esn]] if words.integrity else []
    else:
        aead = [c for c in words.ciphers if "gcm" in c or "poly1305" in c]
        classic = [c for c in words.ciphers if c not in aead]
        prfs = words.prfs or [f"prf{word}" for word in words.integrity]
        tail = [*words.groups, *words.esn]
        if protocol == IKE:
            made += [[*aead, *prfs, *tail]] if aead and prfs else []
            own = words.prfs if words.prfs != [f"prf{w}" for w in words.integrity] else []
            made += [[*classic, *words.integrity, *own, *tail]] if classic and words.integrity else []
        else:
            made += [[*aead, *tail]] if aead else []
            made += [[*classic, *words.integrity, *tail]] if classic and words.integrity else []
    if not made:
        lost.append(f"{text}: nothing is left of this proposal")
    return Offer(proposals=tuple("-".join(part) for part in made), lost=tuple(lost))


# ---- libreswan --------------------------------------------------------------------------------------------------


def _pluto_words(text: str, protocol: ProtocolId) -> _Words:
    """``encr+encr-integ+integ;dh+dh``; all parts but the first may be missing."""
    words = _Words()
    parts = [part.split("+") for part in re.split(r"[-;,]", text)]
    for word in (w for part in parts for w in part if w):
        for known in _pluto_word(word, protocol, bool(words.ciphers)):
            if known in KEYWORDS:
                words.add(known)
            else:
                words.lose(known, _guessed(known))
    return words


def _pluto_word(word: str, protocol: ProtocolId, ciphers: bool) -> Iterable[str]:
    """One word of pluto in ours; those that we do not have stay as they are."""
    if match := re.fullmatch(r"aes_?(?:cbc)?_?(128|192|256)?", word):
        return [f"aes{match[1]}"] if match[1] else ["aes256", "aes128"]
    if match := re.fullmatch(r"aes_?gcm(?:_?(?:c|16|128(?=_\d)))?_?(128|192|256)?", word):
        return [f"aes{match[1]}gcm16"] if match[1] else ["aes256gcm16", "aes128gcm16"]
    if word in ("chacha20_poly1305", "chacha20poly1305"):
        return ["chacha20poly1305"]
    if match := re.fullmatch(r"(?:hmac_)?sha2(?:_?(256|384|512))?(?:_\d+)?", word):
        hashed = match[1] or "256"
        return [f"prfsha{hashed}"] if protocol == IKE else [f"sha{hashed}"]
    if match := re.fullmatch(r"(?:dh|modp|ecp_?)(\d+)|curve25519|x25519", word):
        return [_pluto_group(word, match[1])]
    return [] if word in ("null", "none") and ciphers else [word]


def _pluto_group(word: str, digits: str | None) -> str:
    number = _GROUP_NAMES.get(word.replace("_", ""))
    if number is None and digits:
        number = _MODP.get(int(digits[:6])) if word.startswith("modp") else int(digits[:6])
    return _GROUPS.get(number or 0, word)


def _filled_in(words: _Words, protocol: ProtocolId, groups: Sequence[str]) -> None:
    """In an IKE proposal the hash is PRF and integrity algorithm both (libreswan has them the same by design)."""
    if protocol == IKE:
        if "prfs" not in words.asked and "integrity" not in words.asked:
            words.prfs = list(_PLUTO_PRFS)
        words.integrity = [prf.removeprefix("prf") for prf in words.prfs]
        if "groups" not in words.asked:
            words.groups = list(_PLUTO_GROUPS)
        return
    if not words.integrity and "integrity" not in words.asked:
        words.integrity = list(_PLUTO_INTEGRITY)
    if "groups" not in words.asked:
        words.groups = list(groups)
