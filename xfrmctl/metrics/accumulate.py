"""Counters that only grow, out of kernel counters that start again with every SA.

A series (say, bytes in of one child) is the sum over all instances (SPIs) it ever had. What an instance
counted between the last look and its end is not seen, so look often where it matters; nothing is ever
counted twice.
"""

from collections.abc import Hashable, Iterable

REMEMBERED = 16
"""Instances of one series that are remembered: more than a rekey can leave side by side."""


Reading = tuple[Hashable, Hashable, int, Hashable | None]


class Accumulator:
    """Totals by series; feed it whole looks with :meth:`update`."""

    def __init__(self) -> None:
        self._totals: dict[Hashable, int] = {}
        self._last: dict[Hashable, dict[Hashable, int]] = {}

    def update(self, readings: Iterable[Reading]) -> None:
        """One look: (series, instance, value now, series of the whole or None) of everything there is.

        An instance that is not named rests, and goes on where it was if it comes back. A value below the last
        one is a restart and counts from 0. What a series has grown, the whole that it is a part of has
        grown as well; the whole stays what it is when a part ends.
        """
        for series, instance, value, whole in readings:
            instances = self._last.setdefault(series, {})
            before = instances.pop(instance, 0)
            grown = value - before if value >= before else value
            self._totals[series] = self._totals.get(series, 0) + grown
            if whole is not None:
                self._totals[whole] = self._totals.get(whole, 0) + grown
            instances[instance] = value  # last in order: the latest seen
            while len(instances) > REMEMBERED:
                del instances[next(iter(instances))]

    def total(self, series: Hashable) -> int:
        """The sum so far; 0 for a series never seen."""
        return self._totals.get(series, 0)

    def keep_only(self, series: Iterable[Hashable]) -> None:
        """Forget series that are configured no longer, so that memory and labels stay bounded."""
        wanted = set(series)
        self._totals = {s: v for s, v in self._totals.items() if s in wanted}
        self._last = {s: v for s, v in self._last.items() if s in wanted}
