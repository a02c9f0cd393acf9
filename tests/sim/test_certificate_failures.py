"""Every way in which authentication by certificate can fail, told on both sides; revocation; proofs that are none."""

import datetime
from typing import Any

import pytest
from cryptography import x509

from tests import pki
from tests.pki import crl, issue, root, trust
from tests.sim.test_certificates import NAMES, NOW, chain, failure, leaf, meet, side, up
from tests.sim.world import WALL, Node, World, pair, start
from xfrmctl.crypto.revocation import Revocation
from xfrmctl.ike import authentication
from xfrmctl.model.events import MessageSent
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import HashAlgorithm, NotifyType
from xfrmctl.model.identity import Identity
from xfrmctl.wire.signatures import hashes_notify

# -- what is wrong with a certificate


def refused(bob: Node, code: FailureCode, *words: str) -> Failure:
    found = failure(bob)
    assert found.code == code, found
    told = " ".join((found.text, found.cause, found.cure, *found.theirs, *found.ours))
    for word in words:
        assert word in told, told
    assert not bob.sad and not bob.engine.ike_sas() and bob.engine.half_open == 0
    return found


def test_a_stranger_s_ca() -> None:
    stranger = root(common="Stranger", number=7)
    alice, bob = meet(World(), side(leaf("alice", issuer=stranger)), side(leaf("bob")))
    refused(bob, FailureCode.CERTIFICATE_UNTRUSTED, "CN=Stranger", "CN=Lab CA")
    assert "issued by CN=Stranger" in failure(alice).cause


def test_a_ca_of_the_same_name_is_not_the_ca() -> None:
    impostor = root(number=8)
    _, bob = meet(World(), side(leaf("alice", issuer=impostor)), side(leaf("bob")))
    found = failure(bob)
    assert found.code in (FailureCode.CERTIFICATE_UNTRUSTED, FailureCode.CERTIFICATE_INVALID)


def test_a_missing_intermediate() -> None:
    above = chain(1)
    _, bob = meet(World(), side(leaf("alice", issuer=above[-1])), side(leaf("bob")))
    refused(bob, FailureCode.CERTIFICATE_UNTRUSTED, "CN=CA 0", "intermediate")


def test_an_expired_certificate() -> None:
    old = leaf("alice", start=NOW - datetime.timedelta(days=100), days=90)
    _, bob = meet(World(), side(old), side(leaf("bob")))
    found = refused(bob, FailureCode.CERTIFICATE_EXPIRED, "2027-01-05", "2027-01-15", "renew")
    assert "clock of this host is wrong" not in found.text


def test_a_certificate_of_tomorrow() -> None:
    young = leaf("alice", start=NOW + datetime.timedelta(days=30))
    _, bob = meet(World(), side(young), side(leaf("bob")))
    refused(bob, FailureCode.CERTIFICATE_NOT_YET_VALID, "2027-02-14")


@pytest.mark.parametrize(
    ("wall", "code", "hint"),
    [
        (0.0, FailureCode.CERTIFICATE_NOT_YET_VALID, "younger than that time"),
        (1_774_000_000.0, FailureCode.CERTIFICATE_NOT_YET_VALID, "clock is likely slow"),
        (2_500_000_000.0, FailureCode.CERTIFICATE_EXPIRED, "clock is likely fast"),
    ],
)
def test_a_wrong_clock_is_named(wall: float, code: FailureCode, hint: str) -> None:
    world = World()
    world.wall = wall
    _, bob = meet(world, side(leaf("alice")), side(leaf("bob")))
    found = refused(bob, code, hint, "timedatectl")
    assert "clock of this host is wrong" in found.text


