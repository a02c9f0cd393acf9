"""What a hostile peer can put into CERT and AUTH: each ends in a named failure, cheaply, and nothing is left."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.pki import Issued, credential, issue, key, root, trust
from tests.sim.test_certificates import failure, leaf, side
from tests.sim.world import WALL, World, pair, start
from xfrmctl.crypto.certificate import Certificate, CertificateError, read_name
from xfrmctl.crypto.signature import BY_IDENTIFIER
from xfrmctl.crypto.trust import TrustStore
from xfrmctl.ike import authentication
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import AuthMethod, CertEncoding
from xfrmctl.wire.payloads import Auth, Cert, Payload
from xfrmctl.wire.payloads.cert import MAX_CERTIFICATES

Tamper = Callable[[list[Payload]], list[Payload]]


class Attack(Protocol):
    def __call__(self, change: Tamper, *, other_nonces: bool = False) -> Failure: ...


X509 = CertEncoding.X509_SIGNATURE


@pytest.fixture
def attack(monkeypatch: pytest.MonkeyPatch) -> Attack:
    """Alice changes her certificates or her AUTH; what Bob says to it."""

    def run(change: Tamper, *, other_nonces: bool = False) -> Failure:
        original = authentication.prove

        def prove(*args: Any, of_initiator: bool, **more: Any) -> Any:
            made = original(*args, of_initiator=of_initiator, **more)
            return change(made) if of_initiator and isinstance(made, list) else made

        monkeypatch.setattr(authentication, "prove", prove)
        world = World()
        alice, bob = pair(world, alice=side(leaf("alice")), bob=side(leaf("bob")))
        if other_nonces:
            bob.engine._core.entropy(1)
        start(world, alice)
        began = time.perf_counter()
        world.run(1)
        assert time.perf_counter() - began < 0.5
        assert not bob.sad and not alice.sad
        assert not bob.engine.ike_sas() and bob.engine.half_open == 0
        assert failure(alice).code == FailureCode.AUTHENTICATION_FAILED
        return failure(bob)

    return run


def certs(*ders: bytes, encoding: CertEncoding = X509) -> Tamper:
    return lambda made: [*(Cert(encoding, der) for der in ders), made[-1]]


def auth(data: bytes, method: AuthMethod = AuthMethod.DIGITAL_SIGNATURE) -> Tamper:
    return lambda made: [*made[:-1], Auth(method, data)]


ALICE_DER = leaf("alice").der


@pytest.mark.parametrize("encoding", [CertEncoding.HASH_AND_URL_OF_CERTIFICATE, CertEncoding.RAW_PUBLIC_KEY])
def test_other_encodings(attack: Attack, encoding: CertEncoding) -> None:
    found = attack(certs(b"x" * 30, encoding=encoding))
    assert found.code == FailureCode.CERTIFICATE_MISSING and encoding.name in found.cause
    assert ("hash-and-URL" in found.cure) == (encoding == CertEncoding.HASH_AND_URL_OF_CERTIFICATE)


def test_no_certificate(attack: Attack) -> None:
    assert attack(certs()).code == FailureCode.CERTIFICATE_MISSING


@pytest.mark.parametrize("ders", [[b""], [b"\x30\x82"], [b"garbage" * 100], [ALICE_DER, b"\x30\x00"], [ALICE_DER[:-1]]])
def test_garbage(attack: Attack, ders: list[bytes]) -> None:
    found = attack(certs(*ders))
    assert found.code == FailureCode.CERTIFICATE_INVALID and f"certificate {len(ders)} " in found.text


@pytest.mark.rfc("7296", "3.6")
def test_too_many_certificates(attack: Attack) -> None:
    found = attack(certs(*[ALICE_DER] * (MAX_CERTIFICATES + 1)))
    assert found.code == FailureCode.CERTIFICATE_INVALID and "11 certificates" in found.text


def test_too_many_octets() -> None:
    proof = authentication.PeerProof(None, None, [Cert(X509, bytes(30000))] * 3, True)  # type: ignore[arg-type]
    world = World()
    _, bob = pair(world, bob=side(leaf("bob")))
    found = proof._read(bob.engine.config.connections["net"])
    assert isinstance(found, Failure) and "90000 bytes" in found.text


def test_a_chain_of_certificates_that_lead_nowhere(attack: Attack) -> None:
    """Ten CAs of the attacker's own, each vouching for the next, none known to us."""
    above: list[Issued] = [issue("Evil 0", number=40, ca=True)]
    for number in range(1, 9):
        above.append(issue(f"Evil {number}", above[-1], number=40 + number, ca=True))
    mine = leaf("alice", issuer=above[-1])
    found = attack(certs(mine.der, *(c.der for c in reversed(above))))
    assert found.code == FailureCode.CERTIFICATE_UNTRUSTED


def test_a_circle_of_certificates(attack: Attack) -> None:
    """A vouches for B and B for A: path building ends all the same."""
    one = issue("A", issue("B", number=51, ca=True), number=50, ca=True)
    two = issue("B", one, number=51, ca=True)
    mine = leaf("alice", issuer=two)
    assert attack(certs(mine.der, two.der, one.der)).code == FailureCode.CERTIFICATE_UNTRUSTED


