"""The command line and the metrics against live daemons, and a daemon that keeps the kernel as it should be."""

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.commandline import command
from tests.lab.tunnel import LAN, MAIN, connection, eventually, lan, network_of, text
from tests.unit.deploy.prometheus import promtool
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.counters import beside_the_kernel, kernel_sas, sample
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import HOST_A, HOST_B, INNER_A, INNER_B, Topology

pytestmark = [pytest.mark.lab, pytest.mark.slow]

TRUE_STARTS = True

LAN6, FAR = "lan6", "far"
"""The second child, by an interface, and a connection whose peer does not exist."""

PAGE = "127.0.0.1:9880"

GCM_OVERHEAD = 54
"""Of AES-GCM-16 in IPv4: what an outer MTU is larger than the inner one, for sizes that need no padding."""


def config(side: int, **gateway: Any) -> str:
    nets = (INNER_A, INNER_B) if not side else (INNER_B, INNER_A)
    esp = {"esp": "aes256gcm16-x25519"}
    children = {
        LAN: lan(side, local_ts=nets[0][0], remote_ts=nets[1][0], start="none", **esp),
        LAN6: lan(side, "interface", local_ts=nets[0][1], remote_ts=nets[1][1], start="none", **esp),
    }
    connections = {MAIN: connection(side, children)}
    if not side:
        far = {"net": {"local_ts": INNER_A[0], "remote_ts": "10.99.0.0/24", "start": "none"}}
        connections[FAR] = connection(0, far, remote={"address": "172.16.2.99"}, retry={"first": "20s", "max": "40s"})
    return text(connections, status_page=PAGE, **gateway)


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as made:
        yield made


@pytest.fixture(scope="module")
def gateways(topology: Topology) -> Iterator[tuple[Gateway, Gateway]]:
    a, b = (Gateway(topology.ns(ns), config(side)) for side, ns in enumerate(("ga", "gb")))
    try:
        for gateway in (a, b):
            gateway.start(wait=False)
        for gateway in (a, b):
            gateway.wait_ready()
        yield a, b
    finally:
        for gateway in (a, b):
            gateway.close()


@pytest.fixture
def a(gateways: tuple[Gateway, Gateway]) -> Gateway:
    return gateways[0]


@pytest.fixture
def up(a: Gateway) -> Gateway:
    """Gateway A with the tunnel up."""
    a.client.up(MAIN)
    a.wait_up(MAIN)
    return a


def ran(gateway: Gateway, *arguments: str, code: int = 0) -> Any:
    """What a verb prints with --json; its exit code is asserted."""
    done = command(gateway, *arguments, "--json")
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout) if done.stdout.lstrip().startswith("{") else done.stderr


def metric(gateway: Gateway, metric: str, /, **labels: str) -> float | None:
    return sample(gateway.metrics(), metric, labels)


# ---- the command line


def test_without_a_daemon(topology: Topology) -> None:
    nobody = Gateway(topology.ns("gb"), config(1))
    for verb in (["show"], ["up", MAIN], ["down", MAIN], ["reload"], ["plan"], ["events"]):
        told = ran(nobody, *verb, code=3)
        assert str(nobody.control) in told["error"]["message"] and "start it" in told["error"]["cure"], verb
    assert ran(nobody, "check", str(nobody.config_file))["ok"] is True
    nobody.close()


def test_up_show_down(a: Gateway) -> None:
    assert ran(a, "down", MAIN)["ok"] is True
    shown = ran(a, "show", MAIN, code=1)
    assert shown["state"] == "down" and shown["ike_sas"] == []
    assert {child["name"]: child["protection"] for child in shown["children"]} == {LAN: "block", LAN6: "blackhole"}
    assert metric(a, "xfrmctl_connection_up", connection=MAIN) == 0
    assert metric(a, "xfrmctl_child_up", connection=MAIN, child=LAN) == 0

    told = ran(a, "up", MAIN, LAN)
    assert told["ok"] is True and LAN in told["message"]
    assert ran(a, "show", MAIN, code=1)["state"] == "partial"
    assert ran(a, "up", MAIN)["ok"] is True
    shown = ran(a, "show", MAIN)
    assert shown["state"] == "up"
    (ike,) = shown["ike_sas"]
    kernel = {sa.spi for sa in kernel_sas(a.namespace)}
    for child in ike["children"]:
        assert {int(child[way]["spi"], 16) for way in ("inbound", "outbound")} <= kernel
        assert child["mtu"]["inner_mtu"] == 1500 - GCM_OVERHEAD
    assert metric(a, "xfrmctl_connection_up", connection=MAIN) == 1

    assert ran(a, "down", MAIN, LAN6)["ok"] is True
    assert ran(a, "show", MAIN, code=1)["state"] == "partial"
    assert ran(a, "up", MAIN)["ok"] is True


