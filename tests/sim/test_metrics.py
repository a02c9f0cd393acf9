"""Things happen between two engines, and the numbers of the metrics endpoint move."""

import pytest

from tests.sim.test_rekey import Tunnel
from tests.sim.world import Datagram, Node, World, pair, start
from tests.unit.metrics.scraping import Counted
from xfrmctl.model.events import RekeyCollided

QUIET: dict[str, object] = {"dpd_s": None, "mobike": False}


def counted(node: Node) -> Counted:
    return Counted(node.events)


@pytest.mark.parametrize("what", ["child", "ike"])
def test_a_rekey_takes_a_round_trip_and_is_its_initiators(what: str) -> None:
    tunnel = Tunnel(latency_s=0.05)
    tunnel.world.run(5)
    (tunnel.soft_expiry if what == "child" else tunnel.rekey_ike)(tunnel.alice)
    tunnel.world.run(5)
    alice, bob = counted(tunnel.alice), counted(tunnel.bob)
    assert alice("rekeys_total", connection="net", what=what, role="initiator") == 1
    assert bob("rekeys_total", connection="net", what=what, role="responder") == 1
    assert alice("rekeys_total") == bob("rekeys_total") == 1
    took = {bound: alice("rekey_duration_seconds_bucket", what=what, le=bound) for bound in ("0.05", "0.25")}
    assert took == {"0.05": 0, "0.25": 1}
    assert alice("rekey_duration_seconds_sum", what=what) == pytest.approx(0.1)
    assert bob("rekey_duration_seconds_count") == 0


@pytest.mark.rfc("7296", "2.8.1")
@pytest.mark.parametrize("what", ["child", "ike"])
def test_a_collision_is_counted_at_both_ends_and_one_of_them_wins(what: str) -> None:
    tunnel = Tunnel()
    tunnel.world.run(5)
    for node in (tunnel.alice, tunnel.bob):
        (tunnel.soft_expiry if what == "child" else tunnel.rekey_ike)(node)
    tunnel.world.run(40)
    tunnel.settled()
    for node in (tunnel.alice, tunnel.bob):
        assert counted(node)("rekey_collisions_total", connection="net", what=what) == 1
        assert counted(node)("rekey_collisions_total") == 1
    ours = [event.ours for node in (tunnel.alice, tunnel.bob) for event in node.of(RekeyCollided)]  # type: ignore[attr-defined]
    assert sorted(ours) == [False, True]


def test_rekeys_in_turn_do_not_collide() -> None:
    tunnel = Tunnel()
    tunnel.world.run(5)
    for node in (tunnel.alice, tunnel.bob):
        tunnel.soft_expiry(node)
        tunnel.world.run(5)
    assert counted(tunnel.alice)("rekey_collisions_total") == 0
    assert counted(tunnel.alice)("rekeys_total", what="child") == 2


def test_whether_the_peer_lives() -> None:
    world = World()
    alice, bob = pair(world, alice=QUIET | {"dpd_s": 5.0}, bob=QUIET)
    start(world, alice)
    world.run(12)
    asked, answered = (counted(alice)("liveness_checks_total", outcome=word) for word in ("asked", "answered"))
    assert asked == answered == 2
    assert counted(bob)("liveness_checks_total") == 0
    world.intercept.append(lambda _: None)
    world.run(60)
    assert counted(alice)("liveness_checks_total", connection="net", outcome="silent") == 1
    assert counted(alice)("peer_silent_total", connection="net") >= 1
    assert counted(alice)("ike_sas_closed_total", connection="net", code="peer_dead") == 1


def test_failures_by_our_reason_and_by_notify() -> None:
    world = World()
    alice, bob = pair(world, alice=QUIET, bob=QUIET, bob_child={"local": "10.9.0.0/24"})
    start(world, alice)
    world.run(1)
    for node in (alice, bob):
        labels = {"connection": "net", "code": "ts_unacceptable", "notify": "ts_unacceptable"}
        assert counted(node)("negotiation_failures_total", **labels) == 1, node.name


def test_a_lost_message_is_sent_again_and_the_handshake_takes_longer() -> None:
    world = World()
    alice, _ = pair(world, alice=QUIET, bob=QUIET)
    lost: list[Datagram] = []

    def once(datagram: Datagram) -> Datagram | None:
        if not lost:
            lost.append(datagram)
            return None
        return datagram

    world.intercept.append(once)
    start(world, alice)
    world.run(5)
    found = counted(alice)
    assert found("retransmissions_total", connection="net") == 1
    assert found("handshake_duration_seconds_bucket", role="initiator", le="1.0") == 0
    assert found("handshake_duration_seconds_bucket", role="initiator", le="2.5") == 1


def test_cookies_are_counted() -> None:
    world = World()
    alice, bob = pair(world, alice=QUIET, bob=QUIET)
    bob.engine._core.config = bob.engine._core.config.__class__(
        connections=bob.engine.config.connections, cookie_threshold=0
    )
    start(world, alice)
    world.run(1)
    assert counted(bob)("cookies_demanded_total") == 1
    assert counted(alice)("ike_sas_established_total", connection="net") == 1


def test_fragments_of_ike_are_counted_at_both_ends() -> None:
    world = World()
    alice, bob = pair(
        world,
        alice=QUIET | {"fragment_size": 576},
        bob=QUIET | {"fragment_size": 576},
        alice_child={"local": ",".join(f"10.1.{n}.0/24" for n in range(40))},
    )
    start(world, alice)
    world.run(2)
    sent = counted(alice)("ike_fragments_total", direction="out")
    assert sent >= 2
    assert counted(bob)("ike_fragments_total", direction="in") == sent
