"""Tunnel and transport mode between two engines, with and without a NAT (RFC 7296 1.3.1, 2.23.1)."""

from ipaddress import ip_address
from typing import Any

import pytest

from tests.sim.world import ALICE, BOB, Node, World, child, connection, pair, selectors, start
from xfrmctl.ike.child import Answered
from xfrmctl.ike.config import ChildConfig, Start
from xfrmctl.ike.sa import ChildSa
from xfrmctl.model.events import ChildSaRekeyed, NegotiationFailed
from xfrmctl.model.iana import NotifyType
from xfrmctl.model.identity import Identity
from xfrmctl.model.sa import Direction, Mode
from xfrmctl.wire.payloads import Notify

pytestmark = pytest.mark.rfc("7296", "1.3.1")

TUNNEL: dict[str, Any] = {}
TRANSPORT: dict[str, Any] = {"mode": Mode.TRANSPORT}
EITHER: dict[str, Any] = {"mode": Mode.TRANSPORT, "tunnel_will_do": True}
HOSTS_A, HOSTS_B = ({"local": a, "remote": b} for a, b in ((ALICE, BOB), (BOB, ALICE)))
OUTSIDE = "203.0.113.9"


def the_child(node: Node) -> ChildSa:
    (found,) = node.sa().children
    return found


def modes(node: Node) -> set[Mode]:
    """Of what its kernel holds."""
    return {sa.mode for sa, _ in node.sad.values()}


