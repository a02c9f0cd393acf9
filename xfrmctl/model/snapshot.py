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

    ``replay_drops`` came a second time; ``late_drops`` were older than the replay window reaches.
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
    """One CHILD SA; ``peer`` is whose it is where a connection serves many, "" where it has a configured one."""

    name: str
    peer: str
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
class IkeInfo:
    """One IKE SA. ``state`` is a word of ``ike.states``; ``meaning`` says it in plain English."""

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
    suite: str | None
    nat_local: bool
    nat_remote: bool
    age_s: float
    last_seen_s: float
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
    """A child of the configuration, whether it is up or not. ``state``: up, connecting, down, trap."""

    name: str
    state: str
    protection: str
    mode: str
    local_ts: list[str]
    remote_ts: list[str]
    dataplane: str
    start: str
    tunnel: TunnelInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """One configured connection, whether it is up or not. ``state``: up, partial, connecting, waiting, down.

    ``peers`` is how many it serves just now, None where it has a configured one. ``certificate_expires_at`` is of our
    own certificate, None without one.
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
    """The whole gateway."""

    version: str
    started_at: float
    uptime_s: float
    config_file: str
    config_hash: str
    reload_ok: bool
    reload_error: str
    half_open: int
    connections: list[ConnectionInfo]
    policies: list[PolicyInfo]
    clamps: list[ClampInfo]
    kernel: KernelInfo
    counters: dict[str, int]
