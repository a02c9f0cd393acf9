"""ESP itself is asked what it carries, by echoes through the tunnel; UDP and ESP may be treated differently."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from tests.sim.test_path_mtu import PATIENT, Paths, in_force, path
from tests.sim.world import Node, pair, start
from xfrmctl.daemon.carrier import SETTLED_S
from xfrmctl.daemon.echo import EchoPort, Leg
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.model.address import IPAddress
from xfrmctl.model.events import CarriersDiffer, IkeSaClosed, PathProbed
from xfrmctl.model.path import Path, ProbeOutcome
from xfrmctl.model.sa import DfPolicy, Direction, Mode, SaCounters
from xfrmctl.pmtu.overhead import packet_size

INSIDE = {"alice": ip_address("10.1.1.1"), "bob": ip_address("10.1.2.1")}


class Tunnel(Paths):
    """Gateways that answer echoes. ``esp_mtu`` is what ESP packets may have, where UDP's may have ``mtu``.

    ``link`` is what their links take; ``answer`` is who answers.
    """

    def __init__(self, **options: float) -> None:
        super().__init__(**options)
        self.esp_mtu = 65535
        self.answer: set[IPAddress] = set(INSIDE.values())
        self.kernel_lags_until = 0.0
        self.echoes: list[tuple[float, str, int]] = []
        self.packets: dict[str, list[int]] = {}

    def echo(self, node: Node) -> tuple[EchoPort, Callable[[int], bytes]]:
        self.packets[node.name] = [0, 0]
        return InTunnel(self, node), self.random.randbytes

    def counted(self, node: Node) -> None:
        """The node's kernel has counted what went through the tunnel: echoes alone."""
        sent, got = self.packets[node.name]
        counters = {
            sa_id: SaCounters(id=sa_id, reqid=sa.reqid, packets=sent if sa.direction == Direction.OUT else got)
            for sa_id, (sa, _) in node.sad.items()
        }
        keeper = self.keepers[node.name]
        self.do(node, lambda now: keeper.count(counters, keeper.begin_look(), now))

    def tick(self, seconds: int) -> None:
        """Both look at their counters once a second."""
        for _ in range(seconds):
            for node in self.nodes.values():
                self.counted(node)
            self.run(1)


class InTunnel:
    """The port of one node; the far end is the other node, or a host behind it."""

    def __init__(self, world: Tunnel, node: Node) -> None:
        self.world, self.node = world, node
        self._open: set[Path] = set()

    def send(self, where: Path, leg: Leg, length: int, secret: bytes) -> bool:
        world, node = self.world, self.node
        outer = packet_size(length, leg.suite, leg.version, False, leg.mode)
        if outer > (in_force(world, node) or (0,))[0] or world.now < world.kernel_lags_until:
            return False
        self._open.add(where)
        world.echoes.append((world.now, node.name, outer))
        (far,) = [other for other in world.nodes.values() if other is not node]
        world.packets[node.name][0] += 1
        if outer <= world.esp_mtu and leg.target in world.answer and world.random.random() >= world.loss:
            world.packets[far.name][1] += 1
            world.packets[far.name][0] += 1
            world.at(world.now + 2 * world.latency_s, lambda: self._back(where, secret, length))
        return True

    def _back(self, where: Path, secret: bytes, length: int) -> None:
        self.world.packets[self.node.name][1] += 1
        if where in self._open:
            echoes = self.world.keepers[self.node.name].esp.echoes
            self.world.do(self.node, lambda now: echoes.heard(where, secret, length, now))

    def close(self, where: Path) -> None:
        self._open.discard(where)


def established(
    mtu: int = 1500, esp_mtu: int = 1500, child: dict[str, object] | None = None, **options: object
) -> tuple[Tunnel, Node, Node]:
    world = Tunnel()
    settings: dict[str, object] = {"dpd_s": None, "retransmit": PATIENT}
    alice, bob = pair(world, alice=settings, bob=settings, alice_child=child, bob_child=child)
    for node in (alice, bob):
        kernel = world.keep(node, **options).underlays.kernel
        assert isinstance(kernel, FakeKernel)
        kernel.own = (ip_address(node.address), INSIDE[node.name])
    world.mtu, world.esp_mtu = mtu, esp_mtu
    start(world, alice)
    world.tick(30)
    return world, alice, bob


