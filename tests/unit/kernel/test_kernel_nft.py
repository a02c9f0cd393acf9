"""The clamp in nf_tables: what nft is told and tells, and the layers of its maps. No kernel: tests/lab has that."""

import json
import random
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from xfrmctl.kernel.desired import Clamp, ClampRule, Element, IcmpGuard
from xfrmctl.kernel.firewall import maps, nft
from xfrmctl.kernel.firewall.backend import Firewall, chosen
from xfrmctl.kernel.firewall.clamp import Counter, elements
from xfrmctl.kernel.firewall.layers import Layers
from xfrmctl.kernel.firewall.maps import MapClamps
from xfrmctl.kernel.firewall.nft import Table
from xfrmctl.kernel.firewall.programs import explain
from xfrmctl.kernel.plan import SetIcmpGuard
from xfrmctl.model.address import IPNetwork
from xfrmctl.model.firewall import FirewallBackend

LAN, FAR = ip_network("10.1.1.0/24"), ip_network("10.1.2.0/24")
R1406, R1300 = ClampRule(4, 1406), ClampRule(4, 1300)
ONE = elements([Clamp(LAN, FAR, 1406)])
SYN = {"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, []]}, "right": "syn"}}
OURS = {"family": "inet", "table": "xfrmctl"}
SIZE = {"tcp option": {"name": "maxseg", "field": "size"}}


def _address(text: str) -> Any:
    address, length = text.split("/")
    return {"prefix": {"addr": address, "len": int(length)}} if length != "32" else address


def _rule(chain: str, *expressions: object) -> dict[str, object]:
    return {"rule": OURS | {"chain": chain, "handle": 9, "expr": expressions}}


def _listing() -> list[dict[str, Any]]:
    """A table with one clamp of 1406, as nft 1.0.6 tells it."""
    member = [{"concat": [_address("10.1.1.0/24"), _address("10.1.2.0/24")]}, {"jump": {"target": "mss4-1406"}}]
    other = [{"concat": [_address("10.1.2.0/24"), _address("10.1.1.0/24")]}, {"jump": {"target": "mss4-1406"}}]
    chains: list[dict[str, Any]] = [{"chain": OURS | {"name": name}} for name in ("mss4-1406", "syn")]
    for hook in ("postrouting", "input"):
        chains.append(
            {"chain": OURS | {"name": hook, "type": "filter", "hook": hook, "prio": -150, "policy": "accept"}}
        )
    return [
        {"table": {"family": "inet", "name": "xfrmctl"}},
        {"map": OURS | {"name": "pairs4-0", "map": "verdict", "flags": ["interval"], "elem": [member, other]}},
        *chains,
        _rule(
            "mss4-1406",
            {"match": {"op": ">", "left": SIZE, "right": 1406}},
            {"counter": {"packets": 5, "bytes": 300}},
            {"mangle": {"key": SIZE, "value": 1406}},
        ),
        _rule("syn", {"vmap": {"key": {"concat": []}, "data": "@pairs4-0"}}),
        _rule("postrouting", SYN, {"jump": {"target": "syn"}}),
        _rule("input", SYN, {"jump": {"target": "syn"}}),
    ]


def _parse(items: list[dict[str, Any]]) -> Table:
    other = {"table": "other", "family": "inet"}
    rule = {"rule": other | {"chain": "input", "expr": [{"accept": None}]}}
    around = [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "other"}}, rule]
    return nft.parse(json.dumps({"nftables": around + items}))


def test_a_listing_is_read() -> None:
    found = _parse(_listing())
    assert found.whole and found.rules == {R1406: Counter(5, 300)} and found.standing == {R1406}
    assert frozenset(found.pairs[4]) == ONE and not list(found.pairs[6])


def test_a_terse_listing_has_rules_but_no_members() -> None:
    items = _listing()
    del items[1]["map"]["elem"]
    assert _parse(items).standing == {R1406} and not list(_parse(items).pairs[4])


MEMBER = {"concat": [_address("10.7.0.0/16"), _address("10.8.0.9/32")]}


