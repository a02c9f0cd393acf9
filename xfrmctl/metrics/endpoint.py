"""The HTTP server for Prometheus: ``/metrics`` and ``/healthz``."""

from aiohttp import web

from xfrmctl.metrics.scrape import Metrics
from xfrmctl.model.errors import XfrmctlError

INDEX = "xfrmctl metrics\n\n/metrics  for Prometheus\n/healthz  200 while the daemon runs\n"


class EndpointError(XfrmctlError):
    """The metrics address cannot be listened on; the message says why and what to do."""


class MetricsEndpoint:
    """The server: ``await start()``, ``await stop()``; ``port`` is the real one when 0 was asked for."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        self._metrics = metrics
        self.host = host
        self.port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises EndpointError."""
        app = web.Application()
        app.add_routes(
            [web.get("/", self._index), web.get("/metrics", self._scrape), web.get("/healthz", self._health)]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            await runner.cleanup()
            raise EndpointError(
                f"gateway.metrics: cannot listen on {self.host}:{self.port}: {error.strerror}; choose a free "
                "address, or off"
            ) from None
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close; a scrape under way gets two seconds."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(text=INDEX)

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _scrape(self, request: web.Request) -> web.StreamResponse:
        text, content_type = await self._metrics.render(request.headers.get("Accept", ""))
        response = web.StreamResponse(headers={"Content-Type": content_type})
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        for piece in text:
            await response.write(piece)
        await response.write_eof()
        return response
