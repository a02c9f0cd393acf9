"""A metric family as a value: what the exposition says of it, and what docs/metrics.md tells an operator besides."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Type of a family, as both formats name it; the old text format knows no ``info`` and is told ``gauge``."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"

    __hash__ = object.__hash__


_SUFFIX = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
UNITS = ("bytes", "seconds")


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One family. ``name`` has no suffix for its type; ``help`` says what it means, ``advice`` what to do about it.

    ``advice`` is for people: when to look at it, and what helps.
    """

    name: str
    kind: Kind
    help: str
    advice: str
    labels: tuple[str, ...] = ()

    @property
    def sample(self) -> str:
        """The name of its series, as queries write it; of a histogram without ``_bucket``, ``_sum`` and ``_count``."""
        return self.name + _SUFFIX.get(self.kind, "")

    @property
    def unit(self) -> str:
        """The unit in its name, "" for a plain number."""
        last = self.name.rpartition("_")[2]
        return last if last in UNITS else ""


def gauge(name: str, help_: str, advice: str, *labels: str) -> Family:
    """A value that goes up and down."""
    return Family(name, Kind.GAUGE, help_, advice, labels)


def counter(name: str, help_: str, advice: str, *labels: str) -> Family:
    """A value that only grows, until the daemon starts anew; queries write ``NAME_total``."""
    return Family(name, Kind.COUNTER, help_, advice, labels)


def histogram(name: str, help_: str, advice: str, *labels: str) -> Family:
    """Observations by size."""
    return Family(name, Kind.HISTOGRAM, help_, advice, labels)


def info(name: str, help_: str, advice: str, *labels: str) -> Family:
    """Words, as the labels of a series that is always 1; queries write ``NAME_info``."""
    return Family(name, Kind.INFO, help_, advice, labels)
