"""Authentication by certificate between two whole engines: every kind of key in both roles, and every way to fail."""

import datetime
from typing import Any

import pytest

from tests import pki
from tests.pki import Issued, credential, issue, root, trust
from tests.sim.world import ALICE, BOB, WALL, Node, World, child, connection, matching, pair, start
from xfrmctl.crypto import signature
from xfrmctl.crypto.signature import RsaPadding
from xfrmctl.ike import authentication
from xfrmctl.ike.config import Start
from xfrmctl.model.events import IkeSaEstablished, MessageSent, NegotiationFailed
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import HashAlgorithm, IdType
from xfrmctl.model.identity import IdentityPattern, parse_identity

NOW = datetime.datetime.fromtimestamp(WALL, datetime.UTC)
NAMES = {"alice": ["moon.example.org", ALICE, "moon@example.org"], "bob": ["sun.example.org", BOB, "sun@example.org"]}


def leaf(who: str, kind: str = "p256", issuer: Issued | None = None, **more: Any) -> Issued:
    number = 1 if who == "alice" else 2
    return issue(who, issuer or root(), kind=kind, number=number, **({"names": NAMES[who]} | more))


def side(own: Issued, *chain: Issued, ca: Issued | None = None, rsa: RsaPadding = RsaPadding.AUTO) -> dict[str, Any]:
    return {"credential": credential(own, *chain, rsa=rsa), "trust": trust(ca or root()), "psk": b""}


def meet(world: World, alice: dict[str, Any], bob: dict[str, Any], seconds: float = 1) -> tuple[Node, Node]:
    nodes = pair(world, alice=alice, bob=bob)
    start(world, nodes[0])
    world.run(seconds)
    return nodes


def up(alice: Node, bob: Node) -> None:
    matching(alice, bob)
    assert len(alice.sad) == 2, (alice.of(NegotiationFailed), bob.of(NegotiationFailed))
    assert len(alice.of(IkeSaEstablished)) == len(bob.of(IkeSaEstablished)) == 1


def failure(node: Node) -> Failure:
    (event,) = node.of(NegotiationFailed)[:1]
    assert isinstance(event, NegotiationFailed)
    found = event.failure
    assert found.text and found.cause and found.cure
    return found


SCHEMES = {
    "rsa2048": "rsa-pss-sha256",
    "p256": "ecdsa-sha256",
    "p384": "ecdsa-sha384",
    "p521": "ecdsa-sha512",
    "ed25519": "ed25519",
    "ed448": "ed448",
}


@pytest.mark.rfc("7427", "4")
@pytest.mark.rfc("8420", "2")
@pytest.mark.rfc("7427", "3")
@pytest.mark.parametrize("bob_kind", pki.KINDS)
@pytest.mark.parametrize("alice_kind", pki.KINDS)
def test_every_kind_of_key_in_both_roles(alice_kind: str, bob_kind: str) -> None:
    ours, theirs = root(alice_kind, "CA of Alice"), root(bob_kind, "CA of Bob")
    alice, bob = meet(
        World(),
        side(leaf("alice", alice_kind, ours), ca=theirs),
        side(leaf("bob", bob_kind, theirs), ca=ours),
    )
    up(alice, bob)
    assert alice.sa().local_proof == bob.sa().remote_proof == SCHEMES[alice_kind]
    assert bob.sa().local_proof == alice.sa().remote_proof == SCHEMES[bob_kind]
    sent = [e.payloads for e in alice.of(MessageSent) if isinstance(e, MessageSent)]
    assert sent[1][:4] == ("IDi", "N(INITIAL_CONTACT)", "CERTREQ", "IDr") and "CERT" in sent[1]


