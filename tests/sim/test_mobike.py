"""MOBIKE (RFC 4555): both ends change addresses, paths die and NATs come and go; the tunnel stays what it was."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from tests.sim.world import ALICE, BOB, Datagram, Node, World, child, connection, matching, pair, start
from xfrmctl.ike.config import ConnectionConfig, RetransmitPolicy, Start
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.exchanges.mobike import UpdateAddresses
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.events import (
    ChildSaInstalled,
    IkeSaClosed,
    IkeSaEstablished,
    LocalAddressChanged,
    MessageReceived,
    MessageSent,
    NegotiationFailed,
    PathChanged,
    PathRefused,
)
from xfrmctl.model.failure import FailureCode
from xfrmctl.model.iana import NotifyType
from xfrmctl.model.identity import Identity
from xfrmctl.model.sa import Direction, Encap
from xfrmctl.wire.payloads import Notify

ALICE2, BOB2, NAT = "172.16.1.77", "172.16.2.77", "172.16.9.9"
UPDATE = "N(UPDATE_SA_ADDRESSES)"

pytestmark = pytest.mark.rfc("4555", "3.5")


def ip(text: str) -> IPAddress:
    return ip_address(text)


def up(
    world: World, *, alice: dict[str, object] | None = None, bob: dict[str, object] | None = None
) -> tuple[Node, Node]:
    """The tunnel stands; Alice roams unless told otherwise, Bob takes whoever knows the key."""
    a, b = pair(world, alice={"roams": True, "dpd_s": None} | (alice or {}), bob={"dpd_s": None} | (bob or {}))
    start(world, a)
    world.run(1)
    matching(a, b)
    assert len(a.sad) == 2
    return a, b


def sent(node: Node, payload: str) -> list[MessageSent]:
    return [e for e in node.of(MessageSent) if isinstance(e, MessageSent) and payload in e.payloads and not e.response]


def on_path(node: Node, local: str, remote: str, encap: Encap | None = None) -> None:
    """The node's IKE SA and its kernel are on this path."""
    sa = node.sa()
    assert (sa.local.address, sa.remote.address) == (ip(local), ip(remote))
    assert len(node.sad) == 2
    for kernel_sa, _ in node.sad.values():
        out = kernel_sa.direction == Direction.OUT
        assert (kernel_sa.source, kernel_sa.destination) == (
            (ip(local), ip(remote)) if out else (ip(remote), ip(local))
        )
        mirrored = Encap(encap.destination_port, encap.source_port) if encap is not None else None
        assert kernel_sa.encap == (encap if out else mirrored)
    (mine,) = sa.children
    assert {mine.inbound, mine.outbound} == set(node.sad)
    assert node.engine._core.children[mine.inbound] == node.engine._core.children[mine.outbound] == (sa, mine)


def same_sas(world: World, alice: Node, bob: Node, path: tuple[str, str], spis: set[int]) -> None:
    """The tunnel is on this path with the SAs that it had, and goes on: both kinds of rekeying work."""
    on_path(alice, *path)
    on_path(bob, *path[::-1])
    matching(alice, bob)
    assert {sa_id.spi for sa_id in alice.sad} == spis
    for node in (alice, bob):
        assert len(node.of(IkeSaEstablished)) == 1
        assert len(node.of(ChildSaInstalled)) == 1
        assert not node.of(IkeSaClosed)
    for rekey in (None, "lan"):
        world.do(bob, lambda now, rekey=rekey: bob.engine.rekey("net", rekey, now))  # type: ignore[misc]
        world.run(10)
        on_path(alice, *path)
        on_path(bob, *path[::-1])
        matching(alice, bob)


def spis(node: Node) -> set[int]:
    return {sa_id.spi for sa_id in node.sad}


# -- the beginning


