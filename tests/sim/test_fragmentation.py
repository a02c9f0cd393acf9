"""IKE fragmentation (RFC 7383) between whole engines: loss and reordering, small paths, peers without it."""

import pytest

from tests.sim.world import Datagram, Node, World, matching, pair, start
from xfrmctl.model.events import DatagramDropped, IkeSaEstablished, MessageReceived, MessageSent
from xfrmctl.model.iana import ExchangeType

SKF = 53

NEAR = ",".join(f"10.1.{n}.0/24" for n in range(100))
FAR = ",".join(f"10.2.{n}.0/24" for n in range(100))
SUITES = [
    "aes256gcm16-prfsha384-x25519",
    "chacha20poly1305-prfsha256-x25519",
    "aes256-sha512-x25519",
    "aes128-sha256-x25519",
]


def gateways(
    world: World, *, alice: dict[str, object] | None = None, bob: dict[str, object] | None = None
) -> tuple[Node, Node]:
    """Alice and Bob with so many traffic selectors that IKE_AUTH and CREATE_CHILD_SA need fragments."""
    return pair(
        world,
        alice=alice,
        bob=bob,
        alice_child={"local": NEAR, "remote": FAR},
        bob_child={"local": FAR, "remote": NEAR},
    )


def message(data: bytes) -> bytes:
    return data[4:] if not any(data[:4]) else data


def largest(world: World) -> int:
    """The largest IP packet that anybody has sent."""
    return max(28 + len(d.data) for d in world.wire)


def fragments(world: World) -> list[tuple[int, int, int]]:
    """(exchange, number, total) of every fragment sent."""
    found = []
    for datagram in world.wire:
        data = message(datagram.data)
        if len(data) > 36 and data[16] == SKF:
            found.append((data[18], int.from_bytes(data[32:34], "big"), int.from_bytes(data[34:36], "big")))
    return found


def unfragmented(world: World) -> list[int]:
    """Octets of every message that went in one piece."""
    return [len(d.data) for d in world.wire if len(d.data) > 1 and message(d.data)[16] != SKF]


@pytest.mark.rfc("7383", "2.5")
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("size", [576, 577, 800, 1280, 1500])
def test_large_messages_travel_in_packets_of_the_size_wanted(suite: str, size: int) -> None:
    world = World()
    options: dict[str, object] = {"fragment_size": size, "ike": (suite,), "mobike": False}
    alice, bob = gateways(world, alice=options, bob=options)
    start(world, alice)
    world.run(0.5)
    matching(alice, bob)
    assert len(alice.sad) == 2
    assert size - 16 <= largest(world) <= size
    auth = [f for f in fragments(world) if f[0] == ExchangeType.IKE_AUTH]
    total = auth[0][2]
    assert total >= 3
    assert auth == [(ExchangeType.IKE_AUTH, n, total) for n in range(1, total + 1)] * 2
    sent = [e for e in alice.of(MessageSent) if isinstance(e, MessageSent) and e.exchange == ExchangeType.IKE_AUTH]
    received = [e for e in bob.of(MessageReceived) if isinstance(e, MessageReceived) and e.fragments > 1]
    assert [e.fragments for e in sent] == [total]
    assert [e.fragments for e in received] == [total]
    assert sent[0].size == received[0].size


@pytest.mark.rfc("7383", "2.4")
def test_small_messages_and_the_first_exchange_are_never_cut() -> None:
    world = World()
    alice, bob = pair(world, alice={"fragment_size": 576}, bob={"fragment_size": 576})
    start(world, alice)
    world.run(40)
    matching(alice, bob)
    assert not fragments(world)


@pytest.mark.rfc("7383", "2.4")
def test_a_first_message_of_many_proposals_is_not_cut() -> None:
    world = World()
    many = tuple(
        f"aes{b}gcm16-prfsha{h}-{g}" for b in (128, 256) for h in (256, 384, 512) for g in ("x25519", "ecp256")
    )
    options: dict[str, object] = {"fragment_size": 576, "ike": many}
    alice, bob = gateways(world, alice=options, bob=options)
    start(world, alice)
    world.run(0.5)
    matching(alice, bob)
    assert max(unfragmented(world)) > 576
    assert all(exchange != ExchangeType.IKE_SA_INIT for exchange, _, _ in fragments(world))


