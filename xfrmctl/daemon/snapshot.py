"""The state of the gateway as one value, from the engine, the reconciler and what the kernel has counted."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from xfrmctl import __version__
from xfrmctl.config.load import Configuration
from xfrmctl.daemon.fragmentation import fragments
from xfrmctl.daemon.intent import Sizes
from xfrmctl.daemon.paths import PathKeeper, path_of
from xfrmctl.daemon.reconcile import Reconciler
from xfrmctl.daemon.select import Chooser
from xfrmctl.daemon.state import child_states, connection_state, find_standing, protection
from xfrmctl.daemon.tally import Tally
from xfrmctl.daemon.tunnelwatch import TunnelWatch
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.peers import is_one_of_many
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.ike.standing import UnderWay, child_meaning
from xfrmctl.model.failure import Failure
from xfrmctl.model.sa import Lifetime, SaCounters, SaId
from xfrmctl.model.selection import EVERYTHING
from xfrmctl.model.snapshot import (
    ChildInfo,
    ClampInfo,
    ConfiguredChild,
    ConnectionInfo,
    ExchangeInfo,
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


ALL = Chooser(EVERYTHING)
"""No filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was read for this answer. ``now`` is monotonic, ``wall`` since the epoch.

    ``began`` is when the reading of ``sad`` did, monotonic: an SA that is younger need not be in it.
    """

    now: float
    wall: float
    began: float
    sad: dict[SaId, SaCounters]


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

    def __init__(
        self,
        engine: IkeEngine,
        reconciler: Reconciler,
        paths: PathKeeper,
        tunnels: TunnelWatch,
        tally: Tally,
    ) -> None:
        self._engine = engine
        self._tally = tally
        self._tunnels = tunnels
        self._paths = paths
        self._reconciler = reconciler

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
            configured=len(self._engine.config.connections),
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
        )

    def in_steps(
        self, config: ConnectionConfig, seen: Observed, chooser: Chooser = ALL
    ) -> Generator[None, None, ConnectionInfo | None]:
        """One connection, made piece by piece: a step is one child or one SA, and the engine may go on in between.

        None for a connection that nobody wants to see.
        """
        run_time = self._engine.connections[config.name]
        sas = self._engine.ike_sas(config.name)
        shown = chooser.sas(config, sas)
        standing: set[str] = set()
        yield from find_standing(sas, standing)
        states = child_states(config, run_time, standing)
        state, meaning = connection_state(states, run_time, sas, seen.now)
        if shown is None or not chooser.has_state(state, shown):
            return None
        children: list[ConfiguredChild] = []
        for child, stands in zip(config.children, states, strict=True):
            if chooser.configured(child):
                children.append(self._configured(config, child, stands))
                yield
        ike_sas: list[IkeInfo] = []
        for sa in chooser.in_state(state, shown):
            ike_sas.append(self._ike(sa, seen))
            yield
            for found in chooser.children(sa):
                ike_sas[-1].children.append(self._child(sa, found, seen))
                yield
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
            history=self._tally.history(config.name),
            debug_s=self._engine.explained(config.name, seen.now),
            children=children,
            ike_sas=ike_sas,
            certificate_expires_at=_expiry(config),
        )

    def _configured(self, config: ConnectionConfig, child: ChildConfig, state: str) -> ConfiguredChild:
        return ConfiguredChild(
            name=child.name,
            state=state,
            protection=protection(config, child, up=state == "up"),
            mode=child.mode.value,
            local_ts=[str(t) for t in child.local_ts],
            remote_ts=[str(t) for t in child.remote_ts],
            dataplane=child.dataplane.value,
            start=child.start.value,
            rekeys=self._tally.rekeys(config.name, child.name),
            tunnel=self._tunnels.info(child),
        )

    def _ike(self, sa: IkeSa, seen: Observed) -> IkeInfo:
        stands, now = self._engine.standing(sa), seen.now
        return IkeInfo(
            name=sa.name,
            state=sa.state.value,
            meaning=stands.meaning,
            initiator=sa.initiator,
            spi_initiator=sa.spi_i.hex(),
            spi_responder=sa.spi_r.hex(),
            local=str(sa.local),
            remote=str(sa.remote),
            local_id=str(sa.local_id or ""),
            remote_id=str(sa.remote_id or ""),
            local_proof=sa.local_proof if sa.established_at is not None else "",
            remote_proof=sa.remote_proof,
            suite=str(sa.suite) if sa.suite else None,
            nat_local=sa.nat_local,
            nat_remote=sa.nat_remote,
            mobike=sa.mobility is not None,
            fragment_size=sa.fragment_size,
            age_s=now - sa.created_at,
            last_seen_s=now - (sa.last_seen or sa.created_at),
            rtt_s=sa.rtt.smooth_s,
            rekey_in_s=_until(stands.rekey_at, now),
            reauth_in_s=_until(stands.reauth_at, now),
            dpd_in_s=_until(stands.dpd_at, now),
            next_request=sa.next_id,
            next_expected=sa.expected_id,
            queued=stands.queued,
            under_way=_exchange(stands.under_way, now),
            children=[],
        )

    def _child(self, sa: IkeSa, child: ChildSa, seen: Observed) -> ChildInfo:
        config = child.config
        sizes, squeeze = self._reconciler.sizes(child.reqid), self._reconciler.squeeze(child.reqid)
        encap, young = child.encap, child.created_at >= seen.began
        return ChildInfo(
            name=config.name,
            peer=str(sa.remote_id)[:MAX_PEER] if sa.config is not None and is_one_of_many(sa.config) else "",
            state=child.state.value,
            meaning=child_meaning(child),
            initiator=child.initiator,
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
            inbound=_sa(child.inbound, child.lifetime, seen, awaited=young),
            outbound=_sa(child.outbound, child.lifetime, seen, awaited=young or child.pending_outbound is not None),
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


def _sa(sa_id: SaId, lifetime: Lifetime, seen: Observed, *, awaited: bool) -> SaInfo:
    """With ``awaited`` the kernel need not hold the SA yet."""
    counted = seen.sad.get(sa_id)

    def left(limit: int) -> float | None:
        return max(0.0, limit - (seen.wall - counted.added_at)) if limit and counted is not None else None

    def rest(limit: int, used: int) -> int | None:
        return max(0, limit - used) if limit and counted is not None else None

    octets, packets = (counted.bytes, counted.packets) if counted is not None else (0, 0)
    return SaInfo(
        spi=f"{sa_id.spi:#010x}",
        bytes=octets,
        packets=packets,
        replay_drops=counted.replay_drops if counted else 0,
        late_drops=counted.late_drops if counted else 0,
        integrity_failures=counted.integrity_failures if counted else 0,
        missing=counted is None and not awaited,
        soft_expires_in_s=left(lifetime.soft_seconds),
        hard_expires_in_s=left(lifetime.hard_seconds),
        soft_left_bytes=rest(lifetime.soft_bytes, octets),
        hard_left_bytes=rest(lifetime.hard_bytes, octets),
        soft_left_packets=rest(lifetime.soft_packets, packets),
        hard_left_packets=rest(lifetime.hard_packets, packets),
        idle_s=max(0.0, seen.wall - counted.used_at) if counted is not None and counted.used_at else None,
        offload=counted.offload if counted else "",
    )


def _until(at: float | None, now: float) -> float | None:
    return max(0.0, at - now) if at is not None else None


def _exchange(found: UnderWay | None, now: float) -> ExchangeInfo | None:
    if found is None:
        return None
    return ExchangeInfo(
        exchange=found.exchange.name,
        message_id=found.message_id,
        payloads=list(found.payloads),
        attempt=found.attempt,
        attempts=found.attempts,
        sent_s=now - found.sent_at,
        next_in_s=_until(found.next_at, now),
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
