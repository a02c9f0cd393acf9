"""The data of the black-hole matrix: every pair is in a cell of every run, and what is not asked for has a reason."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.blackhole import rules
from tests.lab.blackhole.cells import (
    COLUMNS,
    COMPARISON,
    ENDS,
    Cell,
    chosen,
    covering,
    ever_failed,
    every,
    parse,
    possible,
)
from tests.lab.blackhole.document import excuses, render
from tests.lab.blackhole.results import Outcome, read

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "black-holes.md"
USUAL = parse("ours-4in4-esp-policy-gcm-drop-delivered")


def test_every_two_values_are_together_in_a_cell_of_every_run() -> None:
    rows = [[(name, getattr(cell, name)) for name in COLUMNS] for cell in covering()]
    found = {frozenset(pair) for row in rows for pair in itertools.combinations(row, 2)}
    for one, other in itertools.combinations(COLUMNS, 2):
        for pair in itertools.product([(one, v) for v in COLUMNS[one]], [(other, v) for v in COLUMNS[other]]):
            assert frozenset(pair) in found or not possible(dict(pair)), pair
    assert len(covering()) <= 60, "make test has ten minutes"


@pytest.mark.parametrize("ends", [*ENDS, COMPARISON])
def test_cells_have_names_that_can_be_read_back(ends: str) -> None:
    cells = every(ends)
    assert len({cell.id for cell in cells}) == len(cells) == (2352 if ends == "ours" else 1568)
    assert all(parse(cell.id) == cell for cell in cells)


@pytest.mark.parametrize(
    "name",
    ["", "ours-4in4", "ours-4in5-esp-policy-gcm-drop-both", "libreswan-4in4-esp-gre-gcm-drop-both", "a-b-c-d-e-f-g"],
)
def test_what_is_no_cell_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no cell"):
        parse(name)


def test_cells_that_have_failed_once_are_in_every_run() -> None:
    assert set(ever_failed()) <= {cell for ends in ENDS for cell in chosen(ends)}


@pytest.mark.parametrize(
    ("name", "exact"),
    [  # KERNEL-FACTS 11, measured
        ("ours-4in4-esp-policy-gcm-drop-delivered", 1346),
        ("ours-4in4-udp-policy-cbc-start1492-delivered", 1422),
        ("ours-6in6-udp-policy-gcm-jumbo-both", 1418),
        ("ours-4in6-esp-interface-cbc-start1400-both", 1310),
        ("ours-4in4-esp-gre-gcm-drop-both", 1342),
    ],
)
def test_the_inner_mtu_of_a_cell(name: str, exact: int) -> None:
    assert parse(name).exact == exact


def asked(cell: Cell, direction: int = 0) -> set[str]:
    return {w for w in rules.WITNESSES if rules.excused(cell, w, direction) is None}


def test_all_is_asked_for_where_physics_allows_all() -> None:
    everything = {"figure", "flow", "exact", "large", "told"}
    for icmp in ("delivered", "outer", "forged", "fragments", "zero"):
        for ends, way in (("ours", 0), ("ours", 1), ("strongswan", 0), ("libreswan", 0)):
            assert asked(replace(USUAL, ends=ends, icmp=icmp), way) == everything


def test_a_host_that_hears_nothing_needs_a_new_connection() -> None:
    for icmp in ("hosts", "both"):
        assert asked(replace(USUAL, icmp=icmp)) == {"figure", "fresh", "exact", "large"}
        assert asked(replace(USUAL, icmp=icmp, inner="6")) == {"figure", "fresh", "exact"}
        assert "flow" in asked(replace(USUAL, icmp=icmp, event="recover"))


def test_ipv6_inside_a_path_too_small_for_it() -> None:
    low = replace(USUAL, inner="6", event="startlow")
    assert low.exact == 946
    assert asked(low) == {"figure", "flow", "exact", "large", "told"}
    assert rules.rescued(low, 0) and 1280 <= rules.largest(low, 0) < 1296, "routers of IPv4 fragment ESP"
    assert asked(replace(low, icmp="hosts")) == {"figure", "fresh", "exact"}
    assert asked(replace(low, outer="6")) == {"figure", "fresh", "exact"}
    assert rules.largest(replace(low, outer="6"), 0) == 1206
    assert asked(replace(low, ends="libreswan"), 1) == {"fresh", "exact"}
    assert rules.largest(replace(low, ends="libreswan"), 1) == 946
    assert "flow" in asked(replace(low, inner="4"))


def test_a_tunnel_device_carries_ipv6_over_every_path() -> None:
    low = parse("ours-6in4-esp-gre-gcm-startlow-delivered")
    for cell in (low, replace(low, inner="4")):
        assert asked(cell) == {"figure", "flow", "exact", "large", "told"}
    assert rules.largest(low, 0) == 1280, "its own MTU, in fragments of ESP"
    assert asked(replace(low, outer="6")) == {"figure", "fresh", "exact"}, "nobody fragments IPv6 outside"


def test_a_peer_that_sends_only_fragments_learns_nothing() -> None:
    cell = parse("strongswan-4in6-esp-policy-cbc-start1492-delivered")
    assert asked(cell, 1) == {"flow", "exact", "told"}, "1492 and 1500 bytes have room for the same blocks"
    assert "large" in asked(replace(cell, cipher="gcm"), 1) and "large" in asked(cell, 0)


def test_a_foreign_peer_sends_its_own_direction() -> None:
    cell = replace(USUAL, ends="strongswan")
    assert asked(cell, 1) == {"flow", "exact", "large", "told"}
    assert asked(replace(cell, icmp="outer"), 1) == {"fresh", "exact", "large"}
    assert asked(replace(cell, icmp="outer", outer="6"), 1) == {"fresh", "exact"}
    assert asked(replace(cell, icmp="zero"), 1) == {"flow", "large"}
    assert asked(replace(cell, icmp="zero", inner="6"), 1) == set(), "nobody sends IPv6 through a path for 552"
    assert asked(replace(cell, event="recover"), 1) == {"flow", "large"}
    assert asked(replace(cell, event="recover", icmp="both"), 1) == {"flow", "exact", "large"}


def test_the_comparison_is_asked_for_all_but_our_figure() -> None:
    for cell in every("ours"):
        other = replace(cell, ends=COMPARISON)
        assert [asked(other, way) for way in (0, 1)] == [asked(cell, way) - {"figure"} for way in (0, 1)]


def test_times() -> None:
    assert {rules.limit_s(replace(USUAL, icmp=icmp)) for icmp in COLUMNS["icmp"] if icmp != "both"} == {3.0}
    assert rules.limit_s(replace(USUAL, icmp="both")) == 10.0


def test_results_are_read_and_the_last_try_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    row = {"id": USUAL.id, "missed": [], "late": ["flow0: 4.0 s"], "tcp_s": [4.0, 0.1], "figure_s": 1, "took_s": 5}
    lines = [json.dumps(row), json.dumps(row | {"late": [], "tcp_s": [1.5, 0.1]}), '{"id": "cut o']
    file.write_text("\n".join(lines))
    assert read([file]) == {USUAL.id: Outcome((), (), (1.5, 0.1), 5.0)}


def test_results_are_kept_apart_by_their_clock(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    row = {"id": USUAL.id, "missed": [], "late": [], "tcp_s": [1.5, 0.1], "figure_s": 1, "took_s": 5}
    file.write_text(json.dumps(row | {"clock": "virtual", "tcp_s": [0.5, 0.1]}) + "\n" + json.dumps(row))
    assert read([file])[USUAL.id].clock == "real"
    assert read([file], "virtual") == {USUAL.id: Outcome((), (), (0.5, 0.1), 5.0, "virtual")}


def test_the_document_says_by_which_clock() -> None:
    other, third = replace(USUAL, icmp="both"), replace(USUAL, icmp="zero")
    real = {
        USUAL.id: Outcome((), (), (0.1, 0.5), 5.0),
        other.id: Outcome(("fresh0: no",), (), (None, None), 9),
        third.id: Outcome((), (), (0.1, 0.1), 5.0),
    }
    virtual = {name: Outcome((), (), (0.2, 0.2), 5.0, "virtual") for name in (USUAL.id, other.id)}
    text = render(real | virtual, real)
    assert "1 cells have been measured by the clock on the wall only" in text
    assert "2 cells have been measured by the clock on the wall too, 1 of them with another verdict" in text
    assert "0.30 s in the median and 0.3 s at most" in text
    assert "clock on the wall" not in render(virtual)


def test_the_document_shows_what_passed_failed_and_was_not_tried() -> None:
    failed = replace(USUAL, icmp="both")
    text = render(
        {USUAL.id: Outcome((), (), (1.5, 0.1), 5.0), failed.id: Outcome(("fresh0: no",), (), (None, None), 9)}
    )
    assert "| delivered | not tried | not tried | not tried | not tried | not tried | 1/1, 1.5 s | not tried |" in text
    assert "0/1" in text
    assert f"- `{failed.id}`: fresh0: no" in text
    assert "1 of 2 (2350 not tried)" in text


def test_the_document_gives_the_reasons_of_these_rules() -> None:
    """Whoever changes a rule or a cell tries what is left of the matrix, and `make docs-black-holes`."""
    assert "\n".join(excuses()) in DOCUMENT.read_text()
