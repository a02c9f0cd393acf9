"""The benchmark's initiator and its engine harness work; what they measure is not asserted."""

import os

import pytest

from bench import engine, report
from bench.initiator import ESP_SUITE, IKE_SUITE, Settings


@pytest.mark.parametrize(
    ("ike", "esp"), [(IKE_SUITE, ESP_SUITE), ("aes128-sha256-ecp256", "aes128-sha256"), (IKE_SUITE, "aes128gcm16-esn")]
)
def test_a_few_handshakes(ike: str, esp: str) -> None:
    settings = Settings.of(ike, esp, os.urandom)
    for _, listeners in engine.LAYERS[:-1]:
        meter = engine.Meter()
        bare = engine.handshakes(settings, 3, os.urandom, meter, listeners)
        assert len(bare.engine.ike_sas()) == 3
        assert meter.spent_ns > 0


def test_the_parts() -> None:
    settings = Settings.of(IKE_SUITE, ESP_SUITE, os.urandom)
    assert all(cost.us > 0 for cost in engine.parts(settings, 10, os.urandom))


def test_the_table_tells_ratios() -> None:
    def run(responder: str, cpu_s: float) -> report.Run:
        return report.Run(
            responder=responder,
            handshakes=1000,
            per_second=100,
            cpu_s_per_1000=cpu_s,
            deferred_cpu_s_per_1000=0,
            initiator_cpu_s_per_1000=1,
            latency_ms=10,
            retransmissions=0,
            rss_started_mb=10,
            rss_before_mb=10,
            rss_after_mb=20,
            kernel_sas=2000,
            yardstick_ms=40,
        )

    ours = report.best([run("xfrmctl", 3), run("xfrmctl", 2)])
    text = report.markdown([ours, run("strongswan", 4)])
    assert "| responder CPU s per 1,000 handshakes | 2.00 | 4.00 | 0.50 |" in text
