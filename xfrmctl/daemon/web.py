"""What a daemon serves over TCP: metrics for Prometheus, the status page for a browser, where they are wanted.

Both look at everything, and give the loop its turn between small pieces of it.
"""

import platform
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from xfrmctl.config.build import GatewaySettings
from xfrmctl.control.schema import DEFAULT_WATCH_S
from xfrmctl.metrics.endpoint import MetricsEndpoint
from xfrmctl.metrics.pacer import Pacer
from xfrmctl.metrics.scrape import Metrics, Source
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.snapshot import Snapshot
from xfrmctl.page.server import StatusPage, Watch


class WebServers:
    """Both, or one, or none. ``source`` is the page's; ``diagnose`` looks for faults of all for some seconds."""

    def __init__(
        self,
        metrics: Metrics,
        source: Source,
        diagnose: Callable[[str | None, float], Awaitable[Diagnosis]],
    ) -> None:
        self._metrics, self._source, self._diagnose = metrics, source, diagnose
        self._running: list[MetricsEndpoint | StatusPage] = []

    async def start(self, gateway: GatewaySettings) -> None:
        """Listen where the configuration says so. Raises EndpointError or PageError."""
        if (listen := gateway.metrics) is not None:
            await self._start(MetricsEndpoint(self._metrics, listen.host, listen.port))
        if (listen := gateway.status_page) is not None:
            watch = Watch(self._snapshot, partial(self._diagnose, None, DEFAULT_WATCH_S))
            await self._start(StatusPage(watch, platform.node(), listen.host, listen.port))

    async def _snapshot(self) -> Snapshot:
        pacer = Pacer()
        around = await self._source.gateway(pacer, self._metrics.ledger)
        return replace(around, connections=[connection async for connection in self._source.connections(pacer)])

    async def _start(self, server: MetricsEndpoint | StatusPage) -> None:
        await server.start()
        self._running.append(server)

    async def stop(self) -> None:
        """Close them."""
        while self._running:
            await self._running.pop().stop()
