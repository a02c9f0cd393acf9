"""Probes of the path's MTU over an IKE SA: what they tell, and that they never harm it."""

import pytest

from tests.sim.world import ALICE, BOB, Datagram, Node, World, packet_size, pair, start
from xfrmctl.ike.config import RetransmitPolicy
from xfrmctl.ike.exchanges import probe
from xfrmctl.model.address import Endpoint
from xfrmctl.model.effects import PeerAsks
from xfrmctl.model.events import ChildSaRekeyed, IkeSaClosed, IkeSaRekeyed, MessageReceived, MessageSent
from xfrmctl.model.iana import PayloadType
from xfrmctl.model.path import ProbeOutcome
from xfrmctl.wire.payloads import Notify, Payload

CBC = "aes256-sha256-prfsha256-x25519"


def established(mtu: int = 65535, **options: object) -> tuple[World, Node, Node]:
    world = World()
    alice, bob = pair(world, alice={"dpd_s": None, **options}, bob={"dpd_s": None, **options})
    start(world, alice)
    world.run(1)
    world.mtu = mtu
    return world, alice, bob


def send(world: World, node: Node, size: int, token: int = 1, **more: object) -> None:
    name = node.sa().name
    world.do(node, lambda now: node.engine.probes.send(name, token, size, now, **more))  # type: ignore[arg-type]


def outcomes(node: Node) -> list[tuple[ProbeOutcome, int]]:
    return [(report.outcome, report.size) for report in node.reports]


def probed_sizes(world: World, since: int) -> list[int]:
    """Sizes of what Alice has sent, as IP packets."""
    return [packet_size(d) for d in world.wire[since:] if str(d.source.address) == ALICE]


@pytest.mark.rfc(7296, "3.10.1")
@pytest.mark.parametrize("size", [300, 576, 1280, 1400, 1500, 9000])
def test_a_probe_that_fits_is_answered_and_has_exactly_its_size(size: int) -> None:
    world, alice, bob = established(mtu=size)
    before = len(world.wire)
    send(world, alice, size)
    world.run(5)
    assert outcomes(alice) == [(ProbeOutcome.ANSWERED, size)]
    assert probed_sizes(world, before) == [size]
    answers = [packet_size(d) for d in world.wire[before:] if str(d.source.address) == BOB]
    assert len(answers) == 1
    assert answers[0] < 200, "the answer tells nothing of the way back, and must not depend on it"
    assert [e.payloads for e in bob.of(MessageReceived)][-1] == ("N(XFRMCTL_PATH_MTU)",)  # type: ignore[attr-defined]


@pytest.mark.rfc(7296, "2.1")
@pytest.mark.parametrize("path_mtu", [576, 1280, 1499])
@pytest.mark.parametrize("fragments_pass", [True, False])
def test_a_probe_that_does_not_fit_is_lost_and_the_ike_sa_lives_on(path_mtu: int, fragments_pass: bool) -> None:
    world, alice, bob = established(mtu=path_mtu)
    world.ip_fragments = fragments_pass
    before = len(world.wire)
    send(world, alice, 1500)
    world.run(5)
    assert outcomes(alice) == [(ProbeOutcome.LOST, 1500)]
    usual = [1500, 1500] if fragments_pass else [1500, 1500, 576, 576, 538]
    assert probed_sizes(world, before) == usual
    send(world, alice, path_mtu, token=2)
    world.run(5)
    assert outcomes(alice)[1:] == [(ProbeOutcome.ANSWERED, path_mtu)]
    assert not alice.of(IkeSaClosed)
    assert alice.sa().outstanding is None
    assert bob.sa().expected_id == alice.sa().next_id


@pytest.mark.rfc(7383, "2.5.2")
def test_the_form_of_the_small_copy_that_got_through_is_the_first_the_next_time() -> None:
    world, alice, _ = established(mtu=1400)
    for token in range(2):
        before = len(world.wire)
        send(world, alice, 1500, token)
        world.run(5)
    assert probed_sizes(world, before) == [1500, 576, 576, 538]


@pytest.mark.parametrize("fragment_size", [1280, None])
def test_where_no_fragments_of_either_kind_arrive_a_shorter_message_saves_the_ike_sa(fragment_size: int | None) -> None:
    """charon drops IKE fragments of INFORMATIONAL, and a firewall those of IP; or there are none of the first kind."""
    world, alice, bob = established(mtu=1400, fragment_size=fragment_size)
    world.intercept.append(lambda d: None if d.data[20] == PayloadType.SKF or d.data[16] == PayloadType.SKF else d)
    for token in range(3):
        before = len(world.wire)
        send(world, alice, 1500, token)
        world.run(10)
        send(world, alice, 1400, token + 100)
        world.run(2)
    assert outcomes(alice) == 3 * [(ProbeOutcome.LOST, 1500), (ProbeOutcome.ANSWERED, 1400)]
    sizes = probed_sizes(world, before)
    assert sizes[0] == 1500 and sizes[-1] == 1400 and len(sizes) == 3, "one short copy, at once"
    assert not alice.of(IkeSaClosed)
    assert bob.sa().expected_id == alice.sa().next_id
    world.do(alice, lambda now: alice.engine.rekey("net", None, now))
    world.run(5)
    assert len(alice.of(IkeSaRekeyed)) == len(bob.of(IkeSaRekeyed)) == 1


