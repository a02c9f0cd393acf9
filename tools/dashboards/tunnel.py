"""One tunnel: is it up, why not, what does it carry, which sizes are in force, how do its SAs live."""

from tools.dashboards.parts import (
    BAD_FROM_ONE,
    BITS,
    BYTES,
    CHILDREN,
    CONNECTIONS,
    COUNT,
    GATEWAYS,
    GOOD_AT_ONE,
    GREEN,
    PACKETS,
    PER_SECOND,
    RED,
    SECONDS,
    UP_DOWN,
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
)

UID = "xfrmctl-tunnel"
_DIAGNOSE = """\
On the gateway:

    xfrmctl diagnose $connection
    xfrmctl show $connection

`diagnose` names the fault, shows its evidence (the rule, the counter, the answer itself) and gives lines to write at
both ends. It is the same fault that the alerts speak of: docs/alerts.md, docs/findings.md.
"""


def dashboard() -> Dashboard:
    """The dashboard."""
    return assembled(
        UID,
        "xfrmctl / Tunnel",
        "One connection and its children: state and reasons, traffic, sizes in force, the life of its SAs.",
        [
            chooser("gateway", "Gateway", GATEWAYS, several=False),
            chooser("connection", "Connection", CONNECTIONS, several=False),
            chooser("child", "Child", CHILDREN),
        ],
        [
            Row("", _tiles()),
            Row("Up or down, and why", _state()),
            Row("What it carries", _traffic()),
            Row("Sizes", _sizes()),
            Row("Life of the SAs", _life()),
            Row("Tunnel devices, and connections with many peers", _more()),
        ],
    )


def _tiles() -> list[Panel]:
    return [
        tile(
            "State",
            "Up while every child has its SAs.",
            Query("min(xfrmctl_connection_up{C})"),
            steps=GOOD_AT_ONE,
            words=UP_DOWN,
        ),
        tile(
            "In a word",
            "waiting: for the next try. trap: for the first packet. partial: a child is missing.",
            Query("xfrmctl_connection_state_info{C}", "{{state}}"),
            name=True,
        ),
        tile(
            "Failed attempts",
            "Since the last success.",
            Query("max(xfrmctl_connection_attempts{C})"),
            steps=BAD_FROM_ONE,
        ),
        tile("IKE SA since", "", Query("max(xfrmctl_ike_sa_age_seconds{C})"), unit=SECONDS),
        tile(
            "Peer heard",
            "How long ago. Beyond twice ike.dpd: it answers late or not at all.",
            Query("min(xfrmctl_ike_sa_last_heard_seconds{C})"),
            unit=SECONDS,
        ),
        tile(
            "IKE suite, NAT",
            "Of the newest IKE SA. With a NAT, ESP goes in UDP.",
            Query("xfrmctl_ike_sa_info{C}", "{{suite}}, NAT: {{nat}}"),
            name=True,
            width=6,
        ),
        tile(
            "Our certificate ends in",
            "none: the connection uses a key.",
            Query("min(xfrmctl_certificate_expires_timestamp_seconds{C}) - time()"),
            unit=SECONDS,
            steps=((None, RED), (14 * 86400, GREEN)),
        ),
        tile(
            "Path MTU",
            "Largest outer packet that the path carries.",
            Query("min(xfrmctl_path_mtu_bytes{C})"),
            unit=BYTES,
            width=4,
        ),
        tile(
            "By whose word",
            "Where the path MTU is from, and how sure it is.",
            Query("xfrmctl_path_mtu_info{C}", "{{source}}, {{confidence}}"),
            name=True,
            width=5,
        ),
        tile(
            "The other direction",
            "What a peer of ours takes it to carry.",
            Query("min(xfrmctl_path_peer_mtu_bytes{C})"),
            unit=BYTES,
        ),
        tile(
            "Inner MTU",
            "Largest packet of the hosts that fits.",
            Query("min(xfrmctl_child_inner_mtu_bytes{K})"),
            unit=BYTES,
            width=4,
        ),
        tile(
            "MSS, IPv4",
            "What the clamp lets SYNs say.",
            Query('min(xfrmctl_child_mss_bytes{K, family="ipv4"})'),
            unit=BYTES,
            width=4,
        ),
        tile(
            "MSS, IPv6",
            "What the clamp lets SYNs say.",
            Query('min(xfrmctl_child_mss_bytes{K, family="ipv6"})'),
            unit=BYTES,
            width=4,
        ),
    ]


