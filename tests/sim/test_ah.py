"""AH between two engines (RFC 4302): negotiation, keys, rekeying, deletion, and its end where there is a NAT."""

from ipaddress import ip_address
from typing import Any

import pytest

from tests.sim.world import ALICE, BOB, Node, World, child, connection, matching, pair, start
from xfrmctl.ike.config import Start
from xfrmctl.model.events import ChildSaRekeyed, NegotiationFailed
from xfrmctl.model.failure import Failure
from xfrmctl.model.iana import Integ, ProtocolId
from xfrmctl.model.identity import Identity
from xfrmctl.model.sa import Mode

AH: dict[str, Any] = {"ah": ("sha256",)}


def talked(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[World, Node, Node]:
    world = World()
    alice, bob = pair(world, alice_child=ours, bob_child=theirs)
    start(world, alice)
    world.run(1)
    return world, alice, bob


def failure_of(node: Node) -> Failure:
    found = node.of(NegotiationFailed)
    assert found and isinstance(found[0], NegotiationFailed)
    return found[0].failure


@pytest.mark.rfc("7296", "3.3.3")
@pytest.mark.parametrize(
    ("ours", "theirs", "integ", "key"),
    [
        (("sha256",), ("sha256",), Integ.HMAC_SHA2_256_128, 32),
        (("sha384",), ("sha512-sha384",), Integ.HMAC_SHA2_384_192, 48),
        (("sha256-sha512-esn",), ("sha512-esn-noesn",), Integ.HMAC_SHA2_512_256, 64),
        (("sha512-x25519",), ("sha512-x25519",), Integ.HMAC_SHA2_512_256, 64),
    ],
)
def test_ah_ends_in_the_same_integrity_keys_and_no_others(
    ours: tuple[str, ...], theirs: tuple[str, ...], integ: Integ, key: int
) -> None:
    _, alice, bob = talked({"ah": ours}, {"ah": theirs})
    matching(alice, bob)
    for sa, keys in alice.sad.values():
        assert (sa.protocol, sa.id.protocol, sa.suite.integ) == (ProtocolId.AH, ProtocolId.AH, integ)
        assert (len(keys.encryption), len(keys.integrity)) == (0, key)
        assert str(sa.suite).startswith("ah-sha")
    assert len(alice.sad) == 2


def test_ah_and_esp_do_not_meet_and_both_ends_say_so() -> None:
    for ours, theirs in ((AH, {}), ({}, AH)):
        _, alice, bob = talked(ours, theirs)
        assert alice.sad == bob.sad == {}
        assert failure_of(bob).code == failure_of(alice).code
        assert f"no common {'AH' if theirs else 'ESP'} proposal" in failure_of(bob).text


@pytest.mark.rfc("7296", "1.3.3")
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_rekeying_and_deletion_name_ah(who: str) -> None:
    world, alice, bob = talked({"ah": ("sha256-x25519",), "mode": Mode.TUNNEL}, {"ah": ("sha256-x25519",)})
    node, other = (alice, bob) if who == "alice" else (bob, alice)
    world.do(node, lambda now: node.engine.rekey("net", "lan", now))
    world.run(10)
    assert len(alice.of(ChildSaRekeyed)) == len(bob.of(ChildSaRekeyed)) == 1
    matching(alice, bob)
    assert len(alice.sad) == 2
    world.do(other, lambda now: other.engine.terminate("net", "lan", now))
    world.run(1)
    assert alice.sad == bob.sad == {}


@pytest.mark.rfc("4302", "3.3.3.1")
@pytest.mark.parametrize("by", ["both", "ours"])
def test_ah_through_a_nat_is_refused_with_cause_and_cure(by: str) -> None:
    """By the initiator before it asks; by a responder that is asked all the same."""
    world = World()
    world.nat[ip_address(ALICE)] = ip_address("203.0.113.9")
    own, theirs = Identity.of_address(ip_address(ALICE)), Identity.of_address(ip_address(BOB))
    alice = world.add("alice", ALICE, connection(ALICE, BOB, child(**AH), local_id=own, remote_id=theirs))
    mirrored = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE, **AH)
    bob = world.add("bob", BOB, connection(BOB, None, mirrored, local_id=theirs, remote_id=own))
    with pytest.MonkeyPatch.context() as patch:
        if by == "ours":
            patch.setattr("xfrmctl.ike.exchanges.ike_auth.through_nat", lambda sa, config: None)
        start(world, alice)
        world.run(1)
    judge = alice if by == "both" else bob
    failure = failure_of(judge)
    assert "is AH, and there is a NAT" in failure.text
    assert ("on our side" if by == "both" else "on the peer's side") in failure.text
    assert "NAT" in failure.cause and "write esp:" in failure.cure
    assert alice.sad == bob.sad == {}