def carrier(world: Tunnel, node: Node) -> str:
    found = world.keepers[node.name].info(path(world, node), world.now)
    assert found is not None
    return found.carrier


def test_two_of_ours_tell_each_other_whom_to_ask_and_esp_confirms_what_udp_has_found() -> None:
    world, alice, bob = established(1400, 1400)
    assert in_force(world, alice) == in_force(world, bob) == (1400, "probe")
    assert carrier(world, alice) == "esp, echo of 10.1.2.1"
    assert carrier(world, bob) == "esp, echo of 10.1.1.1"
    assert max(size for _, _, size in world.echoes) == 1400
    probed = [e for e in alice.of(PathProbed) if isinstance(e, PathProbed)]
    assert {e.carrier for e in probed} == {"udp 4500", "esp, echo of 10.1.2.1"}


@pytest.mark.parametrize("esp_mtu", [1480, 1436, 1300, 600])
@pytest.mark.parametrize("esp", ["aes256gcm16", "aes256-sha256"])
def test_a_path_that_carries_less_esp_than_udp_is_found_out_and_stays_found_out(esp_mtu: int, esp: str) -> None:
    world, alice, bob = established(1500, esp_mtu, {"esp": (esp,)})
    size, word = in_force(world, alice) or (0, "")
    assert word == "probe" and esp_mtu - 16 < size <= esp_mtu
    told = alice.of(CarriersDiffer)[0]
    assert isinstance(told, CarriersDiffer) and told.size == 1500
    assert carrier(world, bob).startswith("esp")
    wide = 0
    for _ in range(6 * 3600):
        world.tick(1)
        wide += (in_force(world, alice) or (0,))[0] > esp_mtu
    assert len(alice.of(CarriersDiffer)) == 6, "after 10, 20, 40, 80 and 160 minutes"
    assert wide < 6 * 15, "seconds with more in force than ESP takes"
    world.esp_mtu = 1500
    world.tick(6 * 3600)
    assert in_force(world, alice) == (1500, "probe")
    assert not alice.of(IkeSaClosed)


def test_a_black_hole_for_esp_alone_is_found_by_its_silence() -> None:
    world, alice, _ = established()
    world.esp_mtu = 1400
    began = world.now
    while (in_force(world, alice) or (9999,))[0] > 1400 and world.now - began < 60:
        world.packets["alice"][0] += 1  # a host sends, and nothing comes back
        world.tick(1)
    assert world.now - began < 10
    world.tick(20)
    assert in_force(world, alice) == (1400, "probe")


def test_a_narrower_path_is_found_by_ike_whether_or_not_esp_was_asked_before() -> None:
    world, alice, _ = established()
    world.mtu = world.esp_mtu = 1371
    for _ in range(10):
        world.packets["alice"][0] += 1
        world.tick(1)
    assert in_force(world, alice) == (1371, "probe")
    assert not alice.of(CarriersDiffer)


def test_who_does_not_answer_costs_one_small_packet_now_and_then() -> None:
    world, alice, _ = established()
    world.answer.clear()
    for _ in range(300):
        world.packets["alice"][0] += 1
        world.packets["alice"][1] += 1
        world.tick(1)
    assert in_force(world, alice) == (1500, "probe")
    assert carrier(world, alice) == "udp 4500"
    asked = len(world.echoes)
    world.tick(1800)
    assert len(world.echoes) - asked <= 2 * 3 * 4
    assert not alice.of(CarriersDiffer)
    world.answer = set(INSIDE.values())
    world.tick(700)
    assert carrier(world, alice).startswith("esp")


def test_where_esp_alone_was_asked_and_nobody_answers_any_more_ike_is_asked_again() -> None:
    world, alice, _ = established(1500, 1400)
    assert in_force(world, alice) == (1400, "probe")
    world.answer.clear()
    world.tick(1300)
    assert carrier(world, alice) == "udp 4500"
    assert in_force(world, alice) == (1500, "probe")


def test_an_idle_tunnel_of_two_of_ours_falls_silent() -> None:
    """Each answers the other's echoes, and counts them: that must not be traffic which has a path confirmed."""
    world, *_ = established()
    world.tick(600)
    before = len(world.wire), len(world.echoes)
    world.tick(1200)
    assert (len(world.wire), len(world.echoes)) == before


