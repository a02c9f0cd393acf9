"""100,000 mutated datagrams into a living engine: it never raises, never hangs, and keeps its memory bounded.

Most of them are mutations of what an honest initiator says; the others come from a peer that *has* authenticated
itself and now seals nonsense with the right keys, so that the damage gets past the integrity check.
"""

import tracemalloc
from dataclasses import replace
from random import Random

import pytest

from tests.fuzz.mutate import CHAINS, change
from tests.sim.world import ALICE, BOB, Datagram, Node, World, child, connection, pair, start
from xfrmctl.ike.config import Start
from xfrmctl.ike.states import IkeState
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import DatagramDropped
from xfrmctl.model.iana import ExchangeType
from xfrmctl.wire.errors import REASONS
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import Fragment
from xfrmctl.wire.natt import frame

ROUNDS = 95_000
"""Mutations of what an honest initiator says."""

SEALED_ROUNDS = 5_000
"""Nonsense sealed with the right keys; each costs a whole exchange; `make fuzz` has more of them."""

ENGINE_REASONS = {
    "half_open_limit",
    "half_open_timeout",
    "in_progress",
    "init_changed",
    "integrity",
    "malformed_init",
    "message_id",
    "missing_payload",
    "bad_public_value",
    "unexpected_exchange",
    "unexpected_response",
    "unknown_spi",
    "unprotected",
    "esp_in_user_space",
    "unexpected_fragment",
    "too_many_fragments",
    "fragment_mismatch",
    "fragment_repeated",
    "fragments_evicted",
    "fragments_timeout",
    "message_too_large",
}


def forget(node: Node) -> set[str]:
    """Why datagrams were dropped since the last time."""
    reasons = {e.reason for e in node.of(DatagramDropped) if isinstance(e, DatagramDropped)}
    node.events.clear()
    return reasons


@pytest.mark.rfc("7296", "2.21.1")
@pytest.mark.rfc("7296", "3.1")
def test_mutations_of_an_honest_handshake() -> None:
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(1)
    seeds = [d for d in world.wire if str(d.target.address) == BOB]
    assert len(seeds) >= 2
    rng, reasons = Random(7296), set[str]()
    tracemalloc.start()
    before = 0
    for n in range(ROUNDS):
        seed = rng.choice(seeds)
        raw = bytearray(seed.data)
        for _ in range(rng.randint(1, 4)):
            change(rng, raw, rng.choice((0, 17, 28)))
        local = Endpoint(bob.address, rng.choice((500, 500, 500, 4500)))
        remote = Endpoint(seed.source.address, rng.choice((500, 4500, rng.randrange(1, 65536))))
        bob.engine.handle_datagram(local, remote, bytes(raw), world.now)
        bob.events += [e for e in bob.engine.drain() if isinstance(e, DatagramDropped)]
        if n % 1000 == 999:
            reasons |= forget(bob)
            world.now += 5
            bob.engine.handle_timer(world.now)
            bob.engine.drain()
        if n == ROUNDS // 2:
            before = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2_000_000, "bytes kept by half of the rounds"
    assert bob.engine.half_open <= 20
    assert reasons <= ENGINE_REASONS | REASONS
    assert {"short", "unknown_spi", "integrity", "malformed_init"} & reasons
    assert len(bob.sad) == 2, "the honest tunnel is still there"


@pytest.mark.rfc("7296", "2.21.3")
@pytest.mark.rfc("7296", "3.10.1")
def test_nonsense_of_an_authenticated_peer() -> None:
    rng = Random(2213)
    rounds, established = 0, 0
    while rounds < SEALED_ROUNDS:
        world = World(seed=rounds)
        alice = world.add("alice", ALICE, connection(ALICE, BOB, child(), dpd_s=None))
        bob = world.add(
            "bob",
            BOB,
            connection(BOB, ALICE, child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE), dpd_s=None),
        )
        start(world, alice)
        world.run(0.2)
        established += 1
        rounds += _torment(world, alice, bob, rng, min(2000, SEALED_ROUNDS - rounds))
        world.run(300)
        assert bob.engine.half_open == 0
    assert established >= 2


