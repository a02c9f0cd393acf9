"""Values over time as inline SVG, with the numbers beside it as text: nothing is told by colour alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xfrmctl.model.words import duration
from xfrmctl.page.markup import Html, tag

WIDTH, HEIGHT = 600, 100
_PAD = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One line: ``style`` is a CSS class; None in ``values`` is a gap; ``steps``: a value holds until the next one."""

    name: str
    style: str
    values: Sequence[float | None]
    steps: bool = False


def figure(
    title: str, lines: Sequence[Line], times: Sequence[float], spell: Callable[[float], str], floor: bool
) -> Html:
    """A plot with its scale, its span of time and the newest value of each line; ``floor``: the scale begins at 0.

    ``times`` are in seconds, one for each value, ascending.
    """
    known = [value for line in lines for value in line.values if value is not None]
    if not known:
        return tag("figure", tag("figcaption", title), tag("p", "nothing measured yet", class_="dim"))
    seconds = times[-1] - times[0]
    low, high = (0.0 if floor else min(known)), max(known)
    newest = [(line, next((v for v in reversed(line.values) if v is not None), None)) for line in lines]
    told = [f"{line.name} {spell(value)}" for line, value in newest if value is not None]
    legend = [tag("span", _key(line), text, class_="key") for (line, _), text in zip(newest, told, strict=False)]
    label = f"{title}, last {duration(seconds)}: {', '.join(told)} now; between {spell(low)} and {spell(high)}"
    return tag(
        "figure",
        tag("figcaption", tag("b", title), *legend),
        tag("div", tag("span", spell(high)), tag("span", spell(low) if high > low else ""), class_="scale"),
        drawing(lines, times, low, high, label),
        tag("div", tag("span", f"{duration(seconds)} ago"), tag("span", "now"), class_="time"),
    )


def drawing(lines: Sequence[Line], times: Sequence[float], low: float, high: float, label: str) -> Html:
    """The picture alone; ``label`` is what a screen reader says."""
    grid = [tag("line", x1=0, x2=WIDTH, y1=y, y2=y, class_="grid") for y in (_PAD, HEIGHT // 2, HEIGHT - _PAD)]
    paths = [tag("path", d=_path(line, times, low, high), class_=line.style) for line in lines]
    box = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", *grid, *paths, viewBox=box, preserveAspectRatio="none", role="img", aria_label=label)


def _key(line: Line) -> Html:
    stroke = tag("line", x1=0, x2=20, y1=4, y2=4, class_=line.style)
    return tag("svg", stroke, viewBox="0 0 20 8", class_="swatch", aria_hidden="true")


def _path(line: Line, times: Sequence[float], low: float, high: float) -> Html:
    wide, tall = (times[-1] - times[0]) or 1.0, (high - low)
    found: list[str] = []
    before: float | None = None
    for number, (at, value) in enumerate(zip(times, line.values, strict=True)):
        if value is not None:
            x = (at - times[0]) / wide * WIDTH
            y = HEIGHT - _PAD - ((value - low) / tall if tall else 0.5) * (HEIGHT - 2 * _PAD)
            if before is not None:
                found.append(f"H{x:.1f}V{y:.1f}" if line.steps else f"L{x:.1f} {y:.1f}")
            else:
                found.append(f"M{x:.1f} {y:.1f}")
                if number + 1 == len(times) or line.values[number + 1] is None:
                    found.append("h3")  # a single point would not be seen
        before = value
    return Html("".join(found))


def thinned(values: Sequence[float | None], most: int) -> list[float | None]:
    """At most so many values, each the largest of those that it stands for."""
    size = -(-len(values) // most) or 1
    groups = (values[start : start + size] for start in range(0, len(values), size))
    return [max((v for v in group if v is not None), default=None) for group in groups]


def spark(received: Sequence[float | None], sent: Sequence[float | None], label: str) -> Html | None:
    """A small picture for a table, of values at equal distances."""
    known = [value for value in (*received, *sent) if value is not None]
    if len(known) < 2:
        return None
    lines = [Line("received", "in", thinned(received, 60)), Line("sent", "out", thinned(sent, 60))]
    return drawing(lines, range(len(lines[0].values)), 0.0, max(*known, 1.0), label)
