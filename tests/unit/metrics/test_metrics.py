"""What Prometheus would see: a real scrape, parsed by the official parser; counters that never go back."""

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.unit.control.gateway_values import DOWN, SNAPSHOT, UP, with_counters
from xfrmctl.metrics.accumulate import Accumulator
from xfrmctl.metrics.counters import MAX_REASONS
from xfrmctl.metrics.endpoint import EndpointError, Metrics, MetricsEndpoint
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import (
    CookieDemanded,
    DatagramDropped,
    Event,
    IkeSaEstablished,
    MessageSent,
    NegotiationFailed,
    PeerSilent,
    RetryScheduled,
)
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import Encr, ExchangeType, ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.snapshot import Snapshot
from xfrmctl.model.suite import Suite

PEER = Endpoint(ip_address("192.0.2.2"), 500)
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def source(*snapshots: Snapshot) -> Callable[[], Awaitable[Snapshot]]:
    """One snapshot a scrape; the last one for ever."""
    waiting = list(snapshots)

    async def now() -> Snapshot:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return now


async def scrape(metrics: Metrics) -> list[Sample]:
    body, _ = await metrics.render()
    return [s for family in text_string_to_metric_families(body.decode()) for s in family.samples]


def value(samples: list[Sample], family: str, /, **labels: str) -> float | None:
    found = [s.value for s in samples if s.name == family and s.labels == labels]
    assert len(found) <= 1, found
    return found[0] if found else None


def scraped(*snapshots: Snapshot) -> list[list[Sample]]:
    """The samples of as many scrapes as there are snapshots."""

    async def run() -> list[list[Sample]]:
        metrics = Metrics(source(*snapshots))
        return [await scrape(metrics) for _ in snapshots]

    return asyncio.run(run())


def test_every_configured_connection_has_its_series() -> None:
    (samples,) = scraped(SNAPSHOT)
    assert value(samples, "xfrmctl_connection_up", connection="branch-7") == 1
    assert value(samples, "xfrmctl_connection_up", connection="branch-8") == 0
    assert value(samples, "xfrmctl_child_up", connection="branch-8", child="office") == 0
    for direction in ("in", "out"):
        where = {"connection": "branch-8", "child": "office", "direction": direction}
        assert value(samples, "xfrmctl_child_bytes_total", **where) == 0
    assert value(samples, "xfrmctl_connection_attempts", connection="branch-8") == 3


def test_values_of_the_snapshot() -> None:
    (samples,) = scraped(SNAPSHOT)
    lan = {"connection": "branch-7", "child": "lan"}
    assert value(samples, "xfrmctl_child_bytes_total", **lan, direction="in") == 1_500_000
    assert value(samples, "xfrmctl_child_packets_total", **lan, direction="out") == 9
    assert value(samples, "xfrmctl_child_replay_drops_total", **lan) == 2
    assert value(samples, "xfrmctl_child_late_drops_total", **lan) == 3
    assert value(samples, "xfrmctl_child_integrity_failures_total", **lan) == 1
    assert value(samples, "xfrmctl_child_outer_mtu_bytes", **lan) == 1400
    path = {"connection": "branch-7"}
    assert (
        value(samples, "xfrmctl_path_mtu_bytes", **path, source="probe", confidence="confirmed", carrier="udp") == 1400
    )
    assert value(samples, "xfrmctl_path_mtu_age_seconds", **path) == 75
    assert value(samples, "xfrmctl_path_probes", **path, outcome="lost") == 6
    assert value(samples, "xfrmctl_child_inner_mtu_bytes", **lan) == 1338
    assert value(samples, "xfrmctl_child_mss_bytes", **lan, family="ipv4") == 1298
    assert value(samples, "xfrmctl_child_mss_bytes", **lan, family="ipv6") is None
    assert value(samples, "xfrmctl_child_expires_in_seconds", **lan) == 3600
    assert value(samples, "xfrmctl_ike_sa_age_seconds", connection="branch-7") == 3700
    assert value(samples, "xfrmctl_clamp_packets_total", family="ipv4", mss="1298") == 7
    assert value(samples, "xfrmctl_clamp_standing", family="ipv4", mss="1298") == 1
    assert value(samples, "xfrmctl_xfrm_stat_total", name="XfrmInNoStates") == 3
    assert value(samples, "xfrmctl_ip_fragments_received_total", family="ipv4") == 20
    assert value(samples, "xfrmctl_ip_reassembly_failed_total", family="ipv4") == 2
    assert value(samples, "xfrmctl_ip_reassembly_limit_bytes", family="ipv4") == 4194304
    assert value(samples, "xfrmctl_df_changed_total", what="cleared") == 4
    assert value(samples, "xfrmctl_child_ipv6_lost", connection="branch-7", child="lan") == 1
    assert value(samples, "xfrmctl_config_info", hash="ab" * 32) == 1
    assert value(samples, "xfrmctl_build_info", version="0.1.0") == 1
    assert value(samples, "xfrmctl_config_reload_ok") == 1


