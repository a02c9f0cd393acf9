"""Certificates whose status is fetched while the peer waits, between two whole engines; hostile web servers."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki import DAY, START, access, crl, ocsp_response, responder, root, trust
from tests.sim.test_certificate_failures import refused
from tests.sim.test_certificates import failure, leaf, meet, side, up
from tests.sim.world import WALL, World
from xfrmctl.crypto.revocation import RETRY_S, Revocation, Source
from xfrmctl.ike import authentication
from xfrmctl.ike.fetching import MAX_UNDER_WAY
from xfrmctl.model.effects import FetchUrl
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.iana import CertEncoding
from xfrmctl.wire.payloads import Auth, Cert

OCSP, CRL = "http://ocsp.example.org", "http://crl.example.org/ca.crl"
STRICT, RELAXED = Revocation.STRICT, Revocation.RELAXED
REVOKED, UNKNOWN = ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
ALICE_CERT = leaf("alice", extra=access(OCSP, CRL))
BOB_CERT = leaf("bob", extra=access(OCSP, CRL))


def wants(mode: Revocation, **more: Any) -> dict[str, Any]:
    """Bob, who looks whether Alice's certificate is revoked."""
    return side(BOB_CERT) | {"trust": trust(root(), revocation=mode, **({"fetch": True} | more))}


def serve(world: World, url: str, answer: bytes | None) -> None:
    world.web[url] = lambda body: answer


def good(**more: Any) -> bytes:
    return ocsp_response(ALICE_CERT, root(), **more)


@pytest.mark.rfc("6960", "4.2.2.3")
@pytest.mark.parametrize("mode", [STRICT, RELAXED])
def test_the_responder_that_the_certificate_names_is_asked(mode: Revocation) -> None:
    world = World()
    world.web[OCSP] = lambda body: good(nonce=ocsp.load_der_ocsp_request(body).extensions[0].value.nonce)
    up(*meet(world, side(ALICE_CERT), wants(mode)))
    assert [f.url for f in world.fetched] == [OCSP]


@pytest.mark.parametrize("who", ["initiator", "responder", "both"])
def test_both_roles_wait(who: str) -> None:
    world = World()
    statuses = {OCSP: (ALICE_CERT, BOB_CERT)}

    def answer(body: bytes) -> bytes:
        serial = ocsp.load_der_ocsp_request(body).serial_number
        return next(ocsp_response(c, root()) for c in statuses[OCSP] if c.parsed.serial_number == serial)

    world.web[OCSP] = answer
    strict = {"trust": trust(root(), revocation=STRICT, fetch=True)}
    alice = side(ALICE_CERT) | (strict if who != "responder" else {})
    bob = side(BOB_CERT) | (strict if who != "initiator" else {})
    up(*meet(world, alice, bob))
    assert len(world.fetched) == (2 if who == "both" else 1)


@pytest.mark.parametrize("mode", [STRICT, RELAXED])
def test_revoked(mode: Revocation) -> None:
    world = World()
    serve(world, OCSP, good(status=REVOKED))
    _, bob = meet(world, side(ALICE_CERT), wants(mode))
    refused(bob, FailureCode.CERTIFICATE_REVOKED, "OCSP response for CN=Lab CA", "2026-06-01")


def test_an_initiator_refuses_a_revoked_responder() -> None:
    world = World()
    serve(world, OCSP, ocsp_response(BOB_CERT, root(), REVOKED))
    alice, bob = meet(world, side(ALICE_CERT) | {"trust": trust(root(), fetch=True)}, side(BOB_CERT))
    assert failure(alice).code == FailureCode.CERTIFICATE_REVOKED
    assert not alice.sad and not bob.sad and not bob.engine.ike_sas()


def test_a_silent_responder() -> None:
    """Relaxed: good, after the time that we are ready to wait. Strict: refused, with cause and cure."""
    alice, bob = meet(World(), side(ALICE_CERT), wants(RELAXED), seconds=12)
    up(alice, bob)
    _, bob = meet(World(), side(ALICE_CERT), wants(STRICT), seconds=12)
    refused(bob, FailureCode.REVOCATION_UNKNOWN, f"{OCSP} is silent", f"{CRL} is silent", "auth.ocsp")


