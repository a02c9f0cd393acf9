"""The HTTP server for Prometheus: ``/metrics`` and ``/healthz``.

The snapshot is taken in the event loop; turning it into text, which takes long with many tunnels, happens in
a thread, so that a scrape does not hold up a handshake. One scrape at a time.
"""

import asyncio

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from xfrmctl.metrics.collector import GatewayCollector, Source
from xfrmctl.metrics.counters import EventCounters
from xfrmctl.model.errors import XfrmctlError

INDEX = "xfrmctl metrics\n\n/metrics  for Prometheus\n/healthz  200 while the daemon runs\n"


class EndpointError(XfrmctlError):
    """The metrics address cannot be listened on; the message says why and what to do."""


class Metrics:
    """Everything one daemon exports: ``counters.observe`` takes events, ``render`` gives the text."""

    def __init__(self, source: Source) -> None:
        self.registry = CollectorRegistry()
        self._source = source
        self.collector = GatewayCollector()
        self.registry.register(self.collector)
        self.counters = EventCounters(self.registry)
        self._one_at_a_time = asyncio.Lock()

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition in the format that ``accept`` asks for, and its content type."""
        encoder, content_type = choose_encoder(accept)
        async with self._one_at_a_time:
            self.collector.hold(await self._source())
            return await asyncio.to_thread(encoder, self.registry), content_type


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

    async def _scrape(self, request: web.Request) -> web.Response:
        body, content_type = await self._metrics.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
