"""The HTTP side of the API: routes, bodies, errors. What is done is the business of the handlers."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog
from aiohttp import web
from pydantic import ValidationError

from xfrmctl import __version__
from xfrmctl.control.adapters import adapter
from xfrmctl.control.listen import listen, peer_uid
from xfrmctl.control.openapi import openapi
from xfrmctl.control.pour import pour, prepare
from xfrmctl.control.query import event_selection, selection
from xfrmctl.control.schema import (
    API_HEADER,
    API_VERSION,
    MAX_DEBUG_S,
    PROGRAM_HEADER,
    ActionResult,
    DebugRequest,
    DiagnoseRequest,
    DownRequest,
    ErrorBody,
    ErrorInfo,
    NameList,
    PlanRequest,
    PlanResult,
    ReloadResult,
    RequestError,
    UpRequest,
)
from xfrmctl.control.stream import Subscription
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.selection import ALL_EVENTS, EVERYTHING, EventSelection, Selection
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot
from xfrmctl.model.traffic import Traffic

MAX_BODY = 65536
MAX_TIMEOUT_S = 3600.0
ALIVE_S = 5.0
"""How often a stream without events looks whether its reader is still there."""

Waiting = Callable[[str, str | None, float], Awaitable[ActionResult]]
"""An action on a connection or one child of it, and how long to wait."""

log = structlog.get_logger("control")
T = TypeVar("T")


class Handlers(Protocol):
    """What the daemon does for the API.

    A method may raise RequestError (answered as it says) or any other XfrmctlError (500 with its text).
    """

    async def snapshot(self, wanted: Selection = EVERYTHING) -> Snapshot:
        """The state now of what is wanted; the server's to take apart."""

    async def names(self) -> NameList:
        """What is configured."""

    async def connection(self, name: str) -> ConnectionInfo:
        """One connection's state now; the server's to take apart."""

    async def traffic(self, wanted: Selection) -> Traffic:
        """One look at the counters of what is wanted; the server's to take apart."""

    async def up(self, connection: str, child: str | None, timeout_s: float) -> ActionResult:
        """Bring up a connection or one child; wait at most ``timeout_s``."""

    async def down(self, connection: str, child: str | None) -> ActionResult:
        """Take down a connection or one child."""

    async def rekey(self, connection: str, child: str | None, timeout_s: float) -> ActionResult:
        """Renew the keys of one child, or of the IKE SA; wait at most ``timeout_s``."""

    async def debug(self, connection: str, seconds: float, keys: bool) -> ActionResult:
        """Tell of each message and decision for so long, in the log and to who follows the events; 0 ends it."""

    async def reload(self) -> ReloadResult:
        """Read the configuration again; ``ok`` False leaves the old one in force."""

    async def plan(self, file: Path | None) -> PlanResult:
        """What a reload would change; with ``file``, if that were the configuration file."""

    async def diagnose(self, connection: str | None, seconds: float) -> Diagnosis:
        """Faults of one connection, or of all; watch counters for ``seconds``."""

    def events(self, wanted: EventSelection = ALL_EVENTS) -> AsyncIterator[dict[str, Any]]:
        """What has happened and what happens from now on; closed (``aclose``) when the reader has gone."""


