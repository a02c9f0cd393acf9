"""A large state as an answer: a piece at a time, so that the daemon goes on negotiating in between."""

import asyncio
from dataclasses import replace

from aiohttp import web

from xfrmctl.control.adapters import adapter
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot

AT_ONCE = 100
"""Connections that are written in one piece: some milliseconds of work."""

_HOLE = b'"connections":[]'
"""Where they belong. Within a string of JSON it could not stand: quotation marks are escaped there."""


async def pour(request: web.Request, snapshot: Snapshot) -> web.StreamResponse:
    """Answer with the same JSON as in one piece."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    head, tail = adapter(Snapshot).dump_json(replace(snapshot, connections=[])).split(_HOLE)
    await response.write(head + _HOLE[:-1])
    one, comma = adapter(ConnectionInfo), b""
    for start in range(0, len(snapshot.connections), AT_ONCE):
        piece = b",".join(one.dump_json(c) for c in snapshot.connections[start : start + AT_ONCE])
        await response.write(comma + piece)
        comma = b","
        await asyncio.sleep(0)
    await response.write(b"]" + tail)
    await response.write_eof()
    return response
