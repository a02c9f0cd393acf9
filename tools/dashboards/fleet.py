"""All gateways at a glance: which tunnel is down, why, and where to look next."""

from tools.dashboards.parts import (
    BAD_FROM_ONE,
    BITS,
    BYTES,
    GATEWAYS,
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
    tile,
    timeline,
    to,
)

UID = "xfrmctl-fleet"
FAILING = "xfrmctl_connection_up{G} == 0 and xfrmctl_connection_attempts{G} > 0"
_GATEWAY = to("xfrmctl-gateway", "gateway=instance")
_TUNNEL = to("xfrmctl-tunnel", "gateway=instance", "connection=connection")


def dashboard() -> Dashboard:
    """The dashboard."""
    return assembled(
        UID,
        "xfrmctl / Fleet",
        "All gateways: what is down and why, what fires, what is carried. It wants the recording rules of "
        "deploy/prometheus/rules.",
        [chooser("gateway", "Gateway", GATEWAYS)],
        [Row("", _tiles()), Row("What is wrong", _wrong()), Row("Gateways", [_gateways()]), Row("Over time", _times())],
    )


def _tiles() -> list[Panel]:
    return [
        tile("Gateways that answer", "Daemons that Prometheus reaches.", Query("sum(up{J})")),
        tile(
            "Gateways that do not",
            "Prometheus does not reach these: daemon, host or network is down. On the host: xfrmctl diagnose.",
            Query("sum(1 - up{J})"),
            steps=BAD_FROM_ONE,
        ),
        tile(
            "Connections", "Configured on all gateways, up or not.", Query("sum(instance:xfrmctl_connections:count{G})")
        ),
        tile(
            "Connections up",
            "Every child of these has its SAs. One with start: trap and no traffic is rightly not among them.",
            Query("sum(instance:xfrmctl_connections_up:sum{G})"),
        ),
        tile(
            "Connections that fail",
            "They negotiate, without success. The table below says why.",
            Query("sum(instance:xfrmctl_connections_failing:count{G})"),
            steps=BAD_FROM_ONE,
        ),
        tile(
            "Alerts",
            "Alerts of deploy/prometheus/rules that fire now; docs/alerts.md says what to do.",
            Query('count(ALERTS{alertname=~"Xfrmctl.*", alertstate="firing", instance=~"$gateway|"}) or vector(0)'),
            steps=BAD_FROM_ONE,
        ),
        tile(
            "Narrowest path",
            "The smallest outer path MTU of all tunnels.",
            Query("min(instance:xfrmctl_path_mtu_bytes:min{G})"),
            unit=BYTES,
        ),
        tile(
            "Carried",
            "Inner packets, both directions.",
            Query("8 * sum(instance_direction:xfrmctl_child_bytes:rate5m{G})"),
            unit=BITS,
            history=True,
        ),
    ]


def _wrong() -> list[Panel]:
    why = "time() - max by (instance, connection, code) (xfrmctl_connection_last_failure_timestamp_seconds{G})"
    return [
        listing(
            "Connections that fail, and why",
            "What each connection that fails now has failed of last. `xfrmctl "
            "diagnose CONNECTION` on the gateway names the cause and the cure for both ends.",
            [Query(f"({why}) and on (instance, connection) ({FAILING})")],
            [
                Column("instance", "Gateway", link=_GATEWAY),
                Column("connection", "Connection", link=_TUNNEL),
                Column("code", "Reason"),
                Column("Value", "Ago", unit=SECONDS),
            ],
            width=12,
        ),
        listing(
            "Alerts that fire",
            "What to do about each is in docs/alerts.md.",
            [Query('ALERTS{alertname=~"Xfrmctl.*", alertstate="firing", instance=~"$gateway|"}')],
            [
                Column("alertname", "Alert"),
                Column("severity", "Severity"),
                Column("instance", "Gateway", link=_GATEWAY),
                Column("connection", "Connection", link=_TUNNEL),
            ],
            width=12,
            hidden=("Value", "__name__", "alertstate", "job"),
        ),
        timeline(
            "Connections that were not up all the time",
            "Only connections that have been down at some moment of the time shown; empty is good.",
            Query(
                "xfrmctl_connection_up{G} and on (instance, connection) "
                "(min_over_time(xfrmctl_connection_up{G}[$__range] @ end()) == 0)",
                "{{instance}} {{connection}}",
            ),
        ),
    ]