def test_a_kernel_that_is_behind_is_asked_again_and_one_that_never_takes_it_is_left_alone() -> None:
    world, alice, _ = established()
    world.kernel_lags_until = world.now + 5
    before = len(world.wire)
    for _ in range(40):
        world.packets["alice"][0] += 1
        world.packets["alice"][1] += 1
        world.tick(1)
    assert carrier(world, alice).startswith("esp")
    assert len(world.wire) - before < 40, "a question that is refused does not become a loop"
    world.kernel_lags_until = world.now + 10_000
    for _ in range(120):
        world.packets["alice"][0] += 1
        world.packets["alice"][1] += 1
        world.tick(1)
    assert carrier(world, alice) == "udp 4500"
    assert in_force(world, alice) == (1500, "probe")


def test_a_configured_address_is_asked_if_the_child_selects_it() -> None:
    host = ip_address("10.1.2.77")
    world, alice, _ = established(echo=host)
    assert carrier(world, alice) == "udp 4500"
    world.answer.add(host)
    world.tick(700)
    assert carrier(world, alice) == "esp, echo of 10.1.2.77"
    world, alice, _ = established(echo=ip_address("192.0.2.1"))
    assert not world.echoes
    assert carrier(world, alice) == "udp 4500"


@pytest.mark.parametrize(
    "child",
    [
        {"df": DfPolicy.CLEAR},
        {"local": "10.1.1.0/24[tcp]", "remote": "10.1.2.0/24[tcp]"},
        {"local": "10.1.1.128/25", "remote": "10.1.2.128/25"},
    ],
)
def test_no_echo_where_it_would_say_nothing_of_the_childs_packets(child: dict[str, object]) -> None:
    world = Tunnel()
    settings: dict[str, object] = {"dpd_s": None}
    mirrored = child | ({"local": child["remote"], "remote": child["local"]} if "local" in child else {})
    alice, bob = pair(world, alice=settings, bob=settings, alice_child=child, bob_child=mirrored)
    for node in (alice, bob):
        kernel = world.keep(node).underlays.kernel
        assert isinstance(kernel, FakeKernel)
        kernel.own = (ip_address(node.address), INSIDE[node.name])
    start(world, alice)
    world.tick(30)
    assert not world.echoes
    assert in_force(world, alice) is not None


def test_transport_mode_asks_the_peer_itself() -> None:
    options: dict[str, object] = {"mode": Mode.TRANSPORT}
    ends = {"alice": "172.16.1.1/32", "bob": "172.16.2.1/32"}
    world = Tunnel()
    settings: dict[str, object] = {"dpd_s": None}
    alice, bob = pair(
        world,
        alice=settings,
        bob=settings,
        alice_child=options | {"local": ends["alice"], "remote": ends["bob"]},
        bob_child=options | {"local": ends["bob"], "remote": ends["alice"]},
    )
    world.answer = set(world.nodes)
    for node in (alice, bob):
        world.keep(node)
    start(world, alice)
    world.tick(30)
    assert carrier(world, alice) == f"esp, echo of {bob.address}"


def test_a_forged_answer_is_nothing() -> None:
    world, alice, _ = established(1500, 1400)
    echoes = world.keepers["alice"].esp.echoes
    where = path(world, alice)
    outcomes: list[ProbeOutcome] = []
    leg = world.keepers["alice"].esp._leg(where, world.now)
    assert leg is not None
    world.esp_mtu = 1000
    assert echoes.ask(where, leg, 1346, lambda outcome, _: outcomes.append(outcome), world.now)
    world.do(alice, lambda now: echoes.heard(where, bytes(16), 1346, now))
    world.run(10)
    assert outcomes == [ProbeOutcome.LOST]


def test_nobody_is_asked_through_what_the_peer_has_begun_and_may_not_have_put_to_use_yet() -> None:
    """strongSwan has the SA a moment before its policies: until then its answer would leave in clear."""
    world, _, bob = established()
    began = bob.sa().children[0].created_at
    assert min(at for at, name, _ in world.echoes if name == "bob") >= began + SETTLED_S
    assert min(at for at, name, _ in world.echoes if name == "alice") < began + SETTLED_S, (
        "bob has answered: he is ready"
    )
