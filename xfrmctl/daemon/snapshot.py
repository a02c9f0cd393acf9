"""The state of the gateway as one value, from the engine, the reconciler and what the kernel has counted."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from xfrmctl import __version__
from xfrmctl.config.load import Configuration
from xfrmctl.daemon.fragmentation import fragments
from xfrmctl.daemon.intent import Sizes
from xfrmctl.daemon.paths import PathKeeper, path_of
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.daemon.tunnelwatch import TunnelWatch
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, Start
from xfrmctl.ike.connection import Connection
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.peers import is_one_of_many
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.states import MEANING, IkeState
from xfrmctl.model.failure import Failure
from xfrmctl.model.sa import DataPlane, Lifetime, SaCounters, SaId
from xfrmctl.model.snapshot import (
    ChildInfo,
    ClampInfo,
    ConfiguredChild,
    ConnectionInfo,
    FailureInfo,
    IkeInfo,
    KernelInfo,
    MtuInfo,
    PathInfo,
    PlaneInfo,
    PolicyInfo,
    QueueInfo,
    ReassemblyInfo,
    SaInfo,
    Snapshot,
)

MAX_PEER = 128
"""Characters of an identity that become a name: a peer may call itself what it likes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was read for this answer. ``now`` is monotonic, ``wall`` since the epoch."""

    now: float
    wall: float
    sad: Mapping[SaId, SaCounters]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedGateway(Observed):
    """What only the whole gateway's state needs; the clamps take two programs to read."""

    clamps: list[ClampInfo]
    xfrm_stat: dict[str, int]
    reassembly: list[ReassemblyInfo]
    df: dict[str, int]
    icmp_queue: QueueInfo | None


@dataclass(frozen=True, slots=True)
class DaemonState:
    """What the daemon knows of itself."""

    configuration: Configuration
    started_wall: float
    started: float
    reload_error: str


