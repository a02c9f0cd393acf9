"""The story of a connection that somebody debugs: who says what, what is decided and why, and never a secret."""

import re
from functools import partial
from ipaddress import ip_address

import pytest

from tests.sim.world import ALICE, BOB, PSK, Node, World, child, connection
from xfrmctl.control.events import event_json
from xfrmctl.daemon.logs import tell
from xfrmctl.ike import story
from xfrmctl.ike.config import Start
from xfrmctl.model.events import Event, IkeSaEstablished
from xfrmctl.model.iana import AuthMethod, CertEncoding, ExchangeType, KeGroup, NotifyType, PayloadType
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.told import DecisionTold, PayloadsTold
from xfrmctl.wire.payloads import Auth, Cert, Id, KeyExchange, Nonce, Notify, Payload, Unknown, Vendor


def pair_of(world: World, psk: bytes = PSK) -> tuple[Node, Node]:
    a = world.add("alice", ALICE, connection(ALICE, BOB, child(esp=("aes256gcm16", "aes256gcm16-x25519"))))
    lan = child(local="10.1.2.0/25", remote="10.1.1.0/24", start=Start.NONE)
    b = world.add("bob", BOB, connection(BOB, ALICE, lan, psk=psk))
    return a, b


def explained(*nodes: Node, until: float = 600.0) -> None:
    for node in nodes:
        node.engine.explain("net", until)


def up(world: World, node: Node) -> None:
    world.do(node, lambda now: node.engine.initiate("net", None, now))
    world.run(1)


def script(node: Node) -> list[str]:
    """The story in short: arrows and first words, decisions behind an equals sign."""
    found = []
    for event in node.events:
        if isinstance(event, PayloadsTold):
            arrow = ">" if event.sent else "<"
            kind = "response" if event.response else "request"
            found.append(f"{arrow} {event.exchange.name} {kind} {event.message_id}")
            found += [f"  {line}" for line in event.lines]
        elif isinstance(event, DecisionTold):
            found.append(f"= {event.decision}")
    return found


def test_nothing_is_told_unless_somebody_asks_and_then_for_a_time() -> None:
    world = World()
    alice, bob = pair_of(world)
    bob.engine.explain("net", 0.5)
    up(world, alice)
    assert script(alice) == [] and script(bob) != [] and alice.of(IkeSaEstablished)
    assert bob.engine.explained("net", 0.2) == pytest.approx(0.3) and bob.engine.explained("net", 1.0) is None
    before = len(script(bob))
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(1)
    assert len(script(bob)) == before
    bob.engine.explain("net", 100.0)
    bob.engine.explain("net", None)
    assert bob.engine.explained("net", 1.0) is None


def test_both_ends_of_a_handshake_tell_the_same_story() -> None:
    world = World()
    alice, bob = pair_of(world)
    explained(alice, bob)
    up(world, alice)
    ours, theirs = script(alice), script(bob)
    assert ours[:4] == [
        "> IKE_SA_INIT request 0",
        "  SA proposal 1: IKE aes256gcm16-prfsha384-x25519",
        "  KE X25519: a public value of 32 bytes",
        "  No 32 bytes of randomness",
    ]
    for line in (
        "= the peer has chosen aes256gcm16-prfsha384-x25519 from our proposals",
        "= no NAT: both ends see the addresses that the other one has",
        f"= the peer is {BOB}, which we want, and proves it: psk",
        "> IKE_AUTH request 1",
        f"  IDi {ALICE}",
        "  AUTH SHARED_KEY_MIC: a proof of 48 bytes",
        "  TSi 10.1.1.0/24",
        "= agreed on child lan: aes256gcm16-noesn, tunnel mode, 10.1.1.0/24 === 10.1.2.0/25, what both ends have of "
        "10.1.1.0/24 === 10.1.2.0/24; now the kernel is to take it",
    ):
        assert line in ours, (line, ours)
    for line in (
        "= by its addresses and algorithms the peer may be: net",
        "= we choose aes256gcm16-prfsha384-x25519: the first of ours that the peer offers, too",
        f"= the peer is {ALICE}, proved by psk: this is net",
        "< IKE_AUTH request 1",
        "> IKE_AUTH response 1",
        "  TSr 10.1.2.0/25",
    ):
        assert line in theirs, (line, theirs)
    said = [[x for x in lines if x.startswith("  ")] for lines in (ours, theirs)]
    assert sorted(said[0]) == sorted(said[1])


def test_a_refusal_is_told_with_its_reason() -> None:
    world = World()
    alice, bob = pair_of(world, psk=b"another secret")
    explained(alice, bob)
    up(world, alice)
    assert any(line.startswith("= it is not net: ") for line in script(bob))
    assert (
        "  N(AUTHENTICATION_FAILED): the other end's identity or proof is not accepted; it says no more on purpose"
        in (script(alice))
    )


def test_another_key_exchange_method_and_a_cookie_are_told() -> None:
    world = World()
    proposals = ("aes256gcm16-prfsha384-x25519-ecp256",)
    lan = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child(), ike=proposals))
    settings = {"ike": ("aes256gcm16-prfsha384-ecp256",)}
    bob = world.add("bob", BOB, connection(BOB, ALICE, lan, **settings), cookie_threshold=0)  # type: ignore[arg-type]
    explained(alice, bob)
    up(world, alice)
    assert "= the peer has many strangers and wants a cookie back: the same again with it" in script(alice)
    assert "= the peer wants key exchange ECP_256, which we offer: again with it" in script(alice)
    assert any("sends key exchange X25519, and" in line for line in script(bob)), script(bob)


