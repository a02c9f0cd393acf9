"""The state of a gateway as one plain value: what ``show --json`` prints, metrics collect, the control API serves.

Only JSON types, so that the published schema follows from the dataclasses. Times are seconds; ``*_at`` are seconds
since the epoch, ``*_s`` are durations. Sizes are bytes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureInfo:
    """Why something failed, in an operator's words (see :mod:`xfrmctl.model.failure`)."""

    code: str
    text: str
    cause: str
    cure: str
    notify: str
    ours: list[str]
    theirs: list[str]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SaInfo:
    """One direction of a CHILD SA, counted by the kernel. ``missing`` means the kernel no longer has it.

    ``replay_drops`` came a second time; ``late_drops`` were older than the replay window reaches. ``idle_s`` is how
    long ago the last packet passed, None where none has. ``*_left_*`` is what the SA may still carry before it is
    rekeyed (soft) or ends (hard), None without such a limit.
    ``offload`` is ``crypto on eth0``, or ``no: `` and why not; "" where nobody has asked for it.
    """

    spi: str
    bytes: int
    packets: int
    replay_drops: int
    late_drops: int
    integrity_failures: int
    missing: bool
    soft_expires_in_s: float | None
    hard_expires_in_s: float | None
    soft_left_bytes: int | None
    hard_left_bytes: int | None
    soft_left_packets: int | None
    hard_left_packets: int | None
    idle_s: float | None
    offload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PathInfo:
    """What is believed of the path to the peer. ``age_s`` is the age of the belief, ``link_mtu`` what the route takes.

    ``carrier`` is what the last answered probe went in: UDP, which is ESP's own way or not, or ESP; none where nobody
    probes. ``peer_mtu`` is what
    a peer of ours takes the other direction to carry, None where it has not said. ``ages_in_s`` is when the path is
    probed upwards next. One lost probe proves nothing: three in a row do.
    """

    path: str
    carrier: str
    mtu: int
    source: str
    confidence: str
    state: str
    age_s: float
    ages_in_s: float | None
    link_mtu: int
    peer_mtu: int | None
    probes_sent: int
    probes_answered: int
    probes_lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MtuInfo:
    """Sizes in force: outer_mtu from ``source``, inner_mtu and mss by pmtu/overhead. mss is None where off."""

    outer_mtu: int
    source: str
    inner_mtu: int
    overhead: int
    mss_ipv4: int | None
    mss_ipv6: int | None
    path: PathInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneInfo:
    """Options of the data plane in force; words and marks are spelled as in the configuration, marks "" for none."""

    replay_window: int
    dscp_outbound: str
    dscp_inbound: str
    ecn: str
    mark_inbound: str
    mark_outbound: str
    set_mark_inbound: str
    set_mark_outbound: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentInfo:
    """What becomes of packets of a child that do not fit, in words for people.

    ``df`` and ``oversize`` are the configuration's. ``outer`` is about the outer header's DF bit, ``ipv4_with_df``,
    ``ipv4_without_df`` and ``ipv6`` are about inner packets, "" for what the child does not carry. ``ipv6_lost`` says
    that IPv6 packets above the inner MTU are lost, since less than 1,280 bytes fit and nothing helps.
    """

    df: str
    oversize: str
    outer: str
    ipv4_with_df: str
    ipv4_without_df: str
    ipv6: str
    ipv6_lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildInfo:
    """One CHILD SA; ``peer`` is whose it is where a connection serves many, "" where it has a configured one.

    ``state`` is a word of ``ike.states``, ``meaning`` says it in plain English. ``initiator``: we have
    asked for it.
    """

    name: str
    peer: str
    state: str
    meaning: str
    initiator: bool
    suite: str
    mode: str
    dataplane: str
    reqid: int
    if_id: int
    interface: str | None
    encap: str | None
    local_ts: list[str]
    remote_ts: list[str]
    established_s: float
    inbound: SaInfo
    outbound: SaInfo
    mtu: MtuInfo | None
    plane: PlaneInfo
    fragments: FragmentInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeInfo:
    """Our request that is under way: sent ``attempt`` times of ``attempts`` at most, the last time ``sent_s`` ago.

    ``next_in_s`` is when it is sent again, or, after the last attempt, when the peer counts as dead.
    """

    exchange: str
    message_id: int
    payloads: list[str]
    attempt: int
    attempts: int
    sent_s: float
    next_in_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IkeInfo:
    """One IKE SA. ``state`` is a word of ``ike.states``; ``meaning`` says where it stands just now in plain English.

    ``local_proof`` and ``remote_proof`` are how each end has proved its identity, "" before. ``queued`` conversations
    wait for the one ``under_way``. ``*_in_s`` are None for never; ``dpd_in_s`` is when the peer is asked whether it
    lives, unless it is heard before. ``next_request`` and ``next_expected`` are message ids. ``fragment_size`` is the
    largest packet of IKE, 0 without fragmentation. ``rtt_s`` is how long answers take, None before the first.
    """

    name: str
    state: str
    meaning: str
    initiator: bool
    spi_initiator: str
    spi_responder: str
    local: str
    remote: str
    local_id: str
    remote_id: str
    local_proof: str
    remote_proof: str
    suite: str | None
    nat_local: bool
    nat_remote: bool
    mobike: bool
    fragment_size: int
    age_s: float
    last_seen_s: float
    rtt_s: float | None
    rekey_in_s: float | None
    reauth_in_s: float | None
    dpd_in_s: float | None
    next_request: int
    next_expected: int
    queued: int
    under_way: ExchangeInfo | None
    children: list[ChildInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelInfo:
    """The tunnel device of a child. ``state``: up, down, missing; ``mtu``: the kernel's, None if it is missing.

    ``looped`` counts packets that were led into the device that had sent them, and dropped. ``recursive_route``: a
    route to the far end, which is not ours and not followed, leads into the device. ``keepalive``: off, no SA,
    answered, unanswered; the device is up only while it is off or answered.
    """

    interface: str
    type: str
    state: str
    mtu: int | None
    looped: int
    recursive_route: bool
    keepalive: str
    keepalives_sent: int
    keepalives_answered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredChild:
    """A child of the configuration, whether it is up or not. ``state``: up, connecting, down, trap.

    ``rekeys`` is how often its keys have been renewed since the daemon's start.
    """

    name: str
    state: str
    protection: str
    mode: str
    local_ts: list[str]
    remote_ts: list[str]
    dataplane: str
    start: str
    rekeys: int
    tunnel: TunnelInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryInfo:
    """What has happened to a connection since the daemon's start, as often as it has.

    ``silences``: requests that the peer left unanswered through all their retransmissions.
    """

    established: int
    ike_rekeys: int
    child_rekeys: int
    failures: int
    retransmissions: int
    silences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """One configured connection, whether it is up or not. ``state``: up, partial, connecting, waiting, down.

    ``peers`` is how many it serves just now, None where it has a configured one. ``certificate_expires_at`` is of our
    own certificate, None without one. ``history`` counts from the daemon's start.
    ``debug_s`` is how long its story is still told (``xfrmctl debug``), None where it is not.
    """

    name: str
    state: str
    meaning: str
    local: str
    remote: str
    peers: int | None
    attempts: int
    retry_in_s: float | None
    last_failure: FailureInfo | None
    history: HistoryInfo
    debug_s: float | None
    children: list[ConfiguredChild]
    ike_sas: list[IkeInfo]
    certificate_expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClampInfo:
    """One TCPMSS rule: how many selectors' pairs it serves and what it has rewritten so far."""

    family: int
    mss: int
    pairs: int
    packets: int
    bytes: int
    standing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInfo:
    """An entry of the SPD that is no child's. ``action``: bypass, discard; ``precedence``: first, specific, last."""

    name: str
    action: str
    local_ts: list[str]
    remote_ts: list[str]
    precedence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassemblyInfo:
    """IP fragments that came to this host, ESP's and others', and how many packets they made; IP version ``family``.

    ``timed_out`` packets are among the ``failed`` ones. ``made`` counts fragments that this host has made. ``memory``
    is held by incomplete packets now, bytes; beyond ``memory_limit`` fragments are dropped.
    """

    family: int
    fragments: int
    packets: int
    failed: int
    timed_out: int
    made: int
    memory: int
    memory_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """The NFQUEUE in which ICMP errors wait for a verdict.

    ``waiting`` are in it now, ``seen`` have ever been put into it. ``dropped_full`` found it full, ``dropped_copy``
    found no room in our socket.
    """

    waiting: int
    seen: int
    dropped_full: int
    dropped_copy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelInfo:
    """What the kernel side reports: xfrm_stat by name, drift that could not be mended, the last refusal.

    ``disturbances``: what other programs had done to what is ours, as the last full look found and mended it.
    ``df``: how many packets our rules have ``cleared`` of DF inside, and ``set`` it on outside. ``icmp_queue`` is
    None where nobody listens to it.
    """

    xfrm_stat: dict[str, int]
    policies: int
    states: int
    problems: list[str]
    disturbances: list[str]
    reassembly: list[ReassemblyInfo]
    df: dict[str, int]
    icmp_queue: QueueInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole gateway. ``configured`` connections there are; filters may have left fewer in ``connections``."""

    version: str
    started_at: float
    uptime_s: float
    config_file: str
    config_hash: str
    reload_ok: bool
    reload_error: str
    half_open: int
    configured: int
    connections: list[ConnectionInfo]
    policies: list[PolicyInfo]
    clamps: list[ClampInfo]
    kernel: KernelInfo