class SnapshotBuilder:
    """Reads engine and reconciler; must run in the event loop's thread."""

    def __init__(self, engine: IkeEngine, reconciler: Reconciler, paths: PathKeeper, tunnels: TunnelWatch) -> None:
        self._engine = engine
        self._tunnels = tunnels
        self._paths = paths
        self._reconciler = reconciler

    def build(self, state: DaemonState, seen: ObservedGateway) -> Snapshot:
        """The whole gateway."""
        connections = [self.connection(c, seen) for c in self._engine.config.connections.values()]
        return self.around(state, seen, connections)

    def around(self, state: DaemonState, seen: ObservedGateway, connections: Sequence[ConnectionInfo] = ()) -> Snapshot:
        """The gateway around these connections."""
        return Snapshot(
            version=__version__,
            started_at=state.started_wall,
            uptime_s=seen.now - state.started,
            config_file=str(state.configuration.file),
            config_hash=state.configuration.hash,
            reload_ok=not state.reload_error,
            reload_error=state.reload_error,
            half_open=self._engine.half_open,
            connections=list(connections),
            policies=[
                PolicyInfo(
                    name=entry.name,
                    action=entry.action.value,
                    local_ts=[str(t) for t in entry.local_ts],
                    remote_ts=[str(t) for t in entry.remote_ts],
                    precedence=entry.precedence.value,
                )
                for entry in self._reconciler.entries
            ],
            clamps=seen.clamps,
            kernel=KernelInfo(
                xfrm_stat=seen.xfrm_stat,
                policies=self._reconciler.policies,
                states=len(seen.sad),
                problems=[*self._reconciler.problems, *self._tunnels.problems(), *self._reconciler.faults],
                disturbances=list(self._reconciler.disturbances),
                reassembly=seen.reassembly,
                df=seen.df,
                icmp_queue=seen.icmp_queue,
            ),
            counters={},
        )

    def connection(self, config: ConnectionConfig, seen: Observed) -> ConnectionInfo:
        """One connection."""
        steps = self.in_steps(config, seen)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                found: ConnectionInfo = done.value
                return found

    def in_steps(self, config: ConnectionConfig, seen: Observed) -> Generator[None, None, ConnectionInfo]:
        """The same, made piece by piece: a step is one child or one SA, and the engine may go on in between."""
        run_time = self._engine.connections[config.name]
        sas = self._engine.ike_sas(config.name)
        installed = {c.config.name for sa in sas for c in sa.children if c.installed}
        children: list[ConfiguredChild] = []
        for child in config.children:
            children.append(self._configured(config, child, run_time, up=child.name in installed))
            yield
        ike_sas: list[IkeInfo] = []
        for sa in sas:
            ike_sas.append(self._ike(sa, seen))
            yield
            for found in tuple(sa.children):
                if found.installed:
                    ike_sas[-1].children.append(self._child(sa, found, seen))
                    yield
        state, meaning = _state(children, run_time, sas, seen.now)
        peers = self._engine.peers.count(config.name) if is_one_of_many(config) else None
        if peers is not None and state in ("up", "partial"):
            meaning = f"serves {peers} {'peer' if peers == 1 else 'peers'}"
        elif peers is not None and state == "down" and not run_time.held:
            meaning = "no peer has come"
        return ConnectionInfo(
            name=config.name,
            state=state,
            meaning=meaning,
            local=str(config.local or "any"),
            remote=str(config.remote or "any"),
            peers=peers,
            attempts=run_time.attempts,
            retry_in_s=max(0.0, run_time.retry_at - seen.now) if run_time.retry_at is not None else None,
            last_failure=failure_info(run_time.last_failure, seen.wall - (seen.now - run_time.failed_at)),
            children=children,
            ike_sas=ike_sas,
            certificate_expires_at=_expiry(config),
        )

    def _configured(
        self, config: ConnectionConfig, child: ChildConfig, run_time: Connection, *, up: bool
    ) -> ConfiguredChild:
        if up:
            state = "up"
        elif child.name in run_time.demanded:
            state = "connecting"
        elif child.start == Start.TRAP and config.remote is not None and child.name not in run_time.held:
            state = "trap"
        else:
            state = "down"
        return ConfiguredChild(
            name=child.name,
            state=state,
            protection=_protection(config, child, up=up),
            mode=child.mode.value,
            local_ts=[str(t) for t in child.local_ts],
            remote_ts=[str(t) for t in child.remote_ts],
            dataplane=child.dataplane.value,
            start=child.start.value,
            tunnel=self._tunnels.info(child),
        )

    def _ike(self, sa: IkeSa, seen: Observed) -> IkeInfo:
        return IkeInfo(
            name=sa.name,
            state=sa.state.value,
            meaning=MEANING[sa.state],
            initiator=sa.initiator,
            spi_initiator=sa.spi_i.hex(),
            spi_responder=sa.spi_r.hex(),
            local=str(sa.local),
            remote=str(sa.remote),
            local_id=str(sa.local_id or ""),
            remote_id=str(sa.remote_id or ""),
            suite=str(sa.suite) if sa.suite else None,
            nat_local=sa.nat_local,
            nat_remote=sa.nat_remote,
            age_s=seen.now - sa.created_at,
            last_seen_s=seen.now - sa.last_seen if sa.last_seen else seen.now - sa.created_at,
            children=[],
        )

    def _child(self, sa: IkeSa, child: ChildSa, seen: Observed) -> ChildInfo:
        config = child.config
        sizes, squeeze = self._reconciler.sizes(child.reqid), self._reconciler.squeeze(child.reqid)
        encap = child.encap
        return ChildInfo(
            name=config.name,
            peer=str(sa.remote_id)[:MAX_PEER] if sa.config is not None and is_one_of_many(sa.config) else "",
            suite=str(child.suite),
            mode=child.mode.value,
            dataplane=config.dataplane.value,
            reqid=child.reqid,
            if_id=config.if_id,
            interface=config.interface,
            encap=f"udp {encap.source_port} -> {encap.destination_port}" if encap else None,
            local_ts=[str(t) for t in child.local_ts],
            remote_ts=[str(t) for t in child.remote_ts],
            established_s=seen.now - child.created_at,
            inbound=_sa(child.inbound, config.lifetime, seen),
            outbound=_sa(child.outbound, config.lifetime, seen),
            mtu=_mtu(sizes, self._paths.info(path_of(child), seen.now)) if sizes is not None else None,
            plane=_plane(config),
            fragments=fragments(child, sizes.inner_mtu, squeeze) if sizes is not None else None,
        )


