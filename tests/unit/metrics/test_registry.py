"""Every family that a scrape can have: somebody makes it move here, and all labels speak one language."""

import asyncio
import re
from dataclasses import replace

import pytest
from prometheus_client.samples import Sample

from tests.unit.control.gateway_values import CHILD, IKE, SNAPSHOT, UP, configured
from tests.unit.deploy.prometheus import promtool
from tests.unit.metrics.scraping import metrics_of, scrape, text, value
from tests.unit.metrics.test_counters import COUNTED
from xfrmctl.metrics import happenings
from xfrmctl.metrics.family import Kind
from xfrmctl.metrics.scrape import FAMILIES, Metrics
from xfrmctl.model.snapshot import QueueInfo, ReassemblyInfo, Snapshot, TunnelInfo

QUEUE = QueueInfo(waiting=3, seen=90, dropped_full=4, dropped_copy=5)
TUNNEL = TunnelInfo(
    interface="gre0",
    type="gre",
    state="up",
    mtu=1300,
    looped=6,
    recursive_route=True,
    keepalive="answered",
    keepalives_sent=8,
    keepalives_answered=7,
)
IPV6 = ReassemblyInfo(family=6, fragments=1, packets=1, failed=1, timed_out=1, made=1, memory=1, memory_limit=1)


def full() -> Snapshot:
    """A gateway that has one of everything."""
    offloaded = replace(CHILD.inbound, offload="crypto on eth0", soft_expires_in_s=3000.0)
    gre = replace(
        UP,
        name="gre",
        certificate_expires_at=1_790_000_000.0,
        children=[replace(configured("lan", "up"), tunnel=TUNNEL)],
        ike_sas=[
            replace(
                IKE, children=[replace(CHILD, inbound=offloaded, outbound=replace(CHILD.outbound, offload="no: old"))]
            )
        ],
    )
    many = replace(UP, name="road", peers=1, ike_sas=[replace(IKE, children=[replace(CHILD, peer="fqdn:a.example")])])
    kernel = replace(SNAPSHOT.kernel, icmp_queue=QUEUE, reassembly=[*SNAPSHOT.kernel.reassembly, IPV6])
    return replace(SNAPSHOT, connections=[*SNAPSHOT.connections, gre, many], kernel=kernel)


def everything() -> Metrics:
    metrics = metrics_of(full())
    for events, *_ in COUNTED:
        for event in events:
            metrics.observe(event)
    return metrics


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    async def run() -> list[Sample]:
        metrics = everything()
        await scrape(metrics)  # the next one tells how long it took
        return await scrape(metrics)

    return asyncio.run(run())


def test_no_family_is_without_a_series(samples: list[Sample]) -> None:
    found = {s.name for s in samples}
    names = {f.name: f"{f.name}_count" if f.kind is Kind.HISTOGRAM else f.sample for f in FAMILIES}
    assert not {name for name, sample in names.items() if sample not in found}


def test_every_happening_is_made_to_happen() -> None:
    moved = {name for _, name, _, expected in COUNTED if expected}
    for family in happenings.FAMILIES:
        name = family.sample.removeprefix("xfrmctl_")
        assert family is happenings.STEPS or any(m.startswith(name) for m in moved), family.name


ONE_OF = {
    "family": {"ipv4", "ipv6"},
    "direction": {"in", "out"},
    "role": {"initiator", "responder"},
    "result": {"ok", "refused"},
    "nat": {"none", "local", "remote", "both"},
    "encap": {"", "none", "udp"},
}
NAMES = {"connection", "child", "interface", "version", "hash", "suite", "le", "peer", "reqid", "mss", "name"}
"""Labels whose values are names of the configuration, of the kernel or of IANA, or numbers."""


def test_labels_say_the_same_thing_in_the_same_word(samples: list[Sample]) -> None:
    for sample in samples:
        for label, word in sample.labels.items():
            if label in ONE_OF:
                assert word in ONE_OF[label], sample
            elif label not in NAMES:
                assert re.fullmatch(r"[a-z]+[0-9]*(_[a-z0-9]+)*", word), sample
    assert {s.labels["family"] for s in samples if "family" in s.labels} == ONE_OF["family"]


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("icmp_queue_packets", {}, 3),
        ("icmp_queue_seen_total", {}, 90),
        ("icmp_queue_dropped_total", {"reason": "full"}, 4),
        ("icmp_queue_dropped_total", {"reason": "copy"}, 5),
        ("certificate_expires_timestamp_seconds", {"connection": "gre"}, 1_790_000_000),
        ("connection_peers", {"connection": "road"}, 1),
        ("child_rekeys_in_seconds", {"connection": "gre", "child": "lan"}, 3000),
        ("child_offloaded", {"connection": "gre", "child": "lan", "direction": "in"}, 1),
        ("child_offloaded", {"connection": "gre", "child": "lan", "direction": "out"}, 0),
        ("tunnel_up", {"connection": "gre", "child": "lan", "interface": "gre0"}, 1),
        ("tunnel_mtu_bytes", {"connection": "gre", "child": "lan", "interface": "gre0"}, 1300),
        ("tunnel_recursive_route", {"connection": "gre", "child": "lan", "interface": "gre0"}, 1),
        ("tunnel_looped_packets_total", {"connection": "gre", "child": "lan", "interface": "gre0"}, 6),
        ("ip_fragments_received_total", {"family": "ipv6"}, 1),
    ],
)
def test_values_of_a_gateway_that_has_one_of_everything(
    samples: list[Sample], name: str, labels: dict[str, str], expected: float
) -> None:
    assert value(samples, f"xfrmctl_{name}", **labels) == expected


@pytest.mark.parametrize(("what", "expected"), [("sent", 8), ("answered", 7)])
def test_keepalives(samples: list[Sample], what: str, expected: float) -> None:
    where = {"connection": "gre", "child": "lan", "interface": "gre0"}
    assert value(samples, "xfrmctl_tunnel_keepalives_total", **where, what=what) == expected


def test_promtool_has_nothing_to_say_of_it() -> None:
    """Prometheus' own linter: types, units, names."""

    async def run() -> str:
        metrics = everything()
        await scrape(metrics)
        return await text(metrics)

    assert promtool("check", "metrics", given=asyncio.run(run())) == ""