class ControlServer:
    """The API on a unix socket: ``await start()``, serve, ``await stop()``."""

    def __init__(self, handlers: Handlers, path: Path | str, group: str | None = None) -> None:
        self.path = Path(path)
        self._handlers = handlers
        self._group = group
        self._runner: web.AppRunner | None = None
        self._streams: set[Subscription] = set()
        self._inode = 0

    def routes(self) -> dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        """What is served: (method, path) and by whom."""
        return {
            ("GET", "/v1/status"): self._status,
            ("GET", "/v1/names"): self._names,
            ("GET", "/v1/connections/{name}"): self._connection,
            ("GET", "/v1/traffic"): self._traffic,
            ("POST", "/v1/connections/{name}/up"): self._up,
            ("POST", "/v1/connections/{name}/down"): self._down,
            ("POST", "/v1/connections/{name}/rekey"): self._rekey,
            ("POST", "/v1/connections/{name}/debug"): self._debug,
            ("POST", "/v1/reload"): self._reload,
            ("POST", "/v1/plan"): self._plan,
            ("POST", "/v1/diagnose"): self._diagnose,
            ("GET", "/v1/events"): self._events,
            ("GET", "/v1/openapi.json"): self._openapi,
        }

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        prepare(ActionResult, Diagnosis, NameList, PlanResult, ReloadResult)
        sock = listen(self.path, self._group)
        self._inode = self.path.stat().st_ino
        app = web.Application(middlewares=[_errors], client_max_size=MAX_BODY)
        app.add_routes([web.route(method, where, handler) for (method, where), handler in self.routes().items()])
        app.on_response_prepare.append(_sign)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """End all streams with a word, close, and take the socket away if it is still ours."""
        for stream in list(self._streams):
            stream.stop("the daemon is stopping")
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        try:
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass

    async def _status(self, request: web.Request) -> web.StreamResponse:
        return await pour(request, await self._handlers.snapshot(selection(request.query)))

    async def _names(self, _: web.Request) -> web.Response:
        return _json(await self._handlers.names())

    async def _connection(self, request: web.Request) -> web.StreamResponse:
        return await pour(request, await self._handlers.connection(request.match_info["name"]))

    async def _traffic(self, request: web.Request) -> web.StreamResponse:
        return await pour(request, await self._handlers.traffic(selection(request.query)))

    async def _up(self, request: web.Request) -> web.Response:
        return await self._wait_for(self._handlers.up, request)

    async def _rekey(self, request: web.Request) -> web.Response:
        return await self._wait_for(self._handlers.rekey, request)

    async def _wait_for(self, action: Waiting, request: web.Request) -> web.Response:
        body = await _body(request, UpRequest)
        if not 0 < body.timeout_s <= MAX_TIMEOUT_S:
            raise RequestError(f"timeout_s {body.timeout_s} is out of range", f"0 to {MAX_TIMEOUT_S:.0f} seconds")
        result = await action(request.match_info["name"], body.child, body.timeout_s)
        return _json(result, 200 if result.ok else 409)

    async def _down(self, request: web.Request) -> web.Response:
        body = await _body(request, DownRequest)
        result = await self._handlers.down(request.match_info["name"], body.child)
        return _json(result, 200 if result.ok else 409)

    async def _debug(self, request: web.Request) -> web.Response:
        body = await _body(request, DebugRequest)
        if not 0 <= body.seconds <= MAX_DEBUG_S:
            raise RequestError(f"{body.seconds:g} seconds are out of range", f"0 to {MAX_DEBUG_S:.0f} seconds: a day")
        return _json(await self._handlers.debug(request.match_info["name"], body.seconds, body.keys))

    async def _reload(self, _: web.Request) -> web.Response:
        result = await self._handlers.reload()
        return _json(result, 200 if result.ok else 422)

    async def _plan(self, request: web.Request) -> web.Response:
        body = await _body(request, PlanRequest)
        if body.file is not None and peer_uid(request.transport) not in (0, os.geteuid()):
            who = "only root, or the user that the daemon runs as, may have it read a file"
            raise RequestError(who, "run this with sudo, or leave the file out", status=403)
        if body.file is not None and not body.file.startswith("/"):
            raise RequestError(f"{body.file!r} is no absolute path", "begin it with /")
        return _json(await self._handlers.plan(Path(body.file) if body.file is not None else None))

    async def _diagnose(self, request: web.Request) -> web.Response:
        body = await _body(request, DiagnoseRequest)
        return _json(await self._handlers.diagnose(body.connection, body.seconds))

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.json_response(openapi())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = Subscription(self._handlers.events(event_selection(request.query)))
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        self._streams.add(stream)
        try:
            await response.prepare(request)
            while (events := await stream.get(ALIVE_S)) is not None:
                if request.transport is None or request.transport.is_closing():
                    break
                await _write(response, events, stream)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:  # the reader has gone, or does not read: do not wait to say goodbye
                request.transport.abort()
        finally:
            self._streams.discard(stream)
            await stream.close()
        return response


async def _write(response: web.StreamResponse, events: list[dict[str, Any]], stream: Subscription) -> None:
    """Send lines; once the stream has ended, a reader that takes nothing is not waited for."""
    if not events:
        return
    lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events).encode()
    writing = asyncio.ensure_future(response.write(lines))
    while True:
        done, _ = await asyncio.wait({writing}, timeout=1.0)
        if done:
            return await writing
        if stream.ended:
            writing.cancel()
            raise TimeoutError


def _json(value: object, status: int = 200) -> web.Response:
    body = adapter(type(value)).dump_json(value)
    return web.Response(body=body, status=status, content_type="application/json")


def _error(message: str, cure: str, status: int) -> web.Response:
    return _json(ErrorBody(error=ErrorInfo(message=message, cure=cure)), status)


async def _body(request: web.Request, kind: type[T]) -> T:
    """The request's body; nothing at all means all defaults."""
    content = await request.read()
    try:
        found: T = adapter(kind).validate_json(content or b"{}", strict=True)
        return found
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise RequestError(
            f"the body is not as it should be: {where + ': ' if where else ''}{fault['msg']}",
            "GET /v1/openapi.json has the schema",
        ) from None


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    response.headers[API_HEADER] = API_VERSION
    response.headers[PROGRAM_HEADER] = __version__
    response.headers["Server"] = "xfrmctl"


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Whatever goes wrong becomes an error body; a programming error is logged with its traceback."""
    try:
        return await handler(request)
    except RequestError as error:
        return _error(error.message, error.cure, error.status)
    except XfrmctlError as error:
        return _error(str(error), "", 500)
    except web.HTTPNotFound:
        return _error(f"nothing at {request.path}", "GET /v1/openapi.json lists what there is", 404)
    except web.HTTPMethodNotAllowed as error:
        return _error(
            f"{request.method} is not for {request.path}", f"use {', '.join(sorted(error.allowed_methods))}", 405
        )
    except web.HTTPException as error:
        return _error(error.reason, "", error.status)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        log.exception(
            "a request of the control API has failed; please report it with this traceback", path=request.path
        )
        return _error(f"internal error: {type(error).__name__}", "the daemon's log has the details", 500)
