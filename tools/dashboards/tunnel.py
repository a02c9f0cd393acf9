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
    PACKETS,
    PER_SECOND,
    SECONDS,
    UP_DOWN,
    Dashboard,
    Panel,
    Query,
    Row,
    assembled,
    chooser,
    graph,
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
            "Failed attempts",
            "Since the last success.",
            Query("max(xfrmctl_connection_attempts{C})"),
            steps=BAD_FROM_ONE,
        ),
        tile("IKE SA since", "", Query("max(xfrmctl_ike_sa_age_seconds{C})"), unit=SECONDS),
        tile(
            "Path MTU",
            "Largest outer packet that the path carries.",
            Query("min(xfrmctl_path_mtu_bytes{C})"),
            unit=BYTES,
        ),
        tile(
            "By whose word",
            "Where the path MTU comes from: probe, icmp, link or config.",
            Query("xfrmctl_path_mtu_info{C}", "{{source}}, {{confidence}}"),
            name=True,
        ),
        tile(
            "Inner MTU",
            "Largest packet of the hosts that fits.",
            Query("min(xfrmctl_child_inner_mtu_bytes{K})"),
            unit=BYTES,
        ),
        tile(
            "MSS, IPv4",
            "What the clamp lets SYNs say.",
            Query('min(xfrmctl_child_mss_bytes{K, family="ipv4"})'),
            unit=BYTES,
        ),
        tile(
            "MSS, IPv6",
            "What the clamp lets SYNs say.",
            Query('min(xfrmctl_child_mss_bytes{K, family="ipv6"})'),
            unit=BYTES,
        ),
    ]


def _state() -> list[Panel]:
    return [
        timeline(
            "Children", "Green while a CHILD SA is installed.", Query("xfrmctl_child_up{K}", "{{child}}"), width=8
        ),
        graph(
            "Why negotiations failed",
            "How often in the time shown, by reason.",
            Query("sum by (code) (increase(xfrmctl_negotiation_failures_total{C}[$__range]))", "{{code}}"),
            unit=COUNT,
            steps=True,
            width=8,
        ),
        note("Ask the gateway", _DIAGNOSE),
        graph(
            "Silence",
            "Messages sent again, requests never answered: the path loses packets, or the peer is away.",
            Query("sum(rate(xfrmctl_retransmissions_total{C}[R]))", "sent again"),
            Query("sum(rate(xfrmctl_peer_silent_total{C}[R]))", "never answered"),
            Query("sum(rate(xfrmctl_retries_scheduled_total{C}[R]))", "put off"),
            unit=PER_SECOND,
            width=24,
            height=6,
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
            "They go together: the overhead of ESP lies between path MTU and inner MTU, and the headers "
            "of IP and TCP between that and the MSS.",
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
            "Lost: larger than the path, or the path loses packets.",
            Query("sum by (outcome) (xfrmctl_path_probes_total{C})", "{{outcome}}"),
            unit=COUNT,
            steps=True,
            width=6,
        ),
    ]


def _life() -> list[Panel]:
    return [
        graph(
            "CHILD SAs that came and went",
            "Installed up, ended down, by reason. `rekeyed` is the normal end.",
            Query("sum(increase(xfrmctl_child_sas_installed_total{C}[R]))", "installed"),
            Query("sum by (code) (increase(xfrmctl_child_sas_removed_total{C}[R]))", "ended: {{code}}"),
            unit=COUNT,
            mirrored="^ended",
            width=8,
        ),
        graph(
            "IKE SAs that came and went",
            "Established up, ended down, by reason.",
            Query("sum(increase(xfrmctl_ike_sas_established_total{C}[R]))", "established"),
            Query("sum by (code) (increase(xfrmctl_ike_sas_closed_total{C}[R]))", "ended: {{code}}"),
            Query("sum(increase(xfrmctl_path_changes_total{C}[R]))", "moved to other addresses"),
            unit=COUNT,
            mirrored="^ended",
            width=8,
        ),
        graph(
            "Time to the hard limit",
            "A saw: each rekey starts it again. At zero packets are lost.",
            Query("min by (child) (xfrmctl_child_expires_in_seconds{K})", "{{child}}"),
            unit=SECONDS,
            width=8,
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
