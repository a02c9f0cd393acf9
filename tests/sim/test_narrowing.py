"""Narrowing by addresses, protocol and ports between two engines (RFC 7296 2.9)."""

from ipaddress import ip_address
from typing import Any

import pytest

from tests.sim.world import Node, World, child, pair, selectors, start
from xfrmctl.ike.child import offer
from xfrmctl.ike.config import Start
from xfrmctl.ike.sa import ChildSa
from xfrmctl.model.events import NegotiationFailed
from xfrmctl.model.failure import Failure
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.wire.payloads import TrafficSelectors

pytestmark = pytest.mark.rfc("7296", "2.9")

A, B = "10.1.1.0/24", "10.1.2.0/24"


def talked(ours: tuple[str, str], theirs: tuple[str, str]) -> tuple[World, Node, Node]:
    """Both as (local, remote) of Alice's view."""
    world = World()
    alice, bob = pair(
        world,
        alice_child={"local": ours[0], "remote": ours[1]},
        bob_child={"local": theirs[1], "remote": theirs[0]},
    )
    start(world, alice)
    world.run(1)
    return world, alice, bob


def the_child(node: Node) -> ChildSa:
    (found,) = node.sa().children
    return found


def failure_of(node: Node) -> Failure:
    found = node.of(NegotiationFailed)
    assert found and isinstance(found[0], NegotiationFailed)
    return found[0].failure


@pytest.mark.parametrize(
    ("ours", "theirs", "local", "remote"),
    [
        ((f"{A}[tcp]", f"{B}[tcp]"), (A, f"{B}[tcp/443]"), f"{A}[tcp]", f"{B}[tcp/443]"),
        ((A, B), (f"{A}[udp/1000-2000]", f"{B}[udp]"), f"{A}[udp/1000-2000]", f"{B}[udp]"),
        ((A, f"{B}[tcp/100-300]"), (A, f"{B}[tcp/200-400]"), A, f"{B}[tcp/200-300]"),
        ((A, f"{B}[icmp]"), (A, f"{B}[icmp/8]"), A, f"{B}[icmp/8]"),
        ((A, f"{B}[tcp/80],{B}[tcp/443]"), (A, f"{B}[tcp]"), A, f"{B}[tcp/80],{B}[tcp/443]"),
        ((A, B), (A, "10.1.2.7-10.1.2.21"), A, "10.1.2.7-10.1.2.21"),
    ],
)
def test_both_ends_come_to_what_both_allow(
    ours: tuple[str, str], theirs: tuple[str, str], local: str, remote: str
) -> None:
    _, alice, bob = talked(ours, theirs)
    wanted = selectors(*local.split(",")), selectors(*remote.split(","))
    assert (the_child(alice).local_ts, the_child(alice).remote_ts) == wanted
    assert (the_child(bob).remote_ts, the_child(bob).local_ts) == wanted


@pytest.mark.parametrize("theirs", [(A, f"{B}[udp/443]"), (A, f"{B}[tcp/80]"), (A, "10.9.0.0/16[tcp/443]")])
def test_nothing_in_common_is_refused_with_both_sides_selectors(theirs: tuple[str, str]) -> None:
    _, alice, bob = talked((A, f"{B}[tcp/443]"), theirs)
    told = failure_of(bob)
    assert told.notify == failure_of(alice).notify == "TS_UNACCEPTABLE"
    assert theirs[1] in told.ours and f"{B}[tcp/443]" in told.theirs
    assert alice.sad == bob.sad == {}


@pytest.mark.rfc("4301", "4.4.1.1")
def test_opaque_ports_are_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    opaque = TrafficSelector(ip_address("10.1.2.0"), ip_address("10.1.2.255"), 6, 65535, 0)
    world = World()
    alice, bob = pair(world)
    honest = TrafficSelectors.encode

    def encode(payload: TrafficSelectors) -> bytes:
        return honest(TrafficSelectors(payload.kind, (opaque,)) if payload.name == "TSr" else payload)

    monkeypatch.setattr(TrafficSelectors, "encode", encode)
    start(world, alice)
    world.run(1)
    assert "OPAQUE" in failure_of(bob).cause and f"{B}[tcp/opaque]" in failure_of(bob).theirs
    assert bob.sad == {}


def test_the_packet_that_asks_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a responder that takes one pair only takes the one with it; what is left is asked for by nobody else."""
    world = World()
    alice, _ = pair(world, alice_child={"start": Start.TRAP}, bob_child={"local": "10.1.2.9/32"})
    host = {n: ip_address(a) for n, a in (("a", "10.1.1.7"), ("b", "10.1.2.9"))}
    packet = (
        TrafficSelector(host["a"], host["a"], 6, 40000, 40000),
        TrafficSelector(host["b"], host["b"], 6, 443, 443),
    )
    sent: dict[str, tuple[TrafficSelector, ...]] = {}
    honest = TrafficSelectors.encode

    def encode(payload: TrafficSelectors) -> bytes:
        sent.setdefault(payload.name, payload.selectors)
        return honest(payload)

    monkeypatch.setattr(TrafficSelectors, "encode", encode)
    world.do(alice, lambda now: alice.engine.handle_acquire(0x58000001, 77, now, packet))
    world.run(1)
    assert sent == {"TSi": (packet[0], *selectors(A)), "TSr": (packet[1], *selectors(B))}
    assert the_child(alice).local_ts == selectors(A)
    assert the_child(alice).remote_ts == selectors("10.1.2.9/32")


def test_a_packet_that_is_none_of_the_childs_is_not_offered() -> None:
    stranger = TrafficSelector(ip_address("10.9.9.9"), ip_address("10.9.9.9"))
    ours = child()
    (_, tsi, tsr) = offer(ours, 0x1000, (stranger, stranger), with_ke=False)
    assert isinstance(tsi, TrafficSelectors) and isinstance(tsr, TrafficSelectors)
    assert (tsi.selectors, tsr.selectors) == (ours.local_ts, ours.remote_ts)


def test_selectors_that_the_kernel_has_no_room_for_are_refused_not_installed() -> None:
    """A peer's ranges may be cut into millions of entries."""
    cruel: dict[str, Any] = {"local": "10.0.0.1-10.255.255.254[tcp/1-65534]", "remote": "10.0.0.1-10.255.255.254"}
    world = World()
    alice, bob = pair(world, alice_child=cruel, bob_child={"local": "10.0.0.0/8", "remote": "10.0.0.0/8"})
    start(world, alice)
    world.run(1)
    failure = failure_of(bob)
    assert "63480 entries of the kernel's SPD, of 1024" in failure.text and failure.notify == "TS_UNACCEPTABLE"
    assert alice.sad == bob.sad == {}