def _state() -> list[Panel]:
    return [
        timeline(
            "Children", "Green while a CHILD SA is installed.", Query("xfrmctl_child_up{K}", "{{child}}"), width=8
        ),
        listing(
            "What it failed of last",
            "Reasons are those of `xfrmctl show`, which tells cause and cure.",
            [Query("time() - max by (connection, code) (xfrmctl_connection_last_failure_timestamp_seconds{C})")],
            [Column("connection", "Connection"), Column("code", "Reason"), Column("Value", "Ago", unit=SECONDS)],
            width=8,
        ),
        note("Ask the gateway", _DIAGNOSE),
        graph(
            "Why negotiations failed",
            "How often in the time shown, by our reason and by the Notify that was sent or received.",
            Query(
                "sum by (code, notify) (increase(xfrmctl_negotiation_failures_total{C}[$__range]))",
                "{{code}} ({{notify}})",
            ),
            unit=COUNT,
            steps=True,
            height=7,
        ),
        graph(
            "Silence",
            "Messages sent again, requests never answered, liveness checks: loss, or the peer is away.",
            Query("sum(rate(xfrmctl_retransmissions_total{C}[R]))", "sent again"),
            Query("sum(rate(xfrmctl_peer_silent_total{C}[R]))", "never answered"),
            Query("sum(rate(xfrmctl_retries_scheduled_total{C}[R]))", "put off"),
            Query("sum by (outcome) (rate(xfrmctl_liveness_checks_total{C}[R]))", "liveness {{outcome}}"),
            unit=PER_SECOND,
            height=7,
        ),
        listing(
            "Children now",
            "protection: what holds their packets now. encap udp: ESP goes in UDP.",
            [
                Query("xfrmctl_child_info{K}"),
                Query("max by (connection, child) (xfrmctl_child_sa_age_seconds{K})"),
                Query("min by (connection, child) (xfrmctl_child_rekeys_in_seconds{K})"),
            ],
            [
                Column("child", "Child"),
                Column("state", "State"),
                Column("protection", "Protection"),
                Column("mode", "Mode"),
                Column("dataplane", "Data plane"),
                Column("suite", "Suite"),
                Column("encap", "Encapsulation"),
                Column("Value #B", "SA since", unit=SECONDS),
                Column("Value #C", "Rekeyed in", unit=SECONDS),
            ],
            height=6,
            hidden=("Value #A", "__name__", "job", "instance", "connection"),
        ),
    ]


def _traffic() -> list[Panel]:
    return [
        graph(
            "Bits",
            "Inner packets; inbound up, outbound down.",
            Query("8 * sum by (child, direction) (rate(xfrmctl_child_bytes_total{K}[R]))", "{{child}} {{direction}}"),
            unit=BITS,
            mirrored=" out$",
            width=6,
        ),
        graph(
            "Packets",
            "Inbound up, outbound down. Only out: ESP is blocked on the way, or nobody answers.",
            Query("sum by (child, direction) (rate(xfrmctl_child_packets_total{K}[R]))", "{{child}} {{direction}}"),
            unit=PACKETS,
            mirrored=" out$",
            width=6,
        ),
        graph(
            "Mean packet",
            "Close to the inner MTU: bulk data that fits. Suddenly small: large packets vanish.",
            Query(
                "sum by (child, direction) (rate(xfrmctl_child_bytes_total{K}[R])) "
                "/ sum by (child, direction) (rate(xfrmctl_child_packets_total{K}[R])) > 0",
                "{{child}} {{direction}}",
            ),
            unit=BYTES,
            width=6,
        ),
        graph(
            "Dropped",
            "Replayed: came before. Late: older than the replay window, the path reorders (a larger "
            "replay_window, or no QoS on ESP). Integrity: changed on the way, or forged.",
            Query("sum by (child) (rate(xfrmctl_child_replay_drops_total{K}[R]))", "{{child}} replayed"),
            Query("sum by (child) (rate(xfrmctl_child_late_drops_total{K}[R]))", "{{child}} late"),
            Query("sum by (child) (rate(xfrmctl_child_integrity_failures_total{K}[R]))", "{{child}} integrity"),
            unit=PER_SECOND,
            stacked=True,
            width=6,
        ),
    ]


