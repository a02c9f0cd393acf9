"""What no single value shows: overlaps, twins, missing addresses."""

from pathlib import Path

import pytest

from tests.unit.config.config_files import BASE, ROUTED, loaded, minimal, only, pair
from xfrmctl.ike.config import Start, Unique


@pytest.mark.parametrize(
    ("one", "two", "word"),
    [
        (BASE, BASE, "are the same as"),
        (BASE, "local_ts: 10.1.1.0/24, remote_ts: 10.2.3.0/24", "overlap with"),
        ("local_ts: [10.9.0.0/16, 10.1.0.0/16], remote_ts: 0.0.0.0/0", BASE, "overlap with"),
        (BASE + ROUTED, BASE + ROUTED, "route the same destination as"),
        (BASE + ROUTED, BASE, "are the same as"),
        ("local_ts: 0.0.0.0/0, remote_ts: 0.0.0.0/0" + ROUTED + ", interface: i1", BASE, "overlap with"),
        (BASE + ROUTED + ", interface: i1", BASE + ROUTED + ", interface: i1", "are the same as"),
    ],
)
def test_overlapping_selectors_name_both(place: Path, one: str, two: str, word: str) -> None:
    problem = only(place, pair(one, two))
    assert word in problem.cause and "child 'lan' of connection 'a'" in problem.cause
    assert problem.key == "connections.b.children.lan.remote_ts" and problem.line == 11


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (BASE, "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"),
        (BASE, "local_ts: 10.5.0.0/16, remote_ts: 10.2.0.0/16"),
        (BASE + ROUTED, "local_ts: 10.1.0.0/16, remote_ts: 10.2.3.0/24" + ROUTED),
        ("local_ts: fd00::/16, remote_ts: fd01::/16", BASE),
    ],
)
def test_selectors_that_do_not_clash(place: Path, one: str, two: str) -> None:
    assert len(loaded(place, pair(one, two)).engine.connections) == 2


def test_children_of_one_connection_may_nest_but_not_repeat(place: Path) -> None:
    nested = "local_ts: 10.7.0.0/16, remote_ts: 10.8.0.0/16"
    loaded(place, pair(BASE, nested, more=", x: {local_ts: 10.7.1.0/24, remote_ts: 10.8.0.0/16}"))
    assert "same as those of child 'lan'" in only(place, pair(BASE, nested, more=f", x: {{{nested}}}")).cause


def test_twins(place: Path) -> None:
    other = "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"
    problem = only(place, pair(BASE, other, remote="192.0.2.2"))
    assert "same addresses and identities as connection 'a'" in problem.cause and problem.line == 7


def test_ipv6_floor(place: Path) -> None:
    connection = "local: {address: 2001:db8::1}\nremote: {address: 2001:db8::2}"
    assert "always carries 1280" in only(place, minimal("mtu: 1200", connection)).cause
    text = minimal("local_ts: fd01::/64\nremote_ts: fd02::/64\nmtu: 1300\nesp: aes256gcm16")
    (warning,) = loaded(place, text).warnings
    assert "leaves 1246 bytes" in warning.cause and "1336" in warning.cure


@pytest.mark.parametrize(
    ("address", "written", "expected"),
    [
        ("", "", Unique.REPLACE),
        ("", "unique: keep", Unique.KEEP),
        ("", "unique: no", Unique.NO),
        ("address: 192.0.2.2, ", "", Unique.NO),
        ("address: 192.0.2.2, ", "unique: replace", Unique.REPLACE),
    ],
)
def test_who_may_come_twice(place: Path, address: str, written: str, expected: Unique) -> None:
    text = minimal("", f"local: {{address: 192.0.2.1}}\nremote: {{{address}id: any}}\n{written}")
    assert loaded(place, text).engine.connections["c"].unique is expected


def test_unique_has_three_words(place: Path) -> None:
    problem = only(place, minimal("", "remote: {id: any}\nunique: never"))
    assert "replace, keep, no" in problem.cure and problem.key == "connections.c.unique"


def test_responder_only(place: Path) -> None:
    found = loaded(place, minimal("", "remote: {id: any}")).engine.connections["c"]
    assert found.remote is None and found.remote_id is None and found.children[0].start == Start.NONE
