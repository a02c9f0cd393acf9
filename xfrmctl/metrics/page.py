"""One scrape as text: the text format 0.0.4 of Prometheus, or OpenMetrics 1.0 for whoever asks for it.

Lines are put in as they are found, in any order; they come out by family, in pieces of a bounded size. A page is so
cheap to fill that the daemon's own thread does it between two messages (see ``scrape``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from xfrmctl.metrics.family import Family, Kind

LINES = 250
"""Lines in one piece of a page."""

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation behind a number: which IKE SA it was, and when, seconds since the epoch."""

    ike: str
    value: float
    at: float

    def __str__(self) -> str:
        return f' # {{ike="{_escaped(self.ike)}"}} {self.value!r} {self.at:.3f}'


@lru_cache(maxsize=1 << 15)
def _escaped(text: str) -> str:
    """A label's value, between quotes."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@lru_cache(maxsize=1 << 10)
def _order(names: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Labels stand by name, so that a series is spelled the same way by everybody."""
    return tuple(sorted((name, position) for position, name in enumerate(names)))


class Page:
    """What one scrape answers. With ``openmetrics`` exemplars are shown, where there are some."""

    def __init__(self, families: Sequence[Family], *, openmetrics: bool = False) -> None:
        self.openmetrics = openmetrics
        self._lines: dict[Family, list[str]] = {family: [] for family in families}

    def put(self, family: Family, values: Sequence[str], number: float) -> None:
        """Add one series; ``values`` are in the order of the family's labels. Raises KeyError for a stranger."""
        self._lines[family].append(f"{family.sample}{self.labels(family.labels, values)} {float(number)!r}\n")

    def add(self, family: Family, line: str, exemplar: Exemplar | None = None) -> None:
        """Add one line of a family whose lines are of several kinds, without its end."""
        shown = str(exemplar) if exemplar is not None and self.openmetrics else ""
        self._lines[family].append(f"{line}{shown}\n")

    @staticmethod
    def labels(names: tuple[str, ...], values: Sequence[str]) -> str:
        """``{child="lan",connection="branch-7"}``; "" for none."""
        if not names:
            return ""
        inner = ",".join(f'{name}="{_escaped(values[position])}"' for name, position in _order(names))
        return f"{{{inner}}}"

    def pieces(self) -> Iterator[bytes]:
        """The text, once: the page is empty then. A family that has no series just now is left out."""
        held: list[str] = []
        for family, lines in self._lines.items():
            if not lines:
                continue
            held.append(self._head(family))
            while lines:
                held += lines[:LINES]
                del lines[:LINES]
                if len(held) >= LINES:
                    yield "".join(held).encode()
                    held = []
        if self.openmetrics:
            held.append("# EOF\n")
        yield "".join(held).encode()

    def _head(self, family: Family) -> str:
        name = family.name if self.openmetrics else family.sample
        kind = family.kind if self.openmetrics or family.kind is not Kind.INFO else Kind.GAUGE
        return f"# HELP {name} {family.help}\n# TYPE {name} {kind.value}\n"
