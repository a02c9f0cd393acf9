"""Every attack that we know of, and the counter by which an operator sees it.

The counters are those of the metrics endpoint, fed with what the attacked engine has reported.
"""

import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from tests.sim.forge import QUIET, Forger, bare, established, header_of, rewrite
from tests.sim.test_certificates import leaf, side
from tests.sim.world import BOB, Datagram, Node, World, child, connection, pair, start
from tests.unit.metrics.scraping import Counted
from xfrmctl.crypto.modp import PRIMES
from xfrmctl.ike.config import Start
from xfrmctl.ike.fragments import MAX_FRAGMENTS
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import Event
from xfrmctl.model.iana import CertEncoding, ExchangeType, KeGroup, NotifyType
from xfrmctl.wire.message import Fragment, encode, parse
from xfrmctl.wire.payloads import Cert, KeyExchange, Notify, Payload, Unknown
from xfrmctl.wire.payloads.cert import MAX_CERTIFICATES


class Counters:
    """What the metrics endpoint of a node would say."""

    def __init__(self, node: Node) -> None:
        self._counted = Counted(node.events)

    def __call__(self, name: str, **labels: str) -> int:
        return int(self._counted(f"{name}_total", **labels))

    def dropped(self, reason: str) -> int:
        return self("datagrams_dropped", reason=reason)

    def failed(self, code: str) -> int:
        return self("negotiation_failures", connection="net", code=code)


# ---- public values that give the secret away -------------------------------------------------------------------

P256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
MODP = PRIMES[KeGroup.MODP_2048]
ORDER_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"

BAD = [
    pytest.param("x25519", bytes(32), id="x25519-zero"),
    pytest.param("x25519", b"\x01" + bytes(31), id="x25519-one"),
    pytest.param("x25519", bytes.fromhex(ORDER_8), id="x25519-order-8"),
    pytest.param("ecp256", bytes(64), id="ecp256-zero"),
    pytest.param("ecp256", bytes(31) + b"\x01" + bytes(31) + b"\x01", id="ecp256-not-on-the-curve"),
    pytest.param("ecp256", P256.to_bytes(32, "big") * 2, id="ecp256-not-reduced"),
    pytest.param("modp2048", bytes(256), id="modp2048-zero"),
    pytest.param("modp2048", (1).to_bytes(256, "big"), id="modp2048-one"),
    pytest.param("modp2048", (MODP - 1).to_bytes(256, "big"), id="modp2048-order-2"),
    pytest.param("modp2048", MODP.to_bytes(256, "big"), id="modp2048-modulus"),
]


def with_value(value: bytes) -> Any:
    return lambda payloads: [replace(p, data=value) if isinstance(p, KeyExchange) else p for p in payloads]


def of_group(group: str) -> dict[str, Any]:
    return QUIET | {"ike": (f"aes256gcm16-prfsha384-{group}",)}


@pytest.mark.rfc("6989", "2.1")
@pytest.mark.rfc("7296", "3.4")
@pytest.mark.parametrize(("group", "value"), BAD)
def test_bad_public_values_of_a_stranger(group: str, value: bytes) -> None:
    world = World()
    alice, bob = pair(world, alice=of_group(group), bob=of_group(group))
    rewrite(world, alice, ExchangeType.IKE_SA_INIT, with_value(value), response=False, times=99)
    start(world, alice)
    world.run(30)
    assert Counters(bob).dropped("bad_public_value") >= 1
    assert bob.engine.half_open == 0 and not bob.engine.ike_sas()


@pytest.mark.rfc("6989", "2.1")
@pytest.mark.parametrize(("group", "value"), BAD)
def test_bad_public_values_of_a_responder(group: str, value: bytes) -> None:
    world = World()
    alice, bob = pair(world, alice=of_group(group), bob=of_group(group))
    rewrite(world, bob, ExchangeType.IKE_SA_INIT, with_value(value), response=True, times=99)
    start(world, alice)
    world.run(30)
    counted = Counters(alice)
    assert counted.dropped("bad_public_value") + counted.failed("invalid_ke") >= 1
    assert not alice.sad


@pytest.mark.rfc("6989", "2.1")
@pytest.mark.parametrize(("group", "value"), BAD)
def test_bad_public_values_of_an_authenticated_peer(group: str, value: bytes) -> None:
    """In CREATE_CHILD_SA with PFS; the CHILD SA that there is stays."""
    pfs: dict[str, object] = {"esp": (f"aes256gcm16-{group}",)}
    world = World()
    alice, bob = pair(world, alice=QUIET, bob=QUIET, alice_child=pfs, bob_child=pfs)
    start(world, alice)
    world.run(1)
    before = dict(bob.sad)
    rewrite(world, alice, ExchangeType.CREATE_CHILD_SA, with_value(value), response=False)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(0.5)
    assert Counters(bob).failed("invalid_ke") == 1
    assert bob.sad == before


