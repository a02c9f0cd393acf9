"""Every kind of identity with a pre-shared key, said and accepted (RFC 7296 2.15, 3.5, 4)."""

import pytest

from tests.sim.forge import rewrite
from tests.sim.world import World, matching, pair, start
from xfrmctl.model.events import NegotiationFailed
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.iana import ExchangeType, PayloadType
from xfrmctl.model.identity import parse_identity
from xfrmctl.wire.payloads import Auth, Id, Payload

KINDS = ["192.0.2.7", "2001:db8::7", "fqdn:moon.example.org", "email:moon@example.org", "keyid:the key of the moon"]


@pytest.mark.rfc("7296", "3.5")
@pytest.mark.rfc("7296", "4")
@pytest.mark.rfc("7296", "1.2")
@pytest.mark.parametrize("mine", KINDS)
@pytest.mark.parametrize("theirs", KINDS)
def test_every_kind_is_said_and_accepted(mine: str, theirs: str) -> None:
    moon, sun = parse_identity(mine), parse_identity(theirs.replace("moon", "sun").replace("7", "8"))
    world = World()
    alice, bob = pair(world, alice={"local_id": moon, "remote_id": sun}, bob={"local_id": sun, "remote_id": moon})
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert (alice.sa().remote_id, bob.sa().remote_id) == (sun, moon)


@pytest.mark.rfc("7296", "3.5")
@pytest.mark.rfc("7296", "1.2")
@pytest.mark.parametrize("mine", KINDS)
def test_another_identity_than_the_one_of_the_key_is_refused(mine: str) -> None:
    world = World()
    expected, said = parse_identity(mine), parse_identity("fqdn:mars.example.org")
    alice, bob = pair(world, alice={"local_id": said}, bob={"remote_id": expected})
    start(world, alice)
    world.run(1)
    assert not bob.sad
    codes = [e.failure.code for e in bob.of(NegotiationFailed) if isinstance(e, NegotiationFailed)]
    assert codes == [FailureCode.IDENTITY_MISMATCH]


@pytest.mark.rfc("7296", "3.5")
@pytest.mark.parametrize("tail", ["\0", "\n", "\r\n", "\x7f"])
@pytest.mark.parametrize("kind", ["fqdn:moon.example.org", "email:moon@example.org", "moon.example.org"])
def test_names_have_no_terminators(kind: str, tail: str) -> None:
    with pytest.raises(ValueError, match="no identity"):
        parse_identity(kind + tail)


@pytest.mark.rfc("7296", "3.5")
@pytest.mark.parametrize("kind", ["fqdn:moon.example.org", "email:moon@example.org"])
def test_a_name_with_a_terminator_is_another_name(kind: str) -> None:
    world = World()
    moon = parse_identity(kind)
    alice, bob = pair(world, alice={"local_id": type(moon)(moon.type, moon.data + b"\0")}, bob={"remote_id": moon})
    start(world, alice)
    world.run(1)
    assert not bob.sad


@pytest.mark.rfc("7296", "2.15")
@pytest.mark.parametrize("size", [1, 64, 65, 256, 1024])
def test_keys_of_64_octets_and_more(size: int) -> None:
    world = World()
    key: dict[str, object] = {"psk": b"k" * size}
    alice, bob = pair(world, alice=key, bob=key)
    start(world, alice)
    world.run(1)
    matching(alice, bob)
    assert len(alice.sad) == 2


@pytest.mark.rfc("7296", "2.15")
def test_a_terminator_makes_it_another_key() -> None:
    """Beyond the block of the hash, that is: HMAC itself fills shorter keys with zeros."""
    world = World()
    alice, bob = pair(world, alice={"psk": b"k" * 200 + b"\0"}, bob={"psk": b"k" * 200})
    start(world, alice)
    world.run(1)
    assert not bob.sad


@pytest.mark.rfc("7296", "1.2")
@pytest.mark.parametrize("response", [False, True])
@pytest.mark.parametrize("part", ["AUTH", "ID", "method", "missing"])
def test_a_proof_that_does_not_verify_ends_it(part: str, response: bool) -> None:
    world = World()
    alice, bob = pair(world, alice={"remote_id": None}, bob={"remote_id": None})

    def change(payloads: list[Payload]) -> list[Payload]:
        found: list[Payload] = []
        for payload in payloads:
            if isinstance(payload, Auth) and part == "AUTH":
                found.append(Auth(payload.method, bytes([payload.data[0] ^ 1]) + payload.data[1:]))
            elif isinstance(payload, Auth) and part == "method":
                found.append(Auth(type(payload.method)(13), payload.data))
            elif isinstance(payload, Auth) and part == "missing":
                continue
            elif (
                isinstance(payload, Id)
                and part == "ID"
                and payload.kind == (PayloadType.IDR if response else PayloadType.IDI)
            ):
                found.append(Id(payload.kind, parse_identity("fqdn:somebody.else")))
            else:
                found.append(payload)
        return found

    rewrite(world, bob if response else alice, ExchangeType.IKE_AUTH, change, response=response)
    start(world, alice)
    world.run(1)
    assert not alice.sad
    if not (response and part == "missing"):  # what cannot be read ends the IKE SA without another word (2.21)
        assert not bob.sad
    world.run(30)
    matching(alice, bob)
    assert len(alice.sad) == 2
