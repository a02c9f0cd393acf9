"""Quick crash detection (RFC 6290): a peer that has lost everything proves it; nobody else can."""

from dataclasses import replace

import pytest

from tests.sim.world import Datagram, Node, World, matching, pair, start
from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.crypto.qcd import TOKEN_LEN, qcd_token, same_token
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.events import DatagramDropped, IkeSaClosed, IkeSaEstablished, MessageSent
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.iana import ExchangeType, NotifyType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import encode, parse
from xfrmctl.wire.payloads import Notify, Payload, Unknown

SECRETS = {"alice": b"a secret of alice" * 2, "bob": b"a secret of bob ..." * 2}
DPD_S = 30.0

pytestmark = pytest.mark.rfc("6290", "4.5")


def up(*, secrets: dict[str, bytes] = SECRETS, dpd_s: float | None = DPD_S) -> tuple[World, Node, Node]:
    """The tunnel stands between gateways that make tokens."""
    world = World()
    alice, bob = pair(world, alice={"dpd_s": dpd_s}, bob={"dpd_s": None})
    for node in (alice, bob):
        give_secret(node, secrets.get(node.name, b""))
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    return world, alice, bob


def give_secret(node: Node, secret: bytes) -> None:
    node.engine._core.configure(replace(node.engine.config, qcd_secret=secret))


def crash(node: Node, *, secret: bytes | None = None) -> None:
    """Killed and started again: nothing is left but configuration and secret."""
    config = replace(node.engine.config, qcd_secret=SECRETS[node.name] if secret is None else secret)
    node.engine = IkeEngine(config, DeterministicEntropy(b"after the crash of " + node.name.encode()))
    node.sad.clear()
    node.events.clear()


def closed(node: Node) -> list[IkeSaClosed]:
    return [e for e in node.of(IkeSaClosed) if isinstance(e, IkeSaClosed)]


def presented(sa: IkeSa, payloads: list[Payload], **more: object) -> bytes:
    """An unprotected answer about this IKE SA, as its peer would send it."""
    header = Header(sa.spi_i, sa.spi_r, 0, ExchangeType.INFORMATIONAL, not sa.initiator, True, 2, 0)
    return encode(replace(header, **more), payloads)  # type: ignore[arg-type]


def invalid(*tokens: bytes) -> list[Payload]:
    return [Notify(NotifyType.INVALID_IKE_SPI), *(Notify(NotifyType.QCD_TOKEN, t) for t in tokens)]


def hits(world: World, node: Node, data: bytes) -> bool:
    """Whether this datagram from its peer ends the IKE SA of a node."""
    sa = node.sa()
    framed = bytes(4) + data if sa.local.port == 4500 else data
    world.deliver(node, Datagram(sa.remote, sa.local, framed))
    return sa not in node.engine.ike_sas()


def token_of(node: Node, sa: IkeSa) -> bytes:
    return qcd_token(SECRETS[node.name], sa.spi_i, sa.spi_r)


# -- detection


def test_after_a_crash_the_tunnel_is_back_with_the_next_request() -> None:
    """Well before silence would tell: at the next liveness check, and not after all its retransmissions."""
    world, alice, bob = up()
    crash(bob)
    crashed_at = world.now
    world.run(DPD_S + 0.2)
    (gone,) = closed(alice)
    assert gone.reason.code == FailureCode.PEER_RESTARTED
    matching(alice, bob)
    assert len(alice.sad) == 2
    assert alice.sa().created_at - crashed_at < DPD_S
    assert not [e for e in alice.of(MessageSent) if isinstance(e, MessageSent) and e.attempt > 1]


def test_any_request_will_do() -> None:
    world, alice, bob = up(dpd_s=None)
    crash(bob)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(0.2)
    matching(alice, bob)
    assert len(alice.of(IkeSaEstablished)) == 2


def test_a_crash_of_the_initiator_is_noticed_by_the_responder() -> None:
    world, alice, bob = up(dpd_s=None)
    crash(alice)
    world.do(bob, lambda now: bob.engine.rekey("net", None, now))
    world.run(0.2)
    (gone,) = closed(bob)
    assert gone.reason.code == FailureCode.PEER_RESTARTED
    assert not bob.sad


@pytest.mark.rfc("6290", "4.3")
@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("lost", ["alice", "bob"])
def test_the_token_of_a_rekeyed_ike_sa_counts(who: str, lost: str) -> None:
    world, alice, bob = up(dpd_s=None)
    nodes = {"alice": alice, "bob": bob}
    before = alice.sa().qcd_token
    world.do(nodes[who], lambda now: nodes[who].engine.rekey("net", None, now))
    world.run(5)
    assert alice.sa().qcd_token not in (b"", before)
    assert bob.sa().qcd_token
    crash(nodes[lost])
    other = bob if lost == "alice" else alice
    world.do(other, lambda now: other.engine.rekey("net", "lan", now))
    world.run(0.1)
    assert closed(other)[-1].reason.code == FailureCode.PEER_RESTARTED


@pytest.mark.parametrize("secrets", [{}, {"alice": SECRETS["alice"]}])
def test_without_a_token_silence_tells(secrets: dict[str, bytes]) -> None:
    world, alice, bob = up(secrets=secrets)
    assert not alice.sa().qcd_token
    crash(bob, secret=b"")
    world.run(DPD_S + 5)
    assert not closed(alice)
    world.run(60)
    assert closed(alice)[0].reason.code == FailureCode.PEER_DEAD


def test_another_secret_proves_nothing() -> None:
    world, alice, bob = up()
    crash(bob, secret=b"not the one that it had before!!")
    world.run(DPD_S + 5)
    assert not closed(alice)
    assert "qcd_token" in {e.reason for e in alice.of(DatagramDropped) if isinstance(e, DatagramDropped)}


