"""What Prometheus would see: a real scrape, parsed by the official parser; counters that never go back."""

import asyncio
import gzip
import urllib.request
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.unit.control.gateway_values import DOWN, SNAPSHOT, UP
from tests.unit.metrics.scraping import metrics_of, scrape, scraped, text, value
from xfrmctl.metrics import children, gateway
from xfrmctl.metrics.accumulate import Accumulator
from xfrmctl.metrics.endpoint import EndpointError, MetricsEndpoint
from xfrmctl.metrics.family import Kind
from xfrmctl.metrics.scrape import FAMILIES
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import NegotiationFailed, RetryScheduled
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.snapshot import Snapshot

PEER = Endpoint(ip_address("192.0.2.2"), 500)


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
    words = {"state": "up", "protection": "block", "mode": "tunnel", "dataplane": "policy", "encap": "udp"}
    assert value(samples, "xfrmctl_child_info", **lan, **words, suite="aes256gcm16-noesn") == 1
    assert value(samples, "xfrmctl_child_sas", **lan) == 1
    assert value(samples, "xfrmctl_child_sa_age_seconds", **lan) == 12
    assert value(samples, "xfrmctl_child_mtu_info", **lan, source="probe") == 1
    assert value(samples, "xfrmctl_child_outer_mtu_bytes", **lan) == 1400
    path = {"connection": "branch-7"}
    assert value(samples, "xfrmctl_path_mtu_bytes", **path) == 1400
    words = {"source": "probe", "confidence": "confirmed", "state": "settled", "carrier": "udp"}
    assert value(samples, "xfrmctl_path_mtu_info", **path, **words) == 1
    assert value(samples, "xfrmctl_path_link_mtu_bytes", **path) == 1500
    assert value(samples, "xfrmctl_path_peer_mtu_bytes", **path) == 1400
    assert value(samples, "xfrmctl_path_mtu_age_seconds", **path) == 75
    assert value(samples, "xfrmctl_path_probes_total", **path, outcome="lost") == 6
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
    assert value(samples, "xfrmctl_ip_reassembly_timeouts_total", family="ipv4") == 1
    assert value(samples, "xfrmctl_ip_reassembly_limit_bytes", family="ipv4") == 4194304
    assert value(samples, "xfrmctl_df_changed_total", what="cleared") == 4
    assert value(samples, "xfrmctl_child_ipv6_lost", connection="branch-7", child="lan") == 1
    assert value(samples, "xfrmctl_config_info", hash="ab" * 32) == 1
    assert value(samples, "xfrmctl_build_info", version="0.1.0") == 1
    assert value(samples, "xfrmctl_config_reload_ok") == 1
    assert (value(samples, "process_resident_memory_bytes") or 0) > 1_000_000
    assert (value(samples, "process_cpu_seconds_total") or 0) > 0
    assert (value(samples, "process_open_fds") or 0) > 2


def test_no_label_comes_from_an_spi_or_a_peer() -> None:
    (samples,) = scraped(SNAPSHOT)
    words = {word for s in samples for word in s.labels.values()}
    assert not any("0xc0" in w or "172.16" in w or "sun.example" in w for w in words)


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_both_formats_say_the_same_and_both_parsers_take_them(accept: str) -> None:
    async def run() -> str:
        return await text(metrics_of(SNAPSHOT), accept)

    exposition = asyncio.run(run())
    parse = parse_openmetrics if accept else text_string_to_metric_families
    families = list(parse(exposition))
    assert len({f.name for f in families}) == len(families)
    samples = [s for family in families for s in family.samples]
    assert len({(s.name, *sorted(s.labels.items())) for s in samples}) == len(samples)
    assert {s.name for s in samples} >= {
        f.sample for f in FAMILIES if f in (gateway.BUILD, children.UP, children.BYTES)
    }
    assert exposition.endswith("# EOF\n") == bool(accept)
    known = {family.name if accept else family.sample: family for family in FAMILIES}
    for family in families:
        ours = known[family.name if accept or family.type != "counter" else f"{family.name}_total"]
        expected = ours.kind.value if accept or ours.kind is not Kind.INFO else "gauge"
        assert (family.type, family.documentation) == (expected, ours.help)


def test_what_stands_between_quotes_stays_there() -> None:
    odd = 'a"b\\c\nd'
    (samples,) = scraped(replace(SNAPSHOT, version=odd))
    assert value(samples, "xfrmctl_build_info", version=odd) == 1


