"""reqid and if_id: numbers the kernel knows a child by, the same over reloads and restarts.

A number is 23 bits of a hash of the name below :data:`OURS`, so that everything of ours can be told from
what is not (DESIGN 3.2), and neither the order of the file nor other connections change it. Two names with
one hash take neighbouring numbers; whoever has a number already (``previous``) keeps it. In 10,000 names
six such pairs are to be expected.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from xfrmctl.ike.config import PEER_REQIDS

OURS = 0x58000000
"""The first of 2^24 numbers ("X" in the top byte) that mark reqids and if_ids as ours."""

SPACE = PEER_REQIDS.start - OURS
"""How many of them are for names of the configuration; the others are for peers of connections that serve many."""


def assign(names: Iterable[str], previous: Mapping[str, int] | None = None) -> dict[str, int]:
    """A different number for each name."""
    wanted = sorted(set(names))
    found = {name: previous[name] for name in wanted if name in previous} if previous else {}
    taken = set(found.values())
    for name in wanted:
        if name in found:
            continue
        slot = int.from_bytes(sha256(name.encode()).digest()[:3], "big") % SPACE
        while OURS | slot in taken:
            slot = (slot + 1) % SPACE
        found[name] = OURS | slot
        taken.add(OURS | slot)
    return found


def is_ours(number: int) -> bool:
    """Whether a reqid or if_id carries our mark."""
    return number >> 24 == OURS >> 24
