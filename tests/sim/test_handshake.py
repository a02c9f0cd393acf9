"""Whole handshakes between two engines in virtual time."""

import pytest

from tests.sim.world import World, matching, pair, start
from xfrmctl.model.events import ChildSaInstalled, IkeSaEstablished

IKE = [
    "aes256gcm16-prfsha384-x25519",
    "aes128gcm16-prfsha256-ecp256",
    "aes256-sha512-ecp384",
    "aes128-sha256-modp2048",
    "chacha20poly1305-prfsha512-modp3072",
]
ESP = [
    "aes128gcm16",
    "aes256gcm16-esn",
    "aes256-sha256",
    "aes128-sha384",
    "aes256-sha512-esn-noesn",
    "chacha20poly1305",
]


@pytest.mark.rfc("7296", "1.2")
@pytest.mark.rfc("7296", "3.3.4")
@pytest.mark.rfc("7296", "3.3.6")
@pytest.mark.rfc("7296", "3.14")
@pytest.mark.rfc("7296", "4")
@pytest.mark.rfc("7296", "5")
@pytest.mark.parametrize("ike", IKE)
def test_every_ike_suite_ends_in_a_tunnel(ike: str) -> None:
    world = World()
    alice, bob = pair(world, alice={"ike": (ike,)}, bob={"ike": (ike,)})
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert len(alice.sad) == 2
    assert len(alice.of(IkeSaEstablished)) == len(bob.of(IkeSaEstablished)) == 1
    assert str(alice.sa().suite) == str(bob.sa().suite)


@pytest.mark.rfc("7296", "2.17")
@pytest.mark.parametrize("esp", ESP)
def test_every_esp_suite_ends_in_the_same_keys(esp: str) -> None:
    world = World()
    alice, bob = pair(world, alice_child={"esp": (esp,)}, bob_child={"esp": (esp,)})
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert len(alice.of(ChildSaInstalled)) == 1