def test_a_connection_that_is_configured_no_longer_is_forgotten() -> None:
    async def run() -> list[list[Sample]]:
        metrics = metrics_of(SNAPSHOT, replace(SNAPSHOT, connections=[DOWN]), SNAPSHOT)
        metrics.observe(RetryScheduled(connection="branch-7", attempt=1, delay_s=2))
        metrics.observe(failed("branch-7"))
        metrics.observe(failed(""))
        return [await scrape(metrics) for _ in range(3)]

    first, second, third = asyncio.run(run())
    assert any(s.labels.get("connection") == "branch-7" for s in first)
    assert not any(s.labels.get("connection") == "branch-7" for s in second)
    retries = [value(s, "xfrmctl_retries_scheduled_total", connection="branch-7") for s in (first, third)]
    assert retries == [1, 0]
    words = {"code": "authentication_failed", "notify": "none"}
    assert value(second, "xfrmctl_negotiation_failures_total", connection="", **words) == 1


def test_probes_go_on_over_another_path() -> None:
    def on(path: str, sent: int) -> Snapshot:
        (ike,) = UP.ike_sas
        (child,) = ike.children
        assert child.mtu is not None and child.mtu.path is not None
        mtu = replace(child.mtu, path=replace(child.mtu.path, path=path, probes_sent=sent))
        return replace(SNAPSHOT, connections=[replace(UP, ike_sas=[replace(ike, children=[replace(child, mtu=mtu)])])])

    scrapes = scraped(on("a", 5), on("a", 7), on("b", 2), on("b", 1), on("a", 8))
    found = [value(s, "xfrmctl_path_probes_total", connection="branch-7", outcome="sent") for s in scrapes]
    assert found == [5, 7, 9, 10, 11]


@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 1000)))))
def test_totals_never_go_back(looks: list[list[tuple[str, str, int]]]) -> None:
    accumulator = Accumulator()
    before = {"a": 0, "b": 0}
    for look in looks:
        accumulator.update(((series,), instance, count) for series, instance, count in look)
        now = {series: accumulator.total((series,)) for series in before}
        assert all(now[series] >= before[series] for series in before)
        before = now


def failed(connection: str) -> NegotiationFailed:
    failure = Failure(code=FailureCode.AUTHENTICATION_FAILED, text="wrong key")
    return NegotiationFailed(connection=connection, child="", ike="c#1", remote=PEER, initiator=True, failure=failure)


# ---- over HTTP ---------------------------------------------------------------------------------------------------


def get(url: str, accept: str = "", *, zipped: bool = False) -> tuple[int, str, str]:
    headers = {"Accept": accept} | ({"Accept-Encoding": "gzip"} if zipped else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        assert (answer.headers["Content-Encoding"] == "gzip") == zipped
        body = answer.read()
        return answer.status, answer.headers["Content-Type"], (gzip.decompress(body) if zipped else body).decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_real_scrape(host: str) -> None:
    async def run() -> None:
        endpoint = MetricsEndpoint(metrics_of(SNAPSHOT), host, 0)
        await endpoint.start()
        try:
            base = f"http://[{host}]:{endpoint.port}" if ":" in host else f"http://{host}:{endpoint.port}"
            status, kind, page = await asyncio.to_thread(get, base + "/metrics")
            assert status == 200 and kind.startswith("text/plain; version=")
            assert {f.name for f in text_string_to_metric_families(page)} >= {"xfrmctl_connection_up"}
            status, kind, page = await asyncio.to_thread(
                get, base + "/metrics", "application/openmetrics-text; version=1.0.0"
            )
            assert kind.startswith("application/openmetrics-text")
            families = parse_openmetrics(page)  # type: ignore[no-untyped-call]
            assert {f.name for f in families} >= {"xfrmctl_child_bytes", "xfrmctl_config"}
            assert (await asyncio.to_thread(get, base + "/metrics", zipped=True))[2].startswith("# HELP xfrmctl_build")
            assert (await asyncio.to_thread(get, base + "/healthz"))[2] == "ok\n"
            many = await asyncio.gather(*(asyncio.to_thread(get, base + "/metrics") for _ in range(5)))
            assert all("xfrmctl_connection_up{" in body for _, _, body in many)
        finally:
            await endpoint.stop()

    asyncio.run(run())


def test_an_address_in_use_is_told() -> None:
    async def run() -> None:
        first = MetricsEndpoint(metrics_of(SNAPSHOT), "127.0.0.1", 0)
        await first.start()
        try:
            with pytest.raises(EndpointError, match=r"gateway\.metrics: cannot listen on 127\.0\.0\.1:.*choose a free"):
                await MetricsEndpoint(metrics_of(SNAPSHOT), "127.0.0.1", first.port).start()
        finally:
            await first.stop()

    asyncio.run(run())