def talked(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[World, Node, Node]:
    world = World()
    alice, bob = pair(world, alice_child=HOSTS_A | ours, bob_child=HOSTS_B | theirs)
    start(world, alice)
    world.run(1)
    return world, alice, bob


@pytest.mark.parametrize(
    ("ours", "theirs", "mode"),
    [
        (TUNNEL, TUNNEL, Mode.TUNNEL),
        (TRANSPORT, TRANSPORT, Mode.TRANSPORT),
        (EITHER, TRANSPORT, Mode.TRANSPORT),
        (TRANSPORT, EITHER, Mode.TRANSPORT),
        (EITHER, TUNNEL, Mode.TUNNEL),
        (TUNNEL, EITHER, Mode.TUNNEL),
    ],
)
def test_both_ends_come_to_one_mode(ours: dict[str, Any], theirs: dict[str, Any], mode: Mode) -> None:
    _, alice, bob = talked(ours, theirs)
    assert the_child(alice).mode is the_child(bob).mode is mode
    assert modes(alice) == modes(bob) == {mode}
    assert alice.sad.keys() == bob.sad.keys()


def test_transport_sas_carry_their_selectors() -> None:
    _, alice, _ = talked(TRANSPORT, TRANSPORT)
    here, there = selectors(ALICE)[0], selectors(BOB)[0]
    assert {(sa.direction, sa.selector) for sa, _ in alice.sad.values()} == {
        (Direction.OUT, (here, there)),
        (Direction.IN, (there, here)),
    }


def test_a_responder_that_makes_a_tunnel_is_refused_by_an_initiator_that_insists() -> None:
    """The SA that the responder has made is deleted (RFC 7296 1.3.1: MUST)."""
    _, alice, bob = talked(TRANSPORT, TUNNEL)
    (failed,) = alice.of(NegotiationFailed)
    assert isinstance(failed, NegotiationFailed)
    assert "with a tunnel" in failed.failure.text and "transport-or-tunnel" in failed.failure.cure
    assert alice.sad == bob.sad == {}
    assert bob.sa().children == []


def test_a_responder_that_insists_refuses_an_initiator_that_does_not_ask() -> None:
    _, alice, bob = talked(TUNNEL, TRANSPORT)
    (failed,) = bob.of(NegotiationFailed)
    assert isinstance(failed, NegotiationFailed)
    assert "does not ask for transport mode" in failed.failure.text
    (told,) = alice.of(NegotiationFailed)
    assert isinstance(told, NegotiationFailed) and told.failure.notify == "NO_PROPOSAL_CHOSEN"
    assert alice.sad == bob.sad == {}


def test_transport_mode_that_nobody_has_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A responder that answers with the notify where there was none in the request."""
    honest, extra = Answered.payloads, Notify(NotifyType.USE_TRANSPORT_MODE)
    monkeypatch.setattr(Answered, "payloads", lambda answer: [extra, *honest(answer)])
    _, alice, bob = talked(TUNNEL, TUNNEL)
    (failed,) = alice.of(NegotiationFailed)
    assert isinstance(failed, NegotiationFailed) and "nobody has asked" in failed.failure.text
    assert alice.sad == bob.sad == {}


@pytest.mark.rfc("7296", "1.3.3")
@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize(("ours", "theirs"), [(TRANSPORT, TRANSPORT), (EITHER, TUNNEL), (EITHER, EITHER)])
def test_rekeying_keeps_the_mode(ours: dict[str, Any], theirs: dict[str, Any], who: str) -> None:
    world, alice, bob = talked(ours, theirs)
    before = the_child(alice).mode
    node = alice if who == "alice" else bob
    world.do(node, lambda now: node.engine.rekey("net", "lan", now))
    world.run(10)
    assert len(alice.of(ChildSaRekeyed)) == len(bob.of(ChildSaRekeyed)) == 1
    assert the_child(alice).mode is the_child(bob).mode is before
    assert modes(alice) == modes(bob) == {before}
    assert alice.sad.keys() == bob.sad.keys()


def test_selectors_beyond_the_two_ends_are_narrowed_to_them() -> None:
    """A peer that asks for transport mode for whole networks gets it for the two addresses of the IKE SA."""
    world = World()
    wide = {"local": "172.16.1.0/24", "remote": "172.16.2.0/24"} | TRANSPORT
    alice, bob = pair(world, alice_child=wide, bob_child={"local": "172.16.0.0/16", "remote": "0.0.0.0/0"} | TRANSPORT)
    start(world, alice)
    world.run(1)
    assert the_child(bob).local_ts == the_child(alice).remote_ts == selectors(BOB)
    assert the_child(bob).remote_ts == the_child(alice).local_ts == selectors(ALICE)


# ---- through a NAT ---------------------------------------------------------------------------------------------


def behind_nat(who: str, initiator_child: dict[str, Any], responder_child: dict[str, Any]) -> tuple[World, Node, Node]:
    """Alice initiates. ``who`` of the two is behind the NAT: OUTSIDE is what the other one knows of it."""
    world = World()
    inside = ip_address(ALICE if who == "alice" else BOB)
    world.nat[inside] = ip_address(OUTSIDE)
    alice_sees, bob_sees = (BOB, OUTSIDE) if who == "alice" else (OUTSIDE, ALICE)
    if who == "bob":
        world.nat_shift = 0  # a port forwarding, or Alice could not begin
    ids = {"alice": Identity.of_address(ip_address(ALICE)), "bob": Identity.of_address(ip_address(BOB))}

    def end(own: str, other: str, name: str, peer: str, own_child: ChildConfig) -> Node:
        return world.add(name, own, connection(own, other, own_child, local_id=ids[name], remote_id=ids[peer]))

    def made(own: str, other: str, more: dict[str, Any]) -> ChildConfig:
        return child(**({"local": own, "remote": other} | more))

    alice = end(ALICE, alice_sees, "alice", "bob", made(ALICE, alice_sees, initiator_child))
    bob = end(BOB, bob_sees, "bob", "alice", made(BOB, bob_sees, {"start": Start.NONE} | responder_child))
    start(world, alice)
    world.run(1)
    return world, alice, bob


@pytest.mark.rfc("7296", "2.23.1")
@pytest.mark.rfc("7296", "2.23")
@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("rekeyed", [False, True])
def test_each_end_has_selectors_with_the_addresses_that_it_sees(who: str, rekeyed: bool) -> None:
    world, alice, bob = behind_nat(who, TRANSPORT, TRANSPORT)
    if rekeyed:
        world.do(bob, lambda now: bob.engine.rekey("net", "lan", now))
        world.run(10)
        assert len(alice.of(ChildSaRekeyed)) == 1
    for node, own, other in (
        (alice, ALICE, BOB if who == "alice" else OUTSIDE),
        (bob, BOB, OUTSIDE if who == "alice" else ALICE),
    ):
        found = the_child(node)
        assert (found.mode, found.local_ts, found.remote_ts) == (Mode.TRANSPORT, selectors(own), selectors(other))
        assert {(str(sa.source), str(sa.destination)) for sa, _ in node.sad.values()} == {(own, other), (other, own)}
    assert {sa_id.spi for sa_id in alice.sad} == {sa_id.spi for sa_id in bob.sad}


@pytest.mark.rfc("7296", "2.23.1")
def test_a_tunnel_through_a_nat_is_offered_and_answered_as_written() -> None:
    """Nothing is put in the place of anything: a responder that makes a tunnel looks at what was said."""
    nets = {"local": "10.1.1.0/24", "remote": "10.1.2.0/24"}
    mirrored = {"local": "10.1.2.0/24", "remote": "10.1.1.0/24"}
    _, alice, bob = behind_nat("alice", nets, mirrored)
    assert the_child(alice).local_ts == the_child(bob).remote_ts == selectors("10.1.1.0/24")
    assert modes(alice) == {Mode.TUNNEL}


@pytest.mark.rfc("7296", "2.23.1")
@pytest.mark.rfc("7296", "2.23")
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_through_a_nat_several_addresses_are_not_taken_for_one(who: str) -> None:
    """Which of them the NAT has changed nobody can know: an offer like that is refused."""
    wide = {"local": "172.16.1.0/24", "remote": "172.16.2.0/24"} if who == "alice" else {"remote": "203.0.113.0/24"}
    _, alice, bob = behind_nat(who, TRANSPORT | wide, TRANSPORT)
    (failed,) = bob.of(NegotiationFailed)
    assert isinstance(failed, NegotiationFailed) and failed.failure.notify == "TS_UNACCEPTABLE"
    assert alice.sad == bob.sad == {}
