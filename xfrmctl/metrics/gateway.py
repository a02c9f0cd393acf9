"""Families about the daemon and its host as a whole."""

from collections.abc import Iterable

from xfrmctl.metrics.accumulate import Accumulator, Reading, Series
from xfrmctl.metrics.family import counter, gauge, info
from xfrmctl.metrics.page import Page
from xfrmctl.model.snapshot import ClampInfo, KernelInfo, Snapshot

BUILD = info("xfrmctl_build", "Version of the daemon.", "Shows which gateways an upgrade has not reached.", "version")
CONFIG = info(
    "xfrmctl_config",
    "Hash of the configuration in force.",
    "Gateways that should be alike have the same hash; it changes with each reload that changes something.",
    "hash",
)
RELOAD_OK = gauge(
    "xfrmctl_config_reload_ok",
    "1 if the last reload of the configuration worked.",
    "0: the old configuration stays in force. `xfrmctl check FILE` tells every problem with file, line and cure.",
)
STARTED = gauge(
    "xfrmctl_start_time_seconds",
    "When the daemon started, seconds since the epoch.",
    "A value that changes without an upgrade is a restart: look into the log before it.",
)
HALF_OPEN = gauge(
    "xfrmctl_half_open_ike_sas",
    "IKE SAs whose peer is not authenticated yet.",
    "Many for long: somebody floods us with requests, or `gateway.limits` is too low for a hub whose peers all start at"
    " once.",
)
POLICIES = gauge(
    "xfrmctl_kernel_policies",
    "Our policies in the kernel's SPD.",
    "0 with connections that are configured: something has flushed the SPD; `xfrmctl show` tells the problems.",
)
STATES = gauge(
    "xfrmctl_kernel_states",
    "Our SAs in the kernel's SAD, two for each CHILD SA.",
    "More than twice the children for longer than a rekey takes: `xfrmctl diagnose` looks for duplicate SAs.",
)
PROBLEMS = gauge(
    "xfrmctl_kernel_problems",
    "Differences between wanted and real kernel state that could not be mended.",
    "Anything but 0: `xfrmctl show` tells each with its cause.",
)
XFRM_STAT = counter(
    "xfrmctl_xfrm_stat",
    "Counters of /proc/net/xfrm_stat by name, the whole host's.",
    "One that grows is packets lost for that reason, such as XfrmInNoStates (unknown SPI), XfrmInTmplMismatch (came in"
    " clear) or XfrmOutNoStates (no SA yet): `xfrmctl diagnose` finds the cause.",
    "name",
)
FRAGMENTS = counter(
    "xfrmctl_ip_fragments_received",
    "IP fragments that came to this host, of ESP and of anything else.",
    "Steady growth: a peer sends ESP in fragments, which costs both ends; its path MTU is wrong.",
    "family",
)
MADE = counter(
    "xfrmctl_ip_fragments_made",
    "IP fragments that this host has made.",
    "Steady growth: packets are larger than the path carries; see the path MTU and `oversize` of the child.",
    "family",
)
REASSEMBLED = counter(
    "xfrmctl_ip_reassembled", "Packets put together from fragments.", "As for fragments received.", "family"
)
REASSEMBLY_FAILED = counter(
    "xfrmctl_ip_reassembly_failed",
    "Packets that could not be put together: a fragment has not come, or there was no memory.",
    "Growth: a firewall on the way drops fragments, or the memory limit is too low.",
    "family",
)
REASSEMBLY_TIMEOUTS = counter(
    "xfrmctl_ip_reassembly_timeouts",
    "Those of the packets that could not be put together whose last fragment has not come in time.",
    "Growth: a firewall on the way drops fragments; `xfrmctl trace` with captures of both ends says where.",
    "family",
)
REASSEMBLY_MEMORY = gauge(
    "xfrmctl_ip_reassembly_bytes", "Memory of incomplete packets.", "Near its limit: see there.", "family"
)
REASSEMBLY_LIMIT = gauge(
    "xfrmctl_ip_reassembly_limit_bytes",
    "Memory of incomplete packets beyond which the kernel drops fragments.",
    "Raise net.ipv4.ipfrag_high_thresh or net.ipv6.ip6frag_high_thresh where fragments are dropped for lack of it.",
    "family",
)
DF_CHANGED = counter(
    "xfrmctl_df_changed",
    "Packets whose DF bit was cleared inside (oversize: fragment), or set outside (df: set).",
    "Tells whether the DF policy of a child does anything; cleared ones are sent in fragments.",
    "what",
)
CLAMP_PACKETS = counter(
    "xfrmctl_clamp_packets",
    "SYN packets whose MSS the clamp rule has looked at.",
    "No growth though TCP goes through the tunnel: the rule is not where the packets pass; see xfrmctl_clamp_standing.",
    "family",
    "mss",
)
CLAMP_PAIRS = gauge(
    "xfrmctl_clamp_pairs", "Selector pairs that a clamp rule serves.", "For the size of the rule set.", "family", "mss"
)
CLAMP_STANDING = gauge(
    "xfrmctl_clamp_standing",
    "1 while the clamp rule stands in the kernel as it should.",
    "0: another program has flushed or shadowed the mangle table; it is put back within a minute. `xfrmctl diagnose`"
    " names the rule in the way.",
    "family",
    "mss",
)
QUEUE_WAITING = gauge(
    "xfrmctl_icmp_queue_packets",
    "ICMP errors that wait in the NFQUEUE for a verdict.",
    "More than a few: a flood of forged errors; the guard drops what does not fit, and data goes on.",
)
QUEUE_DROPPED = counter(
    "xfrmctl_icmp_queue_dropped",
    "ICMP errors that got no verdict: full is the kernel's queue, copy our socket's buffer.",
    "Growth: a flood, or a host without time for us; path MTUs are found by probes meanwhile.",
    "reason",
)
QUEUE_SEEN = counter(
    "xfrmctl_icmp_queue_seen", "ICMP errors that have been put into the NFQUEUE.", "What the guard has to judge."
)

