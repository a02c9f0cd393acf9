"""What SAs carry is added up over rekeys, moves and peers: nothing is lost, nothing counted twice."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from xfrmctl.metrics.ledger import Ledger
from xfrmctl.model.address import IPAddress
from xfrmctl.model.events import ChildSaInstalled
from xfrmctl.model.iana import Encr, ProtocolId
from xfrmctl.model.sa import Direction, Mode, SaCounters, SaId, SaMove
from xfrmctl.model.suite import Suite

US, PEER, ELSEWHERE = (ip_address(a) for a in ("192.0.2.1", "192.0.2.2", "198.51.100.9"))
REQID = 0x58000001


def sa(spi: int, to: IPAddress = US) -> SaId:
    return SaId(to, ProtocolId.ESP, spi)


def installed(spi: int, reqid: int = REQID, child: str = "lan") -> ChildSaInstalled:
    return ChildSaInstalled(
        connection="net",
        child=child,
        reqid=reqid,
        ike="net#1",
        inbound=sa(spi),
        outbound=sa(spi, PEER),
        suite=Suite(ProtocolId.ESP, Encr.AES_GCM_16, 256),
        mode=Mode.TUNNEL,
        local_ts=(),
        remote_ts=(),
        encap=None,
    )


def counted(sa_id: SaId, packets: int, **more: int) -> SaCounters:
    return SaCounters(
        id=sa_id,
        reqid=REQID,
        bytes=100 * packets,
        packets=packets,
        replay_drops=more.get("replay_drops", 0),
        late_drops=more.get("late_drops", 0),
        integrity_failures=more.get("integrity_failures", 0),
    )


def packets(ledger: Ledger, direction: str = "in") -> int:
    found = ledger.totals("net", "lan", direction)
    assert found.bytes == 100 * found.packets
    return found.packets


def test_a_rekey_loses_nothing_however_long_ago_the_last_look_was() -> None:
    ledger = Ledger()
    ledger.observe(installed(0x1000))
    ledger.look([counted(sa(0x1000), 10), counted(sa(0x1000, PEER), 5)])
    ledger.observe(installed(0x2000))
    ledger.look([counted(sa(0x1000), 14), counted(sa(0x2000), 3)])
    ledger.ended([sa(0x1000), sa(0x1000, PEER)], [counted(sa(0x1000), 20), counted(sa(0x1000, PEER), 9)])
    assert (packets(ledger), packets(ledger, "out")) == (23, 9)
    ledger.look([counted(sa(0x1000), 500), counted(sa(0x2000), 4)])  # a stranger with the name of one that has ended
    assert packets(ledger) == 24


def test_failures_of_integrity_and_replays_are_added_up_as_well() -> None:
    ledger = Ledger()
    ledger.observe(installed(0x1000))
    ledger.look([counted(sa(0x1000), 1, replay_drops=2, late_drops=3, integrity_failures=4)])
    ledger.ended([sa(0x1000)], [counted(sa(0x1000), 1, replay_drops=3, late_drops=3, integrity_failures=6)])
    ledger.observe(installed(0x2000))
    ledger.look([counted(sa(0x2000), 1, replay_drops=1, late_drops=1, integrity_failures=1)])
    found = ledger.totals("net", "lan", "in")
    assert (found.replay_drops, found.late_drops, found.integrity_failures) == (4, 4, 7)


def test_an_sa_that_moves_goes_on_counting() -> None:
    ledger = Ledger()
    ledger.observe(installed(0x1000))
    ledger.look([counted(sa(0x1000, PEER), 5)])
    move = SaMove(id=sa(0x1000, PEER), direction=Direction.OUT, source=US, destination=ELSEWHERE, encap=None)
    ledger.moved([move])
    ledger.look([counted(sa(0x1000, ELSEWHERE), 8)])
    assert packets(ledger, "out") == 8


def test_an_sa_that_begins_anew_under_its_old_name_counts_from_nothing() -> None:
    ledger = Ledger()
    ledger.observe(installed(0x1000))
    ledger.look([counted(sa(0x1000), 10)])
    ledger.look([counted(sa(0x1000), 4)])
    assert packets(ledger) == 14


def test_strangers_do_not_count() -> None:
    ledger = Ledger()
    ledger.look([counted(sa(0x1000), 10)])
    assert packets(ledger) == 0


def test_each_of_many_peers_has_its_sum_and_the_whole_does_not_fall_when_one_goes() -> None:
    ledger = Ledger()
    for number in range(40):
        ledger.observe(installed(0x1000 + number, reqid=0x58800000 + number))
        ledger.look([counted(sa(0x1000 + number), 100)])
    ledger.ended([sa(0x1000)], [counted(sa(0x1000), 110)])
    ledger.look([counted(sa(0x1001), 150)])
    assert packets(ledger) == 40 * 100 + 10 + 50
    assert ledger.of_peer("net", "lan", "in", 0x58800001).packets == 150
    for _ in ledger.keep({("net", "lan")}, range(0x58800001, 0x58800028)):
        pass
    assert ledger.of_peer("net", "lan", "in", 0x58800000).packets == 0
    assert packets(ledger) == 4060


def test_a_child_that_is_configured_no_longer_is_forgotten() -> None:
    ledger = Ledger()
    ledger.observe(installed(0x1000))
    ledger.look([counted(sa(0x1000), 10)])
    for _ in ledger.keep(set(), {REQID}):
        pass
    assert packets(ledger) == 0


@given(st.lists(st.tuples(st.sampled_from([0x1000, 0x2000, 0x3000]), st.integers(0, 1000), st.booleans()), max_size=30))
def test_totals_never_fall(story: list[tuple[int, int, bool]]) -> None:
    ledger, before, open_ = Ledger(), 0, set()
    for spi, count, ends in story:
        if spi not in open_:
            ledger.observe(installed(spi))
            open_.add(spi)
        if ends:
            ledger.ended([sa(spi)], [counted(sa(spi), count)])
            open_.discard(spi)
        else:
            ledger.look([counted(sa(spi), count)])
        now = packets(ledger)
        assert now >= before
        before = now
