"""Clamp and guard in nf_tables: what stands, what is written for a change. No kernel: tests/lab has that."""

import random
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.unit.kernel.nf_tables import FakeTables
from xfrmctl.kernel.desired import Clamp, ClampRule, Element, IcmpGuard
from xfrmctl.kernel.firewall import backend, nft, nft_guard
from xfrmctl.kernel.firewall.backend import Firewall, chosen
from xfrmctl.kernel.firewall.clamp import Counter, elements
from xfrmctl.kernel.firewall.guards import TableGuard
from xfrmctl.kernel.firewall.maps import MapClamps
from xfrmctl.kernel.firewall.programs import FirewallError
from xfrmctl.kernel.plan import AddClamps
from xfrmctl.model.address import IPAddress, IPNetwork
from xfrmctl.model.firewall import FirewallBackend

LAN, FAR = ip_network("10.1.1.0/24"), ip_network("10.1.2.0/24")
R1406, R1300 = ClampRule(4, 1406), ClampRule(4, 1300)
ONE, LOWER = elements([Clamp(LAN, FAR, 1406)]), elements([Clamp(LAN, FAR, 1300)])


@pytest.fixture
def tables() -> FakeTables:
    return FakeTables()


def clamped(tables: FakeTables) -> MapClamps:
    """One pair clamped to 1406; what was written so far is forgotten."""
    clamps = MapClamps(tables)  # type: ignore[arg-type]
    assert clamps.read({}) == (frozenset(), frozenset())
    clamps.add({R1406}, ONE)
    tables.log.clear()
    return clamps


def in_maps(tables: FakeTables) -> dict[bytes, bytes]:
    table = tables.tables[nft.TABLE]
    return {key: chain for members in table.members.values() for key, chain in members.items()}


def test_the_first_clamp_makes_the_table_in_one_transaction(tables: FakeTables) -> None:
    clamped(tables)
    table = tables.tables[nft.TABLE]
    key = LAN.network_address.packed + FAR.network_address.packed
    assert table.members["pairs4-24-24"][key] == b"mss4-1406" and len(in_maps(tables)) == 2
    assert table.found.hooks["postrouting"] == (4, -150 & 0xFFFFFFFF) and table.found.hooks["syn"] is None
    assert [what for what, *_ in table.found.rules["syn"]] == ["pairs4-24-24"]
    again = MapClamps(tables)  # type: ignore[arg-type]
    assert again.read({}) == (ONE, frozenset({R1406}))


def test_nothing_is_read_again_while_nobody_else_writes(tables: FakeTables) -> None:
    clamps = clamped(tables)
    before = tables.reads
    assert clamps.read({}) == (ONE, frozenset({R1406})) and tables.reads == before
    tables.disturbances += 1
    assert clamps.read({}) == (ONE, frozenset({R1406})) and tables.reads > before


def test_only_what_changes_is_written(tables: FakeTables) -> None:
    clamps = clamped(tables)
    clamps.add({R1406}, ONE)
    assert tables.log == []
    clamps.add(set(), frozenset({Element(R1406, LAN, ip_network("10.1.3.0/24"))}))
    assert tables.log.pop() == ["new members pairs4-24-24 1"]
    clamps.add(set(), frozenset({Element(R1406, LAN, ip_network("10.1.4.0/25"))}))
    assert tables.log.pop() == ["new set pairs4-24-25", "new rule syn: pairs4-24-25", "new members pairs4-24-25 1"]


def test_a_change_costs_what_it_is_large_however_many_tunnels_there_are(tables: FakeTables) -> None:
    clamps = clamped(tables)
    many = [Clamp(LAN, ip_network((0x0B000000 + (n << 8), 24)), 1300 + n % 7) for n in range(10_000)]
    clamps.add({ClampRule(4, 1300 + n) for n in range(7)}, elements(many))
    tables.log.clear()
    reads = tables.reads
    clamps.add({R1300}, LOWER)
    clamps.delete({R1406}, ONE)
    assert tables.log == [
        ["delete members pairs4-24-24 2", "new members pairs4-24-24 2"],
        ["delete chain mss4-1406"],
    ]
    assert tables.reads == reads


def test_of_two_that_ask_for_a_pair_the_smaller_mss_is_in_the_map(tables: FakeTables) -> None:
    clamps = clamped(tables)
    clamps.add({R1300}, LOWER)
    assert set(in_maps(tables).values()) == {b"mss4-1300"}
    assert clamps.read({}) == (ONE | LOWER, frozenset({R1300, R1406}))
    clamps.delete({R1300}, LOWER)
    assert set(in_maps(tables).values()) == {b"mss4-1406"} and clamps.read({})[0] == ONE
    clamps.delete({R1406}, ONE)
    assert tables.tables == {}
    assert tables.log[-1] == ["delete table xfrmctl"]