def test_unknown_names_get_the_nearest_word(a: Gateway) -> None:
    for verb in ("up", "down"):
        told = ran(a, verb, "mian", code=2)
        assert "mian" in told["error"]["message"] and repr(MAIN) in told["error"]["cure"]
        told = ran(a, verb, MAIN, "lam6", code=2)
        assert repr(LAN6) in told["error"]["cure"]
    done = a.ctl_text("show", "mian", check=False)
    assert done.returncode == 2 and repr(MAIN) in done.stderr


def test_unreachable_peer(a: Gateway) -> None:
    """The attempt fails with its reason; ``show`` tells which attempt that was and when the next one is."""
    told = ran(a, "up", FAR, "--timeout", "15", code=1)
    assert told["failure"]["code"] == "no_response" and told["failure"]["cure"]
    shown = ran(a, "show", FAR, code=1)
    assert shown["state"] == "waiting"
    assert shown["attempts"] == 1 and 5 < shown["retry_in_s"] <= 20
    assert shown["last_failure"]["code"] == "no_response"
    people = a.ctl_text("show", FAR, check=False).stdout
    assert re.search(r"attempt 1 failed; the next one\s+starts in \d+ s", people)
    assert metric(a, "xfrmctl_connection_up", connection=FAR) == 0
    assert metric(a, "xfrmctl_connection_attempts", connection=FAR) == 1
    assert ran(a, "down", FAR)["ok"] is True
    assert ran(a, "show", FAR, code=1)["state"] == "down"


def test_time_runs_out_while_it_is_tried(a: Gateway) -> None:
    told = ran(a, "up", FAR, "--timeout", "0.2", code=1)
    assert "still trying" in told["message"] and told["failure"] is None
    a.client.down(FAR)


def test_reload_and_plan(up: Gateway) -> None:
    first = ran(up, "show", MAIN)["ike_sas"][0]["name"]
    assert ran(up, "plan")["lines"] == []
    assert ran(up, "reload")["message"] == "nothing has changed"
    whole = json.loads(config(0))
    del whole["connections"][FAR]
    up.configure(json.dumps(whole))
    told = ran(up, "plan", code=2)
    planned = told["lines"]
    assert told["configuration_differs"] and [(c["name"], c["cost"]) for c in told["connections"]] == [(FAR, "end")]
    assert planned and all(line.startswith("-") and "10.99.0.0/24" in line for line in planned if "policy" in line)
    assert ran(up, "show")["reload_ok"] is True
    told = ran(up, "reload")
    assert told["removed"] == [FAR] and not told["changed"] and not told["added"]
    assert ran(up, "show", MAIN)["ike_sas"][0]["name"] == first

    candidate = up.config_file.with_name("new.json")
    candidate.touch(mode=0o600)
    candidate.write_text(config(0))
    told = ran(up, "plan", str(candidate), code=2)
    assert [(c["name"], c["action"]) for c in told["connections"]] == [(FAR, "add")]
    assert ran(up, "plan")["configuration_differs"] is False

    up.configure(json.dumps(whole).replace('"172.16.2.1"', '"172.16.2.1111"'))
    assert "172.16.2.1111" in ran(up, "plan", code=1)["error"]["message"]
    told = ran(up, "reload", code=2)
    assert "172.16.2.1111" in told["message"] and str(up.config_file) in told["message"]
    assert ran(up, "check", str(up.config_file), code=2)["error"]["problems"]
    status = ran(up, "show")
    assert status["reload_ok"] is False and "172.16.2.1111" in status["reload_error"]
    assert metric(up, "xfrmctl_config_reload_ok") == 0
    assert ran(up, "show", MAIN)["ike_sas"][0]["name"] == first

    up.configure(config(0))
    assert ran(up, "reload")["added"] == [FAR]


def test_events(up: Gateway) -> None:
    """What happens while somebody follows: he may come a little late, so it happens until he has seen it."""
    seen = up.directory / "events"
    with seen.open("wb") as out:
        follower = up.popen_ctl("events", "--json", stdout=out)

    def told() -> set[str]:
        return {json.loads(line)["event"] for line in seen.read_text().splitlines()}

    def again() -> bool:
        up.client.down(MAIN)
        up.client.up(MAIN)
        return {"child_sa_removed", "ike_sa_established", "child_sa_installed"} <= told()

    try:
        eventually("somebody who follows is told", again, timeout_s=30, every_s=0.5)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=10) == 0
    finally:
        follower.kill()
        follower.wait()


# ---- the page for a browser


