"""The snapshot as metric families. Every *configured* connection and child has its series, up or down."""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from xfrmctl.metrics.accumulate import Accumulator, Reading
from xfrmctl.metrics.tunnels import tunnels
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, ReassemblyInfo, SaInfo, Snapshot

CHILD = ("connection", "child")
PEER = (*CHILD, "peer", "reqid")
Source = Callable[[], Awaitable[Snapshot]]


class GatewayCollector(Collector):
    """A prometheus_client collector over the snapshot it was handed last.

    ``hold`` hands it over, in the daemon's own thread; ``collect`` may run in any thread.
    """

    def __init__(self) -> None:
        self._held: Snapshot | None = None
        self._totals = Accumulator()

    def hold(self, snapshot: Snapshot) -> None:
        """Take the snapshot for the next ``collect``."""
        self._held = snapshot

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not need a running gateway."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families, in the order of this file."""
        snapshot, self._held = self._held, None
        if snapshot is None:
            return
        self.observe(snapshot)
        yield from _gateway(snapshot)
        yield from _connections(snapshot)
        yield from _children(snapshot)
        yield from _paths(snapshot)
        yield from self._traffic(snapshot)
        yield from self._peers(snapshot)
        yield from self._clamps(snapshot)
        yield from self._df(snapshot)
        yield from tunnels(snapshot)

    def observe(self, snapshot: Snapshot) -> None:
        """Add up kernel counters; call it as often as one likes, also between scrapes."""
        self._totals.update(_readings(snapshot))
        self._totals.keep_only(_series(snapshot))

    def _traffic(self, snapshot: Snapshot) -> Iterator[Metric]:
        labels = (*CHILD, "direction")
        octets = CounterMetricFamily(
            "xfrmctl_child_bytes", "Bytes of inner packets that the CHILD SAs of a child carried.", labels=labels
        )
        packets = CounterMetricFamily(
            "xfrmctl_child_packets", "Packets that the CHILD SAs of a child carried.", labels=labels
        )
        replays = CounterMetricFamily(
            "xfrmctl_child_replay_drops",
            "Inbound packets dropped because they had come before.",
            labels=CHILD,
        )
        late = CounterMetricFamily(
            "xfrmctl_child_late_drops",
            "Inbound packets dropped because they were older than the replay window reaches: the path reorders.",
            labels=CHILD,
        )
        failures = CounterMetricFamily(
            "xfrmctl_child_integrity_failures",
            "Inbound packets dropped because their ICV was wrong.",
            labels=CHILD,
        )
        for name, child in _configured(snapshot):
            for direction in ("in", "out"):
                labels_now = (name, child, direction)
                octets.add_metric(labels_now, self._totals.total(("bytes", *labels_now)))
                packets.add_metric(labels_now, self._totals.total(("packets", *labels_now)))
            replays.add_metric((name, child), self._totals.total(("replay", name, child, "in")))
            late.add_metric((name, child), self._totals.total(("late", name, child, "in")))
            failures.add_metric((name, child), self._totals.total(("integrity", name, child, "in")))
        yield from (octets, packets, replays, late, failures)

    def _df(self, snapshot: Snapshot) -> Iterator[Metric]:
        changed = CounterMetricFamily(
            "xfrmctl_df_changed",
            "Packets whose DF bit was cleared inside (oversize: fragment), or set outside (df: set).",
            labels=("what",),
        )
        for what in sorted(snapshot.kernel.df):
            changed.add_metric((what,), self._totals.total(("df", what)))
        yield changed

    def _peers(self, snapshot: Snapshot) -> Iterator[Metric]:
        """One series for each child of each peer of the connections that serve many, as long as the peer is there."""
        labels = (*PEER, "direction")
        octets = CounterMetricFamily(
            "xfrmctl_peer_bytes", "Bytes of inner packets that the CHILD SAs of a peer carried.", labels=labels
        )
        packets = CounterMetricFamily(
            "xfrmctl_peer_packets", "Packets that the CHILD SAs of a peer carried.", labels=labels
        )
        inner = GaugeMetricFamily(
            "xfrmctl_peer_inner_mtu_bytes", "Largest inner IP packet that fits the path to the peer.", labels=PEER
        )
        for name, child in _of_peers(snapshot):
            key = (name, child.name, child.peer, f"{child.reqid:#x}")
            for direction in ("in", "out"):
                where = (name, child.name, direction, child.reqid)
                octets.add_metric((*key, direction), self._totals.total(("bytes", *where)))
                packets.add_metric((*key, direction), self._totals.total(("packets", *where)))
            if child.mtu is not None:
                inner.add_metric(key, child.mtu.inner_mtu)
        yield from (octets, packets, inner)

    def _clamps(self, snapshot: Snapshot) -> Iterator[Metric]:
        labels = ("family", "mss")
        packets = CounterMetricFamily(
            "xfrmctl_clamp_packets", "SYN packets whose MSS the clamp rule has looked at.", labels=labels
        )
        pairs = GaugeMetricFamily("xfrmctl_clamp_pairs", "Selector pairs a clamp rule serves.", labels=labels)
        standing = GaugeMetricFamily(
            "xfrmctl_clamp_standing", "1 while the clamp rule stands in the kernel as it should.", labels=labels
        )
        for clamp in snapshot.clamps:
            key = (f"ipv{clamp.family}", str(clamp.mss))
            packets.add_metric(key, self._totals.total(("clamp", *key)))
            pairs.add_metric(key, clamp.pairs)
            standing.add_metric(key, int(clamp.standing))
        yield from (packets, pairs, standing)


