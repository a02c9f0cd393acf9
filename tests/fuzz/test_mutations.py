"""100,000 mutated datagrams through the parser: it must come back each time, with a message or with WireError.

Half of them are changed blindly, octet by octet; half payload by payload, with the generic headers mended afterwards,
so that the damage reaches the payloads' own parsers.
"""

from random import Random

import pytest

from tests.fuzz.mutate import CHAINS, GENERIC_LEN, HEADER_LEN, SEEDS, mutate
from xfrmctl.wire.cardinality import check
from xfrmctl.wire.errors import REASONS, WireError
from xfrmctl.wire.message import decode_payloads, parse

ROUNDS = 100_000


def test_chains_are_read_as_they_are() -> None:
    for seed, chain in zip(SEEDS, CHAINS, strict=True):
        assert sum(len(body) + GENERIC_LEN for _, _, body in chain) == len(seed) - HEADER_LEN


@pytest.mark.rfc("7296", "2.5")
@pytest.mark.rfc("7296", "4")
def test_parser_survives() -> None:
    rng = Random(7296)
    reasons: dict[str, int] = {}
    for _ in range(ROUNDS):
        data = mutate(rng)
        try:
            message = parse(data)
            if message.sk is not None:
                decode_payloads(message.sk.first, data[message.sk.offset :])
            check(message.header.exchange, message.header.is_response, message.payloads)
            reason = "accepted"
        except WireError as error:
            reason = error.reason
        reasons[reason] = reasons.get(reason, 0) + 1
    # the damage must reach the depths, or the test proves nothing
    assert reasons.keys() <= REASONS | {"accepted"}
    assert all(reasons.get(reason, 0) >= 20 for reason in REASONS | {"accepted"}), reasons