def test_the_status_page(topology: Topology, up: Gateway) -> None:
    """With the kernel's numbers, and what `diagnose` finds: nothing."""

    def found() -> bool:
        return "Nothing found" in up.fetch(PAGE, "/")

    assert traffic.ping(topology.ns("ha"), HOST_B[0], count=3).loss == 0
    page = up.fetch(PAGE, "/")
    assert "1 of 2 connections up" in page and MAIN in page and FAR in page
    page = up.fetch(PAGE, f"/connection/{MAIN}")
    (ike,) = up.status().connections[0].ike_sas
    for child in ike.children:
        assert child.inbound.spi in page and child.outbound.spi in page
    assert "1500 bytes (source: " in page and f"{1500 - GCM_OVERHEAD} bytes, overhead {GCM_OVERHEAD}" in page
    eventually("faults have been looked for", found, timeout_s=60, every_s=1)


# ---- numbers: ours and the kernel's


def test_counters_agree_with_the_kernel(topology: Topology, up: Gateway) -> None:
    def ours() -> dict[tuple[str, str], float | None]:
        text = up.metrics()
        return {
            (child, way): sample(
                text, "xfrmctl_child_bytes_total", {"connection": MAIN, "child": child, "direction": way}
            )
            for child in (LAN, LAN6)
            for way in ("in", "out")
        }

    before = ours()
    for address in HOST_B:
        assert traffic.ping(topology.ns("ha"), address, count=5).loss == 0
        assert traffic.transfer(topology.ns("ha"), topology.ns("hb"), address, size=300_000).complete
    (after, status), kernel = beside_the_kernel(up.namespace, lambda: (ours(), up.status()))
    (main, *_) = status.connections
    (ike,) = main.ike_sas
    fresh = {child.name: child for child in ike.children}
    for (child, way), value in after.items():
        shown = fresh[child].inbound if way == "in" else fresh[child].outbound
        counted = kernel[int(shown.spi, 16)]
        assert shown.bytes == counted.bytes and shown.packets == counted.packets > 10
        assert value is not None
        assert value - (before[child, way] or 0) <= counted.bytes  # the SA may have carried some before, too
        assert value >= counted.bytes


def test_counters_lose_nothing_at_a_rekey_though_nobody_has_looked(topology: Topology, up: Gateway) -> None:
    size, way = 300_000, {"connection": MAIN, "child": LAN}
    before = metric(up, "xfrmctl_child_bytes_total", **way, direction="out") or 0
    rekeys = metric(up, "xfrmctl_rekeys_total", connection=MAIN, what="child", role="initiator") or 0
    for _ in range(3):
        assert traffic.transfer(topology.ns("ha"), topology.ns("hb"), HOST_B[0], size=size).complete
        assert up.client.rekey(MAIN, LAN).ok
    text = up.metrics()
    assert (sample(text, "xfrmctl_child_bytes_total", {**way, "direction": "out"}) or 0) - before > 3 * size
    labels = {"connection": MAIN, "what": "child", "role": "initiator"}
    assert sample(text, "xfrmctl_rekeys_total", labels) == rekeys + 3
    assert (sample(text, "xfrmctl_rekey_duration_seconds_count", {"what": "child"}) or 0) >= 3
    assert (sample(text, "xfrmctl_engine_step_seconds_count", {}) or 0) > 3
    assert sample(text, "xfrmctl_icmp_queue_packets", {}) == 0
    assert promtool("check", "metrics", given=text) == ""


def test_clamp_hits_are_counted(topology: Topology, up: Gateway, gateways: tuple[Gateway, Gateway]) -> None:
    """Gateway A rewrites host A's SYN, gateway B the SYN-ACK; what is small enough already is no hit."""

    def hits(family: str, mss: int) -> list[float]:
        labels = {"family": family, "mss": str(mss)}
        return [metric(gateway, "xfrmctl_clamp_packets_total", **labels) or 0 for gateway in gateways]

    sizes = (("ipv4", 1500 - GCM_OVERHEAD - 40), ("ipv6", 1500 - GCM_OVERHEAD - 60))
    for (family, mss), address in zip(sizes, HOST_B, strict=True):
        before = hits(family, mss)
        with Capture(topology.ns("hb"), "eth0") as capture:
            assert traffic.transfer(topology.ns("ha"), topology.ns("hb"), address, size=1000).complete
        assert [syn.mss for syn in capture.report.syns if not syn.ack] == [mss]
        assert hits(family, mss) == [number + 1 for number in before]
        assert metric(up, "xfrmctl_clamp_standing", family=family, mss=str(mss)) == 1


def test_xfrm_stat_is_exported(topology: Topology, up: Gateway) -> None:
    def dropped() -> float:
        """A template without an SA drops, an explicit block does, too."""
        reasons = ("XfrmOutNoStates", "XfrmOutPolBlock")
        return sum(metric(up, "xfrmctl_xfrm_stat_total", name=reason) or 0 for reason in reasons)

    before = dropped()
    up.client.down(MAIN)
    assert traffic.ping(topology.ns("ha"), HOST_B[0], count=3, wait_s=0.3).received == 0
    assert dropped() >= before + 3
    kernel = dict(line.split() for line in up.namespace.run(["cat", "/proc/net/xfrm_stat"]).stdout.splitlines())
    text = up.metrics()
    for name, value in kernel.items():
        assert sample(text, "xfrmctl_xfrm_stat_total", {"name": name}) == float(value), name