@pytest.mark.rfc("4555", "3.1")
@pytest.mark.rfc("4555", "3.3")
@pytest.mark.rfc("4555", "3.2")
@pytest.mark.parametrize(("ours", "theirs"), [(True, True), (True, False), (False, True)])
def test_mobike_is_agreed_by_both_or_not_at_all(ours: bool, theirs: bool) -> None:
    world = World()
    alice, bob = up(world, alice={"mobike": ours}, bob={"mobike": theirs})
    both = ours and theirs
    assert (alice.sa().mobility is not None) is (bob.sa().mobility is not None) is both
    answers = [e for e in bob.of(MessageSent) if isinstance(e, MessageSent) and "N(MOBIKE_SUPPORTED)" in e.payloads]
    assert bool(answers) is both
    port = 4500 if ours else 500
    assert alice.sa().local.port == alice.sa().remote.port == bob.sa().remote.port == port
    assert alice.sa().encap is None  # the port is another one, ESP is as it was


# -- A.1: the initiator moves


@pytest.mark.rfc("4555", "3.7")
def test_the_initiator_moves_and_the_tunnel_with_it() -> None:
    world = World()
    alice, bob = up(world)
    before, messages = spis(alice), len(alice.of(MessageSent))
    world.move(alice, ALICE2)
    on_path(alice, ALICE2, BOB)  # at once: nobody but us can be hurt
    on_path(bob, BOB, ALICE)
    world.run(0.015)
    assert bob.sa().remote.address == ip(ALICE2)
    assert {sa.source for sa, _ in bob.sad.values()} == {ip(BOB), ip(ALICE)}  # not before the new address is proven
    world.run(0.1)
    same_sas(world, alice, bob, (ALICE2, BOB), before)
    assert len(sent(alice, UPDATE)) == 1
    assert sent(bob, "N(COOKIE2)")[0].payloads == ("N(COOKIE2)",)
    assert len(alice.of(MessageSent)) > messages
    (located,) = alice.of(LocalAddressChanged)
    assert located == LocalAddressChanged(connection="net", local=ip(ALICE2))
    assert len(bob.of(PathChanged)) == 1
    assert alice.engine.config.connections["net"].local == ip(ALICE2)


def test_packets_are_lost_for_a_round_trip_or_two() -> None:
    world = World()
    alice, bob = up(world)
    lost: list[float] = []
    back: list[float] = []
    world.flow(alice, bob, lost, until=3)
    world.flow(bob, alice, back, until=3)
    world.at(2.0, lambda: world.move(alice, ALICE2))
    world.run(5)
    on_path(bob, BOB, ALICE2)
    assert not lost
    assert len(back) < 60  # 3 ways of 10 ms, a packet every millisecond


@pytest.mark.parametrize("seed", range(8))
def test_a_move_survives_loss_and_reordering(seed: int) -> None:
    world = World(seed=seed)
    stubborn: dict[str, object] = {"retransmit": RetransmitPolicy(tries=20, max_s=4)}
    alice, bob = up(world, alice=stubborn, bob=stubborn)
    before = spis(alice)
    world.loss, world.jitter_s = 0.4, 0.2
    world.move(alice, ALICE2)
    world.run(60)
    world.loss = 0
    world.run(30)
    same_sas(world, alice, bob, (ALICE2, BOB), before)


@pytest.mark.rfc("4555", "3.6")
def test_a_second_move_before_the_first_is_answered() -> None:
    """The answer to the first request comes on the way and decides nothing (RFC 4555 3.5)."""
    world = World()
    alice, bob = up(world)
    before = spis(alice)
    world.move(alice, ALICE2)
    world.run(0.005)
    world.move(alice, NAT)
    world.run(5)
    same_sas(world, alice, bob, (NAT, BOB), before)
    assert len({e.message_id for e in sent(alice, UPDATE)}) == 2


