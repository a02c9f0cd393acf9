"""One gateway: its daemon, its tunnels, its kernel, and who talks to it."""

from tools.dashboards.parts import (
    BAD_FROM_ONE,
    BITS,
    BYTES,
    CONNECTIONS,
    COUNT,
    GATEWAYS,
    GOOD_AT_ONE,
    PACKETS,
    PER_SECOND,
    SECONDS,
    UP_DOWN,
    YES_NO,
    Column,
    Dashboard,
    Panel,
    Query,
    Row,
    assembled,
    chooser,
    graph,
    listing,
    note,
    tile,
    timeline,
    to,
)
from tools.dashboards.words import ICMP_REASONS, XFRM_STATS, as_table

UID = "xfrmctl-gateway"
_TUNNEL = to("xfrmctl-tunnel", "gateway=instance", "connection=connection")


def dashboard() -> Dashboard:
    """The dashboard."""
    return assembled(
        UID,
        "xfrmctl / Gateway",
        "One gateway: the daemon, its tunnels, negotiations, the kernel's errors, and ICMP errors as they were judged.",
        [chooser("gateway", "Gateway", GATEWAYS, several=False), chooser("connection", "Connection", CONNECTIONS)],
        [
            Row("", _tiles()),
            Row("Tunnels", _tunnels()),
            Row("Negotiation", _negotiation()),
            Row("Kernel", _kernel()),
            Row("ICMP errors about paths to peers", _icmp()),
            Row("The daemon itself", _daemon()),
        ],
    )


def _tiles() -> list[Panel]:
    return [
        tile(
            "Daemon", "Whether Prometheus reaches it.", Query("max(up{J})"), steps=GOOD_AT_ONE, words=UP_DOWN, width=2
        ),
        tile("Version", "", Query("xfrmctl_build_info{G}", "{{version}}"), name=True, width=2),
        tile("Running for", "", Query("time() - max(xfrmctl_start_time_seconds{G})"), unit=SECONDS, width=3),
        tile(
            "Last reload",
            "no: the file has a mistake, and the configuration before it is still in force. `xfrmctl "
            "check` says where.",
            Query("min(xfrmctl_config_reload_ok{G})"),
            steps=GOOD_AT_ONE,
            words=YES_NO,
            width=2,
        ),
        tile("Connections up", "Of those that are chosen.", Query("sum(xfrmctl_connection_up{C})"), width=2),
        tile(
            "Connections that fail",
            "They negotiate, without success.",
            Query("sum((1 - xfrmctl_connection_up{C}) * (xfrmctl_connection_attempts{C} > bool 0))"),
            steps=BAD_FROM_ONE,
            width=3,
        ),
        tile(
            "Half-open IKE SAs",
            "Peers that are not authenticated yet. Many, and cookies demanded: a flood.",
            Query("max(xfrmctl_half_open_ike_sas{G})"),
            width=2,
            history=True,
        ),
        tile(
            "SAs in the kernel",
            "Ours; two for each CHILD SA, and more for moments during a rekey.",
            Query("max(xfrmctl_kernel_states{G})"),
            width=2,
        ),
        tile("Policies in the kernel", "Ours.", Query("max(xfrmctl_kernel_policies{G})"), width=2),
        tile(
            "Kernel problems",
            "What should be in the kernel and cannot be put there; `xfrmctl show` names it.",
            Query("max(xfrmctl_kernel_problems{G})"),
            steps=BAD_FROM_ONE,
            width=2,
        ),
        tile(
            "MSS clamps that do not stand",
            "Another program has removed or shadowed them.",
            Query("sum(1 - xfrmctl_clamp_standing{G})"),
            steps=BAD_FROM_ONE,
            width=2,
        ),
    ]


def _tunnels() -> list[Panel]:
    return [
        timeline(
            "Connections",
            "Green while every child has its SAs.",
            Query("xfrmctl_connection_up{C}", "{{connection}}"),
            width=12,
        ),
        listing(
            "Connections now",
            "Follow a name to the tunnel's own dashboard.",
            [
                Query("xfrmctl_connection_state_info{C}"),
                Query("max by (instance, connection) (xfrmctl_connection_attempts{C})"),
                Query("max by (instance, connection) (xfrmctl_ike_sa_age_seconds{C})"),
                Query("max by (instance, connection) (xfrmctl_path_mtu_bytes{C})"),
                Query("8 * sum by (instance, connection) (rate(xfrmctl_child_bytes_total{C}[R]))"),
            ],
            [
                Column("connection", "Connection", link=_TUNNEL),
                Column("state", "State"),
                Column("Value #B", "Failed attempts"),
                Column("Value #C", "IKE SA since", unit=SECONDS),
                Column("Value #D", "Path MTU", unit=BYTES),
                Column("Value #E", "Carried", unit=BITS),
            ],
            width=12,
            hidden=("Value #A", "__name__", "job", "instance"),
        ),
        graph(
            "Carried",
            "Inner packets; inbound up, outbound down.",
            Query(
                "8 * sum by (connection, direction) (rate(xfrmctl_child_bytes_total{C}[R]))",
                "{{connection}} {{direction}}",
            ),
            unit=BITS,
            mirrored=" out$",
        ),
        graph(
            "Packets",
            "Inbound up, outbound down. Only out: ESP does not come back, see `xfrmctl diagnose`.",
            Query(
                "sum by (connection, direction) (rate(xfrmctl_child_packets_total{C}[R]))",
                "{{connection}} {{direction}}",
            ),
            unit=PACKETS,
            mirrored=" out$",
        ),
    ]


