"""100,000 mutated datagrams through the parser: it must come back each time, with a message or with WireError.

Half of them are changed blindly, octet by octet; half payload by payload, with the generic headers mended afterwards,
so that the damage reaches the payloads' own parsers.
"""

from pathlib import Path
from random import Random

import pytest

from xfrmctl.wire.cardinality import check
from xfrmctl.wire.errors import REASONS, WireError
from xfrmctl.wire.message import decode_payloads, parse

GOLDEN = Path(__file__).parents[1] / "golden"
SEEDS = [
    bytes.fromhex("".join(line for line in path.read_text().splitlines() if not line.startswith("#")))
    for path in sorted(GOLDEN.glob("*.hex"))
]
ROUNDS = 100_000
HEADER_LEN = 28
GENERIC_LEN = 4
INTERESTING = (0, 1, 2, 3, 4, 7, 8, 0x0E, 0x10, 0x28, 33, 41, 44, 46, 53, 0x7F, 0x80, 0xFE, 0xFF)

Link = tuple[int, int, bytes]  # payload type, flags, body


def links(seed: bytes) -> list[Link]:
    """The chain of a well-formed message, without looking into SK."""
    found = []
    kind, at = seed[16], HEADER_LEN
    while at < len(seed):
        size = int.from_bytes(seed[at + 2 : at + 4], "big")
        found.append((kind, seed[at + 1], seed[at + GENERIC_LEN : at + size]))
        kind, at = seed[at], at + size
    return found


CHAINS = [links(seed) for seed in SEEDS]
ALL_LINKS = [link for chain in CHAINS for link in chain]


def change(rng: Random, raw: bytearray, start: int) -> None:
    """One change somewhere behind ``start``."""
    at = rng.randrange(start, len(raw)) if start < len(raw) else len(raw)
    match rng.randrange(6) if at < len(raw) else 4:
        case 0:
            raw[at] = rng.randrange(256)
        case 1:
            raw[at] = rng.choice(INTERESTING)
        case 2:
            raw[at] ^= 1 << rng.randrange(8)
        case 3:
            del raw[at : at + rng.randint(1, 8)]
        case 4:
            raw[at:at] = rng.randbytes(rng.randint(1, 8))
        case _:
            raw[at:at] = raw[: rng.randint(1, 64)]


def blindly(rng: Random, seed: bytes) -> bytes:
    """One to four changes behind the SPIs."""
    raw = bytearray(seed)
    for _ in range(rng.randint(1, 4)):
        change(rng, raw, 16)
        if len(raw) < HEADER_LEN:
            raw += bytes(HEADER_LEN)
    return bytes(raw)


def by_payload(rng: Random, seed: bytes, chain: list[Link]) -> bytes:
    """Payloads dropped, doubled, moved, borrowed, relabelled or damaged; next payloads and lengths right."""
    chain = list(chain)
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(chain)) if chain else 0
        kind, flags, body = chain.pop(at) if chain else rng.choice(ALL_LINKS)
        match rng.randrange(8):
            case 0:
                pass
            case 1:
                chain[at:at] = [(kind, flags, body)] * rng.choice((2, 2, 2, 70))
            case 2:
                chain.insert(rng.randint(0, len(chain)), (kind, flags, body))
            case 3:
                chain[at:at] = [(kind, flags, body), rng.choice(ALL_LINKS)]
            case 4:
                chain.insert(at, (rng.randrange(1, 256), rng.choice((0, 0x80)), body))
            case _:
                damaged = bytearray(body)
                change(rng, damaged, 0)
                chain.insert(at, (kind, flags, bytes(damaged)))
    raw = bytearray(seed[:HEADER_LEN])
    raw[16] = chain[0][0] if chain else 0
    inner = seed[HEADER_LEN] if seed[16] == 46 else 0
    following = [kind for kind, _, _ in chain[1:]] + [inner]
    for at, (_, flags, body) in enumerate(chain):
        raw += bytes((following[at], flags)) + (len(body) + GENERIC_LEN).to_bytes(2, "big") + body
    return bytes(raw)


def mutate(rng: Random) -> bytes:
    """A damaged golden message; version and length of the header are mostly mended."""
    which = rng.randrange(len(SEEDS))
    raw = bytearray(blindly(rng, SEEDS[which]) if rng.randrange(2) else by_payload(rng, SEEDS[which], CHAINS[which]))
    if rng.randrange(20):
        raw[17] = 0x20
        raw[24:28] = len(raw).to_bytes(4, "big")
    return bytes(raw)


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
