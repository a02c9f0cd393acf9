"""Counters that only grow, out of counters that start again with every rule or path that they are of.

A series (say, probes of one connection) is the sum over all instances (paths) it ever had. What an instance counted
between the last look and its end is not seen, so look often where it matters; nothing is ever counted twice.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator

REMEMBERED = 16
"""Instances of one series that are remembered."""

Series = tuple[str, ...]
Reading = tuple[Series, Hashable, int]
"""Series, instance, what it has counted by now."""


class Accumulator:
    """Totals by series; feed it with :meth:`update`."""

    def __init__(self) -> None:
        self._totals: dict[Series, int] = {}
        self._last: dict[Series, dict[Hashable, int]] = {}

    def update(self, readings: Iterable[Reading]) -> None:
        """Take in what is counted now.

        An instance that is not named rests, and goes on where it was if it comes back. A value below the last
        one is a restart and counts from 0.
        """
        for series, instance, value in readings:
            instances = self._last.setdefault(series, {})
            before = instances.pop(instance, 0)
            self._totals[series] = self._totals.get(series, 0) + (value - before if value >= before else value)
            instances[instance] = value  # last in order: the latest seen
            while len(instances) > REMEMBERED:
                del instances[next(iter(instances))]

    def total(self, series: Series) -> int:
        """The sum so far; 0 for a series never seen."""
        return self._totals.get(series, 0)

    def keep(self, wanted: Callable[[Series], bool]) -> Iterator[None]:
        """Forget other series, so that memory and labels stay bounded. In steps."""
        for series in list(self._totals):
            if not wanted(series):
                del self._totals[series]
                self._last.pop(series, None)
            yield