@pytest.mark.parametrize(
    "damage",
    [
        lambda items: items.pop(),  # the rule of a hook
        lambda items: items.append(items[-1]),
        lambda items: items.append(_rule("postrouting", {"accept": None})),
        lambda items: items.append(_rule("syn", {"return": None})),
        lambda items: items.append(_rule("mss4-1406", {"accept": None})),
        lambda items: items[4]["chain"].update(prio=-149),
        lambda items: items[4]["chain"].update(hook="forward"),
        lambda items: items[6]["rule"]["expr"][2]["mangle"].update(value=1400),
        lambda items: items[6]["rule"]["expr"][0]["match"].update(op="<"),
        lambda items: items[1]["map"]["elem"].append([MEMBER, {"accept": None}]),
        lambda items: items[1]["map"]["elem"].append([MEMBER, {"jump": {"target": "mss6-1406"}}]),
        lambda items: items[1]["map"]["elem"].append([{"concat": [{"range": []}, "10.8.0.9"]}, MEMBER]),
        lambda items: items[1]["map"]["elem"].append(items[1]["map"]["elem"][0]),
        lambda items: items[1]["map"].update(name="pairs4-1"),
        lambda items: items.insert(2, {"map": OURS | {"name": "pairs6-0", "map": "verdict", "flags": ["interval"]}}),
    ],
)
def test_a_table_that_another_program_changed_does_not_stand(damage: Any) -> None:
    items = json.loads(json.dumps(_listing()))
    damage(items)
    found = _parse(items)
    assert not found.whole and found.standing == frozenset()


def test_what_others_add_beside_our_chains_is_no_damage() -> None:
    items = [
        *_listing(),
        {"set": OURS | {"name": "theirs"}},
        {"chain": OURS | {"name": "theirs"}},
        _rule("theirs", {"drop": None}),
    ]
    assert _parse(items).standing == {R1406}


def test_a_sleeping_table_is_told_from_one_at_work() -> None:
    assert nft.dormant("table inet xfrmctl {\n\tflags dormant\n\n\tchain syn {\n\t}\n}\n")
    assert not nft.dormant("table inet xfrmctl {\n}\ntable inet other {\n\tflags dormant\n}\n")
    assert not nft.dormant("table inet xfrmctl {\n\tmap pairs4-0 {\n\t\tflags interval\n\t}\n}\n")


def _network(rng: random.Random) -> IPNetwork:
    return ip_network((rng.randrange(8) << 29, rng.randrange(5)), strict=False)


def test_no_two_pairs_of_a_layer_overlap_and_none_is_lost() -> None:
    rng = random.Random(7)
    for _ in range(30):
        layers, model = Layers(), set()
        for _ in range(120):
            member = Element(rng.choice((R1300, R1406)), _network(rng), _network(rng))
            if rng.random() < 0.6:
                assert (layers.add(member) is None) == (member in model)
                model.add(member)
            else:
                assert (layers.remove(member) is None) == (member not in model)
                model.discard(member)
                layers.sink((member.source, member.destination))
                layers.trim()
            assert set(layers) == model
        for layer in layers.layers:
            pairs = list(layer.pairs)
            for at, (source, destination) in enumerate(pairs):
                for other, end in pairs[:at]:
                    assert not (source.overlaps(other) and destination.overlaps(end))


def test_ten_thousand_tunnels_with_a_default_route_need_two_maps() -> None:
    """The orientations of a hub's pairs cross each other; what shares no packet shares a map."""
    layers = Layers()
    anywhere = ip_network("0.0.0.0/0")
    clamps = [Clamp(anywhere, ip_network((0x0A000000 + (n << 8), 24)), 1400) for n in range(10_000)]
    for member in sorted(elements(clamps), key=maps._order):
        layers.add(member)
    assert len(layers.layers) == 2 and sum(1 for _ in layers) == 40_000