def _gateway(snapshot: Snapshot) -> Iterator[Metric]:
    yield InfoMetricFamily("xfrmctl_build", "Version of the daemon.", value={"version": snapshot.version})
    yield InfoMetricFamily(
        "xfrmctl_config", "Hash of the configuration in force.", value={"hash": snapshot.config_hash}
    )
    yield GaugeMetricFamily(
        "xfrmctl_config_reload_ok", "1 if the last reload of the configuration worked.", snapshot.reload_ok
    )
    yield GaugeMetricFamily(
        "xfrmctl_start_time_seconds", "When the daemon started, since the epoch.", snapshot.started_at
    )
    yield GaugeMetricFamily(
        "xfrmctl_half_open_ike_sas", "IKE SAs whose peer is not authenticated yet.", snapshot.half_open
    )
    kernel = snapshot.kernel
    yield GaugeMetricFamily("xfrmctl_kernel_policies", "Our policies in the kernel's SPD.", kernel.policies)
    yield GaugeMetricFamily("xfrmctl_kernel_states", "Our SAs in the kernel's SAD.", kernel.states)
    yield GaugeMetricFamily(
        "xfrmctl_kernel_problems",
        "Differences between wanted and real kernel state that could not be mended.",
        len(kernel.problems),
    )
    stats = CounterMetricFamily(
        "xfrmctl_xfrm_stat", "Counters of /proc/net/xfrm_stat by name, the whole host's.", labels=("name",)
    )
    for name, value in sorted(kernel.xfrm_stat.items()):
        stats.add_metric((name,), value)
    yield stats
    yield from _reassembly(kernel.reassembly)
    engine = CounterMetricFamily("xfrmctl_engine", "Counters of the daemon's engines by name.", labels=("name",))
    for name, value in sorted(snapshot.counters.items()):
        engine.add_metric((name,), value)
    yield engine


def _reassembly(families: Iterable[ReassemblyInfo]) -> Iterator[Metric]:
    """IP fragments, the whole host's: of ESP, and of whoever else sends some."""
    labels = ("family",)
    came = CounterMetricFamily("xfrmctl_ip_fragments_received", "IP fragments that came to this host.", labels=labels)
    made = CounterMetricFamily("xfrmctl_ip_fragments_made", "IP fragments that this host has made.", labels=labels)
    packets = CounterMetricFamily("xfrmctl_ip_reassembled", "Packets put together from fragments.", labels=labels)
    failed = CounterMetricFamily(
        "xfrmctl_ip_reassembly_failed",
        "Packets that could not be put together: a fragment has not come, or there was no memory.",
        labels=labels,
    )
    memory = GaugeMetricFamily("xfrmctl_ip_reassembly_bytes", "Memory of incomplete packets.", labels=labels)
    limit = GaugeMetricFamily(
        "xfrmctl_ip_reassembly_limit_bytes", "Memory beyond which the kernel drops fragments.", labels=labels
    )
    for info in families:
        key = (f"ipv{info.family}",)
        came.add_metric(key, info.fragments)
        made.add_metric(key, info.made)
        packets.add_metric(key, info.packets)
        failed.add_metric(key, info.failed)
        memory.add_metric(key, info.memory)
        limit.add_metric(key, info.memory_limit)
    yield from (came, made, packets, failed, memory, limit)


