"""The daemon as the metrics see it: what a scrape wants to know, in pieces; and the books of what SAs have carried."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from xfrmctl.daemon import clock, status
from xfrmctl.daemon.snapshot import ObservedGateway
from xfrmctl.metrics.ledger import Ledger
from xfrmctl.metrics.pacer import Pacer
from xfrmctl.metrics.scrape import Metrics
from xfrmctl.model.sa import SaCounters, SaId, SaMove
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot

if TYPE_CHECKING:
    from xfrmctl.daemon.main import Daemon

FAREWELL = 64
"""SAs that are looked at one by one before they are deleted; more at once are a stop, and nobody's rekey."""


class GatewaySource:
    """Implements ``metrics.scrape.Source`` on a running daemon. One scrape at a time."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._seen: ObservedGateway | None = None

    async def gateway(self, pacer: Pacer, ledger: Ledger) -> Snapshot:
        """All but the connections; the SAD is read as the kernel gives it out."""
        daemon = self._daemon
        await daemon.reconciler.changed()
        began = daemon.now()
        sad: dict[SaId, SaCounters] = {}
        for found in daemon.kernel.walk():
            ledger.look(found.values())
            sad |= found
            await pacer.rest()
        self._seen = await daemon.look(began, sad)
        return daemon.builder.around(daemon.state(), self._seen)

    async def connections(self, pacer: Pacer) -> AsyncIterator[ConnectionInfo]:
        """One after the other, as they are just now: a scrape is no single moment."""
        engine, seen = self._daemon.engine, self._seen
        assert seen is not None
        async for found in status.connections(engine, self._daemon.builder, seen, pacer):
            yield found
        await pacer.forget(seen.sad)


def metrics_of(daemon: "Daemon") -> Metrics:
    """What the daemon exports, as its configuration wants it."""
    found = daemon.configuration.gateway
    compatible = found.metrics_compat == "ipsec_exporter"
    return Metrics(GatewaySource(daemon), clock.wall, compatible=compatible, exemplars=found.metrics_exemplars)


class Counted(Protocol):
    """The part of the kernel that is asked for single SAs."""

    def counted(self, ids: Sequence[SaId]) -> list[SaCounters]:
        """What the kernel has counted on these SAs by now; those that are gone are left out."""


class SaAccounts:
    """Implements ``runtime.Accounts``: nothing that an SA has carried is lost when it is deleted."""

    def __init__(self, kernel: Counted, ledger: Ledger, stepped: Callable[[float], None]) -> None:
        self._kernel = kernel
        self._ledger = ledger
        self.stepped = stepped

    def moved(self, moves: Sequence[SaMove]) -> None:
        """SAs have other names."""
        self._ledger.moved(moves)

    def ending(self, ids: Sequence[SaId]) -> None:
        """SAs are about to be deleted."""
        self._ledger.ended(ids, self._kernel.counted(ids) if len(ids) <= FAREWELL else ())