FAMILIES = (
    BUILD, CONFIG, RELOAD_OK, STARTED, HALF_OPEN, POLICIES, STATES, PROBLEMS, XFRM_STAT, FRAGMENTS, MADE, REASSEMBLED,
    REASSEMBLY_FAILED, REASSEMBLY_TIMEOUTS, REASSEMBLY_MEMORY, REASSEMBLY_LIMIT, DF_CHANGED, CLAMP_PACKETS, CLAMP_PAIRS,
    CLAMP_STANDING, QUEUE_WAITING, QUEUE_DROPPED, QUEUE_SEEN,
)  # fmt: skip


def readings(snapshot: Snapshot) -> Iterable[Reading]:
    """What begins anew with each rule that the kernel has been given."""
    for clamp in snapshot.clamps:
        yield ("clamp", *_key(clamp)), "rule", clamp.packets
    for what, count in snapshot.kernel.df.items():
        yield ("df", what), "table", count


def series(snapshot: Snapshot) -> Iterable[Series]:
    """Those of :func:`readings`."""
    return (series for series, *_ in readings(snapshot))


def show(snapshot: Snapshot, totals: Accumulator, page: Page) -> None:
    """Put everything on a page but what is about connections."""
    page.put(BUILD, (snapshot.version,), 1)
    page.put(CONFIG, (snapshot.config_hash,), 1)
    page.put(RELOAD_OK, (), snapshot.reload_ok)
    page.put(STARTED, (), snapshot.started_at)
    page.put(HALF_OPEN, (), snapshot.half_open)
    _kernel(snapshot.kernel, totals, page)
    for clamp in snapshot.clamps:
        key = _key(clamp)
        page.put(CLAMP_PACKETS, key, totals.total(("clamp", *key)))
        page.put(CLAMP_PAIRS, key, clamp.pairs)
        page.put(CLAMP_STANDING, key, clamp.standing)


def _kernel(kernel: KernelInfo, totals: Accumulator, page: Page) -> None:
    page.put(POLICIES, (), kernel.policies)
    page.put(STATES, (), kernel.states)
    page.put(PROBLEMS, (), len(kernel.problems))
    for name, value in kernel.xfrm_stat.items():
        page.put(XFRM_STAT, (name,), value)
    for info_ in kernel.reassembly:
        key = (f"ipv{info_.family}",)
        page.put(FRAGMENTS, key, info_.fragments)
        page.put(MADE, key, info_.made)
        page.put(REASSEMBLED, key, info_.packets)
        page.put(REASSEMBLY_FAILED, key, info_.failed)
        page.put(REASSEMBLY_TIMEOUTS, key, info_.timed_out)
        page.put(REASSEMBLY_MEMORY, key, info_.memory)
        page.put(REASSEMBLY_LIMIT, key, info_.memory_limit)
    for what in kernel.df:
        page.put(DF_CHANGED, (what,), totals.total(("df", what)))
    queue = kernel.icmp_queue
    if queue is not None:
        page.put(QUEUE_WAITING, (), queue.waiting)
        page.put(QUEUE_DROPPED, ("full",), queue.dropped_full)
        page.put(QUEUE_DROPPED, ("copy",), queue.dropped_copy)
        page.put(QUEUE_SEEN, (), queue.seen)


def _key(clamp: ClampInfo) -> tuple[str, str]:
    return f"ipv{clamp.family}", str(clamp.mss)