# -- what must not happen


def asked(world: World, node: Node, header: Header, size: int = 80) -> list[tuple[Payload, ...]]:
    """What a node answers to a protected request of a stranger."""
    world.wire.clear()
    here = replace(node.sa().local, port=500)
    there = replace(node.sa().remote, port=500)
    world.deliver(node, Datagram(there, here, encode(header, [Unknown(46, False, bytes(size))])))
    return [parse(d.data).payloads for d in world.wire if d.source == here]


@pytest.mark.parametrize("is_initiator", [True, False])
@pytest.mark.parametrize("node", ["alice", "bob"])
def test_nobody_gets_the_token_of_an_ike_sa_that_lives(node: str, is_initiator: bool) -> None:
    """Whichever side a request claims to be from, and with one of the two SPIs wrong."""
    world, alice, bob = up()
    victim = {"alice": alice, "bob": bob}[node]
    sa = victim.sa()
    for spi_i, spi_r in ((sa.spi_i, sa.spi_r), (sa.spi_i, b"whatever"), (b"whatever", sa.spi_r)):
        header = Header(spi_i, spi_r, 0, ExchangeType.INFORMATIONAL, is_initiator, False, 9, 0)
        for answer in asked(world, victim, header):
            assert Notify(NotifyType.QCD_TOKEN, token_of(victim, sa)) not in answer
    other = Header(b"stranger", b"somebody", 0, ExchangeType.INFORMATIONAL, is_initiator, False, 9, 0)
    (answer,) = asked(world, victim, other)
    assert answer == (
        Notify(NotifyType.INVALID_IKE_SPI),
        Notify(NotifyType.QCD_TOKEN, qcd_token(SECRETS[node], b"stranger", b"somebody")),
    )


def test_nobody_gets_the_token_of_an_ike_sa_that_is_about_to_live() -> None:
    """Alice has asked for a new IKE SA; the answer is on its way, and a message on the new one overtakes it."""
    world, alice, bob = up()
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    world.run(0.015)
    new = next(s for s in bob.engine.ike_sas() if s.serial == 2)
    header = Header(new.spi_i, new.spi_r, 0, ExchangeType.INFORMATIONAL, False, False, 0, 0)
    assert asked(world, alice, header) == [(Notify(NotifyType.INVALID_IKE_SPI),)]
    world.run(5)
    assert not alice.sa().offered_spi


def test_only_the_right_token_ends_an_ike_sa() -> None:
    world, alice, bob = up()
    sa = alice.sa()
    right, wrong = token_of(bob, sa), b"w" * TOKEN_LEN
    assert sa.qcd_token == right
    assert not hits(world, alice, presented(sa, invalid(wrong)))
    assert not hits(world, alice, presented(sa, invalid(right[:-1])))
    assert not hits(world, alice, presented(sa, invalid(b"")))
    assert not hits(world, alice, presented(sa, invalid()))
    assert not hits(world, alice, presented(sa, [Notify(NotifyType.QCD_TOKEN, right)]))
    assert not hits(world, alice, presented(sa, invalid(*[wrong] * 4, right)))
    assert not hits(world, alice, presented(sa, invalid(right), is_response=False))
    assert not hits(world, alice, presented(sa, invalid(right), spi_r=b"whatever"))
    assert not hits(world, alice, presented(sa, invalid(token_of(alice, sa))))
    assert hits(world, alice, presented(sa, invalid(wrong, right)))


def test_a_token_from_before_a_rekey_does_not_end_what_came_after() -> None:
    world, alice, bob = up()
    old = token_of(bob, alice.sa())
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    world.run(5)
    assert not hits(world, alice, presented(alice.sa(), invalid(old)))


def test_answers_with_tokens_are_few() -> None:
    world, _, bob = up()
    header = Header(b"stranger", b"somebody", 0, ExchangeType.INFORMATIONAL, True, False, 9, 0)
    assert sum(len(asked(world, bob, header)) for _ in range(500)) == 20
    assert not asked(world, bob, replace(header, is_response=True))


@pytest.mark.rfc("6290", "3")
@pytest.mark.parametrize(("length", "kept"), [(0, False), (15, False), (16, True), (128, True), (129, False)])
def test_tokens_of_others_have_16_to_128_octets(length: int, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from xfrmctl.ike import qcd  # noqa: PLC0415

    given: list[Payload] = [Notify(NotifyType.QCD_TOKEN, bytes(length))]
    monkeypatch.setattr(qcd, "notices", lambda core, spi_i, spi_r: given)
    _, alice, bob = up()
    assert bool(alice.sa().qcd_token) is bool(bob.sa().qcd_token) is kept


def test_the_token_depends_on_secret_and_both_spis() -> None:
    tokens = {
        qcd_token(secret, spi_i, spi_r)
        for secret in (b"one", b"two")
        for spi_i, spi_r in ((b"12345678", b"abcdefgh"), (b"abcdefgh", b"12345678"), (b"12345678", b"abcdefgX"))
    }
    assert len(tokens) == 6
    assert all(len(t) == TOKEN_LEN for t in tokens)
    assert same_token(b"x" * 16, b"x" * 16) and not same_token(b"x" * 16, b"x" * 15 + b"y")


def test_whoever_only_answers_does_not_call() -> None:
    """Bob's child waits for the peer: the IKE SA ends, and that is all."""
    world, alice, bob = up(dpd_s=None)
    crash(alice)
    world.do(bob, lambda now: bob.engine.rekey("net", None, now))
    world.run(30)
    assert closed(bob)
    assert not bob.engine.ike_sas()
    assert not bob.sad
