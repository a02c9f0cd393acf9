"""A large state as an answer: a piece at a time, so that the daemon goes on negotiating in between."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from aiohttp import web

from xfrmctl.control.adapters import adapter
from xfrmctl.model.snapshot import ChildInfo, ConfiguredChild, ConnectionInfo, IkeInfo, Snapshot
from xfrmctl.model.traffic import Traffic, TrafficRow

AT_ONCE = 16
"""Children, SAs or rows that are written in one piece: a millisecond of work."""

_LISTS: dict[type, tuple[str, ...]] = {
    Snapshot: ("connections",),
    ConnectionInfo: ("children", "ike_sas"),
    IkeInfo: ("children",),
    Traffic: ("rows",),
}
"""What may be long, in the order of the fields."""


def prepare(*kinds: type) -> None:
    """Make what writes these and large states beforehand: a tenth of a second that one reader would have cost all."""
    for kind in (*_LISTS, ChildInfo, ConfiguredChild, TrafficRow, *kinds):
        adapter(kind)


async def pour(request: web.Request, value: Snapshot | ConnectionInfo | Traffic) -> web.StreamResponse:
    """Answer with the same JSON as in one piece. The value is taken apart meanwhile: to free it is work, too."""
    if sum(1 for _ in islice(_items_of(value), AT_ONCE + 1)) <= AT_ONCE:
        return web.Response(body=adapter(type(value)).dump_json(value), content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for piece in pieces(value):
        await response.write(piece)
        await asyncio.sleep(0)
    await response.write_eof()
    return response


def _items_of(value: object) -> Iterator[object]:
    """The children, SAs and rows that are in it."""
    for name in _LISTS.get(type(value), ()):
        for item in getattr(value, name):
            yield item
            yield from _items_of(item)


def pieces(value: object) -> Iterator[bytes]:
    """The JSON of a value, in pieces of at most ``AT_ONCE`` children, SAs and rows. Its lists are empty afterwards."""
    held: list[bytes] = []
    load = 0
    for part, items in _parts(value):
        held.append(part)
        load += items
        if load >= AT_ONCE:
            yield b"".join(held)
            held, load = [], 0
    yield b"".join(held)


def _parts(value: object) -> Iterator[tuple[bytes, int]]:
    """As little as can be written at a time, and how many items it is."""
    names = _LISTS.get(type(value), ())
    rest = adapter(type(value)).dump_json(replace(value, **{name: [] for name in names}))  # type: ignore[type-var]
    for name in names:
        # Within a string of JSON this could not stand: quotation marks are escaped there.
        head, rest = rest.split(f'"{name}":[]'.encode(), 1)
        yield head + f'"{name}":['.encode(), 1
        yield from _items(getattr(value, name))
        yield b"]", 0
    yield rest, 0 if names else 1


def _items(items: list[object]) -> Iterator[tuple[bytes, int]]:
    items.reverse()
    while items:
        yield from _parts(items.pop())
        if items:
            yield b",", 0