class Nft:
    """In place of the program: takes what it is told, lists what it is made to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.items: list[dict[str, Any]] | None = None
        self.told: list[str] = []
        monkeypatch.setattr(maps, "run", self)

    def __call__(self, command: list[str], text: str = "") -> str:
        if "-f" in command:
            self.told.append(text)
            return ""
        return json.dumps({"nftables": self.items or []}) if "-j" in command else "table inet xfrmctl {\n}\n"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Nft:
    return Nft(monkeypatch)


def test_the_first_clamp_makes_the_table_in_one_transaction(program: Nft) -> None:
    clamps = MapClamps()
    assert clamps.read({}) == (frozenset(), frozenset())
    clamps.add({R1406}, ONE)
    [text] = program.told
    assert text.startswith("add table inet xfrmctl\ndelete table inet xfrmctl\nadd table inet xfrmctl\n")
    assert "    10.1.1.0/24 . 10.1.2.0/24 : jump mss4-1406,\n" in text
    assert "maxseg size > 1406 counter packets 0 bytes 0 tcp option maxseg size set 1406" in text
    for hook in nft.HOOKS:
        assert f"add rule inet xfrmctl {hook} tcp flags & (syn | rst) == syn jump syn\n" in text


def test_only_what_changes_is_written(program: Nft) -> None:
    program.items = _listing()
    clamps = MapClamps()
    assert clamps.read({}) == (ONE, frozenset({R1406}))
    clamps.add({R1406}, ONE)
    assert program.told == []
    far = ip_network("10.1.3.0/24")
    clamps.add(set(), frozenset({Element(R1406, LAN, far)}))
    assert program.told.pop() == (
        "add element inet xfrmctl pairs4-0 {\n    10.1.1.0/24 . 10.1.3.0/24 : jump mss4-1406,\n}\n"
    )


def test_another_mss_is_a_second_map_for_the_time_of_both(program: Nft) -> None:
    program.items = _listing()
    clamps = MapClamps()
    clamps.read({})
    clamps.add({R1300}, elements([Clamp(LAN, FAR, 1300)]))
    text = program.told.pop()
    assert "add map inet xfrmctl pairs4-1 " in text and "syn ip saddr . ip daddr vmap @pairs4-1" in text
    clamps.delete({R1406}, ONE)
    lines = program.told.pop().splitlines()
    order = ("delete element", "add element", "flush chain inet xfrmctl syn", "delete map", "delete chain")
    at = [next(n for n, line in enumerate(lines) if line.startswith(what)) for what in order]
    assert at == sorted(at) and lines[-1] == "delete chain inet xfrmctl mss4-1406"
    clamps.delete({R1300}, elements([Clamp(LAN, FAR, 1300)]))
    assert program.told == [nft.remove_text()]


def test_a_rule_stays_while_somebody_is_served(program: Nft) -> None:
    program.items = _listing()
    clamps = MapClamps()
    clamps.read({})
    clamps.delete({R1406}, frozenset(list(ONE)[:1]))
    assert "delete chain" not in program.told.pop()


def test_a_damaged_table_is_made_anew_with_its_counters(program: Nft) -> None:
    program.items = _listing()[:-1]
    clamps = MapClamps()
    assert clamps.read({}) == (ONE, frozenset())
    clamps.add({R1406}, frozenset())
    [text] = program.told
    assert "delete table" in text and "counter packets 5 bytes 300" in text and text.count("jump mss4-1406,") == 2


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
        ("nft", FirewallBackend.NFTABLES),
        ("", FirewallBackend.IPTABLES),
    ],
)
def test_auto_takes_what_the_host_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: str, who: FirewallBackend
) -> None:
    _programs(monkeypatch, tmp_path, names)
    assert chosen(FirewallBackend.AUTO) is who
    assert chosen(FirewallBackend.NFTABLES) is FirewallBackend.NFTABLES


def test_without_iptables_the_guard_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _programs(monkeypatch, tmp_path, "nft")
    guarded = IcmpGuard(frozenset({ip_address("192.0.2.1")}))
    [problem] = Firewall(FirewallBackend.NFTABLES).set_icmp([SetIcmpGuard(guarded, None)])
    assert "whatever gateway.firewall says" in problem and "install the package iptables" in problem


def test_a_refusal_names_the_line() -> None:
    stderr = (
        "/dev/stdin:2:37-58: Error: Could not process rule: File exists\n    10.1.1.7 . 10.9.0.0/16\n    ^^^^^^\n"
        "/dev/stdin:3:1-2: Error: Could not process rule: File exists\n"
    )
    text = explain("nft", stderr, "add element x {\n    10.1.1.7 . 10.9.0.0/16\n}\n")
    assert text == "nft: /dev/stdin:2:37-58: Error: Could not process rule: File exists [10.1.1.7 . 10.9.0.0/16]"