def _gateways() -> Panel:
    return listing(
        "Gateways",
        "Follow a name to the gateway's own dashboard.",
        [
            Query("max by (instance) (up{J})"),
            Query("max by (instance, version) (xfrmctl_build_info{G})"),
            Query("max by (instance, hash) (xfrmctl_config_info{G})"),
            Query("sum by (instance) (instance:xfrmctl_connections:count{G})"),
            Query("sum by (instance) (instance:xfrmctl_connections_up:sum{G})"),
            Query("sum by (instance) (instance:xfrmctl_connections_failing:count{G})"),
            Query("max by (instance) (xfrmctl_config_reload_ok{G})"),
            Query("max by (instance) (xfrmctl_kernel_problems{G})"),
            Query("1000 * max by (instance) (xfrmctl_start_time_seconds{G})"),
            Query("8 * sum by (instance) (instance_direction:xfrmctl_child_bytes:rate5m{G})"),
        ],
        [
            Column("instance", "Gateway", link=_GATEWAY),
            Column("Value #A", "Answers", words=UP_DOWN),
            Column("version", "Version"),
            Column("hash", "Configuration"),
            Column("Value #D", "Connections"),
            Column("Value #E", "Up"),
            Column("Value #F", "Fail"),
            Column("Value #G", "Last reload worked", words=YES_NO),
            Column("Value #H", "Kernel problems"),
            Column("Value #I", "Started", unit="dateTimeFromNow"),
            Column("Value #J", "Carried", unit=BITS),
        ],
        hidden=("Value #B", "Value #C"),
    )


def _times() -> list[Panel]:
    return [
        graph(
            "Carried by gateway",
            "Inner packets; inbound up, outbound down.",
            Query(
                "8 * sum by (instance, direction) (instance_direction:xfrmctl_child_bytes:rate5m{G})",
                "{{instance}} {{direction}}",
            ),
            unit=BITS,
            mirrored=" out$",
        ),
        graph(
            "Negotiations that failed, by reason",
            "A burst after a change of configuration is normal at most once. Reasons are those of `xfrmctl show`.",
            Query("sum by (code) (instance_code:xfrmctl_negotiation_failures:rate5m{G})", "{{code}}"),
            unit=PER_SECOND,
            stacked=True,
        ),
        graph(
            "Narrowest path by gateway",
            "The smallest outer path MTU. A step down is a route that has changed, or a black hole that was found.",
            Query("instance:xfrmctl_path_mtu_bytes:min{G}", "{{instance}}"),
            unit=BYTES,
            steps=True,
            least=None,
        ),
        graph(
            "Packets that tunnels dropped",
            "Replayed, too late for the window, or changed on the way.",
            Query("sum by (instance, why) (instance_why:xfrmctl_child_drops:rate5m{G})", "{{instance}} {{why}}"),
            unit=PER_SECOND,
            stacked=True,
        ),
        graph(
            "Kernel errors, by reason",
            "The host's /proc/net/xfrm_stat; the gateway's dashboard explains the names.",
            Query("sum by (name) (instance_name:xfrmctl_xfrm_stat:rate5m{G}) > 0", "{{name}}"),
            unit=PER_SECOND,
            stacked=True,
        ),
        graph(
            "ICMP errors that were not believed",
            "Errors about paths to our peers that prove nothing. Many, from outside, are an attack that has failed.",
            Query(
                "sum by (instance, reason) (instance_reason:xfrmctl_icmp_errors_dropped:rate5m{G})",
                "{{instance}} {{reason}}",
            ),
            unit=PER_SECOND,
            stacked=True,
        ),
    ]