@pytest.mark.rfc("4555", "3.6")
def test_there_and_back_at_once() -> None:
    world = World()
    alice, bob = up(world)
    before = spis(alice)
    for address in (ALICE2, ALICE, ALICE2, ALICE):
        world.move(alice, address)
        world.run(0.013)
    world.run(10)
    same_sas(world, alice, bob, (ALICE, BOB), before)


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_move_while_the_window_is_busy(who: str) -> None:
    """A request is under way on the old path: it is answered on the new one, then the addresses are updated."""
    world = World()
    alice, bob = up(world)
    asking = {"alice": alice, "bob": bob}[who]
    world.do(asking, lambda now: asking.engine.rekey("net", "lan", now))
    world.run(0.003)
    world.move(alice, ALICE2)
    world.run(20)
    on_path(alice, ALICE2, BOB)
    on_path(bob, BOB, ALICE2)
    matching(alice, bob)
    assert not alice.of(IkeSaClosed) and not bob.of(IkeSaClosed)
    assert not alice.of(NegotiationFailed) and not bob.of(NegotiationFailed)


@pytest.mark.parametrize("after_s", [0.003, 0.008, 0.013, 0.018, 0.023, 0.028])
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_move_in_the_midst_of_a_rekey_of_the_ike_sa(who: str, after_s: float) -> None:
    world = World()
    alice, bob = up(world)
    asking = {"alice": alice, "bob": bob}[who]
    world.do(asking, lambda now: asking.engine.rekey("net", None, now))
    world.run(after_s)
    world.move(alice, ALICE2)
    world.run(60)
    on_path(alice, ALICE2, BOB)
    on_path(bob, BOB, ALICE2)
    matching(alice, bob)
    assert not alice.of(NegotiationFailed) and not bob.of(NegotiationFailed)
    world.move(alice, ALICE)
    world.run(10)
    on_path(bob, BOB, ALICE)


@pytest.mark.rfc("4555", "1.3")
def test_who_decides_does_not_change_with_a_rekey() -> None:
    """Bob makes the new IKE SA; Alice goes on to decide."""
    world = World()
    alice, bob = up(world)
    world.do(bob, lambda now: bob.engine.rekey("net", None, now))
    world.run(5)
    assert bob.sa().initiator
    world.move(alice, ALICE2)
    world.run(5)
    on_path(bob, BOB, ALICE2)
    assert sent(alice, UPDATE) and not sent(bob, UPDATE)


def test_without_any_address_everything_waits() -> None:
    world = World()
    alice, bob = up(world, alice={"dpd_s": 5.0})
    before = spis(alice)
    world.move(alice)
    world.run(600)
    assert not alice.of(IkeSaClosed)
    world.move(alice, ALICE2)
    world.run(5)
    same_sas(world, alice, bob, (ALICE2, BOB), before)


# -- A.2: the responder moves


@pytest.mark.rfc("4555", "3.6")
def test_the_responder_moves_and_the_initiator_decides() -> None:
    world = World()
    alice, bob = up(world, bob={"roams": True})
    before = spis(alice)
    world.move(bob, BOB2)
    assert bob.sa().local.address == ip(BOB2)
    world.run(0.025)
    assert alice.sa().remote.address == ip(BOB2)
    assert {sa.source for sa, _ in alice.sad.values()} == {ip(ALICE), ip(BOB)}  # not before COOKIE2 is back
    world.run(5)
    same_sas(world, alice, bob, (ALICE, BOB2), before)
    assert sent(bob, "N(NO_ADDITIONAL_ADDRESSES)") and sent(alice, UPDATE) and not sent(bob, UPDATE)


@pytest.mark.rfc("4555", "3.4")
@pytest.mark.rfc("4555", "3.6")
def test_a_responder_with_two_addresses_says_so_and_the_second_takes_over() -> None:
    world = World()
    alice, bob = up(world, bob={"alternates": (ip(BOB2),)})
    world.move(bob, BOB, BOB2)
    world.run(1)
    assert alice.sa().mobility is not None
    assert alice.sa().mobility.peers == (ip(BOB), ip(BOB2))  # type: ignore[union-attr]
    before = spis(alice)
    world.move(bob, BOB2)
    world.run(5)
    same_sas(world, alice, bob, (ALICE, BOB2), before)
    assert alice.sa().mobility.peers == (ip(BOB2),)  # type: ignore[union-attr]