def test_link_mtu_is_followed(topology: Topology, up: Gateway) -> None:
    """Within seconds: interface, clamp and what ``show`` says."""

    def sizes() -> tuple[set[int], set[int | None], bool]:
        """Largest inner packet by child and by device, MSS by child, and whether the MSS rules stand."""
        status = up.status()
        found = [c.mtu for ike in status.connections[0].ike_sas for c in ike.children if c.mtu is not None]
        links = json.loads(network_of(up.namespace, "-j", "link", "show", "type", "xfrm"))
        wanted = {mtu.mss_ipv4 for mtu in found} | {mtu.mss_ipv6 for mtu in found}
        standing = {None, *(clamp.mss for clamp in status.clamps if clamp.standing)}
        inner = {mtu.inner_mtu for mtu in found} | {link["mtu"] for link in links if link}
        return inner, wanted - {None}, wanted <= standing

    def expected(outer: int) -> tuple[set[int], set[int], bool]:
        inner = outer - GCM_OVERHEAD
        return {inner}, {inner - 40, inner - 60}, True

    eventually(f"the usual sizes: {sizes()}", lambda: sizes() == expected(1500))
    try:
        for node, dev in (("ga", "wan"), ("r", "ra")):
            topology.set_link_mtu(node, dev, 1400)
        spent = eventually("the lower MTU is followed", lambda: sizes() == expected(1400), timeout_s=60)
        print(f"lower MTU followed after {spent:.1f} s")
        for address in HOST_B:
            assert traffic.transfer(topology.ns("hb"), topology.ns("ha"), HOST_A[":" in address], size=200_000).complete
    finally:
        for node, dev in (("r", "ra"), ("ga", "wan")):
            topology.set_link_mtu(node, dev, 1500)
    eventually("the higher MTU is followed", lambda: sizes() == expected(1500), timeout_s=60)


def test_rules_that_somebody_removed_come_back(up: Gateway) -> None:
    """``show`` tells that they do not stand; the next look at the whole puts them back.

    That look comes once a minute by itself; a reload is one, too, and saves the wait.
    """

    def standing() -> set[bool]:
        return {clamp.standing for clamp in up.status().clamps}

    rules = up.namespace.run(["iptables-save", "-t", "mangle"]).stdout.count("XFRMCTL-MSS")
    assert standing() == {True}
    for tool in ("iptables", "ip6tables"):
        up.namespace.run([tool, "-t", "mangle", "-F"])
        up.namespace.run([tool, "-t", "mangle", "-X"])
    assert standing() == {False}
    mss = 1500 - GCM_OVERHEAD - 40
    assert metric(up, "xfrmctl_clamp_standing", family="ipv4", mss=str(mss)) == 0
    assert ran(up, "plan", code=2)["lines"]
    assert ran(up, "reload")["ok"] is True
    assert standing() == {True}
    assert up.namespace.run(["iptables-save", "-t", "mangle"]).stdout.count("XFRMCTL-MSS") == rules
    assert ran(up, "plan")["lines"] == []

    for tool in ("iptables", "ip6tables"):
        up.namespace.run([tool, "-t", "mangle", "-F"])
    up.namespace.run(["ipset", "destroy"])
    assert ran(up, "reload")["ok"] is True
    assert standing() == {True}
    assert up.status().kernel.problems == []


def test_routes_that_somebody_removed_come_back(topology: Topology, up: Gateway) -> None:
    for version in ("-4", "-6"):
        network_of(up.namespace, version, "route", "flush", "proto", "158")
    planned = ran(up, "plan", code=2)["lines"]
    assert len(planned) == 2 and all(line.startswith("+ route fd10:2::/64") for line in planned), planned
    assert ran(up, "reload")["ok"] is True
    assert ran(up, "plan")["lines"] == []
    assert traffic.ping(topology.ns("ha"), HOST_B[1]).loss == 0


def test_policies_that_somebody_flushed_are_back_at_once(up: Gateway) -> None:
    """The kernel tells us that somebody else did it."""

    def policies() -> list[str]:
        return sorted(re.findall(r"^src .* dst .*\d ?$", network_of(up.namespace, "xfrm", "policy"), re.MULTILINE))

    before = policies()
    assert len(before) >= 9
    network_of(up.namespace, "xfrm", "policy", "flush")
    spent = eventually("all policies are back", lambda: policies() == before, timeout_s=5, every_s=0.01)
    print(f"policies back after {spent * 1000:.0f} ms")
    assert ran(up, "plan")["lines"] == []