@pytest.mark.rfc("7296", "3.6")
def test_a_certificate_of_somebody_else(attack: Attack) -> None:
    """A true certificate, which everybody can see, without its private key."""
    assert attack(certs(leaf("bob").der)).code == FailureCode.IDENTITY_NOT_CERTIFIED


@pytest.mark.rfc("7427", "3")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", FailureCode.NO_COMMON_SIGNATURE),
        (b"\x00", FailureCode.NO_COMMON_SIGNATURE),
        (b"\xff" * 20, FailureCode.NO_COMMON_SIGNATURE),
        (b"\x0c" + bytes(80), FailureCode.NO_COMMON_SIGNATURE),
        # sha1WithRSAEncryption and ecdsa-with-SHA1: not announced, not accepted
        (bytes.fromhex("0f300d06092a864886f70d0101050500") + bytes(64), FailureCode.NO_COMMON_SIGNATURE),
        (bytes.fromhex("0b300906072a8648ce3d0401") + bytes(64), FailureCode.NO_COMMON_SIGNATURE),
        # right names, wrong signatures
        (bytes.fromhex("0c300a06082a8648ce3d040302") + bytes(70), FailureCode.SIGNATURE_INVALID),
        (bytes.fromhex("07300506032b6570") + bytes(64), FailureCode.SIGNATURE_INVALID),
        (bytes.fromhex("0f300d06092a864886f70d01010b0500") + bytes(256), FailureCode.SIGNATURE_INVALID),
    ],
)
def test_auth_data(attack: Attack, data: bytes, code: FailureCode) -> None:
    assert attack(auth(data)).code == code


@pytest.mark.parametrize("method", [AuthMethod.RSA_SIGNATURE, AuthMethod.ECDSA_256, AuthMethod.ECDSA_521])
@pytest.mark.parametrize("size", [0, 64, 132, 256])
def test_old_methods_with_nonsense(attack: Attack, method: AuthMethod, size: int) -> None:
    assert attack(auth(b"\x01" * size, method)).code == FailureCode.SIGNATURE_INVALID


@pytest.mark.parametrize("method", [AuthMethod(n) for n in (2, 3, 13, 77)])
def test_other_methods(attack: Attack, method: AuthMethod) -> None:
    found = attack(auth(bytes(32), method))
    assert found.code == FailureCode.AUTHENTICATION_FAILED and method.name in found.text


def test_a_replayed_signature(attack: Attack) -> None:
    """The proof of one handshake is worth nothing in another: the nonces are in it."""
    kept: list[list[Payload]] = []

    def keep(made: list[Payload]) -> list[Payload]:
        kept.append(made)
        return [*made[:-1], Auth(made[-1].method, made[-1].data[:-4] + bytes(4))]  # type: ignore[union-attr]

    attack(keep)
    assert attack(lambda _: kept[0], other_nonces=True).code == FailureCode.SIGNATURE_INVALID


# -- parsers


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["p256", "rsa2048", "ed25519"]), st.integers(0, 2000), st.integers(0, 255), st.integers(0, 3))
@example("p256", 15, 128, 0)
def test_a_damaged_certificate_is_refused_or_harmless(kind: str, at: int, value: int, cut: int) -> None:
    """One octet changed, a few cut off: CertificateError or a judgement, nothing else."""
    der = bytearray(_damaged(kind))
    der[at % len(der)] = value
    try:
        found = Certificate.parse(bytes(der[: len(der) - cut]))
    except CertificateError:
        return
    _STORE.judge([found], WALL)
    _STORE.judge([leaf("alice").certificate, found], WALL)
    found.confirms(found.identity)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_octets_make_the_parsers_raise_anything_else(data: bytes) -> None:
    with pytest.raises(CertificateError):
        Certificate.parse(data)
    assert read_name(data) is None or data[0] == 0x30
    assert data not in BY_IDENTIFIER or len(data) > 6


_STORE: TrustStore = trust(root(), issue("Pinned", number=60, ca=True))
_MADE: dict[str, bytes] = {}


def _damaged(kind: str) -> bytes:
    if kind not in _MADE:
        _MADE[kind] = issue("alice", root(kind), kind=kind, names=["moon.example.org", "10.0.0.1", "a@b.c"]).der
    return _MADE[kind]


def test_no_change_of_one_octet_is_believed() -> None:
    """Whatever octet of a good certificate is changed, our CA does not vouch for the result."""
    good = issue("alice", root(), names=["moon.example.org"])
    assert _STORE.judge([good.certificate], WALL) is None
    for at in range(0, len(good.der), 3):
        der = bytearray(good.der)
        der[at] ^= 1
        try:
            changed = Certificate.parse(bytes(der))
        except CertificateError:
            continue
        assert _STORE.judge([changed], WALL) is not None, at


def test_the_private_key_stays_here() -> None:
    mine = credential(leaf("alice"))
    assert "key=" not in repr(mine) and str(key("p256", 1)) not in repr(mine)