def test_a_nat_is_told() -> None:
    world = World()
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child()))
    lan = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    world.add("bob", BOB, connection(BOB, None, lan))
    explained(alice)
    world.nat[alice.address] = ip_address("198.51.100.7")
    up(world, alice)
    assert "= a NAT on our side changes addresses: IKE goes over to port 4500, and ESP into UDP" in script(alice)


def test_rekeys_and_deletes_are_told() -> None:
    world = World()
    alice, bob = pair_of(world)
    up(world, alice)
    explained(alice, bob)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(1)
    ours = script(alice)
    assert any(re.fullmatch(r"  N\(REKEY_SA\) ESP [0-9a-f]{8}: this CHILD SA is to be replaced", line) for line in ours)
    assert any(re.fullmatch(r"  D ESP [0-9a-f]{8}", line) for line in script(bob))


def test_of_many_connections_only_the_asked_one_is_told() -> None:
    world = World()
    lan = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child()))
    other = child("x", "10.9.0.0/24", "10.8.0.0/24", start=Start.NONE, reqid=0x58000009)
    bob = world.add("bob", BOB, connection(BOB, ALICE, lan), connection(BOB, "172.16.7.7", other, name="other"))
    bob.engine.explain("other", 600.0)
    up(world, alice)
    assert alice.of(IkeSaEstablished) and script(bob) == []


def test_no_secret_is_ever_told() -> None:
    """Neither raw nor in hex: keys, pre-shared keys, nonces, public values, proofs, cookies, tokens."""
    world = World()
    alice, bob = pair_of(world)
    explained(alice, bob)
    up(world, alice)
    for action in ("lan", None):
        world.do(alice, partial(alice.engine.rekey, "net", action))
        world.run(1)
    secrets = [PSK]
    for node in (alice, bob):
        for sa in node.engine.ike_sas():
            assert sa.keys is not None
            secrets += [getattr(sa.keys, name) for name in type(sa.keys).__slots__]
            secrets += [sa.nonce_i, sa.nonce_r, sa.qcd_token]
        for _, keys in node.sad.values():
            secrets += [keys.encryption, keys.integrity]
    found = [e for node in (alice, bob) for e in node.events if isinstance(e, PayloadsTold | DecisionTold)]
    assert len(found) > 20

    def text(event: Event) -> str:
        return tell(event) + repr(event_json(event, 0.0))

    everything = "\n".join(map(text, found)).lower()
    for secret in filter(None, secrets):
        assert secret.hex() not in everything and secret.hex()[:16] not in everything
        assert secret.decode("latin-1").lower() not in everything and repr(secret)[2:-1].lower() not in everything


@pytest.mark.parametrize(
    "payload",
    [
        Nonce(b"\x5e\xc4\xe7" * 11),
        KeyExchange(group=KeGroup.X25519, data=b"\x5e\xc4\xe7" * 11),
        Auth(method=AuthMethod.SHARED_KEY_MIC, data=b"\x5e\xc4\xe7" * 11),
        Notify(NotifyType.COOKIE, b"\x5e\xc4\xe7" * 11),
        Notify(NotifyType.QCD_TOKEN, b"\x5e\xc4\xe7" * 11),
        Notify(NotifyType.NAT_DETECTION_SOURCE_IP, b"\x5e\xc4\xe7" * 11),
        Notify(NotifyType(60000), b"\x5e\xc4\xe7" * 11),
        Vendor(b"\x5e\xc4\xe7" * 11),
        Unknown(48, False, b"\x5e\xc4\xe7" * 11),
        Cert(CertEncoding.X509_SIGNATURE, b"\x5e\xc4\xe7" * 11),
    ],
)
def test_of_what_could_be_secret_there_are_sizes(payload: Payload) -> None:
    (line,) = story.told([payload])
    assert "5ec4e7" not in line and "Ä" not in line and line.isprintable()


def test_what_a_peer_writes_is_cut_and_printable() -> None:
    (name,) = story.told([Id(PayloadType.IDI, parse_identity("fqdn:" + "a" * 2000))])
    assert len(name) == story.MAX_LINE and name.endswith("…")
    lines = story.told([Notify(NotifyType.INITIAL_CONTACT)] * 500)
    assert len(lines) <= story.MAX_LINES + 1
    bell = Id(PayloadType.IDI, type(parse_identity("fqdn:a"))(parse_identity("fqdn:a").type, b"a\x07\x1b[31mb"))
    assert story.told([bell])[0].isprintable()


def test_the_log_has_the_story_in_lines() -> None:
    told = PayloadsTold(
        connection="net",
        ike="net#1",
        sent=True,
        exchange=ExchangeType.IKE_AUTH,
        response=False,
        message_id=1,
        lines=("IDi 192.0.2.1", "TSi 10.1.1.0/24"),
    )
    assert tell(told) == "net#1 > says: IDi 192.0.2.1; TSi 10.1.1.0/24"
    assert tell(DecisionTold(connection="net", ike="", decision="why")) == "net: why"
