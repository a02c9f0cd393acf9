"""The fine print of RFC 7383: headers of fragments, when timers start over, what is kept of incomplete messages."""

from itertools import pairwise

import pytest

from tests.sim.forge import QUIET, Forger, established, header_of
from tests.sim.test_fragmentation import gateways, message
from tests.sim.world import Datagram, World, matching, pair, start
from xfrmctl.ike.config import RetransmitPolicy
from xfrmctl.model.events import DatagramDropped
from xfrmctl.model.iana import ExchangeType, NotifyType, PayloadType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import Fragment, parse
from xfrmctl.wire.payloads import Notify

SKF = 53


def pieces(world: World, source: object, exchange: ExchangeType) -> list[bytes]:
    said = [message(d.data) for d in world.wire if d.source.address == source and len(d.data) > 28]
    return [data for data in said if data[16] == SKF and data[18] == exchange]


@pytest.mark.rfc("7383", "2.3")
@pytest.mark.rfc("7383", "2.4")
def test_support_is_said_in_ike_sa_init_without_spi_and_data() -> None:
    world, alice, bob = established()
    for datagram in world.wire[:2]:
        said = parse(datagram.data).notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
        assert said == Notify(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
        assert said is not None
        assert said.encode() == bytes.fromhex("0000402e")
    assert alice.sa().fragment_size == bob.sa().fragment_size == 1280


@pytest.mark.rfc("7383", "2.5")
@pytest.mark.rfc("7383", "2.5.3")
def test_the_headers_of_fragments() -> None:
    world = World()
    alice, bob = gateways(world, alice={"fragment_size": 576}, bob={"fragment_size": 576})
    start(world, alice)
    world.run(0.5)
    for node, first in ((alice, PayloadType.IDI), (bob, PayloadType.IDR)):
        found = pieces(world, node.address, ExchangeType.IKE_AUTH)
        headers = [Header.parse(data) for data in found]
        assert len({(h.spi_i, h.spi_r, h.exchange, h.is_initiator, h.is_response, h.message_id) for h in headers}) == 1
        assert {h.next_payload for h in headers} == {SKF}
        assert [h.length for h in headers] == [len(d) for d in found]
        assert [d[28] for d in found] == [first, *[0] * (len(found) - 1)]
        assert [parse(d).sk.fragment for d in found] == [Fragment(n, len(found)) for n in range(1, len(found) + 1)]  # type: ignore[union-attr]
        assert all(int.from_bytes(d[30:32], "big") == len(d) - 28 for d in found), "SKF is the last payload"


@pytest.mark.rfc("7383", "2.4")
@pytest.mark.parametrize("size", [None, 1280])
def test_fragments_that_were_not_agreed_on_are_dropped(size: int | None) -> None:
    world = World()
    alice, bob = pair(world, alice=QUIET | {"fragment_size": None}, bob=QUIET | {"fragment_size": size})
    start(world, alice)
    world.run(1)
    forger = Forger(world, alice, bob)
    sa = forger.sa
    assert sa.protect_out is not None
    header = Header(sa.spi_i, sa.spi_r, SKF, ExchangeType.INFORMATIONAL, True, False, forger.next_id, 0)
    data = sa.protect_out.seal(header.encode(0), 0, b"", alice.engine._core.entropy, Fragment(1, 1).encode())
    assert not forger.deliver(data)
    assert [e.reason for e in bob.of(DatagramDropped) if isinstance(e, DatagramDropped)][-1] == "unexpected_fragment"
    assert forger.ask(ExchangeType.INFORMATIONAL) == []


@pytest.mark.rfc("7383", "2.5.2")
@pytest.mark.rfc("7296", "2.1")
def test_a_smaller_size_starts_the_timers_over_and_is_kept_to() -> None:
    """Two tries with the larger fragments, then the whole series of waits with the smallest ones."""
    world = World()
    world.mtu = 1000
    policy = RetransmitPolicy(first_s=1, factor=2, tries=5, max_s=64)
    alice, _ = gateways(world, alice=QUIET | {"retransmit": policy}, bob=QUIET)
    sent: list[tuple[float, int]] = []
    start(world, alice)
    world.run(0.015)

    def swallow(datagram: Datagram) -> Datagram | None:
        header = header_of(datagram)
        if header is None or header.exchange != ExchangeType.IKE_AUTH:
            return datagram
        data = message(datagram.data)
        if int.from_bytes(data[32:34], "big") == 1:
            sent.append((world.now, int.from_bytes(data[34:36], "big")))
        return None

    world.intercept.append(swallow)
    world.run(200)
    waits = [b - a for (a, _), (b, _) in pairwise(sent)]
    totals = [total for _, total in sent]
    assert [round(w) for w in waits[:7]] == [1, 2, 1, 2, 4, 8, 16]
    assert totals[0] == totals[1] < totals[2]
    assert len(set(totals[2:8])) == 1


@pytest.mark.rfc("7383", "2.5.2")
def test_every_exchange_may_find_a_smaller_path() -> None:
    """The path narrows after the IKE SA has come up."""
    world = World()
    alice, bob = gateways(world, alice=QUIET, bob=QUIET)
    start(world, alice)
    world.run(1)
    assert alice.sa().fragment_size == 1280
    world.mtu = 700
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(20)
    assert alice.sa().fragment_size == 576
    matching(alice, bob)


@pytest.mark.rfc("7383", "2.6")
def test_incomplete_messages_are_forgotten_in_time_and_cost_no_ike_sa() -> None:
    world = World()
    alice, bob = gateways(world, alice=QUIET, bob=QUIET)
    start(world, alice)
    world.run(1)

    def lose_the_last(datagram: Datagram) -> Datagram | None:
        data = message(datagram.data)
        last = len(data) > 36 and data[16] == SKF and data[32:34] == data[34:36]
        return None if last and datagram.source.address == alice.address else datagram

    world.intercept.append(lose_the_last)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(0.5)
    assert bob.engine._core.reassembly.held > 0
    del world.nodes[alice.address]
    world.run(600)
    assert bob.engine._core.reassembly.held == 0, "the rest did not come"
    assert bob.sad, "an incomplete request is no reason to end an IKE SA"
