"""Path MTU and MSS: what each path carries and by whose word, what hosts are told, and who tries to lie about it."""

from tools.dashboards.parts import (
    BAD_FROM_ONE,
    BYTES,
    CHILDREN,
    CONNECTIONS,
    COUNT,
    GATEWAYS,
    GREEN,
    PACKETS,
    PER_SECOND,
    RED,
    SECONDS,
    YELLOW,
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
from tools.dashboards.words import ICMP_REASONS, as_table

UID = "xfrmctl-path-mtu"
FORGED = "unknown_spi|sequence|headers|ports|protocol|not_our_address|fits|below_floor"
"""Reasons that no honest router gives rise to."""

_TUNNEL = to("xfrmctl-tunnel", "gateway=instance", "connection=connection")
_STANDS = {"1": ("stands", GREEN), "0": ("gone", RED)}


def dashboard() -> Dashboard:
    """The dashboard."""
    return assembled(
        UID,
        "xfrmctl / Path MTU and MSS",
        "What each path carries and by whose word, the MTU and MSS that follow, and the ICMP errors that were believed "
        "and that were not.",
        [
            chooser("gateway", "Gateway", GATEWAYS),
            chooser("connection", "Connection", CONNECTIONS),
            chooser("child", "Child", CHILDREN),
        ],
        [
            Row("", _tiles()),
            Row("In force", [_now(), *_sizes()]),
            Row("How it was found", _search()),
            Row("ICMP errors about paths to peers", _icmp()),
            Row("Clamps, DF and fragments", _clamps()),
        ],
    )


def _tiles() -> list[Panel]:
    return [
        tile("Narrowest path", "The smallest outer path MTU.", Query("min(xfrmctl_path_mtu_bytes{C})"), unit=BYTES),
        tile(
            "Smallest inner MTU",
            "Below 1280 IPv6 is in trouble.",
            Query("min(xfrmctl_child_inner_mtu_bytes{K})"),
            unit=BYTES,
            steps=((None, RED), (1280, GREEN)),
        ),
        tile("Smallest MSS", "", Query("min(xfrmctl_child_mss_bytes{K})"), unit=BYTES),
        tile(
            "Sizes that are guesses",
            "Nobody has confirmed these paths: no answered probe, no router's word.",
            Query('count(xfrmctl_path_mtu_info{C, confidence="assumed"}) or vector(0)'),
            steps=((None, GREEN), (1, YELLOW)),
        ),
        tile(
            "Narrow in silence",
            "Paths that carry less than our own link, found by probes: no router says so. The tunnels work; ICMP "
            "errors are filtered on the way.",
            Query(
                "count(xfrmctl_path_mtu_bytes{C} < xfrmctl_path_link_mtu_bytes{C} "
                'and on (instance, connection) xfrmctl_path_mtu_info{C, source="probe"}) or vector(0)'
            ),
            steps=((None, GREEN), (1, YELLOW)),
        ),
        tile(
            "Forged ICMP errors",
            "A second. None of them was believed.",
            Query(f'sum(rate(xfrmctl_icmp_errors_judged_total{{G, reason=~"{FORGED}"}}[R])) or vector(0)'),
            unit=PER_SECOND,
            steps=((None, GREEN), (0.1, YELLOW), (10, RED)),
        ),
        tile(
            "IPv6 lost",
            "Children through which less than 1280 bytes fit, and nothing helps; `xfrmctl show` says why.",
            Query("sum(xfrmctl_child_ipv6_lost{K})"),
            steps=BAD_FROM_ONE,
        ),
        tile(
            "Clamps that do not stand",
            "Another program has removed or shadowed them.",
            Query("sum(1 - xfrmctl_clamp_standing{G})"),
            steps=BAD_FROM_ONE,
        ),
    ]


def _now() -> Panel:
    by = "by (instance, connection, child)"
    return listing(
        "In force now",
        "Path MTU: largest outer packet. Source: probe (an answered one of that size), icmp (a router, checked), link "
        "(our own interface), config. Inner MTU and MSS follow from it by arithmetic: `xfrmctl mtu`.",
        [
            Query(
                "xfrmctl_child_outer_mtu_bytes{K} * on (instance, connection) group_left (source, confidence, carrier) "
                "xfrmctl_path_mtu_info{C}"
            ),
            Query(f"min {by} (xfrmctl_child_inner_mtu_bytes{{K}})"),
            Query(f'min {by} (xfrmctl_child_mss_bytes{{K, family="ipv4"}})'),
            Query(f'min {by} (xfrmctl_child_mss_bytes{{K, family="ipv6"}})'),
            Query(
                "max by (instance, connection, child) (xfrmctl_child_up{K} * on (instance, connection) group_left () "
                "xfrmctl_path_mtu_age_seconds{C})"
            ),
        ],
        [
            Column("instance", "Gateway"),
            Column("connection", "Connection", link=_TUNNEL),
            Column("child", "Child"),
            Column("Value #A", "Path MTU", unit=BYTES),
            Column("source", "Source"),
            Column("confidence", "Confidence"),
            Column("carrier", "Probed in"),
            Column("Value #B", "Inner MTU", unit=BYTES),
            Column("Value #C", "MSS, IPv4", unit=BYTES),
            Column("Value #D", "MSS, IPv6", unit=BYTES),
            Column("Value #E", "Believed since", unit=SECONDS),
        ],
        hidden=("job",),
    )


def _sizes() -> list[Panel]:
    return [
        graph(
            "Path MTU",
            "Largest outer packet. A step down is a route that has changed, or a black hole that was found; a step up "
            "has been found by ageing.",
            Query("xfrmctl_path_mtu_bytes{C}", "{{instance}} {{connection}}"),
            unit=BYTES,
            steps=True,
            least=None,
            width=6,
        ),
        graph(
            "Lost between first link and path",
            "How much less the path carries than our own link; and how much more the way back, the peer says.",
            Query("xfrmctl_path_link_mtu_bytes{C} - xfrmctl_path_mtu_bytes{C}", "{{instance}} {{connection}}"),
            Query("xfrmctl_path_peer_mtu_bytes{C} - xfrmctl_path_mtu_bytes{C}", "{{instance}} {{connection}} back"),
            unit=BYTES,
            steps=True,
            least=None,
            width=6,
        ),
        graph(
            "Inner MTU",
            "Largest packet of the hosts that fits.",
            Query("xfrmctl_child_inner_mtu_bytes{K}", "{{instance}} {{connection}} {{child}}"),
            unit=BYTES,
            steps=True,
            least=None,
            width=6,
        ),
        graph(
            "MSS",
            "What the clamp lets SYNs say, both directions.",
            Query("xfrmctl_child_mss_bytes{K}", "{{instance}} {{connection}} {{child}} {{family}}"),
            unit=BYTES,
            steps=True,
            least=None,
            width=6,
        ),
    ]


def _search() -> list[Panel]:
    return [
        graph(
            "Probes by outcome",
            "Lost ones are how a size is found: one larger than the path. Silent: not even a small "
            "one came back, the peer is away.",
            Query("sum by (outcome) (rate(xfrmctl_path_mtu_probes_total{G}[R]))", "{{outcome}}"),
            Query("sum(rate(xfrmctl_path_carriers_differ_total{G}[R]))", "through in UDP, not as ESP"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        graph(
            "Changes of size, by reason",
            "black_hole: large packets vanished without a word. aged: looked at again. icmp: a router has told.",
            Query(
                "sum by (instance, reason) (increase(xfrmctl_path_mtu_changes_total{G}[R]))", "{{instance}} {{reason}}"
            ),
            unit=COUNT,
            stacked=True,
            width=8,
        ),
        graph(
            "Age of what is believed",
            "Old and confirmed is good. It is looked at again when it has aged.",
            Query("xfrmctl_path_mtu_age_seconds{C}", "{{instance}} {{connection}}"),
            unit=SECONDS,
            width=8,
        ),
    ]


def _icmp() -> list[Panel]:
    judged = "xfrmctl_icmp_errors_judged_total"
    return [
        graph(
            "Passed on",
            "They prove that a packet of ours got lost, or are about somebody who is no peer.",
            Query(f'sum by (instance, reason) (rate({judged}{{G, verdict="accepted"}}[R]))', "{{instance}} {{reason}}"),
            unit=PER_SECOND,
            stacked=True,
            width=6,
        ),
        graph(
            "Dropped",
            "They prove nothing, and the kernel never sees them. A flood of them is an attack that fails.",
            Query(f'sum by (instance, reason) (rate({judged}{{G, verdict="dropped"}}[R]))', "{{instance}} {{reason}}"),
            unit=PER_SECOND,
            stacked=True,
            width=6,
        ),
        graph(
            "What believed ones did",
            "lowered: a new size at once, confirmed by a probe a moment later.",
            Query("sum by (instance, verdict) (rate(xfrmctl_path_mtu_errors_total{G}[R]))", "{{instance}} {{verdict}}"),
            unit=PER_SECOND,
            stacked=True,
            width=6,
        ),
        note("What the reasons mean", as_table(ICMP_REASONS, "reason"), width=6),
    ]


def _clamps() -> list[Panel]:
    return [
        timeline(
            "Clamps",
            "One rule for each MSS that is in force; gone: somebody has removed or shadowed it.",
            Query("xfrmctl_clamp_standing{G}", "{{instance}} {{family}} {{mss}}"),
            words=_STANDS,
            width=6,
        ),
        graph(
            "SYNs that clamps looked at",
            "None, while TCP flows through tunnels: a rule takes the packets away before.",
            Query(
                "sum by (instance, family, mss) (rate(xfrmctl_clamp_packets_total{G}[R]))",
                "{{instance}} {{family}} {{mss}}",
            ),
            unit=PACKETS,
            width=6,
        ),
        graph(
            "DF bits changed",
            "Cleared inside (oversize: fragment), set outside (df: set).",
            Query("sum by (instance, what) (rate(xfrmctl_df_changed_total{G}[R]))", "{{instance}} {{what}}"),
            unit=PACKETS,
            width=6,
        ),
        graph(
            "IP fragments that failed",
            "A fragment has not come, or memory was short: the whole host's.",
            Query(
                "sum by (instance, family) (rate(xfrmctl_ip_reassembly_failed_total{G}[R]))", "{{instance}} {{family}}"
            ),
            unit=PACKETS,
            width=6,
        ),
    ]