def _expiry(config: ConnectionConfig) -> float | None:
    certificate = config.credential.certificate if config.credential is not None else None
    return certificate.valid_to if certificate is not None else None


def failure_info(failure: Failure | None, at: float) -> FailureInfo | None:
    """A failure as the API shows it; ``at`` is seconds since the epoch."""
    if failure is None:
        return None
    return FailureInfo(
        code=failure.code.value,
        text=failure.text,
        cause=failure.cause,
        cure=failure.cure,
        notify=failure.notify,
        ours=list(failure.ours),
        theirs=list(failure.theirs),
        at=at,
    )


def _state(children: list[ConfiguredChild], run_time: Connection, sas: list[IkeSa], now: float) -> tuple[str, str]:
    up = sum(c.state == "up" for c in children)
    if up == len(children):
        return "up", "every child has its SAs"
    if run_time.retry_at is not None:
        left = max(0.0, run_time.retry_at - now)
        return "waiting", f"attempt {run_time.attempts} failed; the next one starts in {left:.0f} s"
    negotiating = [sa for sa in sas if sa.state != IkeState.ESTABLISHED]
    if negotiating and run_time.demanded:
        return "connecting", MEANING[negotiating[-1].state]
    if up:
        return "partial", f"{up} of {len(children)} children have their SAs"
    if run_time.demanded:
        return "connecting", "a CHILD SA is being negotiated"
    if any(c.state == "trap" for c in children):
        return "trap", "waits for the first packet of its selectors"
    return "down", "nobody asks for it" if not run_time.held else "taken down by the operator"


def _protection(config: ConnectionConfig, child: ChildConfig, *, up: bool) -> str:
    if up:
        return child.protocol.name.lower()
    if child.dataplane == DataPlane.INTERFACE:
        return "blackhole" if child.fail_closed else "none"
    if config.remote is not None and child.start != Start.NONE:
        return "trap"
    return "block" if child.fail_closed else "none"


def _sa(sa_id: SaId, lifetime: Lifetime, seen: Observed) -> SaInfo:
    counted = seen.sad.get(sa_id)

    def left(limit: int) -> float | None:
        return max(0.0, limit - (seen.wall - counted.added_at)) if limit and counted is not None else None

    return SaInfo(
        spi=f"{sa_id.spi:#010x}",
        bytes=counted.bytes if counted else 0,
        packets=counted.packets if counted else 0,
        replay_drops=counted.replay_drops if counted else 0,
        late_drops=counted.late_drops if counted else 0,
        integrity_failures=counted.integrity_failures if counted else 0,
        missing=counted is None,
        soft_expires_in_s=left(lifetime.soft_seconds),
        hard_expires_in_s=left(lifetime.hard_seconds),
        offload=counted.offload if counted else "",
    )


def _plane(child: ChildConfig) -> PlaneInfo:
    options = child.options
    return PlaneInfo(
        replay_window=child.replay_window,
        dscp_outbound="copy" if options.dscp_out else "none",
        dscp_inbound="copy" if options.dscp_in else "keep",
        ecn="on" if options.ecn else "off",
        mark_inbound=str(options.mark_in or ""),
        mark_outbound=str(options.mark_out or ""),
        set_mark_inbound=str(options.set_mark_in or ""),
        set_mark_outbound=str(options.set_mark_out or ""),
    )


def _mtu(sizes: Sizes, path: PathInfo | None) -> MtuInfo:
    return MtuInfo(
        outer_mtu=sizes.outer_mtu,
        source=sizes.source,
        inner_mtu=sizes.inner_mtu,
        overhead=sizes.outer_mtu - sizes.inner_mtu,
        mss_ipv4=sizes.mss.get(4),
        mss_ipv6=sizes.mss.get(6),
        path=path,
    )