def _torment(world: World, alice: Node, bob: Node, rng: Random, limit: int) -> int:
    """Send sealed nonsense until Bob has had enough of this IKE SA."""
    sa = alice.sa()
    assert sa.protect_out is not None
    assert sa.remote.port == 4500
    count = 0
    while count < limit:
        theirs = [s for s in bob.engine.ike_sas() if s.state == IkeState.ESTABLISHED]
        if not theirs:
            break
        count += 1
        chain = rng.choice(CHAINS)
        first = chain[0][0] if chain else 0
        body = bytearray()
        for n, (_, flags, content) in enumerate(chain):
            following = chain[n + 1][0] if n + 1 < len(chain) else 0
            body += bytes([following, flags]) + (len(content) + 4).to_bytes(2, "big") + content
        for _ in range(rng.randint(0, 3)):
            change(rng, body, 0)
        exchange = ExchangeType(rng.choice((35, 36, 36, 37, 37, 38, 240)))
        header = Header(sa.spi_i, sa.spi_r, 46, exchange, True, False, theirs[0].expected_id, 0)
        header = replace(header, is_response=rng.random() < 0.05)
        data = sa.protect_out.seal(header.encode(0), first, bytes(body), alice.engine._core.entropy)
        world.deliver(bob, Datagram(sa.local, sa.remote, frame(data)))
        assert len(bob.sad) <= 2 + 2 * count
        bob.events.clear()
        world.wire.clear()
    return max(count, 1)


@pytest.mark.rfc("7383", "2.6")
@pytest.mark.rfc("7383", "2.5")
def test_fragments_of_an_authenticated_peer() -> None:
    """Sealed fragments of nonsense and of messages that are none: any number, any total, any size, both directions."""
    rng, reasons = Random(7383), set[str]()
    rounds = 0
    tracemalloc.start()
    while rounds < SEALED_ROUNDS // 2:
        world = World(seed=rounds)
        alice, bob = pair(world, alice={"dpd_s": None}, bob={"dpd_s": None})
        start(world, alice)
        world.run(0.2)
        rounds += _scatter(world, alice, bob, rng, reasons)
        world.run(300)
        assert bob.engine._core.reassembly.held == 0 or bob.engine.ike_sas()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
    assert reasons <= ENGINE_REASONS | REASONS
    assert {"too_many_fragments", "fragment_mismatch", "fragment_repeated", "message_too_large", "integrity"} <= reasons


def _scatter(world: World, alice: Node, bob: Node, rng: Random, reasons: set[str]) -> int:
    """Send sealed fragments until Bob has had enough of this IKE SA."""
    sa, theirs, entropy = alice.sa(), bob.sa(), alice.engine._core.entropy
    assert sa.protect_out is not None
    count = 0
    while count < 2000 and theirs.state == IkeState.ESTABLISHED:
        count += 1
        total = rng.choice((1, 2, 2, 3, 5, 64, 128, 129, 65535))
        fragment = Fragment(rng.randint(1, min(total, 130)), total)
        exchange, message_id = ExchangeType(rng.choice((36, 37))), theirs.expected_id + rng.choice((0, 0, 0, 0, -1, 1))
        header = Header(sa.spi_i, sa.spi_r, 53, exchange, True, rng.random() < 0.1, message_id % 2**32, 0)
        body = rng.randbytes(rng.choice((0, 1, 30, 500, 1400, 40000)))
        first = rng.choice((0, 33, 41, 46, 53))
        data = bytearray(sa.protect_out.seal(header.encode(0), first, body, entropy, fragment.encode()))
        if rng.random() < 0.1:
            change(rng, data, 16)
        world.deliver(bob, Datagram(sa.local, sa.remote, frame(bytes(data))))
        assert bob.engine._core.reassembly.held < 150_000
        reasons |= forget(bob)
        world.wire.clear()
    return count
