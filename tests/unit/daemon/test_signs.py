"""What looks like the loss of large packets, and what does not."""

from ipaddress import ip_address

import pytest

from xfrmctl.daemon.signs import Flow, Sign, is_repetition
from xfrmctl.ike.exchanges.probe import IS_PROBE
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import MessageSent
from xfrmctl.model.iana import ExchangeType

FULL = 1500


def looks(*seconds: tuple[int, int, int]) -> list[Sign]:
    """One look a second; each is (packets in, packets out, bytes out) of that second."""
    flow, came, went, octets, signs = Flow(0, 0, 0, 0.0), 0, 0, 0, []
    for now, (more_in, more_out, more) in enumerate(seconds, start=1):
        came, went, octets = came + more_in, went + more_out, octets + more
        signs.append(flow.look(came, went, octets, float(now)))
    return signs


BULK = 10 * [(500, 1000, 1000 * FULL)]


def test_packets_that_nobody_answers_are_a_loss() -> None:
    assert looks((1, 1, 84), (0, 1, 84), (0, 0, 0), (1, 1, 84)) == [Sign.TRAFFIC, Sign.LOSS, Sign.NONE, Sign.TRAFFIC]


def test_silence_is_no_sign_before_an_answer_can_have_come() -> None:
    """Four looks a second, and a ping that is answered after 0.3 s."""
    flow, signs = Flow(0, 0, 0, 0.0), []
    for now, (came, went) in enumerate([(0, 1), (0, 1), (1, 2), (1, 2), (1, 3), (1, 4), (1, 4), (1, 5)], start=1):
        signs.append(flow.look(came, went, went * 84, now / 4, patience_s=0.4))
    assert signs[:4] == [Sign.TRAFFIC, Sign.NONE, Sign.TRAFFIC, Sign.NONE]
    assert signs[4:] == [Sign.TRAFFIC, Sign.LOSS, Sign.NONE, Sign.LOSS], "and then nobody answers any more"


def test_what_goes_out_in_bursts_has_not_collapsed_between_two_of_them() -> None:
    flow, went, octets = Flow(0, 0, 0, 0.0), 0, 0
    for quarter in range(1, 41):
        burst = quarter % 4 == 0
        went, octets = went + 1, octets + (50 * FULL if burst else 84)
        assert flow.look(quarter, went, octets, quarter / 4) == Sign.TRAFFIC


def test_a_bulk_transfer_that_collapses_beside_answered_pings_is_a_loss() -> None:
    signs = looks(*BULK, *(3 * [(1, 2, FULL + 84)]))
    assert signs == 10 * [Sign.TRAFFIC] + 3 * [Sign.LOSS]


def test_a_bulk_transfer_that_has_ended_for_good_stops_being_missed() -> None:
    signs = looks(*BULK, *(60 * [(1, 1, 84)]))
    assert signs[10] == Sign.LOSS
    assert set(signs[40:]) == {Sign.TRAFFIC}


def test_a_transfer_that_goes_slower_or_a_call_that_ends_is_no_loss() -> None:
    assert set(looks(*BULK, (100, 200, 200 * FULL))) == {Sign.TRAFFIC}
    assert set(looks(*(10 * [(50, 50, 50 * 200)]), (1, 1, 84))) == {Sign.TRAFFIC}


def test_successors_that_count_from_zero_are_no_sign() -> None:
    flow = Flow(0, 0, 0, 0.0)
    assert flow.look(500, 1000, 1_500_000, 1.0) == Sign.TRAFFIC
    assert flow.look(0, 3, 4500, 2.0) == Sign.NONE
    assert flow.look(0, 3, 4500, 3.0) == Sign.NONE


def test_two_looks_at_the_same_moment_are_harmless() -> None:
    flow = Flow(0, 0, 0, 1.0)
    assert flow.look(1, 1, 84, 1.0) == Sign.TRAFFIC


def sent(size: int, attempt: int, *, fragments: int = 1, payloads: tuple[str, ...] = ("SA",), peer: str = "192.0.2.1"):  # type: ignore[no-untyped-def]
    return MessageSent(
        connection="c",
        ike="c#1",
        exchange=ExchangeType.CREATE_CHILD_SA,
        response=False,
        message_id=3,
        payloads=payloads,
        remote=Endpoint(ip_address(peer), 500),
        size=size,
        attempt=attempt,
        fragments=fragments,
    )


@pytest.mark.parametrize(
    ("message", "sign"),
    [
        (sent(1200, 2), True),
        (sent(1200, 1), False),
        (sent(500, 4), False),
        (sent(1200, 2, peer="2001:db8::1"), False),
        (sent(2400, 2, peer="2001:db8::1"), True),
        (sent(2000, 2, fragments=4), False),
        (sent(2500, 2, fragments=2), True),
        (sent(1400, 2, payloads=(IS_PROBE,)), False),
    ],
)
def test_a_large_request_of_ike_that_goes_out_again_is_a_sign(message: MessageSent, sign: bool) -> None:
    assert is_repetition(message) is sign
