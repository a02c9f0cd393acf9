"""Offers with attributes and types that do not belong there (RFC 7296 3.3.3, 3.3.5, 3.3.6, 5)."""

from dataclasses import replace

import pytest

from xfrmctl.ike.negotiate import choose
from xfrmctl.model.iana import Encr, Integ, KeGroup, Prf, ProtocolId, TransformType
from xfrmctl.model.suite import KEYWORDS, Proposal, SuiteError, Transform, parse_proposal

GCM = parse_proposal("aes256gcm16-prfsha384-x25519", ProtocolId.IKE)
CBC = parse_proposal("aes256-sha256-x25519", ProtocolId.IKE)
ESP = parse_proposal("aes256-sha256", ProtocolId.ESP)
CHACHA = parse_proposal("chacha20poly1305", ProtocolId.ESP)


def swapped(proposal: Proposal, kind: TransformType, *by: Transform) -> Proposal:
    return replace(proposal, transforms=(*(t for t in proposal.transforms if t.type != kind), *by))


@pytest.mark.rfc("7296", "3.3.5")
@pytest.mark.rfc("7296", "2.13")
@pytest.mark.rfc("7296", "3.3")
@pytest.mark.parametrize(
    ("ours", "key_bits", "taken"), [(CBC, None, False), (CBC, 256, True), (CHACHA, None, True), (CHACHA, 256, False)]
)
def test_the_key_length_stands_where_it_must_and_nowhere_else(
    ours: Proposal, key_bits: int | None, taken: bool
) -> None:
    encr = replace(ours.of(TransformType.ENCR)[0], key_bits=key_bits)
    assert (choose([ours], [swapped(ours, TransformType.ENCR, encr)]) is not None) == taken


@pytest.mark.rfc("7296", "3.3.5")
@pytest.mark.rfc("7296", "2.13")
@pytest.mark.parametrize("kind", [TransformType.PRF, TransformType.INTEG, TransformType.KE])
def test_a_key_length_where_keys_have_one_length_is_not_understood(kind: TransformType) -> None:
    (transform,) = CBC.of(kind)
    strange = replace(transform, key_bits=256)
    assert choose([CBC], [swapped(CBC, kind, strange)]) is None
    assert choose([CBC], [swapped(CBC, kind, strange, transform)]) is not None, "the others count as usual"


@pytest.mark.rfc("7296", "3.3.3")
@pytest.mark.rfc("7296", "3.3.6")
@pytest.mark.parametrize(
    ("ours", "missing"),
    [
        (GCM, TransformType.ENCR),
        (GCM, TransformType.PRF),
        (GCM, TransformType.KE),
        (CBC, TransformType.INTEG),
        (ESP, TransformType.ENCR),
        (ESP, TransformType.INTEG),
    ],
)
def test_a_proposal_without_a_mandatory_type_is_skipped(ours: Proposal, missing: TransformType) -> None:
    short = swapped(ours, missing)
    assert choose([ours], [short]) is None
    choice = choose([ours], [replace(short, number=1), replace(ours, number=2)])
    assert choice is not None
    assert choice.number == 2


@pytest.mark.rfc("7296", "3.3.6")
def test_a_proposal_with_a_strange_type_is_skipped_and_a_strange_transform_too() -> None:
    strange = replace(GCM, transforms=(*GCM.transforms, Transform(TransformType(9), 1)), number=1)
    assert choose([GCM], [strange]) is None
    choice = choose([GCM], [strange, replace(GCM, number=2)])
    assert choice is not None
    assert choice.number == 2
    beside = swapped(GCM, TransformType.ENCR, Transform(TransformType.ENCR, 99), *GCM.of(TransformType.ENCR))
    assert choose([GCM], [beside]) is not None


@pytest.mark.rfc("7296", "5")
@pytest.mark.parametrize(
    "weak",
    [
        swapped(CBC, TransformType.INTEG, Transform(TransformType.INTEG, Integ.NONE)),
        swapped(CBC, TransformType.ENCR, Transform(TransformType.ENCR, Encr.NULL)),
        swapped(CBC, TransformType.INTEG),
        swapped(GCM, TransformType.PRF, Transform(TransformType.PRF, Prf.HMAC_MD5)),
        swapped(GCM, TransformType.KE, Transform(TransformType.KE, KeGroup.NONE)),
    ],
    ids=["no integrity", "no encryption", "integrity absent", "weak prf", "no key exchange"],
)
def test_an_ike_sa_is_never_without_protection(weak: Proposal) -> None:
    for ours in (GCM, CBC):
        assert choose([ours], [weak]) is None


@pytest.mark.rfc("7296", "5")
@pytest.mark.rfc("7296", "3.14")
@pytest.mark.parametrize(
    "text", ["null-sha256-x25519", "aes256-x25519", "aes256-none-x25519", "aes256ctr-sha256-x25519"]
)
def test_nor_can_it_be_configured(text: str) -> None:
    with pytest.raises(SuiteError):
        parse_proposal(text, ProtocolId.IKE)


@pytest.mark.rfc("7296", "5")
@pytest.mark.rfc("7296", "2.13")
def test_every_prf_has_256_bits_at_least() -> None:
    assert {w for w, t in KEYWORDS.items() if t.type == TransformType.PRF} == {"prfsha256", "prfsha384", "prfsha512"}


@pytest.mark.rfc("7296", "3.3")
@pytest.mark.rfc("7296", "2.7")
def test_aead_and_integrity_do_not_mix() -> None:
    esp = parse_proposal("aes256gcm16", ProtocolId.ESP)
    integ = Transform(TransformType.INTEG, Integ.HMAC_SHA2_256_128)
    none = Transform(TransformType.INTEG, Integ.NONE)
    assert not esp.of(TransformType.INTEG)
    assert choose([esp], [swapped(esp, TransformType.INTEG, integ)]) is None
    assert choose([esp], [swapped(esp, TransformType.INTEG, none)]) is not None
    with pytest.raises(SuiteError):
        parse_proposal("aes256gcm16-sha256", ProtocolId.ESP)