def _connections(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ("connection",)
    up = GaugeMetricFamily(
        "xfrmctl_connection_up", "1 while the IKE SA and all children that should be up are up.", labels=labels
    )
    sas = GaugeMetricFamily("xfrmctl_ike_sas", "IKE SAs of a connection.", labels=labels)
    age = GaugeMetricFamily("xfrmctl_ike_sa_age_seconds", "Age of a connection's oldest IKE SA.", labels=labels)
    attempts = GaugeMetricFamily(
        "xfrmctl_connection_attempts", "Attempts to negotiate since the last success.", labels=labels
    )
    peers = GaugeMetricFamily(
        "xfrmctl_connection_peers",
        "Peers of a connection that serves whoever comes with the right proof.",
        labels=labels,
    )
    for connection in snapshot.connections:
        key = (connection.name,)
        if connection.peers is not None:
            peers.add_metric(key, connection.peers)
        up.add_metric(key, int(connection.state == "up"))
        sas.add_metric(key, len(connection.ike_sas))
        attempts.add_metric(key, connection.attempts)
        if connection.ike_sas:
            age.add_metric(key, max(ike.age_s for ike in connection.ike_sas))
    yield from (up, sas, age, attempts, peers)


def _children(snapshot: Snapshot) -> Iterator[Metric]:
    up = GaugeMetricFamily("xfrmctl_child_up", "1 while a CHILD SA of the child is installed.", labels=CHILD)
    expires = GaugeMetricFamily(
        "xfrmctl_child_expires_in_seconds", "Time to the hard limit of the newest CHILD SA.", labels=CHILD
    )
    outer = GaugeMetricFamily(
        "xfrmctl_child_outer_mtu_bytes", "Largest IP packet that the path to the peer carries.", labels=CHILD
    )
    inner = GaugeMetricFamily(
        "xfrmctl_child_inner_mtu_bytes", "Largest inner IP packet that fits the outer MTU.", labels=CHILD
    )
    offload = GaugeMetricFamily(
        "xfrmctl_child_offloaded",
        "1 where the network device encrypts, 0 where it was asked to and the kernel does it.",
        labels=(*CHILD, "direction"),
    )
    lost = GaugeMetricFamily(
        "xfrmctl_child_ipv6_lost",
        "1 while IPv6 packets above the inner MTU are lost, for less than 1,280 bytes fit and nothing helps.",
        labels=CHILD,
    )
    mss = GaugeMetricFamily("xfrmctl_child_mss_bytes", "TCP MSS that the clamp allows.", labels=(*CHILD, "family"))
    for connection in snapshot.connections:
        newest = _newest(connection)
        for configured in connection.children:
            key = (connection.name, configured.name)
            up.add_metric(key, int(configured.state == "up"))
            child = newest.get(configured.name)
            if child is None:
                continue
            if child.inbound.hard_expires_in_s is not None:
                expires.add_metric(key, child.inbound.hard_expires_in_s)
            for direction, sa in (("in", child.inbound), ("out", child.outbound)):
                if sa.offload:
                    offload.add_metric((*key, direction), int(not sa.offload.startswith("no")))
            if child.fragments is not None:
                lost.add_metric(key, int(child.fragments.ipv6_lost))
            if child.mtu is not None:
                outer.add_metric(key, child.mtu.outer_mtu)
                inner.add_metric(key, child.mtu.inner_mtu)
                for family, value in (("ipv4", child.mtu.mss_ipv4), ("ipv6", child.mtu.mss_ipv6)):
                    if value is not None:
                        mss.add_metric((*key, family), value)
    yield from (up, expires, outer, inner, mss, lost, offload)


def _paths(snapshot: Snapshot) -> Iterator[Metric]:
    """The path of each connection, by its newest CHILD SA; several children of one connection share it."""
    belief = GaugeMetricFamily(
        "xfrmctl_path_mtu_bytes",
        "Largest outer IP packet that the path to the peer is believed to carry, by whose word; carrier is what probes "
        "go in: udp (with UDP encapsulation ESP's own way), esp, or none.",
        labels=("connection", "source", "confidence", "carrier"),
    )
    age = GaugeMetricFamily(
        "xfrmctl_path_mtu_age_seconds", "Age of what is believed of the path.", labels=("connection",)
    )
    probes = GaugeMetricFamily(
        "xfrmctl_path_probes", "Probes of the path in use now, by outcome.", labels=("connection", "outcome")
    )
    for connection in snapshot.connections:
        known = [c.mtu.path for c in _newest(connection).values() if c.mtu is not None and c.mtu.path is not None]
        for path in known[:1]:
            carrier = path.carrier.partition(" ")[0].rstrip(",")
            belief.add_metric((connection.name, path.source, path.confidence, carrier), path.mtu)
            age.add_metric((connection.name,), path.age_s)
            counts = {"sent": path.probes_sent, "answered": path.probes_answered, "lost": path.probes_lost}
            for outcome, count in counts.items():
                probes.add_metric((connection.name, outcome), count)
    yield from (belief, age, probes)


def _newest(connection: ConnectionInfo) -> dict[str, ChildInfo]:
    """The youngest CHILD SA of each child: the one that new packets use."""
    found: dict[str, ChildInfo] = {}
    for ike in connection.ike_sas:
        for child in ike.children:
            other = found.get(child.name)
            if other is None or child.established_s < other.established_s:
                found[child.name] = child
    return found


def _configured(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    for connection in snapshot.connections:
        for child in connection.children:
            yield connection.name, child.name


def _readings(snapshot: Snapshot) -> Iterator[Reading]:
    for connection in snapshot.connections:
        for ike in connection.ike_sas:
            for child in ike.children:
                for direction, sa in (("in", child.inbound), ("out", child.outbound)):
                    if not sa.missing:
                        yield from _sa_readings((connection.name, child.name, direction), child, sa)
    for clamp in snapshot.clamps:
        yield ("clamp", f"ipv{clamp.family}", str(clamp.mss)), "rule", clamp.packets, None
    for what, count in snapshot.kernel.df.items():
        yield ("df", what), "table", count, None


def _sa_readings(where: tuple[str, str, str], child: ChildInfo, sa: SaInfo) -> Iterator[Reading]:
    """Of a child with one peer one series; of one with many, one for each, and their sum."""
    counted = [("bytes", sa.bytes), ("packets", sa.packets)]
    if where[2] == "in":
        counted += [("replay", sa.replay_drops), ("late", sa.late_drops), ("integrity", sa.integrity_failures)]
    for what, value in counted:
        if child.peer:
            yield (what, *where, child.reqid), sa.spi, value, (what, *where)
        else:
            yield (what, *where), sa.spi, value, None


def _of_peers(snapshot: Snapshot) -> Iterator[tuple[str, ChildInfo]]:
    """The youngest CHILD SA of each child of each peer, with its connection."""
    for connection in snapshot.connections:
        if connection.peers is None:
            continue
        youngest: dict[int, ChildInfo] = {}
        for ike in connection.ike_sas:
            for child in ike.children:
                known = youngest.get(child.reqid)
                if known is None or child.established_s < known.established_s:
                    youngest[child.reqid] = child
        yield from ((connection.name, child) for child in youngest.values())


def _series(snapshot: Snapshot) -> Iterator[Hashable]:
    for name, child in _configured(snapshot):
        for direction in ("in", "out"):
            for what in ("bytes", "packets", "replay", "late", "integrity"):
                yield (what, name, child, direction)
    for name, peer in _of_peers(snapshot):
        for direction in ("in", "out"):
            for what in ("bytes", "packets", "replay", "late", "integrity"):
                yield (what, name, peer.name, direction, peer.reqid)
    for clamp in snapshot.clamps:
        yield ("clamp", f"ipv{clamp.family}", str(clamp.mss))
    for what in snapshot.kernel.df:
        yield ("df", what)
