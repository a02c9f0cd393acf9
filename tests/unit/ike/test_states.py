"""The table of states is complete and enforced."""

from ipaddress import ip_address

import pytest

from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import MEANING, TRANSITIONS, IkeState
from xfrmctl.model.address import Endpoint


def test_every_state_has_a_meaning_and_a_way_out() -> None:
    assert MEANING.keys() == TRANSITIONS.keys() == set(IkeState)
    for state, following in TRANSITIONS.items():
        assert state == IkeState.CLOSED or IkeState.CLOSED in following


@pytest.mark.parametrize("before", list(IkeState))
@pytest.mark.parametrize("after", list(IkeState))
def test_only_what_the_table_says_is_possible(before: IkeState, after: IkeState) -> None:
    here = Endpoint(ip_address("192.0.2.1"), 500)
    sa = IkeSa(1, True, bytes(8), here, here, 0.0, before)
    if after in TRANSITIONS[before]:
        sa.move(after)
        assert sa.state == after
    else:
        with pytest.raises(AssertionError):
            sa.move(after)
