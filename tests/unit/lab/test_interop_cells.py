"""The data of the interop matrix: every pair that can be is in a cell of every run, and nothing is there twice."""

import itertools

import pytest

from tests.lab.matrix.cells import CANNOT, COLUMNS, PEERS, PeerName, chosen, events, every, reason


@pytest.mark.parametrize("peer", PEERS)
def test_every_two_values_that_can_stand_together_do(peer: PeerName) -> None:
    def pairs(cells: object) -> set[tuple[tuple[str, str], ...]]:
        assert isinstance(cells, list | tuple)
        rows = [[(name, getattr(cell, name)) for name in COLUMNS] for cell in cells]
        return {pair for row in rows for pair in itertools.combinations(row, 2)}

    assert pairs(chosen(peer)) == pairs(every(peer))
    assert len(chosen(peer)) <= 40


@pytest.mark.parametrize("peer", PEERS)
def test_cells_and_events_are_unique(peer: PeerName) -> None:
    for found in (chosen(peer), every(peer), events(peer)):
        assert len({one.id for one in found}) == len(found) > 0


@pytest.mark.parametrize("peer", PEERS)
def test_what_a_peer_cannot_do_is_no_cell_and_has_a_reason(peer: PeerName) -> None:
    for cannot in CANNOT[peer]:
        assert reason(peer, cannot.values) and len(cannot.why) > 20
        assert set(cannot.values) <= {*COLUMNS, "event", "by"}
        assert not any(all(getattr(c, k, None) == v for k, v in cannot.values.items()) for c in every(peer))