def test_a_rule_stays_while_somebody_is_served(tables: FakeTables) -> None:
    clamps = clamped(tables)
    clamps.delete({R1406}, frozenset(list(ONE)[:1]))
    assert tables.log == [["delete members pairs4-24-24 1"]]


def test_a_map_goes_with_its_last_member(tables: FakeTables) -> None:
    clamps = clamped(tables)
    wide = elements([Clamp(LAN, ip_network("10.0.0.0/8"), 1406)])
    clamps.add({R1406}, wide)
    clamps.delete(set(), wide)
    assert tables.log[-1][2:4] == ["flush chain syn", "new rule syn: pairs4-24-24"]
    assert sorted(tables.log[-1][4:]) == ["delete set pairs4-24-8", "delete set pairs4-8-24"]
    assert set(tables.tables[nft.TABLE].members) == {"pairs4-24-24"}


def _network(rng: random.Random) -> IPNetwork:
    return ip_network((rng.randrange(8) << 29, rng.randrange(5)), strict=False)


def test_whatever_comes_and_goes_the_maps_hold_the_smallest_of_each_pair(tables: FakeTables) -> None:
    rng = random.Random(7)
    clamps, model = MapClamps(tables), set[Element]()  # type: ignore[arg-type]
    rules = [ClampRule(4, mss) for mss in (1100, 1200, 1300)]
    for step in range(400):
        some = frozenset(Element(rng.choice(rules), _network(rng), _network(rng)) for _ in range(rng.randrange(1, 6)))
        if rng.random() < 0.5:
            clamps.add({e.rule for e in some}, some)
            model |= some
        else:
            some |= frozenset(rng.sample(sorted(model, key=str), min(3, len(model))))
            model -= some
            clamps.delete(set(rules) - {e.rule for e in model}, some)
        smallest: dict[tuple[int, int, bytes], int] = {}
        for e in model:
            key = (e.source.prefixlen, e.destination.prefixlen, nft.key((e.source, e.destination)))
            smallest[key] = min(e.rule.mss, smallest.get(key, 9999))
        table = tables.tables.get(nft.TABLE)
        held = {
            (*lengths[1:], key): int(chain.removeprefix(b"mss4-"))
            for name, members in (table.members if table else {}).items()
            if (lengths := nft.lengths_from(name))
            for key, chain in members.items()
        }
        assert held == smallest, step
        if step % 50 == 0:
            tables.disturbances += 1
        assert clamps.read({})[0] == model


@pytest.mark.parametrize(
    "damage",
    [
        lambda found, members: found.rules["input"].clear(),
        lambda found, members: found.rules["postrouting"].insert(0, ("", 0, 0)),
        lambda found, members: found.rules["syn"].append(("", 0, 0)),
        lambda found, members: found.rules["mss4-1406"].append(("", 0, 0)),
        lambda found, members: found.hooks.update(input=(1, 0)),
        lambda found, members: found.hooks.update(input=None),
        lambda found, members: found.sets.update({"pairs4-24-24": (0x4 | 0x8, 8)}),
        lambda found, members: members["pairs4-24-24"].update({bytes(8): b"elsewhere"}),
        lambda found, members: members["pairs4-24-24"].update({bytes(range(8)): b"mss4-1406"}),
        lambda found, members: found.__setattr__("dormant", True),
    ],
)
def test_a_table_that_another_program_changed_is_made_anew_with_its_counters(
    tables: FakeTables, damage: Callable[..., object]
) -> None:
    clamps = clamped(tables)
    table = tables.tables[nft.TABLE]
    table.found.rules["mss4-1406"] = [("mss4-1406", 5, 300)]
    damage(table.found, table.members)
    tables.disturbances += 1
    members, rules = clamps.read({})
    assert members == ONE and rules == frozenset()
    assert [standing for _, standing, _ in clamps.counters().values()] == [False] or table.found.present
    clamps.add({R1406}, frozenset())
    assert tables.log[0][:3] == ["new table xfrmctl", "delete table xfrmctl", "new table xfrmctl"]
    assert clamps.read({}) == (ONE, frozenset({R1406}))
    (count, standing, _) = clamps.counters()[R1406]
    assert standing and count in (Counter(5, 300), Counter())


def test_what_others_add_beside_our_chains_is_no_damage(tables: FakeTables) -> None:
    clamps = clamped(tables)
    found = tables.tables[nft.TABLE].found
    found.hooks["theirs"], found.rules["theirs"], found.sets["theirs"] = None, [("", 0, 0)], (0, 4)
    tables.tables[nft.TABLE].members["theirs"] = {}
    tables.disturbances += 1
    assert clamps.read({}) == (ONE, frozenset({R1406}))