def test_a_responder_stays_where_it_was_called() -> None:
    """Its routes would choose another address; a change of network elsewhere is no reason to go there."""
    world = World()
    alice = world.add(
        "alice", ALICE, connection(ALICE, BOB2, child(), dpd_s=None, remote_id=Identity.of_address(ip(BOB)))
    )
    answering = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE)
    theirs = replace(connection(BOB, ALICE, answering, dpd_s=None), local=None)
    bob = world.add("bob", BOB, theirs)
    world.move(bob, BOB, BOB2)
    start(world, alice)
    world.run(1)
    before = spis(alice)
    world.do(bob, bob.engine.handle_network)
    world.run(1)
    assert not bob.of(PathChanged)
    assert set(alice.sa().mobility.peers) == {ip(BOB), ip(BOB2)}  # type: ignore[union-attr]
    world.move(bob, BOB)
    world.run(5)
    same_sas(world, alice, bob, (ALICE, BOB), before)


def test_both_move_at_once() -> None:
    """Each one's news go to where the other was; Bob had told of both addresses before."""
    world = World()
    alice, bob = up(world, bob={"alternates": (ip(BOB2),)})
    world.move(bob, BOB, BOB2)
    world.run(1)
    before = spis(alice)
    world.move(alice, ALICE2)
    world.move(bob, BOB2)
    world.run(60)
    same_sas(world, alice, bob, (ALICE2, BOB2), before)


# -- A.3: a path dies, and no route says so


@pytest.mark.rfc("4555", "3.10")
@pytest.mark.parametrize("end", ["alice", "bob"])
def test_a_silent_path_is_left_for_one_that_answers(end: str) -> None:
    world = World()
    options: dict[str, dict[str, object]] = {"alice": {"alternates": (ip(ALICE2),)}, "bob": {"alternates": (ip(BOB2),)}}
    alice, bob = up(world, alice={"roams": False, "dpd_s": 5.0} | options["alice"], bob=options["bob"])
    world.move(alice, ALICE, ALICE2)
    world.move(bob, BOB, BOB2)
    world.run(1)
    before = spis(alice)
    dead = {"alice": ip(ALICE), "bob": ip(BOB)}[end]
    world.intercept.append(lambda d: None if dead in (d.source.address, d.target.address) else d)
    world.run(20)
    path = (ALICE2 if end == "alice" else ALICE, BOB2 if end == "bob" else BOB)
    same_sas(world, alice, bob, path, before)


def test_when_all_paths_are_dead_the_tunnel_ends_and_is_made_anew() -> None:
    world = World()
    alice, bob = up(world, alice={"roams": False, "dpd_s": 5.0, "alternates": (ip(ALICE2),)})
    world.move(alice, ALICE, ALICE2)
    dead: list[bool] = [True]
    world.intercept.append(lambda d: None if dead[0] else d)
    world.run(60)
    (closed,) = [e for e in alice.of(IkeSaClosed) if isinstance(e, IkeSaClosed)]
    assert closed.reason.code == FailureCode.PEER_DEAD
    dead[0] = False
    world.run(120)
    matching(alice, bob)
    assert len(alice.sad) == 2


@pytest.mark.rfc("4555", "3.11")
def test_a_responder_is_patient() -> None:
    world = World()
    defaults: dict[str, object] = {"retransmit": RetransmitPolicy()}
    alice, bob = up(world, bob=defaults | {"dpd_s": 10.0})
    world.move(alice)
    world.run(290)
    assert not bob.of(IkeSaClosed)
    world.move(alice, ALICE2)
    world.run(10)
    on_path(bob, BOB, ALICE2)
    world.move(alice)
    world.run(500)
    assert bob.of(IkeSaClosed)


# -- NAT


def behind_a_nat(world: World, node: Node, inside: str, outside: str = NAT) -> None:
    """The node has gone behind a NAT."""
    world.nat[ip(inside)] = ip(outside)
    world.move(node, inside)