@pytest.mark.rfc("7383", "2.3")
@pytest.mark.rfc("7383", "2.4")
@pytest.mark.parametrize(("near", "far"), [(None, 1280), (1280, None), (None, None)])
def test_a_peer_without_support_gets_whole_messages(near: int | None, far: int | None) -> None:
    world = World()
    alice, bob = gateways(world, alice={"fragment_size": near}, bob={"fragment_size": far})
    start(world, alice)
    world.run(0.5)
    matching(alice, bob)
    assert not fragments(world)
    assert max(unfragmented(world)) > 3000
    assert alice.sa().fragment_size == bob.sa().fragment_size == 0


@pytest.mark.rfc("7383", "2.6.1")
@pytest.mark.rfc("7383", "2.6")
@pytest.mark.parametrize("seed", range(6))
def test_loss_and_reordering(seed: int) -> None:
    """30 % of all datagrams are lost and the rest arrives in any order; rekeys of both kinds, from both sides."""
    world = World(seed=seed, latency_s=0.005)
    world.loss, world.jitter_s = 0.3, 0.05
    patient: dict[str, object] = {"dpd_s": None, "fragment_size": 1000}
    alice, bob = gateways(world, alice=patient, bob=patient)
    start(world, alice)
    world.run(300)
    for n in range(4):
        node = alice if n % 2 else bob
        world.do(node, lambda now, node=node, n=n: node.engine.rekey("net", None if n > 1 else "lan", now))  # type: ignore[misc]
        world.run(60)
    world.loss = 0
    world.run(300)
    matching(alice, bob)
    assert len(alice.sad) == 2
    assert fragments(world)
    for node in (alice, bob):
        assert len(node.engine._core.reassembly) == node.engine._core.reassembly.held == 0


@pytest.mark.rfc("7383", "2.5.2")
@pytest.mark.rfc("7383", "2.6")
@pytest.mark.parametrize("mtu", [1279, 1000, 576])
def test_a_path_that_loses_larger_packets_is_found_out(mtu: int) -> None:
    world = World()
    world.mtu = mtu
    alice, bob = gateways(world)
    start(world, alice)
    world.run(10)
    matching(alice, bob)
    assert len(alice.sad) == 2
    assert alice.sa().fragment_size == bob.sa().fragment_size == 576
    world.wire.clear()
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(10)
    assert largest(world) <= 576
    matching(alice, bob)


@pytest.mark.rfc("7383", "2.5.2")
def test_an_answer_that_does_not_get_through_is_cut_smaller() -> None:
    """Only the way from Bob to Alice is narrow, and Alice's fragments tell nothing of it."""
    world = World()
    alice, bob = gateways(world, alice={"fragment_size": 1500}, bob={"fragment_size": 1500})
    world.intercept.append(lambda d: d if d.source.address == alice.address or len(d.data) < 1000 else None)
    start(world, alice)
    world.run(15)
    matching(alice, bob)
    assert len(alice.of(IkeSaEstablished)) == 1


@pytest.mark.rfc("7383", "2.6.1")
def test_only_the_first_fragment_of_an_answered_request_brings_the_answer_again() -> None:
    world = World()
    alice, bob = gateways(world)
    start(world, alice)
    world.run(0.5)
    request = [d for d in world.wire if d.target.address == bob.address and message(d.data)[16] == SKF]
    answer = [d.data for d in world.wire if d.target.address == alice.address and message(d.data)[16] == SKF]
    for datagram in request[1:]:
        world.wire.clear()
        world.deliver(bob, datagram)
        assert not world.wire
    world.deliver(bob, request[0])
    assert [d.data for d in world.wire] == answer


@pytest.mark.rfc("7383", "2.6")
def test_fragments_of_somebody_else_are_dropped_and_cost_nothing() -> None:
    world = World()
    alice, bob = gateways(world)
    held: list[Datagram] = []
    start(world, alice)
    world.intercept.append(lambda d: held.append(d) if message(d.data)[16] == SKF else d)
    world.run(0.5)
    for at in range(28, len(held[0].data)):
        forged = bytearray(held[0].data)
        forged[at] ^= 0x40
        bob.engine.handle_datagram(held[0].target, held[0].source, bytes(forged), world.now)
    reasons = {e.reason for e in bob.engine.drain() if isinstance(e, DatagramDropped)}
    assert "integrity" in reasons
    assert bob.engine._core.reassembly.held == 0
