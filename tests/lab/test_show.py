"""``show``, ``top`` and ``events`` of a live gateway say what ``ip -s xfrm state`` says."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.commandline import command
from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, no_alarm, text
from xfrmctl.lab import traffic
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_A, HOST_B, OUTER_B, Topology

pytestmark = pytest.mark.lab

LIMITS: dict[str, Any] = {"rekey": {"time": "50m", "bytes": 10_000_000, "packets": 60_000}}
FAR = "far"
GONE = "172.16.2.99"


def config(side: int, **gateway: Any) -> str:
    child = lan(side, local_ts=f"10.1.{1 + side}.0/24", remote_ts=f"10.1.{2 - side}.0/24", **LIMITS)
    connections = {MAIN: connection(side, {LAN: child})}
    if not side:
        child = {"local_ts": "10.1.1.0/24", "remote_ts": "10.99.0.0/24", "start": "none"}
        slow = {"dpd": "30s", "retransmit": {"first": "1s", "tries": 7}}
        connections[FAR] = connection(0, {"net": child}, remote={"address": GONE}, ike=slow)
    return text(connections, path_mtu={"echo": "off"}, **gateway)


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as made:
        yield made


@pytest.fixture(scope="module")
def gateways(topology: Topology) -> Iterator[tuple[Gateway, Gateway]]:
    a, b = (Gateway(topology.ns(ns), config(side)) for side, ns in enumerate(("ga", "gb")))
    try:
        b.start()
        a.start()
        a.wait_up(MAIN)
        yield a, b
    finally:
        for gateway in (a, b):
            gateway.close()


@pytest.fixture
def a(gateways: tuple[Gateway, Gateway]) -> Gateway:
    return gateways[0]


def said(gateway: Gateway, *arguments: str, code: int = 0) -> str:
    done = command(gateway, *arguments)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def found(gateway: Gateway, *arguments: str, code: int = 0) -> Any:
    return json.loads(said(gateway, *arguments, "--json", code=code))


def kernel(gateway: Gateway, spi: str) -> dict[str, Any]:
    """One SA as ip(8) has it: configured limits, what it has carried, when it was added, what it dropped."""
    whole = gateway.namespace.run(["ip", "-s", "xfrm", "state"]).stdout
    (block,) = [b for b in re.split(r"^(?=src )", whole, flags=re.MULTILINE) if f"spi {spi}" in b]

    def number(pattern: str) -> int:
        match = re.search(pattern, block)
        assert match is not None, (pattern, block)
        return int(match[1])

    return {
        "soft_bytes": number(r"limit: soft (\d+)\(bytes\)"),
        "hard_bytes": number(r"limit: soft \d+\(bytes\), hard (\d+)\(bytes\)"),
        "soft_packets": number(r"limit: soft (\d+)\(packets\)"),
        "hard_packets": number(r"limit: soft \d+\(packets\), hard (\d+)\(packets\)"),
        "soft_s": number(r"expire add: soft (\d+)\(sec\)"),
        "hard_s": number(r"expire add: soft \d+\(sec\), hard (\d+)\(sec\)"),
        "bytes": number(r"lifetime current:\s+(\d+)\(bytes\)"),
        "packets": number(r"lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)"),
        "replay": number(r"replay (\d+)"),
        "failed": number(r"failed (\d+)"),
    }


def test_show_is_the_kernels_own_figures(topology: Topology, a: Gateway) -> None:
    traffic.ping(topology.ns("ha"), HOST_B[0], count=5, packet_bytes=500, interval_s=0.05)
    (child,) = found(a, "show", MAIN)["ike_sas"][0]["children"]
    for direction in ("inbound", "outbound"):
        shown, true = child[direction], kernel(a, child[direction]["spi"])
        assert shown["packets"] == true["packets"] == 5 and shown["bytes"] == true["bytes"] >= 5 * 500
        for limit in ("soft", "hard"):
            assert shown[f"{limit}_left_bytes"] == true[f"{limit}_bytes"] - true["bytes"]
            assert shown[f"{limit}_left_packets"] == true[f"{limit}_packets"] - true["packets"]
            assert 0 <= true[f"{limit}_s"] - shown[f"{limit}_expires_in_s"] < 60
        assert (shown["replay_drops"], shown["integrity_failures"]) == (true["replay"], true["failed"]) == (0, 0)
        assert shown["idle_s"] < 60 and not shown["missing"] and shown["offload"] == ""
    card = " ".join(said(a, "show", MAIN).split())
    hard = min(child[d]["hard_left_bytes"] for d in ("inbound", "outbound"))
    assert f"/ {hard / 1000:.0f} kB" in card and "5 packets, last" in card and "DF copy, oversize icmp" in card
    no_alarm(a)


def test_a_negotiation_is_told_as_it_stands(a: Gateway) -> None:
    done = command(a, "up", FAR, "--timeout", "0.5")
    assert done.returncode == 1
    card = " ".join(said(a, "show", FAR, code=1).split())
    assert re.search(r"far#\d+: init-sent, begun by us", card) and "no answer" in card
    assert re.search(r"IKE_SA_INIT request 0 \(SA, KE, No.*\): copy \d of 8 sent .* ago, again in", card)
    assert command(a, "down", FAR).returncode == 0


def test_filters_find_what_they_should(a: Gateway) -> None:
    (child,) = found(a, "show", MAIN)["ike_sas"][0]["children"]

    def names(*options: str, code: int = 0) -> list[str]:
        return [c["name"] for c in found(a, "show", *options, code=code)["connections"]]

    assert names("--state", "up") == names("--peer", "sun.*") == names("--spi", child["outbound"]["spi"]) == [MAIN]
    assert names("--address", OUTER_B[0]) == names("--carries", HOST_B[0], "--carries", "10.1.2.77") == [MAIN]
    assert names("--address", GONE) == names("--state", "not-up") == [FAR]
    assert names("--carries", HOST_A[0]) == [MAIN, FAR] and names("--spi", "0x1", code=1) == []
    lines = said(a, "show", "--brief").splitlines()
    assert [line.split()[:2] for line in lines[-2:]] == [[f"{MAIN}/{LAN}", "up"], [f"{FAR}/net", "down"]]


def test_top_measures_what_passes(topology: Topology, a: Gateway) -> None:
    """A second of pings between two looks, and a rekey in the midst: nothing is counted twice or lost."""
    before = a.client.traffic()
    traffic.ping(topology.ns("ha"), HOST_B[0], count=10, packet_bytes=500, interval_s=0.05)
    assert command(a, "rekey", MAIN, LAN).returncode == 0
    after = a.client.traffic()
    (old,) = [r for r in before.rows if r.child == LAN]
    rows = [r for r in after.rows if r.child == LAN]
    assert sum(r.packets_out for r in rows if r.spi_out != old.spi_out) == 0
    assert all(r.packets_out - old.packets_out == 10 for r in rows if r.spi_out == old.spi_out)
    assert {r.rekeys - old.rekeys for r in rows} == {1}
    shown = found(a, "top", "--once", "--interval", "0.2", "--sort", "name")
    assert [(c["connection"], c["child"], c["state"]) for c in shown["children"]] == [
        (FAR, "net", "down"),
        (MAIN, LAN, "up"),
    ]
    (child,) = found(a, "show", MAIN)["ike_sas"][0]["children"]
    assert shown["children"][1]["inner_mtu"] == child["mtu"]["inner_mtu"]


def test_events_have_a_past_and_filters(a: Gateway) -> None:
    lines = said(a, "events", "--last", "1000", "--no-follow", "-c", MAIN, "--json").splitlines()
    told = [json.loads(line) for line in lines]
    kinds = [event["event"] for event in told]
    assert kinds.index("ike_sa_established") < kinds.index("child_sa_installed") < kinds.index("child_sa_rekeyed")
    assert all(event.get("connection", MAIN) == MAIN and event["text"] for event in told)
    past = ("events", "-n", "1000", "--no-follow", "--json")
    eventually("the probe has been told", lambda: "path_mtu_changed" in said(a, *past))
    failed = said(a, "events", "--last", "5", "--no-follow", "-k", "child_sa_rekeyed")
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  main#\d+ lan rekeyed by us: 0x\w+ -> 0x\w+\n", failed)


def test_debug_tells_a_negotiation_of_the_running_daemon(a: Gateway) -> None:
    assert command(a, "debug", MAIN, "--for", "1m", "--detach").returncode == 0
    assert "debugged for another" in said(a, "show", MAIN)
    assert command(a, "rekey", MAIN, LAN).returncode == 0
    lines = said(a, "events", "-n", "1000", "--no-follow", "-k", "debug", "--json").splitlines()
    told = [json.loads(line) for line in lines]
    request = next(e for e in told if e["event"] == "payloads_told" and e["sent"] and not e["response"])
    assert request["exchange"] == "CREATE_CHILD_SA" and any("N(REKEY_SA)" in text for text in request["lines"])
    assert any(e["event"] == "decision_told" and "agreed on child lan" in e["decision"] for e in told)
    assert "says: N(REKEY_SA)" in "\n".join(a.log_lines())
    assert command(a, "debug", MAIN, "--off").returncode == 0
    assert command(a, "rekey", MAIN, LAN).returncode == 0
    assert len(said(a, "events", "-n", "1000", "--no-follow", "-k", "debug", "--json").splitlines()) == len(lines)


def test_keys_are_refused_unless_the_configuration_allows_them(a: Gateway) -> None:
    done = command(a, "debug", MAIN, "--keys", "--detach")
    assert done.returncode == 1 and "allows no key log" in done.stderr and "gateway.key_log" in done.stderr
    keys = a.directory / "keys"
    a.configure(config(0, key_log=str(keys)))
    assert command(a, "reload").returncode == 0
    assert not keys.exists() and str(keys) in said(a, "debug", MAIN, "--keys", "--detach")
    assert command(a, "rekey", MAIN, LAN).returncode == 0
    (child,) = [c for c in found(a, "show", MAIN)["ike_sas"][0]["children"] if c["state"] == "installed"]
    esp = (keys / "esp_sa").read_text()
    state = a.namespace.run(["ip", "xfrm", "state"]).stdout
    for direction in ("inbound", "outbound"):
        spi = child[direction]["spi"]
        (key,) = re.findall(rf"spi {spi} .*?aead rfc4106\(gcm\(aes\)\) (0x[0-9a-f]+)", state, re.DOTALL)
        assert f'"{spi}","AES-GCM with 16 octet ICV [RFC4106]","{key}"' in esp
    assert found(a, "show", MAIN)["ike_sas"][0]["spi_initiator"] in (keys / "ikev2_decryption_table").read_text()
    assert not any(key in "\n".join(a.log_lines()) for key in re.findall(r"0x([0-9a-f]{40,})", esp))
