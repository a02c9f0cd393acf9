"""The HTTP side of the status page: who may ask for what, and when is looked for faults.

It answers GET and HEAD. A name in Host that is not this machine's own is refused: a page of a stranger whose name was
pointed here (DNS rebinding) would otherwise read along. Looking for faults costs some seconds and sends a few pings, so
it happens only while somebody reads, at most once a minute, and the page does not wait for it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import unquote

import structlog
from aiohttp import web

from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.nearest import advice
from xfrmctl.model.snapshot import Snapshot
from xfrmctl.page import connection as connection_page
from xfrmctl.page import overview
from xfrmctl.page.frame import document
from xfrmctl.page.history import STEP_S, History
from xfrmctl.page.markup import Html, tag
from xfrmctl.page.style import DIGEST
from xfrmctl.page.view import REFRESH, Look, View

log = structlog.get_logger("page")

FRESH_S = 1.0
"""Readers within this time see the same snapshot."""

LOOK_S = 60.0
"""How old a look for faults may be before a reader has another one begun."""

SHARE = 0.02
"""Looking for the history takes no more than this share of the time."""

SOON_S = 5
"""When a page that shows no findings yet comes anew by itself."""

HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{DIGEST}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "xfrmctl",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class PageError(XfrmctlError):
    """The page's address cannot be listened on; the message says why and what to do."""


class Watch:
    """What the page is made of: the newest snapshot, the history, the last look for faults."""

    def __init__(self, source: Callable[[], Awaitable[Snapshot]], diagnose: Callable[[], Awaitable[Diagnosis]]) -> None:
        self.history = History()
        self._source, self._diagnose = source, diagnose
        self._lock = asyncio.Lock()
        self._snapshot: Snapshot | None = None
        self._taken = self._looked = 0.0
        self._found: Diagnosis | None = None
        self._fault = ""
        self._looking: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._running = _watched(self._run())

    async def stop(self) -> None:
        """End what is under way."""
        for task in (self._running, self._looking):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._running = self._looking = None

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            with suppress(XfrmctlError):  # the kernel would not say: the next time it may
                await asyncio.to_thread(self.history.observe, await self.snapshot(), began)
            await asyncio.sleep(max(STEP_S, (now() - began) / SHARE))

    async def snapshot(self) -> Snapshot:
        """The gateway now, or a second ago. Raises XfrmctlError."""
        now = asyncio.get_running_loop().time
        async with self._lock:
            if self._snapshot is None or now() - self._taken > FRESH_S:
                self._snapshot = await self._source()
                self._taken = now()
            return self._snapshot

    def look(self) -> Look:
        """The last look for faults; begins another one where it is old."""
        now = asyncio.get_running_loop().time()
        busy = self._looking is not None and not self._looking.done()
        known = self._found is not None or self._fault != ""
        if not busy and (not known or now - self._looked > LOOK_S):
            self._looking = _watched(self._look())
            busy = True
        return Look(self._found, now - self._looked if known else 0.0, busy, self._fault)

    async def _look(self) -> None:
        try:
            self._found, self._fault = await self._diagnose(), ""
        except XfrmctlError as error:
            self._fault = str(error)
        self._looked = asyncio.get_running_loop().time()


def _watched(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    """A task whose programming errors do not end in silence."""
    loop = asyncio.get_running_loop()

    def over(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler({"message": "the status page has failed", "exception": error, "task": task})

    task = loop.create_task(work)
    task.add_done_callback(over)
    return task


class StatusPage:
    """The server: ``await start()``, ``await stop()``; ``port`` is the real one when 0 was asked for.

    ``name`` is this machine's, for the title.
    """

    def __init__(self, watch: Watch, name: str, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._watch, self._name = watch, name
        self._one_at_a_time = asyncio.Lock()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises PageError."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._overview)
        app.router.add_get("/connection/{name}", self._connection)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, keepalive_timeout=15.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            await runner.cleanup()
            raise PageError(
                f"gateway.status_page: cannot listen on {self.host}:{self.port}: {error.strerror}; choose a free "
                "address, or off"
            ) from None
        self._runner = runner
        self.port = runner.addresses[0][1]
        self._watch.start()

    async def stop(self) -> None:
        """Close; a page under way gets two seconds."""
        await self._watch.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse what this is not for, and put the same headers on everything."""
        if not own_host(request.headers.get("Host", "")):
            text = "Ask by address or as localhost; a proxy has to send such a Host."
            response: web.StreamResponse = _refusal(421, "Not under this name", text)
        elif request.method not in ("GET", "HEAD"):
            response = _refusal(405, "Read only", "This page changes nothing: GET and HEAD are all it answers.")
            response.headers["Allow"] = "GET, HEAD"
        else:
            try:
                response = await handler(request)
            except web.HTTPNotFound:
                response = _refusal(404, "Nothing here", "The first page is at /.")
            except XfrmctlError as error:
                response = _refusal(503, "The state cannot be read", str(error))
            except (asyncio.CancelledError, ConnectionError):
                raise
            except Exception:
                log.exception("the status page has failed; please report it with this traceback", path=request.path)
                response = _refusal(500, "Internal error", "The daemon's log has the details.")
        response.headers.update(HEADERS)
        return response

    async def _overview(self, request: web.Request) -> web.Response:
        return await self._answer(request, overview.page)

    async def _connection(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        snapshot = await self._watch.snapshot()
        found = next((c for c in snapshot.connections if c.name == name), None)
        if found is None:
            words = advice(unquote(name), [c.name for c in snapshot.connections]) or "None is configured."
            return _refusal(404, f"No connection {name!r}", words.capitalize())
        return await self._answer(request, lambda view: connection_page.page(view, found, request.path))

    async def _answer(self, request: web.Request, make: Callable[[View], Html]) -> web.Response:
        async with self._one_at_a_time:
            look = self._watch.look()
            chosen = _number(request, "refresh", 0)
            refresh = chosen if chosen in REFRESH else 0
            taken = time.strftime("%Y-%m-%d %H:%M:%S %Z")
            view = View(
                host=self._name,
                taken=taken,
                snapshot=await self._watch.snapshot(),
                history=self._watch.history,
                look=look,
                refresh=refresh,
                number=max(1, _number(request, "page", 1)),
            )
            page = await asyncio.to_thread(make, view)
        response = web.Response(text=page, content_type="text/html")
        if look.busy and look.found is None and not refresh:
            response.headers["Refresh"] = str(SOON_S)
        return response


def own_host(host: str) -> bool:
    """Whether ``Host`` is an address or localhost: those cannot be made to point somewhere else."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else default


def _refusal(status: int, title: str, words: str) -> web.Response:
    page = document(title, tag("h1", title), tag("p", words))
    return web.Response(text=page, status=status, content_type="text/html")
