"""Marks: what is ours, and what only looks like it."""

import pytest

from xfrmctl.kernel import ownership as o


def test_marks() -> None:
    assert o.is_our_reqid(o.reqid_for(1)) and o.is_ours(o.if_id_for(o.SPAN - 1))
    assert not o.is_our_reqid(1) and not o.is_ours(0x59000000) and not o.is_ours(0x158000000)
    for direction in range(3):
        index = o.index_for(77, direction)
        assert o.is_ours(index) and index & 7 == direction and o.index_number(index) == 77


@pytest.mark.parametrize("number", [0, -1, o.SPAN])
def test_numbers_outside(number: int) -> None:
    with pytest.raises(ValueError):
        o.reqid_for(number)


def test_indexes_outside() -> None:
    with pytest.raises(ValueError):
        o.index_for(o.SPAN >> 3, 0)