def _negotiation() -> list[Panel]:
    return [
        graph(
            "Negotiations that failed, by reason",
            "The reasons are those of `xfrmctl show` and `xfrmctl diagnose`. "
            "Without a name: a peer that no connection knows.",
            Query(
                "sum by (connection, code) (rate(xfrmctl_negotiation_failures_total{G}[R]))", "{{connection}} {{code}}"
            ),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        graph(
            "Handshakes",
            "From the first message to the established IKE SA. Seconds instead of milliseconds: packets "
            "get lost, or the peer is busy.",
            _within("xfrmctl_handshake_duration_seconds", 0.5, "half of the handshakes"),
            _within("xfrmctl_handshake_duration_seconds", 0.95, "95 % of the handshakes"),
            _within("xfrmctl_rekey_duration_seconds", 0.95, "95 % of the rekeys"),
            unit=SECONDS,
            width=8,
        ),
        graph(
            "IKE SAs that came and went",
            "Established up, ended down, by reason. `rekeyed` is the normal end.",
            Query("sum(rate(xfrmctl_ike_sas_established_total{C}[R]))", "established"),
            Query("sum by (code) (rate(xfrmctl_ike_sas_closed_total{C}[R]))", "ended: {{code}}"),
            unit=PER_SECOND,
            mirrored="^ended",
            width=8,
        ),
        graph(
            "IKE messages",
            "Inbound up, outbound down. Retransmissions are among them.",
            Query(
                "sum by (exchange, direction) (rate(xfrmctl_ike_messages_total{G}[R]))", "{{exchange}} {{direction}}"
            ),
            unit=PER_SECOND,
            mirrored=" out$",
            width=8,
        ),
        graph(
            "Silence",
            "Messages sent again, requests that were never answered, negotiations put off.",
            Query("sum by (connection) (rate(xfrmctl_retransmissions_total{C}[R]))", "{{connection}} sent again"),
            Query("sum by (connection) (rate(xfrmctl_peer_silent_total{C}[R]))", "{{connection}} never answered"),
            Query("sum by (connection) (rate(xfrmctl_retries_scheduled_total{C}[R]))", "{{connection}} put off"),
            unit=PER_SECOND,
            width=8,
        ),
        graph(
            "Datagrams thrown away, by reason",
            "What came to the IKE ports and was not worth an answer. Much of one "
            "kind from outside is a scan or a flood; `integrity` and `unknown_spi` come after a peer's restart.",
            Query("sum by (reason) (rate(xfrmctl_datagrams_dropped_total{G}[R]))", "{{reason}}"),
            Query("sum(rate(xfrmctl_cookies_demanded_total{G}[R]))", "cookies demanded"),
            Query("sum(rate(xfrmctl_datagrams_not_sent_total{G}[R]))", "ours that the kernel would not send"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
    ]


def _kernel() -> list[Panel]:
    return [
        graph(
            "Kernel errors, by reason",
            "The host's /proc/net/xfrm_stat, those of other programs' IPsec included.",
            Query("sum by (name) (rate(xfrmctl_xfrm_stat_total{G}[R])) > 0", "{{name}}"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        note("What the errors mean", as_table(XFRM_STATS, "error")),
        graph(
            "Packets that tunnels dropped",
            "Replayed: came before. Late: older than the replay window reaches, the "
            "path reorders. Integrity: changed on the way, or forged.",
            Query("sum by (connection) (rate(xfrmctl_child_replay_drops_total{C}[R]))", "{{connection}} replayed"),
            Query("sum by (connection) (rate(xfrmctl_child_late_drops_total{C}[R]))", "{{connection}} late"),
            Query(
                "sum by (connection) (rate(xfrmctl_child_integrity_failures_total{C}[R]))", "{{connection}} integrity"
            ),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        graph(
            "SAs and policies of ours",
            "Steps are connections that come and go. A saw is a peer that restarts.",
            Query("max(xfrmctl_kernel_states{G})", "SAs"),
            Query("max(xfrmctl_kernel_policies{G})", "policies"),
            unit=COUNT,
            steps=True,
            width=6,
        ),
        graph(
            "Trouble in the kernel",
            "Problems: wanted and not there. Disturbances: somebody else removed or shadowed "
            "what is ours, and it was put back.",
            Query("max(xfrmctl_kernel_problems{G})", "problems"),
            Query("sum(increase(xfrmctl_kernel_disturbances_total{G}[$__range]))", "disturbances in the time shown"),
            Query("sum(increase(xfrmctl_kernel_troubles_total{G}[$__range]))", "refusals in the time shown"),
            unit=COUNT,
            steps=True,
            width=6,
        ),
        graph(
            "IP fragments",
            "The whole host's. Failed reassembly: fragments are lost on the way, or memory is short.",
            Query("sum by (family) (rate(xfrmctl_ip_fragments_received_total{G}[R]))", "{{family}} came"),
            Query("sum by (family) (rate(xfrmctl_ip_fragments_made_total{G}[R]))", "{{family}} made"),
            Query("sum by (family) (rate(xfrmctl_ip_reassembled_total{G}[R]))", "{{family}} reassembled"),
            Query("sum by (family) (rate(xfrmctl_ip_reassembly_failed_total{G}[R]))", "{{family}} failed"),
            Query("sum by (family) (rate(xfrmctl_ip_reassembly_timeouts_total{G}[R]))", "{{family}} timed out"),
            unit=PACKETS,
            width=6,
        ),
        graph(
            "Memory of incomplete packets",
            "At the limit the kernel drops fragments.",
            Query("max by (family) (xfrmctl_ip_reassembly_bytes{G})", "{{family}}"),
            Query("max by (family) (xfrmctl_ip_reassembly_limit_bytes{G})", "{{family}} limit"),
            unit="bytes",
            width=6,
        ),
    ]


def _icmp() -> list[Panel]:
    believed = 'sum by (reason) (rate(xfrmctl_icmp_errors_judged_total{G, verdict="%s"}[R]))'
    return [
        graph(
            "Passed on",
            "They prove that a packet of ours got lost, or are about somebody who is no peer.",
            Query(believed % "accepted", "{{reason}}"),
            unit=PER_SECOND,
            stacked=True,
            width=6,
        ),
        graph(
            "Dropped",
            "They prove nothing, and the kernel never sees them. A flood of them is an attack that fails.",
            Query(believed % "dropped", "{{reason}}"),
            unit=PER_SECOND,
            stacked=True,
            width=6,
        ),
        graph(
            "Waiting for a verdict",
            "In the queue now, and those that got none because it was full. Data does not wait for them.",
            Query("max(xfrmctl_icmp_queue_packets{G})", "waiting"),
            Query("sum by (reason) (increase(xfrmctl_icmp_queue_dropped_total{G}[R]))", "without verdict: {{reason}}"),
            unit=COUNT,
            width=6,
        ),
        note("What the reasons mean", as_table(ICMP_REASONS, "reason"), width=6),
    ]


def _daemon() -> list[Panel]:
    return [
        graph(
            "Time of a step",
            "One message, timer or answer of the kernel with all that follows; nothing else happens meanwhile. Long "
            "ones "
            "delay every handshake: a busy host, or too many tunnels for it.",
            _within("xfrmctl_engine_step_seconds", 0.5, "half of the steps"),
            _within("xfrmctl_engine_step_seconds", 0.99, "99 % of the steps"),
            _within("xfrmctl_icmp_verdict_seconds", 0.99, "99 % of the verdicts on ICMP errors"),
            unit=SECONDS,
            width=6,
        ),
        graph(
            "Scrapes",
            "How long each took, and its longest piece: so long a message may have waited for it.",
            Query("max(xfrmctl_scrape_duration_seconds{G})", "scrape"),
            Query("max(xfrmctl_scrape_longest_piece_seconds{G})", "longest piece"),
            unit=SECONDS,
            width=6,
        ),
        graph(
            "Bytes of IKE",
            "Inbound up, outbound down. Probes of the path are among them.",
            Query("8 * sum by (direction) (rate(xfrmctl_ike_bytes_total{G}[R]))", "{{direction}}"),
            unit=BITS,
            mirrored="^out$",
            width=6,
        ),
        graph(
            "Reloads",
            "In the time shown. refused: the file has a mistake, and the configuration before it stays in force.",
            Query("sum by (result) (increase(xfrmctl_config_reloads_total{G}[$__range]))", "{{result}}"),
            unit=COUNT,
            steps=True,
            width=6,
        ),
    ]


def _within(histogram: str, share: float, name: str) -> Query:
    return Query(f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{{G}}[R])))", f"{name} within")