def _sizes() -> list[Panel]:
    return [
        graph(
            "MTU and MSS",
            "ESP's overhead lies between path MTU and inner MTU, the headers of IP and TCP between that and the MSS.",
            Query("max(xfrmctl_path_link_mtu_bytes{C})", "first link"),
            Query("min by (child) (xfrmctl_child_outer_mtu_bytes{K})", "{{child}} path MTU"),
            Query("min by (child) (xfrmctl_child_inner_mtu_bytes{K})", "{{child}} inner MTU"),
            Query("min by (child, family) (xfrmctl_child_mss_bytes{K})", "{{child}} MSS {{family}}"),
            unit=BYTES,
            steps=True,
            least=None,
        ),
        graph(
            "Age of what is believed of the path",
            "It is looked at again when it has aged, or when packets get lost.",
            Query("max(xfrmctl_path_mtu_age_seconds{C})", "age"),
            unit=SECONDS,
            width=6,
        ),
        graph(
            "Probes of the path",
            "Lost ones are how a size is found; all of them lost: the path is dead.",
            Query("sum by (outcome) (rate(xfrmctl_path_probes_total{C}[R]))", "{{outcome}}"),
            unit=PER_SECOND,
            width=6,
        ),
    ]


def _life() -> list[Panel]:
    return [
        graph(
            "CHILD SAs that came and went",
            "Installed up, ended down, by reason. `rekeyed` is the normal end; lifetime_expired lost packets.",
            Query("sum(increase(xfrmctl_child_sas_installed_total{C}[R]))", "installed"),
            Query("sum by (code) (increase(xfrmctl_child_sas_removed_total{C}[R]))", "ended: {{code}}"),
            unit=COUNT,
            mirrored="^ended",
            width=6,
        ),
        graph(
            "IKE SAs that came and went",
            "Established up, ended down, by reason.",
            Query("sum(increase(xfrmctl_ike_sas_established_total{C}[R]))", "established"),
            Query("sum by (code) (increase(xfrmctl_ike_sas_closed_total{C}[R]))", "ended: {{code}}"),
            Query("sum(increase(xfrmctl_path_changes_total{C}[R]))", "moved to other addresses"),
            unit=COUNT,
            mirrored="^ended",
            width=6,
        ),
        graph(
            "Rekeys",
            "By what got new keys and who asked. Collisions: both at once; harmless, and different lifetimes help.",
            Query("sum by (what, role) (increase(xfrmctl_rekeys_total{C}[R]))", "{{what}}, as {{role}}"),
            Query("sum by (what) (increase(xfrmctl_rekey_collisions_total{C}[R]))", "{{what}} collisions"),
            unit=COUNT,
            width=6,
        ),
        graph(
            "Time to rekey and to the hard limit",
            "Saws: each rekey starts them again. At the hard limit packets are lost.",
            Query("min by (child) (xfrmctl_child_rekeys_in_seconds{K})", "{{child}} rekeyed in"),
            Query("min by (child) (xfrmctl_child_expires_in_seconds{K})", "{{child}} ends in"),
            unit=SECONDS,
            width=6,
        ),
    ]


def _more() -> list[Panel]:
    return [
        timeline(
            "Tunnel devices",
            "GRE and IP in IP. Down: no SA, or keepalives are not answered.",
            Query("xfrmctl_tunnel_up{K}", "{{child}} {{interface}}"),
            width=6,
        ),
        graph(
            "Keepalives and loops",
            "A route to the far end that leads into the tunnel itself loops packets.",
            Query("sum by (interface, what) (rate(xfrmctl_tunnel_keepalives_total{K}[R]))", "{{interface}} {{what}}"),
            Query("sum by (interface) (rate(xfrmctl_tunnel_looped_packets_total{K}[R]))", "{{interface}} looped"),
            Query("max by (interface) (xfrmctl_tunnel_recursive_route{K})", "{{interface}} route into itself"),
            unit=PER_SECOND,
            width=6,
        ),
        graph(
            "Peers",
            "Of a connection that serves whoever comes with the right proof.",
            Query("sum by (connection) (xfrmctl_connection_peers{C})", "{{connection}}"),
            unit=COUNT,
            steps=True,
            width=6,
        ),
        graph(
            "Peers that carry most",
            "The ten that do; both directions.",
            Query("8 * topk(10, sum by (peer) (rate(xfrmctl_peer_bytes_total{K}[R])))", "{{peer}}"),
            unit=BITS,
            width=6,
        ),
    ]
