"""A large state as an answer: a piece at a time, so that the daemon goes on negotiating in between."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web

from xfrmctl.control.adapters import adapter
from xfrmctl.model.snapshot import Snapshot
from xfrmctl.model.traffic import Traffic

AT_ONCE = 100
"""Connections or rows that are written in one piece: some milliseconds of work."""


async def pour(request: web.Request, value: Snapshot | Traffic) -> web.StreamResponse:
    """Answer with the same JSON as in one piece."""
    if isinstance(value, Snapshot):
        return await _pour(request, replace(value, connections=[]), "connections", value.connections)
    return await _pour(request, replace(value, rows=[]), "rows", value.rows)


async def _pour(request: web.Request, rest: object, name: str, items: Sequence[object]) -> web.StreamResponse:
    """``rest`` with ``items`` in its empty list of that name."""
    hole = f'"{name}":[]'.encode()  # within a string of JSON it could not stand: quotation marks are escaped there
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    head, tail = adapter(type(rest)).dump_json(rest).split(hole)
    await response.write(head + hole[:-1])
    one, comma = adapter(type(items[0])), b""
    for start in range(0, len(items), AT_ONCE):
        piece = b",".join(one.dump_json(item) for item in items[start : start + AT_ONCE])
        await response.write(comma + piece)
        comma = b","
        await asyncio.sleep(0)
    await response.write(b"]" + tail)
    await response.write_eof()
    return response
