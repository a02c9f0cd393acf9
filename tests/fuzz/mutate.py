"""Damage for IKE messages: octet by octet, or payload by payload with the generic headers mended afterwards."""

from pathlib import Path
from random import Random

GOLDEN = Path(__file__).parents[1] / "golden"
SEEDS = [
    bytes.fromhex("".join(line for line in path.read_text().splitlines() if not line.startswith("#")))
    for path in sorted(GOLDEN.glob("*.hex"))
]
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


def mangle(rng: Random, chain: list[Link]) -> list[Link]:
    """Payloads dropped, doubled, moved, borrowed, relabelled or damaged."""
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
    return chain


def joined(chain: list[Link], last: int = 0) -> bytes:
    """The octets of a chain; next payloads and lengths are right."""
    following = [kind for kind, _, _ in chain[1:]] + [last]
    return b"".join(
        bytes((following[at], flags)) + (len(body) + GENERIC_LEN & 0xFFFF).to_bytes(2, "big") + body
        for at, (_, flags, body) in enumerate(chain)
    )


def by_payload(rng: Random, seed: bytes, chain: list[Link]) -> bytes:
    """A message with a mangled chain."""
    chain = mangle(rng, chain)
    raw = bytearray(seed[:HEADER_LEN])
    raw[16] = chain[0][0] if chain else 0
    return bytes(raw) + joined(chain, seed[HEADER_LEN] if seed[16] == 46 else 0)


def mutate(rng: Random) -> bytes:
    """A damaged golden message; version and length of the header are mostly mended."""
    which = rng.randrange(len(SEEDS))
    raw = bytearray(blindly(rng, SEEDS[which]) if rng.randrange(2) else by_payload(rng, SEEDS[which], CHAINS[which]))
    if rng.randrange(20):
        raw[17] = 0x20
        raw[24:28] = len(raw).to_bytes(4, "big")
    return bytes(raw)
