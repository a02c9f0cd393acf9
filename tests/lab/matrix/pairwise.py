"""A small set of rows in which every two values of different columns that may stand together do so at least once."""

import itertools
from collections.abc import Callable, Mapping, Sequence

Row = dict[str, str]


def rows(columns: Mapping[str, Sequence[str]], allowed: Callable[[Mapping[str, str]], bool]) -> list[Row]:
    """Greedy and always the same; ``allowed`` judges parts of a row as well as whole ones.

    Each row begins with the first pair that no row has yet, and takes for each further column the value that brings
    most new pairs and leaves the row completable.
    """
    missing = {
        frozenset(pair): None
        for one, other in itertools.combinations(columns, 2)
        for pair in itertools.product([(one, value) for value in columns[one]], [(other, v) for v in columns[other]])
        if _complete(columns, dict(pair), allowed) is not None
    }
    found: list[Row] = []
    while missing:
        row: Row = dict(next(iter(missing)))
        for name in columns:
            if name not in row:
                candidates = [value for value in columns[name] if _complete(columns, row | {name: value}, allowed)]
                row[name] = max(candidates, key=lambda value: _gain(row, name, value, missing))
        found.append({name: row[name] for name in columns})
        for pair in itertools.combinations(row.items(), 2):
            missing.pop(frozenset(pair), None)
    return found


def _gain(row: Row, name: str, value: str, missing: Mapping[frozenset[tuple[str, str]], None]) -> int:
    return sum(frozenset({known, (name, value)}) in missing for known in row.items())


def _complete(
    columns: Mapping[str, Sequence[str]], row: Row, allowed: Callable[[Mapping[str, str]], bool]
) -> Row | None:
    """A whole row that contains this part, or None where there is none."""
    if not allowed(row):
        return None
    name = next((name for name in columns if name not in row), None)
    if name is None:
        return row
    return next((done for v in columns[name] if (done := _complete(columns, row | {name: v}, allowed))), None)
