"""Which size to try next: RFC 8899 5.3 with the plateaus of RFC 1191 7.1 as first guesses.

A probe that passes costs a round trip, one that is too big costs a timeout, and must be lost several times before the
size counts as too big. So

* the guesses are the sizes that links and tunnels really have, and a size that is one of them is checked for being the
  end at once: where 1400 passes and 1401 does not, nothing is left to search;
* one loss is enough to look further down, for relief is down there; what a search ends at is then tried again and
  again, and if it passes after all the search goes on above it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

PLATEAUS = (68, 296, 508, 1006, 1280, 1492, 2002, 4352, 8166, 17914, 32000, 65535)
"""RFC 1191 7.1, with the minimum of IPv6 (RFC 8200 5)."""

TUNNELS = (1380, 1400, 1420, 1430, 1440, 1450, 1460, 1472, 1476, 1480, 1500, 9000)
"""What tunnels and clouds leave of 1500: WireGuard, VXLAN, GRE, IPIP, 6in4, L2TP; Ethernet with and without jumbo."""

GUESSES = tuple(sorted({*PLATEAUS, *TUNNELS}))


def plateau_below(size: int) -> int:
    """The largest plateau below ``size``, for a router that reports a next-hop MTU of 0 (RFC 1191 5)."""
    return max((p for p in PLATEAUS if p < size), default=PLATEAUS[0])


@dataclass(frozen=True, slots=True)
class Grid:
    """The sizes that a carrier can send: ``offset`` plus a multiple of ``step``.

    With an AEAD cipher protecting the probes that is every size; with AES-CBC every sixteenth.
    """

    offset: int = 0
    step: int = 1

    def down(self, size: int) -> int:
        """The largest size that can be sent and is not above ``size``."""
        return size - (size - self.offset) % self.step

    def up(self, size: int) -> int:
        """The smallest size that can be sent and is not below ``size``."""
        return size + (self.offset - size) % self.step


EVERY_SIZE = Grid()


@dataclass(slots=True)
class Search:
    """``low`` passes, ``high`` does not; ``first`` goes before everything else.

    ``suspect`` is the smallest size that a probe was lost with, ``losses`` how often each was.
    ``named`` are sizes that somebody has named: what has been said to be the end is checked for being it. ``proven`` is
    set when a probe has passed; before that, ``low`` is only what every link carries, and ``least_lost`` that a probe
    of this size was lost: it tells nothing, for nothing smaller can be believed.
    """

    low: int
    high: int
    grid: Grid = EVERY_SIZE
    first: list[int] = field(default_factory=list)
    named: set[int] = field(default_factory=set)
    proven: bool = False
    least_lost: bool = False
    suspect: int = 0
    losses: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.suspect = self.high

    def candidate(self) -> int | None:
        """The size to try next; None when the search is over and ``low`` is the answer."""
        if self.grid.up(self.low + 1) >= self.suspect:
            return self.suspect if self.low < self.suspect < self.high else None
        while self.first:
            size = self.grid.down(self.first[0])
            if self.low < size < self.suspect:
                return size
            del self.first[0]
        if self.low in self.named or (self.proven and self.low in self._reachable(GUESSES)):
            return self.grid.up(self.low + 1)
        guesses = [g for g in self._reachable(GUESSES) if self.low < g < self.suspect]
        if guesses:
            return guesses[len(guesses) // 2]
        if not self.proven and not self.least_lost and self.low in GUESSES:
            return self.grid.down(self.low)  # what every link of IPv6 carries is often all: relief before the last byte
        middle = self.grid.down((self.low + self.suspect) // 2)
        return middle if middle > self.low else self.grid.up(self.low + 1)

    def passed(self, size: int) -> None:
        """A probe of this size was answered."""
        self.low = max(self.low, size)
        self.proven = True
        if size >= self.suspect:
            self.suspect = self.high

    def lost(self, size: int, enough: int) -> None:
        """A probe of this size was lost; with ``enough`` of them it does not pass."""
        if size <= self.low:
            self.least_lost = True
            return
        self.losses[size] = self.losses.get(size, 0) + 1
        self.suspect = min(self.suspect, size)
        if self.losses[size] >= enough:
            self.failed(size)

    def failed(self, size: int) -> None:
        """Packets of this size do not pass."""
        self.high = min(self.high, size)
        self.suspect = min(self.suspect, size)

    def _reachable(self, sizes: Iterable[int]) -> list[int]:
        return sorted({self.grid.down(size) for size in sizes})
