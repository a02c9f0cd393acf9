"""What waits for the next start is named, however often the file is read until then."""

from pathlib import Path

import pytest

from xfrmctl.config.load import Configuration, loads
from xfrmctl.daemon.restart import on_bound_ports, pending


def read(gateway: str) -> Configuration:
    return loads(f"gateway: {{{gateway}}}\nconnections: {{}}\n", Path("/etc/xfrmctl/xfrmctl.yaml"))


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ("ports: {ike: 1500, nat_t: 1501}", ["gateway.ports"]),
        ("metrics: '127.0.0.1:9999'", ["gateway.metrics"]),
        ("control_group: adm", ["gateway.control_group"]),
        ("path_mtu: {probe: no}", []),
        ("firewall: nftables", ["gateway.firewall"]),
        ("crash_detection: no", []),
        ("icmp: {frag_needed: ignore}", []),
        ("bypass: [{local: 10.0.0.0/8, remote: 10.9.0.0/16}]", []),
    ],
)
def test_only_what_waits_is_named(changed: str, keys: list[str]) -> None:
    assert pending(read(""), read(changed)) == keys


def test_the_engine_keeps_the_ports_that_are_bound() -> None:
    started, newer = read(""), read("ports: {ike: 1500, nat_t: 1501}")
    config = on_bound_ports(started, newer.engine)
    assert (config.ike_port, config.nat_t_port) == (500, 4500)
    assert config.connections == newer.engine.connections