@pytest.mark.rfc(7296, "2.1")
def test_a_whole_copy_that_arrives_after_the_short_one_is_answered_by_its_message_id() -> None:
    world, alice, bob = established(mtu=1500, fragment_size=None)
    held: list[Datagram] = []

    def hold(datagram: Datagram) -> Datagram | None:
        if packet_size(datagram) == 1500:
            held.append(datagram)
            return None
        return datagram

    world.intercept.append(hold)
    send(world, alice, 1500)
    world.run(5)
    assert outcomes(alice) == [(ProbeOutcome.LOST, 1500)]
    expected = bob.sa().expected_id
    world.deliver(bob, held[0])
    world.run(5)
    assert bob.sa().expected_id == expected
    assert len(alice.reports) == 1
    assert not alice.of(IkeSaClosed)


def test_a_cipher_of_whole_blocks_sends_the_largest_size_below() -> None:
    world, alice, _ = established(ike=(CBC,))
    offset, step = alice.engine.probes.grid(alice.sa().name)
    assert step == 16
    for token, size in enumerate(range(1400, 1432)):
        send(world, alice, size, token)
        world.run(2)
    assert [size for _, size in outcomes(alice)] == [size - (size - offset) % 16 for size in range(1400, 1432)]
    assert {outcome for outcome, _ in outcomes(alice)} == {ProbeOutcome.ANSWERED}


def test_a_slow_peer_that_answers_both_copies_is_not_a_narrow_path() -> None:
    world, alice, _ = established()
    late: list[Datagram] = []

    def delay(datagram: Datagram) -> Datagram | None:
        if packet_size(datagram) == 1500:
            late.append(datagram)
            world.at(world.now + 0.2, lambda: world.deliver(world.nodes[datagram.target.address], datagram))
            return None
        return datagram

    world.intercept.append(delay)
    send(world, alice, 1500)
    world.run(5)
    assert late
    assert outcomes(alice) == [(ProbeOutcome.ANSWERED, 1500)]
    assert alice.engine.ike_sas()[0].probing is None


def test_a_forged_second_answer_proves_nothing() -> None:
    world, alice, _ = established(mtu=1400)

    def forge(datagram: Datagram) -> Datagram:
        if str(datagram.source.address) == BOB:
            broken = datagram.data[:-1] + bytes([datagram.data[-1] ^ 1])
            copy = Datagram(datagram.source, datagram.target, broken)
            world.at(world.now + 0.02, lambda: world.deliver(alice, copy))
        return datagram

    world.intercept.append(forge)
    send(world, alice, 1500)
    world.run(5)
    assert outcomes(alice) == [(ProbeOutcome.LOST, 1500)]


def test_a_path_that_is_dead_says_nothing_about_its_size() -> None:
    world, alice, _ = established(retransmit=RetransmitPolicy(first_s=1, factor=2, tries=6))
    send(world, alice, 1400)
    world.run(1)
    world.loss = 1.0
    send(world, alice, 1500, token=2)
    world.run(10)
    assert outcomes(alice) == [(ProbeOutcome.ANSWERED, 1400)]
    world.loss = 0.0
    world.run(20)
    assert outcomes(alice)[1:] == [(ProbeOutcome.SILENT, 1500)]
    assert not alice.of(IkeSaClosed)


def test_when_the_peer_is_gone_the_probe_ends_with_the_ike_sa() -> None:
    world, alice, _ = established()
    send(world, alice, 1400)
    world.run(1)
    world.loss = 1.0
    send(world, alice, 1500, token=2)
    world.run(60)
    assert alice.of(IkeSaClosed)
    assert outcomes(alice) == [(ProbeOutcome.ANSWERED, 1400), (ProbeOutcome.SILENT, 1500)]


def test_a_peer_that_never_answers_a_padded_message_is_found_out() -> None:
    """It drops what it does not know, against RFC 7296 3.10.1: the engine is told, and will not ask again."""
    world, alice, bob = established()
    world.intercept.append(
        lambda d: None if d.target.address == bob.address and alice.engine.ike_sas() and asking(alice) else d
    )
    send(world, alice, 1500)
    world.run(60)
    assert outcomes(alice) == [(ProbeOutcome.UNSUPPORTED, 1500)]


def asking(node: Node) -> bool:
    return any(sa.probing is not None and sa.probing.message_id is not None for sa in node.engine.ike_sas())