def test_no_label_comes_from_an_spi_or_a_peer() -> None:
    (samples,) = scraped(SNAPSHOT)
    words = {word for s in samples for word in s.labels.values()}
    assert not any("0xc0" in w or "172.16" in w or "sun.example" in w for w in words)


def test_every_family_has_type_and_help_and_counters_end_in_total() -> None:
    async def run() -> str:
        body, _ = await Metrics(source(SNAPSHOT)).render()
        return body.decode()

    text = asyncio.run(run())
    families = list(text_string_to_metric_families(text))
    assert len({f.name for f in families}) == len(families)
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert family.type in ("gauge", "counter", "histogram"), family
        assert not any(s.name.endswith("_created") for s in family.samples)


def test_counters_go_on_over_a_new_sa() -> None:
    scrapes = scraped(
        with_counters(1000, 10),
        with_counters(1500, 20),
        with_counters(70, 5, spi="0xdddd"),
        with_counters(0, 0, spi="0xdddd", missing=True),
        with_counters(90, 5, spi="0xdddd"),
        replace(SNAPSHOT, connections=[replace(UP, ike_sas=[], state="down"), DOWN]),
        with_counters(5, 5, spi="0xeeee"),
    )
    lan = {"connection": "branch-7", "child": "lan", "direction": "in"}
    found = [value(samples, "xfrmctl_child_bytes_total", **lan) for samples in scrapes]
    assert found == [1000, 1500, 1570, 1570, 1590, 1590, 1595]


def test_a_connection_that_is_configured_no_longer_is_forgotten() -> None:
    first, second, third = scraped(SNAPSHOT, replace(SNAPSHOT, connections=[DOWN]), SNAPSHOT)
    assert any(s.labels.get("connection") == "branch-7" for s in first)
    assert not any(s.labels.get("connection") == "branch-7" for s in second)
    lan = {"connection": "branch-7", "child": "lan", "direction": "in"}
    assert value(third, "xfrmctl_child_bytes_total", **lan) == 1_500_000


@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 1000)))))
def test_totals_never_go_back(looks: list[list[tuple[str, str, int]]]) -> None:
    accumulator = Accumulator()
    before = {"a": 0, "b": 0, "all": 0}
    for look in looks:
        accumulator.update((*reading, "all") for reading in look)
        now = {series: accumulator.total(series) for series in before}
        assert all(now[series] >= before[series] for series in before)
        assert now["all"] == now["a"] + now["b"]
        before = now


def many(*octets: int) -> Snapshot:
    """A connection that serves one peer for each number of bytes that came in from it."""
    (ike,) = UP.ike_sas
    sas = [
        replace(
            ike,
            children=[
                replace(
                    ike.children[0],
                    peer=f"fqdn:s{n}",
                    reqid=0x58800000 + n,
                    inbound=replace(ike.children[0].inbound, spi=f"{n:#x}", bytes=size),
                )
            ],
        )
        for n, size in enumerate(octets)
        if size
    ]
    return replace(SNAPSHOT, connections=[replace(UP, peers=len(sas), ike_sas=sas)])


def test_each_of_many_peers_has_its_series_and_their_sum_does_not_fall_when_one_goes() -> None:
    looks = [many(*[100] * 40), many(*[100] * 40), many(0, *[150] * 39)]

    async def story() -> list[list[Sample]]:
        metrics = Metrics(source(*looks))
        return [await scrape(metrics) for _ in looks]

    first, second, third = asyncio.run(story())
    whole = {"connection": "branch-7", "child": "lan", "direction": "in"}
    sums = [value(samples, "xfrmctl_child_bytes_total", **whole) for samples in (first, second, third)]
    assert sums == [4000, 4000, 4000 + 39 * 50]
    one = whole | {"peer": "fqdn:s1", "reqid": "0x58800001"}
    assert [value(s, "xfrmctl_peer_bytes_total", **one) for s in (first, third)] == [100, 150]
    gone = whole | {"peer": "fqdn:s0", "reqid": "0x58800000"}
    assert value(third, "xfrmctl_peer_bytes_total", **gone) is None
    assert value(third, "xfrmctl_connection_peers", connection="branch-7") == 39


# ---- events ------------------------------------------------------------------------------------------------------