# ---- certificates ----------------------------------------------------------------------------------------------


@pytest.mark.rfc("7296", "3.6")
def test_an_oversized_chain_of_certificates() -> None:
    world = World()
    alice, bob = pair(world, alice=side(leaf("alice")), bob=side(leaf("bob")))
    more: list[Payload] = [Cert(CertEncoding.X509_SIGNATURE, leaf("alice").certificate.der)] * MAX_CERTIFICATES
    rewrite(world, alice, ExchangeType.IKE_AUTH, lambda payloads: [*payloads, *more], response=False)
    start(world, alice)
    world.run(1)
    assert Counters(bob).failed("certificate_invalid") == 1
    assert not bob.sad and not bob.engine.ike_sas()


# ---- floods ----------------------------------------------------------------------------------------------------


def first_request() -> bytes:
    """An honest IKE_SA_INIT request; floods change its SPI."""
    world = World()
    alice, _ = pair(world)
    start(world, alice)
    return world.wire[0].data


def listener(**limits: int) -> tuple[World, Node]:
    """A responder for anybody."""
    world = World()
    end = connection(BOB, None, child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE))
    return world, world.add("bob", BOB, end, **limits)


def from_everywhere(node: Node, request: bytes, number: int, now: float = 0.0) -> None:
    """A request with an SPI and a source of its own."""
    source = Endpoint(ip_address(0x0A000000 + number), 500)
    data = (number + 1).to_bytes(8, "big") + request[8:]
    node.engine.handle_datagram(Endpoint(node.address, 500), source, data, now)


@pytest.mark.rfc("7296", "2.6")
@pytest.mark.parametrize("cookie", [None, b"c" * 33], ids=["none", "invented"])
def test_a_flood_of_requests_is_answered_with_cookies(cookie: bytes | None) -> None:
    request = first_request()
    if cookie is not None:
        read = parse(request)
        request = encode(replace(read.header, next_payload=0), [Notify(NotifyType.COOKIE, cookie), *read.payloads])
    _, bob = listener()
    for number in range(5000):
        from_everywhere(bob, request, number)
        bob.events += [e for e in bob.engine.drain() if isinstance(e, Event)]
    threshold = bob.engine.config.cookie_threshold
    assert bob.engine.half_open == threshold
    assert Counters(bob)("cookies_demanded") == 5000 - threshold


_MANY = """
import resource, sys
from tests.sim.test_hostile import first_request, from_everywhere, listener
number, limit = int(sys.argv[1]), int(sys.argv[2])
_, bob = listener(half_open_limit=limit, cookie_threshold=limit)
request, before = first_request(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
dropped = 0
for n in range(number):
    from_everywhere(bob, request, n)
    dropped += sum(getattr(e, "reason", "") == "half_open_limit" for e in bob.engine.drain())
held = bob.engine.half_open
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
bob.engine.handle_timer(1000.0)
bob.engine.drain()
print(held, dropped, grown, bob.engine.half_open, len(bob.engine.ike_sas()))
"""