def test_into_a_nat_and_out_of_it() -> None:
    """ESP goes in UDP as soon as NAT detection has found one, and plain again afterwards."""
    world = World()
    alice, bob = up(world)
    before = spis(alice)
    behind_a_nat(world, alice, "192.168.9.1")
    world.run(5)
    on_path(alice, "192.168.9.1", BOB, Encap(4500, 4500))
    on_path(bob, BOB, NAT, Encap(4500, 14500))
    assert alice.sa().nat_local and bob.sa().nat_remote
    world.run(25)
    assert any(d.data == b"\xff" for d in world.wire)
    world.nat.clear()
    world.move(alice, ALICE)
    world.run(5)
    assert not alice.sa().nat_local and not bob.sa().nat_remote
    same_sas(world, alice, bob, (ALICE, BOB), before)
    quiet = len([d for d in world.wire if d.data == b"\xff"])
    world.run(60)
    assert len([d for d in world.wire if d.data == b"\xff"]) == quiet


@pytest.mark.rfc("4555", "3.8")
def test_a_nat_that_forgets_is_noticed_by_whoever_is_behind_it() -> None:
    """Liveness checks carry NAT detection: another hash in the answer, and the initiator updates the addresses."""
    world = World()
    alice, bob = up(world, alice={"dpd_s": 5.0})
    behind_a_nat(world, alice, "192.168.9.1")
    world.run(1)
    world.nat_shift = 20000
    world.run(0.1)
    on_path(bob, BOB, NAT, Encap(4500, 14500))
    world.run(6)
    on_path(bob, BOB, NAT, Encap(4500, 24500))
    assert len(sent(alice, UPDATE)) == 2


@pytest.mark.rfc("4555", "3.8")
def test_ike_from_elsewhere_moves_nothing_without_an_update() -> None:
    world = World()
    alice, bob = up(world)
    behind_a_nat(world, alice, "192.168.9.1")
    world.run(1)
    world.nat_shift = 20000
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(0.05)
    assert bob.sa().remote == Endpoint(ip(NAT), 14500)
    assert alice.of(ChildSaInstalled)[-1] is not None


# -- who may be led where


@pytest.mark.rfc("4555", "3.7")
def test_a_forged_update_moves_nothing() -> None:
    """An old request from elsewhere, and noise with the right SPIs and message id."""
    world = World()
    alice, bob = up(world)
    world.move(alice, ALICE2)
    world.run(1)
    world.move(alice, ALICE)
    world.run(5)
    updates = [d for d in world.wire if d.source.address == ip(ALICE2) and d.target.address == ip(BOB)]
    for datagram in updates:
        world.deliver(bob, Datagram(Endpoint(ip("172.16.66.6"), 4500), datagram.target, datagram.data))
        noise = bytearray(datagram.data)
        noise[24:28] = bob.sa().expected_id.to_bytes(4, "big")
        world.deliver(bob, Datagram(Endpoint(ip("172.16.66.6"), 4500), datagram.target, bytes(noise)))
    world.run(5)
    on_path(bob, BOB, ALICE)
    assert updates


@pytest.mark.rfc("4555", "3.7")
@pytest.mark.rfc("4555", "3.8")
def test_a_request_that_was_caught_and_sent_from_elsewhere_leads_no_traffic_there() -> None:
    """The one thing that an attacker on the path can do (RFC 4555 3.7): the children do not follow without COOKIE2."""
    world = World()
    alice, bob = up(world)
    evil = Endpoint(ip("172.16.66.6"), 4500)
    world.intercept.append(lambda d: Datagram(evil, d.target, d.data) if d.source.address == ip(ALICE2) else d)
    world.move(alice, ALICE2)
    world.run(1)
    assert bob.sa().remote == evil
    assert evil.address not in {sa.destination for sa, _ in bob.sad.values()}
    world.intercept.clear()
    world.run(60)
    assert evil.address not in {sa.destination for sa, _ in bob.sad.values()}