@pytest.mark.parametrize("bob_rsa", RsaPadding)
@pytest.mark.parametrize("alice_rsa", RsaPadding)
def test_rsa_padding(alice_rsa: RsaPadding, bob_rsa: RsaPadding) -> None:
    alice, bob = meet(World(), side(leaf("alice", "rsa2048"), rsa=alice_rsa), side(leaf("bob", "rsa2048"), rsa=bob_rsa))
    up(alice, bob)
    pkcs1 = alice_rsa == RsaPadding.PKCS1
    assert alice.sa().local_proof == ("rsa-pkcs1-sha256" if pkcs1 else "rsa-pss-sha256")
    mirrored = bob_rsa == RsaPadding.PKCS1 or (bob_rsa == RsaPadding.AUTO and pkcs1)
    assert bob.sa().local_proof == ("rsa-pkcs1-sha256" if mirrored else "rsa-pss-sha256")


@pytest.mark.rfc("7427", "4")
@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
@pytest.mark.parametrize("number", [HashAlgorithm.SHA2_256, HashAlgorithm.SHA2_384, HashAlgorithm.SHA2_512])
def test_the_hash_that_the_peer_announces_is_used(monkeypatch: Any, kind: str, number: HashAlgorithm) -> None:
    """pluto signs with SHA2-512 whatever the key; so both orders must work with any key."""
    monkeypatch.setattr(signature, "ANNOUNCED", (number,))
    alice, bob = meet(World(), side(leaf("alice", kind)), side(leaf("bob", kind)))
    up(alice, bob)
    assert alice.sa().local_proof.endswith(number.name.replace("SHA2_", "sha"))


@pytest.mark.rfc("7296", "4")
@pytest.mark.parametrize("ours", ["rsa2048", "p256", "ed25519"])
def test_each_side_in_its_own_way(ours: str) -> None:
    """Alice proves herself by certificate, Bob by the shared key."""
    alice, bob = meet(World(), {"credential": credential(leaf("alice", ours))}, {"trust": trust(root())})
    up(alice, bob)
    assert (alice.sa().local_proof, alice.sa().remote_proof) == (SCHEMES[ours], "psk")
    assert (bob.sa().local_proof, bob.sa().remote_proof) == ("psk", SCHEMES[ours])
    other_alice, other_bob = meet(World(), {"trust": trust(root())}, {"credential": credential(leaf("bob", ours))})
    up(other_alice, other_bob)


# -- old peers