def test_the_peer_s_retransmissions_meanwhile_are_harmless() -> None:
    world = World()
    world.web_latency_s = 4.5
    serve(world, OCSP, good())
    up(*meet(world, side(ALICE_CERT), wants(STRICT), seconds=6))
    assert len(world.fetched) == 1


def test_a_crl_where_ocsp_brings_nothing() -> None:
    world = World()
    serve(world, CRL, crl(root()).public_bytes(Encoding.DER))
    up(*meet(world, side(ALICE_CERT), wants(STRICT), seconds=6))
    assert [f.url for f in world.fetched] == [OCSP, CRL]
    serve(world, CRL, crl(root(), ALICE_CERT).public_bytes(Encoding.DER))
    _, bob = meet(world, side(ALICE_CERT), wants(RELAXED), seconds=6)
    refused(bob, FailureCode.CERTIFICATE_REVOKED, "the CRL of CN=Lab CA")


def test_urls_of_the_configuration_come_first() -> None:
    world, url = World(), "http://10.0.0.1:8080/ocsp"
    serve(world, url, good())
    serve(world, OCSP, good())
    up(*meet(world, side(ALICE_CERT), wants(STRICT, fetch=False, ocsp_urls=(url,))))
    assert [f.url for f in world.fetched] == [url]


@pytest.mark.parametrize("mode", [RELAXED, Revocation.OFF])
def test_nothing_is_fetched_where_nobody_wants_it(mode: Revocation) -> None:
    world = World()
    up(*meet(world, side(ALICE_CERT), wants(mode, fetch=mode == Revocation.OFF)))
    assert not world.fetched


def test_an_answer_serves_until_it_ends() -> None:
    world = World()
    now = START + (WALL - START.timestamp()) / 86400 * DAY
    world.web[OCSP] = lambda body: good(start=now + world.now / 86400 * DAY - DAY / 24, days=1 / 12)
    alice, bob = meet(world, side(ALICE_CERT), wants(STRICT))
    up(alice, bob)
    for seconds, fetched in ((1800, 1), (1790, 1), (100, 2)):
        world.do(alice, lambda t: alice.engine.terminate("net", None, t))
        world.run(seconds)
        world.do(alice, lambda t: alice.engine.initiate("net", None, t))
        world.run(2)
        assert len(alice.sad) == 2
        assert len(world.fetched) == fetched, seconds


def test_a_server_that_has_failed_is_left_alone_for_a_while() -> None:
    world = World()
    alice, bob = meet(world, side(ALICE_CERT), wants(RELAXED), seconds=12)
    up(alice, bob)
    assert len(world.fetched) == 2
    for wait, fetched in ((RETRY_S / 2, 2), (RETRY_S, 4)):
        world.do(alice, lambda t: alice.engine.terminate("net", None, t))
        world.run(wait)
        world.do(alice, lambda t: alice.engine.initiate("net", None, t))
        world.run(12)
        assert len(alice.sad) == 2
        assert len(world.fetched) == fetched


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "no OCSP response"),
        (b"<html>captive portal</html>", "no OCSP response"),
        (bytes(70000), "70000 bytes"),
        (b"\x30\x03\x0a\x01\x03", "TRY_LATER"),
        (good(nonce=b"replayed" * 2), "another nonce"),
        (good(days=10), "ended at 2026-06-11"),
        (good(signer=root(number=8)), "not signed by CN=Lab CA"),
        (good(signer=BOB_CERT, included=[BOB_CERT]), "id-kp-OCSPSigning"),
        (good(status=UNKNOWN), "does not know this certificate"),
        (ocsp_response(BOB_CERT, root()), "neither a CRL"),
        (crl(root()).public_bytes(Encoding.DER), "no OCSP response"),
    ],
)
def test_hostile_answers_prove_nothing(answer: bytes, words: str) -> None:
    world = World()
    serve(world, OCSP, answer)
    _, bob = meet(world, side(ALICE_CERT), wants(STRICT, fetch=False, ocsp_urls=(OCSP,)), seconds=6)
    refused(bob, FailureCode.REVOCATION_UNKNOWN, words, "strict")
    relaxed = World()
    serve(relaxed, OCSP, answer)
    up(*meet(relaxed, side(ALICE_CERT), wants(RELAXED, fetch=False, ocsp_urls=(OCSP,)), seconds=6))