@pytest.mark.rfc("4555", "3.7")
@pytest.mark.rfc("4555", "4.2.5")
@pytest.mark.parametrize("cookie", [b"", b"another one, 16b"])
def test_a_cookie2_that_is_not_returned_as_sent_ends_the_ike_sa(cookie: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    alice, bob = up(world)
    build = UpdateAddresses.build

    def other(self: UpdateAddresses, core: object, sa: IkeSa) -> object:
        payloads = build(self, core, sa)  # type: ignore[arg-type]
        self.cookie = cookie  # as if the peer had returned another one
        return payloads

    monkeypatch.setattr(UpdateAddresses, "build", other)
    world.move(alice, ALICE2)
    world.run(0.05)
    (closed,) = [e for e in alice.of(IkeSaClosed) if isinstance(e, IkeSaClosed)]
    assert "COOKIE2" in closed.reason.text
    assert bob.of(MessageReceived)


@pytest.mark.rfc("4555", "3.7")
@pytest.mark.rfc("4555", "4.2.5")
def test_cookie2_is_copied_as_it_is() -> None:
    world = World()
    alice, bob = up(world)
    world.move(alice, ALICE2)
    world.run(1)
    answers = [
        e for e in bob.of(MessageSent) if isinstance(e, MessageSent) and e.response and "N(COOKIE2)" in e.payloads
    ]
    assert len(answers) == 1
    assert not alice.of(IkeSaClosed)


# -- refusals


def speak(world: World, node: Node, notifies: list[Notify]) -> None:
    """Let a node say something."""
    from xfrmctl.ike.exchanges.informational import Say  # noqa: PLC0415
    from xfrmctl.ike.transport import begin  # noqa: PLC0415

    world.do(node, lambda now: begin(node.engine._core, node.sa(), Say(list(notifies))))


@pytest.mark.rfc("4555", "3.9")
@pytest.mark.parametrize("matches", [True, False])
def test_no_nats_allowed(matches: bool) -> None:
    world = World()
    alice, bob = up(world)
    port = (4500).to_bytes(2, "big")
    claimed = ip(ALICE if matches else ALICE2).packed + ip(BOB).packed + port + port
    epoch = bob.sa().mobility.epoch  # type: ignore[union-attr]
    speak(world, alice, [Notify(NotifyType.UPDATE_SA_ADDRESSES), Notify(NotifyType.NO_NATS_ALLOWED, claimed)])
    world.run(1)
    answers = [e.payloads for e in bob.of(MessageSent) if isinstance(e, MessageSent) and e.response]
    assert (answers[-1] == ("N(UNEXPECTED_NAT_DETECTED)",)) is not matches
    assert (bob.sa().mobility.epoch > epoch) is matches  # type: ignore[union-attr]


def test_an_address_that_no_host_can_have_is_not_acceptable() -> None:
    world = World()
    alice, bob = up(world)
    group = Endpoint(ip("239.1.1.1"), 4500)
    world.intercept.append(lambda d: Datagram(group, d.target, d.data) if d.source.address == ip(ALICE) else d)
    speak(world, alice, [Notify(NotifyType.UPDATE_SA_ADDRESSES)])
    world.run(0.05)
    assert [e.payloads for e in bob.of(MessageSent) if isinstance(e, MessageSent)][-1] == ("N(UNACCEPTABLE_ADDRESSES)",)
    on_path(bob, BOB, ALICE)


def test_a_peer_that_refuses_gets_the_next_pair_or_a_new_ike_sa(monkeypatch: pytest.MonkeyPatch) -> None:
    from xfrmctl.ike.exchanges import moved  # noqa: PLC0415

    world = World()
    alice, bob = up(world, alice={"roams": False, "alternates": (ip(ALICE2), ip(NAT))})
    world.move(alice, ALICE, ALICE2, NAT)
    world.run(1)
    monkeypatch.setattr(
        moved, "_refusal",
        lambda sa, payloads, path: NotifyType.UNACCEPTABLE_ADDRESSES if path[1].address == ip(ALICE2) else None,
    )  # fmt: skip
    world.move(alice, ALICE2, NAT)
    world.run(5)
    (refused,) = [e for e in alice.of(PathRefused) if isinstance(e, PathRefused)]
    assert refused.notify == "UNACCEPTABLE_ADDRESSES"
    on_path(alice, NAT, BOB)
    on_path(bob, BOB, NAT)
    world.move(alice, ALICE2)
    world.run(0.05)
    (closed,) = [e for e in alice.of(IkeSaClosed) if isinstance(e, IkeSaClosed)]
    assert closed.reason.code == FailureCode.PATH_LOST


def test_an_update_from_whoever_does_not_decide_means_nothing() -> None:
    world = World()
    alice, bob = up(world)
    speak(world, bob, [Notify(NotifyType.UPDATE_SA_ADDRESSES)])
    world.run(1)
    assert alice.sa().mobility.epoch == 0  # type: ignore[union-attr]
    on_path(alice, ALICE, BOB)


@pytest.mark.rfc("4555", "3.6")
def test_a_hostile_list_of_addresses_is_bounded_and_read_with_care() -> None:
    world = World()
    alice, bob = up(world)
    listed = [Notify(NotifyType.ADDITIONAL_IP4_ADDRESS, (IPv4Address("10.9.0.0") + n).packed) for n in range(60)]
    odd = [
        Notify(NotifyType.ADDITIONAL_IP4_ADDRESS, b"\x01"),
        Notify(NotifyType.ADDITIONAL_IP6_ADDRESS, bytes(16)),
        Notify(NotifyType.ADDITIONAL_IP4_ADDRESS, ip("127.0.0.1").packed),
    ]
    speak(world, bob, [*odd, *listed])
    world.run(1)
    peers = alice.sa().mobility.peers  # type: ignore[union-attr]
    assert len(peers) == 16
    assert peers[0] == ip(BOB)
    assert all(p == ip(BOB) or str(p).startswith("10.9.0.") for p in peers)
    on_path(alice, ALICE, BOB)
    assert len(bob.sad) == 2


# -- without MOBIKE


def test_without_mobike_a_new_ike_sa_is_made_from_the_new_address() -> None:
    world = World()
    who = Identity.of_address(ip(ALICE))
    mine = connection(ALICE, BOB, child(), roams=True, dpd_s=None)
    theirs = connection(BOB, None, child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE),
                        remote_id=who, mobike=False, dpd_s=None)  # fmt: skip
    alice, bob = world.add("alice", ALICE, mine), world.add("bob", BOB, theirs)
    start(world, alice)
    world.run(1)
    assert alice.sa().mobility is None
    before = spis(alice)
    world.move(alice, ALICE2)
    world.run(1)
    (closed,) = [e for e in alice.of(IkeSaClosed) if isinstance(e, IkeSaClosed)]
    assert closed.reason.code == FailureCode.PATH_LOST
    on_path(alice, ALICE2, BOB)
    on_path(bob, BOB, ALICE2)
    assert not spis(alice) & before


def test_a_handshake_begins_again_from_the_new_address() -> None:
    world = World()
    alice, bob = pair(world, alice={"roams": True})
    del world.nodes[bob.address]
    start(world, alice)
    world.run(2.5)
    world.nodes[bob.address] = bob
    world.nodes[ip(ALICE2)] = alice
    theirs = bob.engine.config.connections["net"]
    world.do(bob, lambda now: bob.engine.reload(config_for_anybody(bob.engine, theirs), now))
    world.move(alice, ALICE2)
    world.run(0.5)
    on_path(alice, ALICE2, BOB)
    on_path(bob, BOB, ALICE2)


def config_for_anybody(engine: IkeEngine, theirs: ConnectionConfig):  # type: ignore[no-untyped-def]
    return replace(engine.config, connections={"net": replace(theirs, remote=None)})


def test_a_reload_while_roaming_touches_nothing() -> None:
    """The file says any; that our address is another one now is no change of configuration."""
    world = World()
    alice, bob = up(world)
    original = alice.engine.config
    before = spis(alice)
    world.move(alice, ALICE2)
    world.run(1)
    world.do(alice, lambda now: alice.engine.reload(original, now))
    world.run(1)
    same_sas(world, alice, bob, (ALICE2, BOB), before)
