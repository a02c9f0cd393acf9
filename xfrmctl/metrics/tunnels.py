"""Tunnel devices as metric families. Every configured one has its series, there or not."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from xfrmctl.model.snapshot import Snapshot

LABELS = ("connection", "child", "interface")


def tunnels(snapshot: Snapshot) -> Iterator[Metric]:
    """All families of this file."""
    up = GaugeMetricFamily("xfrmctl_tunnel_up", "1 while the tunnel device of a child is up.", labels=LABELS)
    mtu = GaugeMetricFamily("xfrmctl_tunnel_mtu_bytes", "MTU of a tunnel device as the kernel has it.", labels=LABELS)
    recursive = GaugeMetricFamily(
        "xfrmctl_tunnel_recursive_route",
        "1 while a route of somebody's to the far end of a tunnel leads into the tunnel itself.",
        labels=LABELS,
    )
    looped = CounterMetricFamily(
        "xfrmctl_tunnel_looped_packets",
        "Packets led into the tunnel device that had sent them, and dropped by the kernel.",
        labels=LABELS,
    )
    keepalives = CounterMetricFamily(
        "xfrmctl_tunnel_keepalives", "GRE keepalives, by what became of them.", labels=(*LABELS, "what")
    )
    for connection in snapshot.connections:
        for child in connection.children:
            if child.tunnel is None:
                continue
            key = (connection.name, child.name, child.tunnel.interface)
            up.add_metric(key, int(child.tunnel.state == "up"))
            recursive.add_metric(key, int(child.tunnel.recursive_route))
            looped.add_metric(key, child.tunnel.looped)
            for what, count in (
                ("sent", child.tunnel.keepalives_sent),
                ("answered", child.tunnel.keepalives_answered),
            ):
                keepalives.add_metric((*key, what), count)
            if child.tunnel.mtu is not None:
                mtu.add_metric(key, child.tunnel.mtu)
    yield from (up, mtu, recursive, looped, keepalives)
