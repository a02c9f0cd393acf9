"""Columns of plain text for thousands of lines: what there is no room for is left out, by rank, and names are cut."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

GAP = 2
NAME = 24
"""Characters of a name that are worth more than another column."""


@dataclass(frozen=True, slots=True)
class Column:
    """``least`` is the width below which it is useless; the highest ``rank`` goes first, 0 never goes."""

    title: str
    rank: int
    least: int
    right: bool = False


def lay(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """A line of titles, then one for each row, no wider than ``width`` where that is possible."""
    widths = [max([len(column.title), *(len(row[n]) for row in rows)]) for n, column in enumerate(columns)]
    widths = _fit(columns, widths, width)
    yield _line(columns, [column.title for column in columns], widths)
    for row in rows:
        yield _line(columns, row, widths)


def _fit(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """The widths that there is room for, 0 for columns that go: long names are cut, columns go, names are cut again."""
    found = list(widths)

    def excess() -> int:
        return sum(w + GAP for w in found if w) - GAP - room

    def cut(least: Callable[[Column], int]) -> None:
        for number, column in enumerate(columns):
            if found[number] and (much := excess()) > 0:
                found[number] = max(min(found[number], least(column)), found[number] - much)

    cut(lambda column: max(column.least, NAME))
    for number in sorted(range(len(columns)), key=lambda n: -columns[n].rank):
        if excess() <= 0 or not columns[number].rank:
            break
        found[number] = 0
    cut(lambda column: column.least)
    if (spare := -excess()) > 0:
        found[0] = min(widths[0], found[0] + spare)
    return found


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = []
    for cell, width, column in zip(cells, widths, columns, strict=True):
        if width:
            text = cell if len(cell) <= width else cell[: width - 1] + "…"
            shown.append(text.rjust(width) if column.right else text.ljust(width))
    return (" " * GAP).join(shown).rstrip()