def test_a_few_seconds_are_blamed_on_a_clock() -> None:
    young = leaf("alice", start=NOW + datetime.timedelta(seconds=90))
    _, bob = meet(World(), side(young), side(leaf("bob")))
    refused(bob, FailureCode.CERTIFICATE_NOT_YET_VALID, "one of the clocks")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"usage": False}, "key usage"),
        ({"extra": [x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")]}, "critical"),
    ],
)
def test_certificates_that_are_not_acceptable(more: dict[str, Any], words: str) -> None:
    _, bob = meet(World(), side(leaf("alice", **more)), side(leaf("bob")))
    refused(bob, FailureCode.CERTIFICATE_INVALID, words)


def test_an_end_entity_is_no_ca() -> None:
    fake = leaf("alice")
    forged = issue("root", fake, number=5, names=NAMES["alice"])
    _, bob = meet(World(), side(forged, fake), side(leaf("bob")))
    assert failure(bob).code in (FailureCode.CERTIFICATE_INVALID, FailureCode.CERTIFICATE_UNTRUSTED)


@pytest.mark.rfc("7296", "4")
@pytest.mark.parametrize("kind", ["rsa1024", "secp256k1"])
def test_weak_keys(kind: str) -> None:
    own = issue("alice", root(), kind=kind, names=NAMES["alice"])
    good = leaf("alice")
    mine = side(good)
    fields = {name: getattr(good.certificate, name) for name in good.certificate.__slots__}
    bad = type(good.certificate)(**(fields | {"der": own.der}))
    mine["credential"] = type(mine["credential"])((bad,), good.key)
    _, bob = meet(World(), mine, side(leaf("bob")))
    refused(bob, FailureCode.CERTIFICATE_INVALID, "certificate 1", "1024 bits" if kind == "rsa1024" else "secp256k1")


# -- revocation


@pytest.mark.parametrize("policy", [Revocation.RELAXED, Revocation.STRICT])
@pytest.mark.parametrize("kind", ["p256", "ed25519", "rsa2048"])
def test_revoked(kind: str, policy: Revocation) -> None:
    ca = root(kind)
    own = leaf("alice", issuer=ca)
    theirs = side(leaf("bob")) | {"trust": trust(ca, crls=[crl(ca, own)], revocation=policy)}
    _, bob = meet(World(), side(own), theirs)
    refused(bob, FailureCode.CERTIFICATE_REVOKED, "2026-06-01", "CN=alice")


@pytest.mark.parametrize("policy", [Revocation.RELAXED, Revocation.STRICT])
def test_not_revoked(policy: Revocation) -> None:
    other = leaf("bob")
    theirs = side(other) | {"trust": trust(root(), crls=[crl(root(), other)], revocation=policy)}
    up(*meet(World(), side(leaf("alice")), theirs))


@pytest.mark.parametrize(("days", "words"), [(10, "ended at 2026-06-11"), (None, "neither a CRL of CN=Lab CA")])
def test_strict_wants_a_crl_in_force(days: int | None, words: str) -> None:
    crls = [] if days is None else [crl(root(), days=days)]
    mine = side(leaf("alice"))
    strict = {"trust": trust(root(), crls=crls, revocation=Revocation.STRICT)}
    _, bob = meet(World(), mine, side(leaf("bob")) | strict)
    refused(bob, FailureCode.REVOCATION_UNKNOWN, words, "relaxed")
    up(*meet(World(), mine, side(leaf("bob")) | {"trust": trust(root(), crls=crls)}))


def test_nobody_is_asked_where_revocation_is_off() -> None:
    own = leaf("alice")
    theirs = side(leaf("bob")) | {"trust": trust(root(), crls=[crl(root(), own)], revocation=Revocation.OFF)}
    up(*meet(World(), side(own), theirs))


def test_a_crl_from_the_future_means_a_slow_clock() -> None:
    later = datetime.datetime.fromtimestamp(WALL + 86400, datetime.UTC)
    strict = {"trust": trust(root(), crls=[crl(root(), start=later)], revocation=Revocation.STRICT)}
    _, bob = meet(World(), side(leaf("alice")), side(leaf("bob")) | strict)
    refused(bob, FailureCode.REVOCATION_UNKNOWN, "the clock is likely slow", "timedatectl")


def test_a_revoked_intermediate() -> None:
    above = chain(2)
    own = leaf("alice", issuer=above[-1])
    theirs = side(leaf("bob")) | {"trust": trust(root(), crls=[crl(root(), above[0])])}
    _, bob = meet(World(), side(own, *reversed(above)), theirs)
    refused(bob, FailureCode.CERTIFICATE_REVOKED, "CN=CA 0")


def test_a_crl_that_the_ca_has_not_signed_says_nothing() -> None:
    impostor, own = root(number=8), leaf("alice")
    theirs = side(leaf("bob")) | {"trust": trust(root(), crls=[crl(impostor, own)])}
    up(*meet(World(), side(own), theirs))


# -- proofs


@pytest.mark.rfc("7296", "1.2")
def test_a_signature_with_another_key() -> None:
    mine = side(leaf("alice"))
    mine["credential"] = type(mine["credential"])(mine["credential"].chain, pki.key("p256", 99))
    alice, bob = meet(World(), mine, side(leaf("bob")))
    refused(bob, FailureCode.SIGNATURE_INVALID, "ecdsa-sha256", "private key")
    alice, bob = meet(World(), side(leaf("alice")), side(leaf("bob")) | {"credential": mine["credential"]})
    assert failure(alice).code == FailureCode.IDENTITY_NOT_CERTIFIED


def test_the_wrong_kind_of_proof_is_named() -> None:
    _alice, bob = meet(World(), {}, side(leaf("bob")))
    refused(bob, FailureCode.AUTHENTICATION_FAILED, "SHARED_KEY_MIC", "expects a certificate")
    _alice, bob = meet(World(), side(leaf("alice")), {})
    assert "expects a pre-shared key" in failure(bob).text


@pytest.mark.rfc("7427", "4")
def test_an_announcement_without_a_common_hash() -> None:
    world = World()
    alice, _bob = pair(world, alice=side(leaf("alice", "ed25519")), bob=side(leaf("bob")))
    original = authentication.announcement
    try:
        authentication.announcement = lambda: hashes_notify([HashAlgorithm.SHA2_256])
        start(world, alice)
        world.run(1)
    finally:
        authentication.announcement = original
    assert failure(alice).code == FailureCode.NO_COMMON_SIGNATURE
    assert failure(alice).theirs == ("SHA2_256",)


def test_a_pre_shared_key_alone_says_nothing_about_certificates() -> None:
    alice, bob = meet(World(), {}, {})
    up(alice, bob)
    told = [p for n in (alice, bob) for e in n.of(MessageSent) if isinstance(e, MessageSent) for p in e.payloads]
    assert not {"CERT", "CERTREQ", f"N({NotifyType.SIGNATURE_HASH_ALGORITHMS.name})"} & set(told)
    assert isinstance(alice.sa().remote_id, Identity)