@pytest.fixture
def no_rfc_7427(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither side announces hash algorithms."""

    def learn(sa: Any, payloads: Any) -> None:
        sa.peer_hashes = None

    monkeypatch.setattr(authentication, "learn", learn)


@pytest.mark.usefixtures("no_rfc_7427")
@pytest.mark.rfc("7296", "3.8")
@pytest.mark.rfc("7427", "3")
@pytest.mark.parametrize(
    ("kind", "proof", "seen"),
    [
        ("rsa2048", "rsa-signature", "rsa-pkcs1-sha256"),
        ("p256", "ecdsa-256", "ecdsa-sha256"),
        ("p384", "ecdsa-384", "ecdsa-sha384"),
        ("p521", "ecdsa-521", "ecdsa-sha512"),
    ],
)
def test_old_methods(kind: str, proof: str, seen: str) -> None:
    alice, bob = meet(World(), side(leaf("alice", kind)), side(leaf("bob", kind)))
    up(alice, bob)
    assert alice.sa().local_proof == proof and bob.sa().remote_proof == seen


@pytest.mark.usefixtures("no_rfc_7427")
def test_sha1_only_where_it_is_allowed() -> None:
    both = {"sha1": True}
    alice, bob = meet(World(), side(leaf("alice", "rsa2048")) | both, side(leaf("bob", "rsa2048")) | both)
    up(alice, bob)
    assert bob.sa().remote_proof == "rsa-pkcs1-sha1"
    alice, bob = meet(World(), side(leaf("alice", "rsa2048")) | both, side(leaf("bob", "rsa2048")))
    assert failure(bob).code == FailureCode.NO_COMMON_SIGNATURE
    assert "SHA-1" in failure(bob).text and "auth.sha1" in failure(bob).cure


@pytest.mark.usefixtures("no_rfc_7427")
def test_ed25519_needs_a_peer_of_today() -> None:
    alice, bob = meet(World(), side(leaf("alice", "ed25519")), side(leaf("bob")))
    assert failure(alice).code == FailureCode.NO_COMMON_SIGNATURE
    assert not alice.engine.ike_sas()
    alice, bob = meet(World(), side(leaf("alice")), side(leaf("bob", "ed25519")))
    assert failure(bob).code == FailureCode.NO_COMMON_SIGNATURE
    assert failure(alice).code == FailureCode.AUTHENTICATION_FAILED


# -- identities

MOON, SUN = parse_identity("fqdn:moon.example.org"), parse_identity("fqdn:sun.example.org")


@pytest.mark.rfc("4945", "3.1")
@pytest.mark.parametrize("which", [0, 1, 2])
def test_names_of_the_certificate(which: int) -> None:
    local, remote = (parse_identity(NAMES[who][which]) for who in ("alice", "bob"))
    alice, bob = meet(
        World(),
        side(leaf("alice")) | {"local_id": local, "remote_id": remote},
        side(leaf("bob")) | {"local_id": remote, "remote_id": local},
    )
    up(alice, bob)
    assert bob.sa().remote_id == local


@pytest.mark.rfc("4945", "3.1.5")
def test_the_subject_is_an_identity_and_reads_well() -> None:
    ours = leaf("alice", names=())
    me = ours.certificate.identity
    whom = IdentityPattern(
        IdType.DER_ASN1_DN, "CN=*,O=Lab,C=XX", (("2.5.4.3", "*"), ("2.5.4.10", "Lab"), ("2.5.4.6", "XX"))
    )
    alice, bob = meet(
        World(),
        side(ours) | {"local_id": me, "remote_id": None},
        side(leaf("bob")) | {"remote_id": None, "remote_pattern": whom},
    )
    up(alice, bob)
    assert str(bob.sa().remote_id) == "dn:CN=alice,O=Lab,C=XX"


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ("*.example.org", True),
        ("*moon.example.org", False),
        ("*.example.com", False),
        ("*", True),
        ("*.EXAMPLE.org", True),
    ],
)
def test_wildcards_of_names(pattern: str, good: bool) -> None:
    whom = IdentityPattern(IdType.FQDN, pattern)
    alice, bob = meet(
        World(),
        side(leaf("alice")) | {"local_id": MOON},
        side(leaf("bob")) | {"remote_id": None, "remote_pattern": whom},
    )
    if good:
        up(alice, bob)
    else:
        assert failure(bob).code == FailureCode.IDENTITY_MISMATCH
        assert failure(bob).ours == (f"fqdn:{pattern}",)


def test_a_distinguished_name_that_does_not_match() -> None:
    ours = leaf("alice")
    whom = IdentityPattern(IdType.DER_ASN1_DN, "CN=*,O=Other", (("2.5.4.3", "*"), ("2.5.4.10", "Other")))
    _alice, bob = meet(
        World(),
        side(ours) | {"local_id": ours.certificate.identity},
        side(leaf("bob")) | {"remote_id": None, "remote_pattern": whom},
    )
    assert failure(bob).code == FailureCode.IDENTITY_MISMATCH
    assert failure(bob).theirs == ("dn:CN=alice,O=Lab,C=XX",)


@pytest.mark.parametrize("said", ["fqdn:sun.example.org", "keyid:moon", "10.0.0.1", "email:root@example.org"])
def test_an_identity_that_the_certificate_does_not_confirm(said: str) -> None:
    alice, bob = meet(
        World(), side(leaf("alice")) | {"local_id": parse_identity(said)}, side(leaf("bob")) | {"remote_id": None}
    )
    assert failure(bob).code == FailureCode.IDENTITY_NOT_CERTIFIED
    assert "fqdn:moon.example.org" in failure(bob).theirs
    assert failure(alice).code == FailureCode.AUTHENTICATION_FAILED and "CN=alice" in failure(alice).cause


def test_somebody_elses_subject_is_refused() -> None:
    other = leaf("bob").certificate.identity
    _alice, bob = meet(World(), side(leaf("alice")) | {"local_id": other}, side(leaf("bob")) | {"remote_id": None})
    assert failure(bob).code == FailureCode.IDENTITY_NOT_CERTIFIED


def test_one_entry_serves_many_peers() -> None:
    world, everybody = World(), IdentityPattern(IdType.FQDN, "*.example.org")
    hub = connection(
        BOB,
        None,
        child(local="10.0.0.0/8", remote="10.0.0.0/8", start=Start.NONE),
        **(side(leaf("bob")) | {"local_id": SUN, "remote_pattern": everybody}),
    )
    bob = world.add("bob", BOB, hub)
    branches = []
    for number in range(1, 4):
        address, host = f"172.16.3.{number}", f"branch{number}.example.org"
        own = issue(host, root(), number=10 + number, names=[host])
        config = connection(
            address,
            BOB,
            child(local=f"10.3.{number}.0/24", remote="10.9.0.0/16"),
            **(side(own) | {"local_id": parse_identity(f"fqdn:{host}"), "remote_id": SUN}),
        )
        branches.append(world.add(host, address, config))
    start(world, *branches)
    world.run(2)
    assert len(bob.sad) == 6
    assert {str(sa.remote_id) for sa in bob.engine.ike_sas()} == {f"fqdn:branch{n}.example.org" for n in range(1, 4)}


def test_the_responder_finds_the_connection_by_identity_and_ca() -> None:
    """Two entries for anybody, each with a CA of its own: the certificate decides."""
    world, other = World(), root(common="Another CA", number=9)
    entries = [
        connection(BOB, None, child(name, "10.1.2.0/24", "10.1.1.0/24", start=Start.NONE, reqid=n), name=name,
                   **(side(leaf("bob"), ca=ca) | {"local_id": SUN}))
        for n, (name, ca) in enumerate((("others", other), ("ours", root())), 1)
    ]  # fmt: skip
    bob = world.add("bob", BOB, *entries)
    mine = side(leaf("alice")) | {"local_id": MOON, "remote_id": SUN}
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child(), **mine))
    start(world, alice)
    world.run(1)
    up(alice, bob)
    assert bob.sa().connection == "ours"


# -- chains


def chain(length: int, first: Issued | None = None) -> list[Issued]:
    """Intermediate CAs, the topmost first."""
    made: list[Issued] = []
    for number in range(length):
        above = made[-1] if made else first or root()
        made.append(issue(f"CA {number}", above, number=20 + number, ca=True))
    return made


@pytest.mark.rfc("7296", "3.6")
@pytest.mark.rfc("7296", "1.2")
@pytest.mark.parametrize("length", [1, 2, 3])
def test_intermediate_certificates_travel(length: int) -> None:
    above = chain(length)
    own = leaf("alice", issuer=above[-1])
    alice, bob = meet(World(), side(own, *reversed(above)), side(leaf("bob")))
    up(alice, bob)
    sent = [e.payloads for e in alice.of(MessageSent) if isinstance(e, MessageSent)]
    assert sent[1].count("CERT") == length + 1


@pytest.mark.rfc("7296", "3.7")
def test_nothing_is_sent_that_the_peer_has() -> None:
    """Bob trusts an intermediate CA and says so: what is above it stays here."""
    above = chain(2)
    own = leaf("alice", issuer=above[-1])
    alice, bob = meet(World(), side(own, *reversed(above)), side(leaf("bob"), ca=above[-1]))
    up(alice, bob)
    sent = [e.payloads for e in alice.of(MessageSent) if isinstance(e, MessageSent)]
    assert sent[1].count("CERT") == 1


def test_a_pinned_certificate_needs_no_ca() -> None:
    pinned = issue("alice", number=1, names=NAMES["alice"])
    alice, bob = meet(World(), side(pinned), side(leaf("bob"), ca=pinned))
    up(alice, bob)


def test_many_cas_ask_for_any() -> None:
    cas = [root(common=f"CA {n}", number=100 + n) for n in range(25)]
    mine = side(leaf("alice")) | {"trust": trust(*cas, root())}
    alice, bob = meet(World(), mine, side(leaf("bob")))
    up(alice, bob)