def test_a_slow_clock_is_suspected() -> None:
    world = World()
    later = START + (WALL - START.timestamp()) / 86400 * DAY + DAY
    serve(world, OCSP, good(start=later))
    _, bob = meet(world, side(ALICE_CERT), wants(STRICT), seconds=12)
    refused(bob, FailureCode.REVOCATION_UNKNOWN, "the clock is likely slow", "timedatectl")


def test_a_responder_that_a_crl_revokes() -> None:
    world = World()
    signer = responder(root(), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]))
    serve(world, OCSP, good(signer=signer, included=[signer]))
    _, bob = meet(world, side(ALICE_CERT), wants(STRICT, crls=[crl(root(), signer, days=1)]), seconds=12)
    refused(bob, FailureCode.REVOCATION_UNKNOWN, "responder that is itself revoked")


def test_who_goes_while_its_status_is_fetched_is_not_missed() -> None:
    """The responder gives up on a half-open IKE SA; the answer then finds nobody and is kept for the next time."""
    world = World()
    world.web_latency_s = 40
    serve(world, OCSP, good())
    alice, bob = meet(world, side(ALICE_CERT), wants(STRICT), seconds=35)
    assert 1 not in [sa.serial for sa in bob.engine.ike_sas()]
    world.run(40)
    assert len(alice.sad) == 2


def test_nothing_is_fetched_for_who_cannot_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate is public: to show it must not make us talk to anybody."""
    world = World()
    serve(world, OCSP, good())
    original = authentication.prove

    def prove(*args: Any, of_initiator: bool, **more: Any) -> Any:
        made = original(*args, of_initiator=of_initiator, **more)
        assert isinstance(made, list)
        return [Auth(p.method, bytes(len(p.data))) if isinstance(p, Auth) and of_initiator else p for p in made]

    monkeypatch.setattr(authentication, "prove", prove)
    _, bob = meet(world, side(ALICE_CERT), wants(STRICT))
    assert failure(bob).code != FailureCode.REVOCATION_UNKNOWN and not world.fetched


@pytest.mark.rfc("4806", "3.1")
@pytest.mark.parametrize("answer", ["good", "revoked", "garbage"])
def test_a_response_that_the_peer_brings(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    world = World()
    brought = {"good": good(), "revoked": good(status=REVOKED), "garbage": b"\x30\x80" * 100}[answer]
    original = authentication.prove

    def prove(*args: Any, of_initiator: bool, **more: Any) -> Any:
        made = original(*args, of_initiator=of_initiator, **more)
        assert isinstance(made, list)
        return [*made[:1], Cert(CertEncoding.OCSP_CONTENT, brought), *made[1:]] if of_initiator else made

    monkeypatch.setattr(authentication, "prove", prove)
    alice, bob = meet(world, side(ALICE_CERT), wants(STRICT, fetch=False))
    if answer == "good":
        up(alice, bob)
    elif answer == "revoked":
        refused(bob, FailureCode.CERTIFICATE_REVOKED, "OCSP response")
    else:
        refused(bob, FailureCode.REVOCATION_UNKNOWN, "neither a CRL")
    assert not world.fetched


def test_two_that_wait_for_one_answer_and_a_limit() -> None:
    world = World()
    serve(world, OCSP, good())
    _, bob = meet(world, side(ALICE_CERT), wants(STRICT))
    core = bob.engine._core
    fetching = core.fetching
    sa = bob.engine.ike_sas()[0]
    done: list[int] = []
    sources = [Source(f"http://h{n}.example.org/crl") for n in range(MAX_UNDER_WAY + 5)]
    fetching.want(core, sa, sources[:1], lambda: done.append(1))
    fetching.want(core, sa, sources[:1], lambda: done.append(2))
    first = [e for e in bob.engine.drain() if isinstance(e, FetchUrl)]
    assert len(first) == 1
    fetching.done(core, first[0].token, None, "gone")
    assert done == [1, 2]
    fetching.want(core, sa, sources, lambda: done.append(3))
    asked = [e for e in bob.engine.drain() if isinstance(e, FetchUrl)]
    assert len(asked) == MAX_UNDER_WAY
    assert "too much" in fetching.evidence.problem(sources[-1])