def sent(attempt: int, exchange: ExchangeType = ExchangeType.IKE_AUTH) -> MessageSent:
    return MessageSent(
        connection="c",
        ike="c#1",
        exchange=exchange,
        response=False,
        message_id=1,
        payloads=(),
        remote=PEER,
        size=100,
        attempt=attempt,
    )


def test_events_are_counted() -> None:
    failure = Failure(code=FailureCode.AUTHENTICATION_FAILED, text="wrong key")
    failed = NegotiationFailed(connection="c", child="", ike="c#1", remote=PEER, initiator=True, failure=failure)
    established = IkeSaEstablished(
        connection="c",
        ike="c#1",
        initiator=True,
        local=PEER,
        remote=PEER,
        local_id=parse_identity("a"),
        remote_id=parse_identity("b"),
        suite=Suite(ProtocolId.IKE, Encr.AES_GCM_16, 256),
        nat_local=False,
        nat_remote=False,
        handshake_s=0.03,
    )
    events: list[Event] = [sent(1), sent(2), sent(3), sent(1, ExchangeType(99)), failed, failed, established]
    events += [CookieDemanded(remote=PEER), RetryScheduled(connection="c", attempt=1, delay_s=2)]
    events += [DatagramDropped(remote=PEER, reason=f"reason{i}") for i in range(MAX_REASONS + 5)]
    events.append(PeerSilent(connection="c", ike="c#1", remote=PEER, exchange=ExchangeType.IKE_AUTH, attempts=8))
    events.append(Event())

    async def run() -> list[Sample]:
        metrics = Metrics(source(SNAPSHOT))
        for event in events:
            metrics.counters.observe(event)
        return await scrape(metrics)

    samples = asyncio.run(run())
    assert value(samples, "xfrmctl_retransmissions_total", connection="c") == 2
    assert value(samples, "xfrmctl_ike_messages_total", direction="out", exchange="ike_auth") == 3
    assert value(samples, "xfrmctl_ike_messages_total", direction="out", exchange="other") == 1
    where = {"connection": "c", "code": "authentication_failed"}
    assert value(samples, "xfrmctl_negotiation_failures_total", **where) == 2
    assert value(samples, "xfrmctl_cookies_demanded_total") == 1
    assert value(samples, "xfrmctl_peer_silent_total", connection="c") == 1
    assert value(samples, "xfrmctl_handshake_duration_seconds_count", role="initiator") == 1
    assert value(samples, "xfrmctl_handshake_duration_seconds_bucket", role="initiator", le="0.025") == 0
    assert value(samples, "xfrmctl_handshake_duration_seconds_bucket", role="initiator", le="0.05") == 1
    assert value(samples, "xfrmctl_datagrams_dropped_total", reason="other") == 5
    assert len([s for s in samples if s.name == "xfrmctl_datagrams_dropped_total"]) == MAX_REASONS + 1


# ---- over HTTP ---------------------------------------------------------------------------------------------------


def get(url: str, accept: str = "") -> tuple[int, str, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=10) as answer:
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_real_scrape(host: str) -> None:
    async def run() -> None:
        endpoint = MetricsEndpoint(Metrics(source(SNAPSHOT)), host, 0)
        await endpoint.start()
        try:
            base = f"http://[{host}]:{endpoint.port}" if ":" in host else f"http://{host}:{endpoint.port}"
            status, kind, text = await asyncio.to_thread(get, base + "/metrics")
            assert status == 200 and kind.startswith("text/plain; version=")
            assert {f.name for f in text_string_to_metric_families(text)} >= {"xfrmctl_connection_up"}
            status, kind, text = await asyncio.to_thread(
                get, base + "/metrics", "application/openmetrics-text; version=1.0.0"
            )
            assert kind.startswith("application/openmetrics-text")
            families = parse_openmetrics(text)  # type: ignore[no-untyped-call]
            assert {f.name for f in families} >= {"xfrmctl_child_bytes", "xfrmctl_config"}
            assert (await asyncio.to_thread(get, base + "/healthz"))[2] == "ok\n"
            many = await asyncio.gather(*(asyncio.to_thread(get, base + "/metrics") for _ in range(5)))
            assert all("xfrmctl_connection_up{" in body for _, _, body in many)
        finally:
            await endpoint.stop()

    asyncio.run(run())


def test_an_address_in_use_is_told() -> None:
    async def run() -> None:
        first = MetricsEndpoint(Metrics(source(SNAPSHOT)), "127.0.0.1", 0)
        await first.start()
        try:
            with pytest.raises(EndpointError, match=r"gateway\.metrics: cannot listen on 127\.0\.0\.1:.*choose a free"):
                await MetricsEndpoint(Metrics(source(SNAPSHOT)), "127.0.0.1", first.port).start()
        finally:
            await first.stop()

    asyncio.run(run())