@pytest.mark.parametrize("kind", [7, 9, 16000])
def test_a_peer_that_answers_with_an_error_is_not_asked_again(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world, alice, _ = established()

    def complains(*_: object) -> list[Payload]:
        return [Notify(type(probe._notify(0, False, 0).type)(kind))]

    monkeypatch.setattr(probe, "answer", complains)
    send(world, alice, 1500)
    world.run(5)
    assert outcomes(alice) == [(ProbeOutcome.UNSUPPORTED, 1500)]


def test_a_link_of_our_own_that_is_too_narrow_is_told_at_once() -> None:
    world, alice, _ = established()
    alice.link_mtu = 1400
    send(world, alice, 1500)
    world.run(0.1)
    assert outcomes(alice) == [(ProbeOutcome.TOO_BIG, 1500)]


def test_only_one_probe_at_a_time_and_none_without_an_ike_sa() -> None:
    world, alice, _ = established()
    send(world, alice, 1400, token=1)
    send(world, alice, 1500, token=2)
    world.run(1)
    assert [(r.token, r.outcome) for r in alice.reports] == [
        (2, ProbeOutcome.UNAVAILABLE),
        (1, ProbeOutcome.ANSWERED),
    ]
    world.do(alice, lambda now: alice.engine.probes.send("net#77", 3, 1500, now))
    assert alice.reports[-1].outcome == ProbeOutcome.UNAVAILABLE


@pytest.mark.rfc(7296, "2.3")
def test_other_requests_wait_for_a_probe_and_are_not_lost() -> None:
    world, alice, bob = established(mtu=1400)
    send(world, alice, 1500)
    world.do(alice, lambda now: alice.engine.rekey("net", "lan", now))
    world.run(10)
    assert outcomes(alice) == [(ProbeOutcome.LOST, 1500)]
    assert len(alice.of(ChildSaRekeyed)) == len(bob.of(ChildSaRekeyed)) == 1


def test_a_probe_that_waits_while_the_ike_sa_is_replaced_ends() -> None:
    world, alice, _ = established()
    name = alice.sa().name

    def both(now: float) -> None:
        alice.engine.rekey("net", None, now)
        alice.engine.probes.send(name, 1, 1400, now)

    world.do(alice, both)
    world.run(10)
    assert [r.outcome for r in alice.reports] == [ProbeOutcome.UNAVAILABLE]
    send(world, alice, 1400, token=2)
    world.run(1)
    assert alice.reports[-1].outcome == ProbeOutcome.ANSWERED


def test_a_probe_that_was_under_way_when_the_peer_moved_tells_nothing_of_the_new_path() -> None:
    world, alice, _ = established()
    send(world, alice, 1400)
    sa = alice.sa()
    sa.remote = Endpoint(sa.remote.address, sa.remote.port + 1)
    world.run(1)
    assert [r.outcome for r in alice.reports] == [ProbeOutcome.UNAVAILABLE]


def test_both_ends_are_ours_and_tell_each_other_what_they_believe_and_doubt() -> None:
    world, alice, bob = established()
    send(world, bob, 1400, mtu=1450)
    world.run(1)
    assert alice.asked == [PeerAsks(alice.sa().name, 1450, False)]
    assert bob.asked == [PeerAsks(bob.sa().name, 0, False)]
    send(world, alice, 1500, token=2, mtu=1492, doubts=True)
    world.run(1)
    assert bob.asked[1:] == [PeerAsks(bob.sa().name, 1492, True)]
    assert alice.asked[1:] == [PeerAsks(alice.sa().name, 1450, False)]


def test_what_is_not_our_mark_is_nothing() -> None:
    _, alice, bob = established()
    kind = probe._notify(0, False, 0).type
    for data in (b"", b"xfrmctl path mtu", b"something else entirely"):
        payloads = (Notify(kind, data),)
        assert probe.answer(bob.engine._core, bob.sa(), payloads) == []
    assert not bob.engine.drain()
    assert not alice.asked


def test_a_probe_waits_as_long_as_the_path_is() -> None:
    """A round trip of 600 ms: the small copy does not go before the answer can be there."""
    world = World(latency_s=0.3)
    alice, _ = pair(world, alice={"dpd_s": None}, bob={"dpd_s": None})
    start(world, alice)
    world.run(5)
    send(world, alice, 1500)
    world.run(5)
    assert outcomes(alice) == [(ProbeOutcome.ANSWERED, 1500)]
    assert [e.attempt for e in alice.of(MessageSent)][-1] == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(3))
def test_on_a_lossy_path_every_probe_has_one_end_and_the_ike_sa_stays(seed: int) -> None:
    world = World(seed=seed)
    patient = RetransmitPolicy(first_s=0.5, factor=1.2, tries=20)
    options: dict[str, object] = {"dpd_s": None, "retransmit": patient}
    alice, _ = pair(world, alice=options, bob=options)
    start(world, alice)
    world.run(1)
    name = alice.sa().name
    world.loss, world.mtu = 0.1, 1400
    for token in range(200):
        send(world, alice, 1400 if token % 2 else 1401, token)
        world.run(20)
    assert [r.token for r in alice.reports] == list(range(200))
    assert alice.sa().name == name
    fits = [r.outcome for r in alice.reports if r.size == 1400]
    assert {r.outcome for r in alice.reports if r.size == 1401} == {ProbeOutcome.LOST, ProbeOutcome.SILENT}
    assert fits.count(ProbeOutcome.ANSWERED) > 70
    lost_in_a_row = max(len(run) for run in "".join(o.value[0] for o in fits).replace("s", "a").split("a"))
    assert lost_in_a_row < 5
