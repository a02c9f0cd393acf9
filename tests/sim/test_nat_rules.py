"""The fine print of RFC 3948: SPIs, and what a keepalive does not mean."""

import pytest

from tests.sim.forge import notifies, opened, rewrite, sent
from tests.sim.world import ALICE, BOB, Datagram, World, child, connection, matching, pair, start
from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.ike import natd
from xfrmctl.ike.config import EngineConfig, Start
from xfrmctl.ike.core import MIN_SPI, Core
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import IkeSaClosed, PeerSilent
from xfrmctl.model.iana import ExchangeType, NotifyType
from xfrmctl.wire.payloads import Notify, Payload


class Zeros:
    """Entropy whose first draws are zeros."""

    def __init__(self, count: int) -> None:
        self.left, self.then = count, DeterministicEntropy(b"then")

    def __call__(self, size: int) -> bytes:
        self.left -= 1
        return bytes(size) if self.left >= 0 else self.then(size)


@pytest.mark.rfc("3948", "1")
@pytest.mark.rfc("3948", "2.1")
@pytest.mark.parametrize("zeros", [0, 1, 5])
def test_our_spis_are_never_zero(zeros: int) -> None:
    core = Core(EngineConfig(connections={}), Zeros(zeros), lambda: 0.0)
    assert core.new_child_spi() >= MIN_SPI
    assert any(Core(EngineConfig(connections={}), Zeros(zeros), lambda: 0.0).new_spi())


@pytest.mark.rfc("3948", "4")
@pytest.mark.rfc("3948", "2.3")
def test_keepalives_are_no_sign_of_life() -> None:
    """Alice is behind a NAT and dies; somebody goes on sending her keepalives: Bob finds out all the same."""
    world = World()
    theirs = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child()))
    identity = connection(ALICE, BOB).local_id
    bob = world.add("bob", BOB, connection(BOB, None, theirs, remote_id=identity))
    world.nat[alice.address] = type(alice.address)("172.16.3.1")
    start(world, alice)
    world.run(1)
    remote = bob.sa().remote
    del world.nodes[alice.address]
    for second in range(100):
        keepalive = Datagram(remote, Endpoint(bob.address, 4500), b"\xff")
        world.at(world.now + second, lambda d=keepalive: world.deliver(bob, d))  # type: ignore[misc]
    world.run(100)
    assert bob.of(PeerSilent)
    assert bob.of(IkeSaClosed)
    assert not bob.sad


@pytest.mark.rfc("4555", "3.3")
@pytest.mark.rfc("4555", "3.9")
def test_without_nat_traversal_there_is_no_mobike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither end sends NAT_DETECTION: they stay on port 500, and MOBIKE_SUPPORTED is not said."""
    monkeypatch.setattr(natd, "notifies", lambda *_: ())
    world = World()
    alice, bob = pair(world)
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert alice.sa().local.port == 500
    assert alice.sa().mobility is None
    assert bob.sa().mobility is None
    for node, response in ((alice, False), (bob, True)):
        (datagram,) = sent(world, node, ExchangeType.IKE_AUTH, response=response)
        holder = bob.sa() if node is alice else alice.sa()
        assert NotifyType.MOBIKE_SUPPORTED not in notifies(opened(holder, datagram.data))


@pytest.mark.rfc("4555", "4.2.1")
@pytest.mark.parametrize("data", [b"", b"\x01", b"the next version" * 10])
def test_data_in_mobike_supported_are_ignored_and_never_sent(data: bytes) -> None:
    world = World()
    alice, bob = pair(world)

    def add(payloads: list[Payload]) -> list[Payload]:
        kind = NotifyType.MOBIKE_SUPPORTED
        assert Notify(kind) in payloads
        return [Notify(kind, data) if isinstance(p, Notify) and p.type == kind else p for p in payloads]

    for node, response in ((alice, False), (bob, True)):
        rewrite(world, node, ExchangeType.IKE_AUTH, add, response=response)
    start(world, alice)
    world.run(1)
    assert alice.sa().mobility is not None
    assert bob.sa().mobility is not None
