"""Counters and histograms that are fed as things happen. For one thread, like all of the daemon.

What is labelled with a connection that is configured no longer is forgotten by :meth:`Counter.keep`, so that memory
and labels stay bounded.
"""

from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from itertools import accumulate

from xfrmctl.metrics.family import Family
from xfrmctl.metrics.page import Exemplar, Page

Labels = tuple[str, ...]


class Counter:
    """Counts by labels. Without labels, or with the connection's alone, series are there from the start."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._counts: dict[Labels, int] = {(): 0} if not family.labels else {}
        self._exemplars: dict[Labels, Exemplar] = {}

    def inc(self, *labels: str, by: int = 1, exemplar: Exemplar | None = None) -> None:
        """Count."""
        self._counts[labels] = self._counts.get(labels, 0) + by
        if exemplar is not None:
            self._exemplars[labels] = exemplar

    def begin(self, *labels: str) -> None:
        """Have a series from now on: what grows from nothing to 1 is seen by no ``rate()``."""
        self._counts.setdefault(labels, 0)

    def keep(self, connections: Container[str]) -> Iterator[None]:
        """Forget series of connections that are not among these; "" is nobody's and stays. In steps."""
        if "connection" not in self.family.labels:
            return
        at = self.family.labels.index("connection")
        for labels in list(self._counts):
            if labels[at] and labels[at] not in connections:
                del self._counts[labels]
                self._exemplars.pop(labels, None)
            yield

    def show(self, page: Page) -> Iterator[None]:
        """Put all series on a page. In steps."""
        for labels in list(self._counts):
            words = page.labels(self.family.labels, labels)
            line = f"{self.family.sample}{words} {float(self._counts[labels])!r}"
            page.add(self.family, line, self._exemplars.get(labels))
            yield


class Histogram:
    """Observations by size; ``bounds`` are upper bounds, the last one, infinity, is left out."""

    def __init__(self, family: Family, bounds: Sequence[float]) -> None:
        self.family = family
        self.bounds = tuple(map(float, bounds))
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._exemplars: dict[tuple[Labels, int], Exemplar] = {}
        if not family.labels:
            self.begin()

    def begin(self, *labels: str) -> None:
        """Have a series from now on."""
        self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
        self._sums.setdefault(labels, 0.0)

    def observe(self, value: float, *labels: str, exemplar: Exemplar | None = None) -> None:
        """Count one observation."""
        if labels not in self._counts:
            self.begin(*labels)
        bucket = bisect_left(self.bounds, value)
        self._counts[labels][bucket] += 1
        self._sums[labels] += value
        if exemplar is not None:
            self._exemplars[labels, bucket] = exemplar

    def show(self, page: Page) -> Iterator[None]:
        """Put all series on a page. In steps."""
        name, names = self.family.name, (*self.family.labels, "le")
        for labels, counts in self._counts.items():
            for bucket, (bound, count) in enumerate(zip((*self.bounds, "+Inf"), accumulate(counts), strict=True)):
                words = page.labels(names, (*labels, str(bound)))
                page.add(self.family, f"{name}_bucket{words} {float(count)!r}", self._exemplars.get((labels, bucket)))
            words = page.labels(self.family.labels, labels)
            page.add(self.family, f"{name}_sum{words} {self._sums[labels]!r}")
            page.add(self.family, f"{name}_count{words} {float(sum(counts))!r}")
            yield
