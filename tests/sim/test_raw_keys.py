"""Authentication by raw public keys (RFC 7670) between two whole engines, and every way to fail."""

from typing import Any

import pytest

from tests import pki
from tests.pki import credential, issue, raw_credential, raw_key, root, trust
from tests.sim.test_certificates import SCHEMES, failure, leaf, meet, no_rfc_7427, side, up
from tests.sim.world import PSK, Node, World
from xfrmctl.crypto.signature import RsaPadding
from xfrmctl.ike import authentication
from xfrmctl.model.events import MessageSent
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.iana import CertEncoding
from xfrmctl.wire.payloads import Cert, CertReq

__all__ = ["no_rfc_7427"]  # a fixture


def raw(ours: str, theirs: str, number: int, **more: Any) -> dict[str, Any]:
    """One side's settings: its own key has this number, the peer's the other one."""
    own = raw_credential(ours, number, more.pop("rsa", RsaPadding.AUTO))
    return {"credential": own, "remote_keys": (raw_key(theirs, 3 - number),), "psk": b""} | more


def sent(node: Node) -> list[tuple[str, ...]]:
    return [e.payloads for e in node.of(MessageSent) if isinstance(e, MessageSent)]


@pytest.mark.rfc("7670", "3")
@pytest.mark.parametrize("bob_kind", pki.KINDS)
@pytest.mark.parametrize("alice_kind", pki.KINDS)
def test_every_kind_of_key_in_both_roles(alice_kind: str, bob_kind: str) -> None:
    alice, bob = meet(World(), raw(alice_kind, bob_kind, 1), raw(bob_kind, alice_kind, 2))
    up(alice, bob)
    assert alice.sa().local_proof == bob.sa().remote_proof == SCHEMES[alice_kind]
    assert bob.sa().local_proof == alice.sa().remote_proof == SCHEMES[bob_kind]
    assert "CERT" in sent(alice)[1] and "CERTREQ" in sent(alice)[1], "asked by the responder, so the key is sent"


@pytest.mark.usefixtures("no_rfc_7427")
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "p521"])
def test_old_methods(kind: str) -> None:
    alice, bob = meet(World(), raw(kind, kind, 1), raw(kind, kind, 2))
    up(alice, bob)


def test_who_does_not_ask_gets_no_key_and_verifies_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """charon has our key from its configuration and asks for nothing."""
    monkeypatch.setattr(authentication, "request_certificates", lambda configs: [])
    alice, bob = meet(World(), raw("p256", "ed25519", 1), raw("ed25519", "p256", 2))
    up(alice, bob)
    assert not any("CERT" in names for node in (alice, bob) for names in sent(node))


@pytest.mark.rfc("7670", "3")
def test_a_request_for_raw_keys_names_no_authority() -> None:
    world = World()
    alice, _ = meet(world, raw("p256", "p256", 1), raw("p256", "p256", 2))
    config = alice.engine.config.connections["net"]
    assert authentication.request_certificates([config]) == [CertReq(CertEncoding.RAW_PUBLIC_KEY, b"")]


def test_several_keys_of_one_peer() -> None:
    """A peer changes its key without an outage: both are known for a while, whether it shows the one it uses or not."""
    several = {"remote_keys": (raw_key("p384", 7), raw_key("ed25519", 1), raw_key("p256", 8))}
    up(*meet(World(), raw("ed25519", "p256", 1), raw("p256", "ed25519", 2) | several))


def test_several_keys_and_a_peer_that_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "_certificates", lambda sa, credential: [])
    several = {"remote_keys": (raw_key("p384", 7), raw_key("ed25519", 1), raw_key("p256", 8))}
    up(*meet(World(), raw("ed25519", "p256", 1), raw("p256", "ed25519", 2) | several))


@pytest.mark.parametrize("ours", ["rsa2048", "ed25519"])
def test_each_side_in_its_own_way(ours: str) -> None:
    """One end by a raw key; the other one by the shared key, or by certificate."""
    alice, bob = meet(World(), {"credential": raw_credential(ours)}, {"remote_keys": (raw_key(ours),)})
    up(alice, bob)
    assert (bob.sa().local_proof, bob.sa().remote_proof) == ("psk", SCHEMES[ours])
    own = {"credential": raw_credential(ours), "trust": trust(root()), "psk": b""}
    up(*meet(World(), own, {"credential": credential(leaf("bob")), "remote_keys": (raw_key(ours),), "psk": b""}))


# -- failures


@pytest.mark.rfc("7670", "5")
@pytest.mark.parametrize("shows", [True, False])
def test_a_key_that_is_not_ours_to_trust(monkeypatch: pytest.MonkeyPatch, *, shows: bool) -> None:
    if not shows:
        monkeypatch.setattr(authentication, "_certificates", lambda sa, credential: [])
    stranger = raw("p256", "p256", 1) | {"credential": raw_credential("p256", 5)}
    alice, bob = meet(World(), stranger, raw("p256", "p256", 2))
    found = failure(bob)
    assert found.code == FailureCode.SIGNATURE_INVALID and not bob.engine.ike_sas()
    assert found.ours == (f"SHA256:{raw_key('p256', 1).fingerprint}",)
    assert found.theirs == ((f"SHA256:{raw_key('p256', 5).fingerprint}",) if shows else ())
    told = failure(alice)
    assert told.code == FailureCode.AUTHENTICATION_FAILED and raw_key("p256", 5).fingerprint in told.cause


def test_to_show_the_right_key_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public key is public: who signs with another one is refused."""
    shown = [Cert(CertEncoding.RAW_PUBLIC_KEY, raw_key("p256", 1).der)]
    monkeypatch.setattr(authentication, "_certificates", lambda sa, credential: shown)
    thief = raw("p256", "p256", 1) | {"credential": raw_credential("p256", 5)}
    _, bob = meet(World(), thief, raw("p256", "p256", 2))
    assert failure(bob).code == FailureCode.SIGNATURE_INVALID
    assert "is not made with the private key" in failure(bob).cause


@pytest.mark.parametrize("garbage", [b"", b"\x30", b"\x30\x80" * 500, bytes(15000)])
def test_garbage_in_the_place_of_a_key_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch, garbage: bytes) -> None:
    shown = [Cert(CertEncoding.RAW_PUBLIC_KEY, garbage)] * 3
    monkeypatch.setattr(authentication, "_certificates", lambda sa, credential: shown)
    alice, bob = meet(World(), raw("p256", "p256", 1), raw("p256", "p256", 2))
    up(alice, bob)  # what the peer shows is no proof and no obstacle: the signature decides


def test_a_certificate_with_the_known_key_is_as_good() -> None:
    """The peer wraps the key in a certificate that nobody vouches for; the signature is what counts."""
    wrapped = credential(issue("alice", kind="p256", number=1))
    alice, bob = meet(World(), raw("p256", "p256", 1) | {"credential": wrapped}, raw("p256", "p256", 2))
    up(alice, bob)


def test_a_shared_key_where_a_signature_is_expected() -> None:
    _, bob = meet(World(), {"psk": PSK, "credential": None}, raw("p256", "p256", 2))
    assert failure(bob).code == FailureCode.AUTHENTICATION_FAILED
    assert "auth.remote_pubkey" in failure(bob).cure


def test_a_raw_key_where_a_certificate_is_expected() -> None:
    _, bob = meet(World(), raw("p256", "p256", 1), side(leaf("bob")))
    assert failure(bob).code == FailureCode.CERTIFICATE_MISSING