def many_half_open(number: int, limit: int) -> tuple[int, ...]:
    """(held, dropped for the limit, KiB grown, held after their time, IKE SAs then), measured in a fresh process."""
    command = [sys.executable, "-c", _MANY, str(number), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


@pytest.mark.rfc("7296", "2.6")
def test_memory_is_bounded_by_the_limit_of_half_open_ike_sas() -> None:
    held, dropped, grown, *left = many_half_open(100_000, 1000)
    assert (held, dropped) == (1000, 99_000)
    assert grown < 16 * 1024, "KiB"
    assert left == [0, 0]


def test_as_many_half_open_ike_sas_as_the_limit_allows() -> None:
    """Whoever sets the limit that high has them all, for less than 6 KiB each, and they all go in time."""
    held, dropped, grown, *left = many_half_open(20_000, 20_000)
    assert (held, dropped) == (20_000, 0)
    assert grown < 120 * 1024, "KiB"
    assert left == [0, 0]


def flood_of_fragments(forger: Forger, number: int, total: int, *, sealed: bool) -> None:
    """Fragments of one message that is never complete."""
    sa = forger.sa
    header = forger.header(ExchangeType.INFORMATIONAL, forger.next_id)
    header = replace(header, next_payload=53)
    assert sa.protect_out is not None
    for n in range(number):
        part = Fragment(n % total + 1, total).encode()
        data = sa.protect_out.seal(header.encode(0), 41 if not n else 0, bytes(1000), bytes, part)
        forger.deliver(data if sealed else data[:-1] + bytes((data[-1] ^ 1,)))


@pytest.mark.rfc("7383", "2.6")
def test_a_flood_of_fragments_of_a_stranger() -> None:
    """One who has seen the SPIs. Nothing is kept, nothing is disturbed."""
    world, alice, bob = established()
    flood_of_fragments(Forger(world, alice, bob), 2000, 64, sealed=False)
    assert Counters(bob).dropped("integrity") == 2000
    assert bob.engine._core.reassembly.held == 0
    assert Forger(world, alice, bob).ask(ExchangeType.INFORMATIONAL) == []


@pytest.mark.rfc("7383", "2.6")
def test_a_flood_of_fragments_of_an_authenticated_peer() -> None:
    """He fills the room of one message, and no more."""
    world, alice, bob = established()
    flood_of_fragments(Forger(world, alice, bob), 5000, MAX_FRAGMENTS, sealed=True)
    counted = Counters(bob)
    assert counted.dropped("message_too_large") + counted.dropped("fragment_repeated") > 10
    assert bob.engine._core.reassembly.held < 150_000
    flood_of_fragments(Forger(world, alice, bob), 100, MAX_FRAGMENTS + 1, sealed=True)
    assert Counters(bob).dropped("too_many_fragments") == 100
    world.run(200)
    assert bob.engine._core.reassembly.held == 0


# ---- messages that are not what they seem ----------------------------------------------------------------------


@pytest.mark.rfc("7296", "2.5")
def test_wrong_critical_bits() -> None:
    """In clear, under protection; and on payloads that we know, where it means nothing."""
    unknown = Unknown(200, True, b"")
    world = World()
    alice, bob = pair(world, alice=QUIET, bob=QUIET)
    rewrite(world, alice, ExchangeType.IKE_SA_INIT, lambda payloads: [*payloads, unknown], response=False)
    start(world, alice)
    world.run(5)
    assert Counters(bob).dropped("critical") == 1
    Forger(world, alice, bob).ask(ExchangeType.INFORMATIONAL, [unknown])
    assert Counters(bob).dropped("critical") == 2
    known = bytes((0, 0x80, 0, 8, 0, 0, 0x40, 0x00))  # N(INITIAL_CONTACT), critical
    forger = Forger(world, alice, bob)
    forger.next_id = bob.sa().expected_id
    assert forger.ask(ExchangeType.INFORMATIONAL, raw=(41, known)) == []
    assert Counters(bob).dropped("critical") == 2


@pytest.mark.rfc("7296", "2.2")
@pytest.mark.rfc("7296", "2.3")
def test_everything_once_more() -> None:
    """All that has ever been said to Bob, in any order, after he has answered it."""
    world, alice, bob = established()
    for _ in range(3):
        world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
        world.run(20)
    before, children = dict(bob.sad), list(bob.sa().children)
    heard = [d for d in world.wire if d.target.address == bob.address]
    bob.events.clear()
    world.random.shuffle(heard)
    for datagram in heard * 3:
        world.deliver(bob, datagram)
    requests = [h for d in heard if (h := header_of(d)) is not None and not h.is_response and h.message_id]
    counted = Counters(bob)
    repeated = [h for h in requests if h.message_id == bob.sa().expected_id - 1]
    assert counted.dropped("message_id") == 3 * (len(requests) - len(repeated)) > 0
    assert bob.sad == before and bob.sa().children == children


@pytest.mark.rfc("7296", "2.2")
@pytest.mark.rfc("7296", "3.1")
def test_everything_sent_back() -> None:
    """All that Alice says comes back to her as if Bob had said it, as it is and with the flags turned round."""
    world, alice, bob = established()
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(20)
    before = dict(alice.sad)
    said = [d for d in world.wire if d.source.address == alice.address]
    alice.events.clear()
    turned = 0
    for datagram in said:
        back = Datagram(datagram.target, datagram.source, datagram.data)
        world.deliver(alice, back)
        at = len(datagram.data) - len(bare(datagram.data)) + 19
        for flags in (0x08, 0x20, 0x28):
            raw = bytearray(datagram.data)
            raw[at] ^= flags
            world.deliver(alice, replace(back, data=bytes(raw)))
            turned += 1
    counted = Counters(alice)
    reasons = ("unknown_spi", "unexpected_response", "message_id", "integrity", "malformed_init", "unprotected")
    known = sum(map(counted.dropped, reasons))
    assert counted.dropped("unknown_spi") >= len(said) // 2
    assert known >= turned
    assert alice.sad == before
    assert Forger(world, alice, bob).ask(ExchangeType.INFORMATIONAL) == []
    assert alice.engine.half_open == 1, "her own first request: anybody might have sent that"
    world.run(60)
    assert alice.engine.half_open == 0 and len(alice.engine.ike_sas()) == 1
    assert Counters(alice).dropped("half_open_timeout") == 1
