"""One look at the counters of all CHILD SAs, for ``top``: as little as it needs, so that it may look often."""

from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.daemon.select import Chooser
from xfrmctl.daemon.snapshot import MAX_PEER, Observed
from xfrmctl.daemon.state import child_states, connection_state, find_standing
from xfrmctl.daemon.tally import Tally
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.peers import is_one_of_many
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import ChildState
from xfrmctl.metrics.pacer import Pacer
from xfrmctl.model.selection import Selection
from xfrmctl.model.traffic import Traffic, TrafficRow


class TrafficTable:
    """Reads engine, reconciler and tally; must run in the event loop's thread."""

    def __init__(self, engine: IkeEngine, reconciler: Reconciler, tally: Tally) -> None:
        self._engine = engine
        self._reconciler = reconciler
        self._tally = tally

    async def look(
        self, wanted: Selection, seen: Observed, statistics: dict[str, int], uptime_s: float, pacer: Pacer
    ) -> Traffic:
        """What is wanted. ``statistics`` is xfrm_stat. Raises RequestError for a name that is not configured."""
        chooser = Chooser(wanted)
        chosen = {c.name: c for c in chooser.connections(self._engine.config.connections)}
        rows: list[TrafficRow] = []
        up = ike_sas = failures = ike_rekeys = 0
        for config in list(self._engine.config.connections.values()):
            await pacer.step()
            if config.name not in self._engine.connections:
                continue  # a reload has taken it out meanwhile
            sas = self._engine.ike_sas(config.name)
            run_time = self._engine.connections[config.name]
            standing: set[str] = set()
            await pacer.walk(find_standing(sas, standing))
            states = child_states(config, run_time, standing)
            state, _ = connection_state(states, run_time, sas, seen.now)
            up += state == "up"
            ike_sas += len(sas)
            shown = chooser.sas(config, sas) if config.name in chosen else None
            if shown is None or not chooser.has_state(state, shown):
                continue
            history = self._tally.history(config.name)
            failures += history.failures
            ike_rekeys += history.ike_rekeys
            for sa in chooser.in_state(state, shown):
                for child in chooser.children(sa):
                    rows.append(self._row(config, sa, child, seen))
                    await pacer.step()
            for configured, stands in zip(config.children, states, strict=True):
                if stands != "up" and chooser.configured(configured):
                    rows.append(self._empty(config, configured, state if stands == "connecting" else stands))
                    await pacer.step()
        return Traffic(
            at=seen.wall,
            clock_s=seen.now,
            uptime_s=uptime_s,
            configured=len(self._engine.config.connections),
            up=up,
            half_open=self._engine.half_open,
            ike_sas=ike_sas,
            failures=failures,
            ike_rekeys=ike_rekeys,
            kernel_errors=sum(statistics.values()),
            rows=rows,
        )

    def _row(self, config: ConnectionConfig, sa: IkeSa, child: ChildSa, seen: Observed) -> TrafficRow:
        sizes = self._reconciler.sizes(child.reqid)
        inbound, outbound = seen.sad.get(child.inbound), seen.sad.get(child.outbound)
        name = child.config.name
        return TrafficRow(
            connection=config.name,
            child=name,
            peer=str(sa.remote_id)[:MAX_PEER] if is_one_of_many(config) else str(sa.remote.address),
            state="up" if child.state is not ChildState.REPLACED else ChildState.REPLACED.value,
            spi_in=f"{child.inbound.spi:#010x}",
            spi_out=f"{child.outbound.spi:#010x}",
            bytes_in=inbound.bytes if inbound else 0,
            packets_in=inbound.packets if inbound else 0,
            bytes_out=outbound.bytes if outbound else 0,
            packets_out=outbound.packets if outbound else 0,
            integrity=inbound.integrity_failures if inbound else 0,
            replay=inbound.replay_drops + inbound.late_drops if inbound else 0,
            inner_mtu=sizes.inner_mtu if sizes is not None else None,
            source=sizes.source if sizes is not None else "",
            mss=(sizes.mss.get(4) or sizes.mss.get(6)) if sizes is not None else None,
            rekeys=self._tally.rekeys(config.name, name),
            age_s=seen.now - child.created_at,
        )

    def _empty(self, config: ConnectionConfig, child: ChildConfig, state: str) -> TrafficRow:
        return TrafficRow(
            connection=config.name,
            child=child.name,
            peer=str(config.remote or ""),
            state=state,
            spi_in="",
            spi_out="",
            bytes_in=0,
            packets_in=0,
            bytes_out=0,
            packets_out=0,
            integrity=0,
            replay=0,
            inner_mtu=None,
            source="",
            mss=None,
            rekeys=self._tally.rekeys(config.name, child.name),
            age_s=None,
        )
