"""What dashboards of ipsec_exporter ask for is there when it is wanted, under its names and with its labels."""

import asyncio
from dataclasses import replace
from pathlib import Path

from prometheus_client.samples import Sample

from tests.unit.control.gateway_values import DOWN, SNAPSHOT, UP
from tests.unit.metrics.scraping import WALL, Snapshots, scrape, scraped, value
from xfrmctl.config.load import load
from xfrmctl.metrics.scrape import Metrics
from xfrmctl.model.snapshot import Snapshot

IKE = {
    "name": "branch-7",
    "uid": "3",
    "version": "2",
    "local_host": "172.16.1.1",
    "local_id": "moon.example.org",
    "remote_host": "172.16.2.1",
    "remote_id": "sun.example.org",
    "remote_identity": "",
    "vips": "",
}
CHILD = {f"ike_sa_{label}": word for label, word in IKE.items()} | {
    "name": "lan",
    "uid": str(0xC0000001),
    "reqid": str(0x58000001),
    "mode": "TUNNEL",
    "protocol": "ESP",
    "local_ts": "10.1.1.0/24",
    "remote_ts": "10.1.2.0/24",
}
"""As testdata/strongswan/2-metrics.txt of that project has them."""

(CONFIGURED,) = UP.children
PROTECTED = replace(SNAPSHOT, connections=[replace(UP, children=[replace(CONFIGURED, protection="esp")]), DOWN])


def compatible(snapshot: Snapshot) -> list[Sample]:
    return asyncio.run(scrape(Metrics(Snapshots(snapshot), lambda: WALL, compatible=True)))


def test_the_other_exporters_names_and_labels() -> None:
    samples = compatible(PROTECTED)
    assert value(samples, "ipsec_up") == 1
    assert value(samples, "ipsec_uptime_seconds") == 7300
    assert value(samples, "ipsec_ike_sas") == 1
    assert value(samples, "ipsec_half_open_ike_sas") == 0
    assert value(samples, "ipsec_ike_sa_state", **IKE) == 2
    assert value(samples, "ipsec_ike_sa_established_seconds", **IKE) == 3700
    assert value(samples, "ipsec_child_sa_state", **CHILD) == 3
    assert value(samples, "ipsec_child_sa_installed_seconds", **CHILD) == 12
    assert value(samples, "ipsec_child_sa_bytes_in", **CHILD) == 1_500_000
    assert value(samples, "ipsec_child_sa_packets_in", **CHILD) == 1200
    assert value(samples, "ipsec_child_sa_bytes_out", **CHILD) == 900
    assert value(samples, "ipsec_child_sa_packets_out", **CHILD) == 9
    assert value(samples, "xfrmctl_connection_up", connection="branch-7") == 1


def test_states_have_strongswans_numbers() -> None:
    (ike,) = UP.ike_sas
    names = {"init-sent": 1, "auth-sent": 1, "established": 2, "rekeyed": 5, "deleting": 6}
    for state, number in names.items():
        changed = replace(SNAPSHOT, connections=[replace(UP, ike_sas=[replace(ike, state=state)])])
        samples = compatible(changed)
        assert value(samples, "ipsec_ike_sa_state", **IKE) == number
        assert (value(samples, "ipsec_ike_sa_established_seconds", **IKE) is None) == (state != "established")


def test_addresses_of_ipv6_have_no_brackets() -> None:
    (ike,) = UP.ike_sas
    ipv6 = replace(ike, local="[2001:db8::1]:4500", local_id="2001:db8::1", children=[])
    samples = compatible(replace(SNAPSHOT, connections=[replace(UP, ike_sas=[ipv6])]))
    labels = IKE | {"local_host": "2001:db8::1", "local_id": "2001:db8::1"}
    assert value(samples, "ipsec_ike_sa_state", **labels) == 2


def test_it_is_off_by_default(tmp_path: Path) -> None:
    (samples,) = scraped(SNAPSHOT)
    assert not any(s.name.startswith("ipsec_") for s in samples)
    file = tmp_path / "x.yaml"
    file.write_text("gateway: {}\n")
    assert load(file).gateway.metrics_compat == "off" and not load(file).gateway.metrics_exemplars
    file.write_text("gateway: {metrics_compat: ipsec_exporter, metrics_exemplars: true}\n")
    assert load(file).gateway.metrics_compat == "ipsec_exporter" and load(file).gateway.metrics_exemplars