def test_a_change_that_fails_is_followed_by_a_look(tables: FakeTables) -> None:
    clamps = clamped(tables)
    tables.tables.clear()
    with pytest.raises(FirewallError):
        clamps.add(set(), frozenset({Element(R1406, LAN, ip_network("10.1.3.0/24"))}))
    assert clamps.read({}) == (frozenset(), frozenset())


PEERS: list[IPAddress] = [ip_address("192.0.2.1"), ip_address("2001:db8::1"), ip_address("192.0.2.2")]


def test_the_guard_changes_member_by_member(tables: FakeTables) -> None:
    guard = TableGuard(tables)  # type: ignore[arg-type]
    guard.read({})
    assert guard.standing() == IcmpGuard()
    first = IcmpGuard(frozenset(PEERS[:2]), frozenset(PEERS[2:]), frozenset({(PEERS[0], 0x1001)}))
    assert guard.set(first) == []
    held = tables.tables[nft_guard.TABLE].members
    assert held["judged4"].keys() == {PEERS[0].packed} and held["judged6"].keys() == {PEERS[1].packed}
    assert held["ignored4"].keys() == {PEERS[2].packed}
    assert held["known4"].keys() == {PEERS[0].packed + b"\0\0\x10\x01"} and not held["known6"]
    tables.log.clear()
    second = IcmpGuard(first.judged, first.ignored, frozenset({(PEERS[0], 0x1002)}))
    assert guard.set(second) == [] and guard.standing() == second
    assert tables.log == [["delete members known4 1", "new members known4 1"]]
    tables.disturbances += 1
    guard.read({})
    assert guard.standing() == second
    assert guard.set(IcmpGuard()) == [] and tables.tables == {}


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table.found.rules["judge4"].pop(),
        lambda table: table.found.rules["icmp6"].insert(0, ("", 0, 0)),
        lambda table: table.found.hooks.update(input=(1, 0)),
        lambda table: table.members["judged4"].clear(),
        lambda table: table.members["known4"].update({bytes(8): b""}),
        lambda table: table.found.sets.pop("rates4"),
    ],
)
def test_a_damaged_guard_is_noticed_and_made_anew(tables: FakeTables, damage: Callable[..., object]) -> None:
    guard, wanted = TableGuard(tables), IcmpGuard(frozenset(PEERS))  # type: ignore[arg-type]
    guard.set(wanted)
    damage(tables.tables[nft_guard.TABLE])
    tables.disturbances += 1
    guard.read({})
    assert guard.standing() is None
    assert guard.set(wanted) == [] and guard.standing() == wanted
    tables.disturbances += 1
    guard.read({})
    assert guard.standing() == wanted


def test_what_the_kernel_refuses_of_the_guard_is_told(tables: FakeTables, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(what: str, requests: object) -> None:
        raise FirewallError("no")

    monkeypatch.setattr(tables, "commit", refuse)
    guard = TableGuard(tables)  # type: ignore[arg-type]
    [problem] = guard.set(IcmpGuard(frozenset(PEERS)))
    assert "not judged" in problem and guard.standing() is None


def _programs(monkeypatch: pytest.MonkeyPatch, path: Path, names: str) -> None:
    for name in names.split():
        (path / name).write_text("#!/bin/sh\nexit 1\n")
        (path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(path))


@pytest.mark.parametrize(
    ("names", "who"),
    [
        ("iptables-restore ipset nft", FirewallBackend.IPTABLES),
        ("iptables-restore ipset", FirewallBackend.IPTABLES),
        ("iptables-restore nft", FirewallBackend.NFTABLES),
        ("", FirewallBackend.NFTABLES),
    ],
)
def test_auto_takes_what_the_host_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: str, who: FirewallBackend
) -> None:
    _programs(monkeypatch, tmp_path, names)
    assert chosen(FirewallBackend.AUTO) is who
    assert chosen(FirewallBackend.NFTABLES) is FirewallBackend.NFTABLES


def test_what_another_program_has_taken_away_is_shown_as_not_standing(
    tables: FakeTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also once the loss has been read, and before it is made good: a scrape just then must not lose the series."""
    monkeypatch.setattr(backend, "NfTables", lambda: tables)
    firewall = Firewall(FirewallBackend.NFTABLES)
    clamp = Clamp(LAN, FAR, 1406)
    firewall.wanted = {clamp}
    firewall.read()
    assert firewall.apply([AddClamps(frozenset({R1406}), ONE)]) == []
    assert [info.standing for info in firewall.counters()] == [True]
    tables.tables.clear()
    tables.disturbances += 1
    firewall.read()
    (info,) = firewall.counters()
    assert (info.family, info.mss, info.standing, info.packets) == (4, 1406, False, 0)
    firewall.wanted -= {clamp}
    assert firewall.counters() == []
