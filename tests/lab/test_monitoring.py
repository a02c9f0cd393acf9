"""What deploy/ is for: a real Prometheus scrapes two real gateways while faults are made.

Every alert fires for its fault, `xfrmctl diagnose` says one of the findings that the alert names, and in the end every
expression of every panel has returned series. The tests of this file are one story, in its order.
"""

import datetime
import itertools
import json
import math
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests import pki
from tests.lab.icmp_attacks import send
from tests.lab.stranger import IKE, first_datagram, stranger
from tests.lab.test_gre import DEVICE, ENDS
from tests.lab.tunnel import IDS, LAN, MAIN, connection, eventually, lan, text
from tests.lab.watched import Prometheus, address, complaints, management
from tests.unit.deploy.prometheus import DEPLOY
from tests.unit.guard.icmp_errors import Error, esp
from tools.alerts import alerts, findings
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.process import end
from xfrmctl.lab.topology import HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.model.address import Endpoint

pytestmark = pytest.mark.lab

A, B = "gw-a", "gw-b"
NOBODY = "172.16.2.99"
FOREIGN = "aes256-sha512-prfsha512-modp3072"
"""A proposal that we do not take."""

ROUTER = "172.16.1.254"
ALWAYS = {"XfrmctlCertificateExpires", "XfrmctlConnectionDown", "XfrmctlIpv6Lost", "XfrmctlOffloadLost"}
"""From the beginning: ten days of a certificate, a peer that there never was, a size that is written, a device that
cannot."""

NAMED = {alert["alert"]: set(findings(alert)) for alert in alerts()}
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").iterdir())


def config(side: int) -> str:
    """One tunnel with what it takes to fill every panel, beside it a hub for spokes and a peer that never answers."""
    start = {"start": "none" if side else "start"}
    device = {"interface": DEVICE, "addresses": f"{ENDS[side][0]}/30", "keepalive": "1s"}
    ike = {"dpd": "30s", "retransmit": {"first": "0.5s", "factor": 1.5, "tries": 3}}
    connections: dict[str, Any] = {
        MAIN: connection(side, {LAN: lan(side), "gre": {"tunnel": device, **start}}, ike=ike),
        "narrow": narrow(side) | {"ike": ike},
    }
    spoke = {"local_ts": "10.64.1.0/24", "remote_ts": "10.64.0.1/32"}
    mirrored = {"local_ts": "10.64.0.1/32", "remote_ts": "10.64.0.0/10"}
    ids = {"id": "fqdn:hub.example.org"}, {"id": "fqdn:s1.spokes.example.org"}
    if side == 0:
        hub = connection(0, {"spoke": mirrored | {"start": "none"}}, ike=ike)
        connections["spokes"] = hub | {
            "local": hub["local"] | ids[0],
            "remote": {"address": "any", "id": "fqdn:*.spokes.example.org"},
        }
        dead = connection(0, {"away": {"local_ts": "10.1.1.0/24", "remote_ts": "10.9.0.0/24", "start": "start"}})
        connections["dead"] = dead | {"remote": {"address": NOBODY, "id": "any"}}
    else:
        branch = connection(1, {"hub": spoke | {"start": "start"}}, ike=ike)
        connections["hub"] = branch | {"local": branch["local"] | ids[1], "remote": branch["remote"] | ids[0]}
    settings = {"path_mtu": {"aging": "8s", "confirm": "1s"}, "limits": {"cookies_from": 5}, "firewall": "nftables"}
    return text(connections, metrics=f"{address(side)}:9877", **settings)


def narrow(side: int) -> dict[str, Any]:
    """Over IPv6, which no router fragments, and so small by the configuration that IPv6 does not fit into it."""
    nets = (("10.1.11.0/24", "fd10:11::/64"), ("10.1.12.0/24", "fd10:12::/64"))
    child = {
        "local_ts": list(nets[side]),
        "remote_ts": list(nets[1 - side]),
        "start": "none" if side else "start",
        "dataplane": "interface",
        "oversize": "fragment",
        "mtu": 1300,
        "offload": "no" if side else "crypto",
    }
    ends = ({"address": OUTER_A[1]}, {"address": OUTER_B[1]})
    made = connection(side, {LAN: child}, auth={"certificate": "own.pem", "key": "own.key", "ca": "ca.pem"})
    return made | {"local": made["local"] | ends[side], "remote": made["remote"] | ends[1 - side]}


def files(side: int) -> dict[str, str]:
    """Certificates for the tunnel over IPv6; gateway A's ends in ten days."""
    ca, name = pki.root(), IDS[side].removeprefix("fqdn:")
    start = datetime.datetime.now(datetime.UTC) - 10 * pki.DAY
    own = pki.issue(name, ca, number=side + 1, names=[name], start=start, days=3000 if side else 20)
    return {"own.pem": own.pem, "own.key": own.key_pem, "ca.pem": ca.pem}


@dataclass
class Story:
    """Everything that the tests share."""

    topology: Topology
    a: Gateway
    b: Gateway
    prometheus: Prometheus

    def run(self, node: str, command: str) -> None:
        self.topology.ns(node).run(command.split())

    def sees(self, alert: str, *, doing: Callable[[], object] = lambda: None, **labels: str) -> None:
        """Wait until an alert has fired; until then something is done again and again."""

        def fired() -> bool:
            doing()
            return self.prometheus.fired(alert, **labels)

        eventually(f"{alert} {labels} fires", fired, 90, 0.3)
        assert not [said for said in self.prometheus.texts() if "<no value>" in said or "error" in said.split("<")[1:]]

    def diagnosed(self, alert: str, *, gateway: Gateway | None = None) -> None:
        """What `xfrmctl diagnose` finds now is among what the alert names."""
        found = {finding.id for finding in (gateway or self.a).client.diagnose(None, 1.0).findings}
        assert found & NAMED[alert], (alert, found)

    def scraped(self, times: int = 1) -> None:
        """Let Prometheus look at both gateways, so many times."""
        for _ in range(times):
            before = self._scrapes()

            def again(before: dict[str, float] = before) -> bool:
                now = self._scrapes()
                return all(now.get(name, 0) > before.get(name, 0) for name in (A, B))

            eventually("both are scraped", again, every_s=0.2)

    def _scrapes(self) -> dict[str, float]:
        """When each gateway was scraped last."""
        found = self.prometheus.query("timestamp(xfrmctl_start_time_seconds)")
        return {one["metric"]["instance"]: float(one["value"][1]) for one in found}

    def number(self, expr: str) -> float:
        """The value of an expression that has one series, 0 for none."""
        found = self.prometheus.query(expr)
        return float(found[0]["value"][1]) if found else 0.0


def mtu(gateway: Gateway) -> int:
    """What the path of the main tunnel is believed to carry."""
    (ike,) = gateway.client.connection(MAIN).ike_sas
    return next(child.mtu.outer_mtu for child in ike.children if child.name == LAN and child.mtu is not None)


@contextmanager
def pinging(story: Story, size: int = 200) -> Iterator[None]:
    """Pings from host A, whether they are answered or not."""
    argv = ["ping", "-n", "-q", "-i", "0.02", "-s", str(size), HOST_B[0]]
    running = story.topology.ns("ha").popen(argv)
    try:
        yield
    finally:
        end(running)


@contextmanager
def netem(story: Story, device: str, what: str) -> Iterator[None]:
    """Something happens to packets that leave the router here."""
    story.run("r", f"tc qdisc add dev {device} root netem {what}")
    try:
        yield
    finally:
        story.run("r", f"tc qdisc del dev {device} root")


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with ExitStack() as stack:
        topology = stack.enter_context(Topology())
        monitor = stack.enter_context(management(topology))
        topology.ns("ga").sysctl({"net.ipv4.ipfrag_time": 2})
        a, b = (Gateway(topology.ns(ns), config(side), files=files(side)) for side, ns in enumerate(("ga", "gb")))
        for gateway in (b, a):
            stack.enter_context(gateway)
        began = time.monotonic()
        a.metrics(f"{address(0)}:9877")
        interval_s = min(10, 2 + math.floor(4 * (time.monotonic() - began)))  # what this machine can do
        prometheus = stack.enter_context(Prometheus(monitor, interval_s))
        made = Story(topology, a, b, prometheus)
        try:
            yield made
        finally:
            print(f"---- Prometheus: {prometheus.troubles()}")
            print(f"---- A\n{a.log_tail(60)}\n---- B\n{b.log_tail(40)}")


def test_without_targets_that_is_what_fires(story: Story) -> None:
    story.sees("XfrmctlNoGateways")
    assert story.prometheus.firing() == {"XfrmctlNoGateways"}


def test_healthy_tunnels_give_no_alert(story: Story) -> None:
    story.prometheus.scrape({A: f"{address(0)}:9877", B: f"{address(1)}:9877"})
    story.a.client.up(MAIN)
    for gateway, name in ((story.a, MAIN), (story.b, MAIN), (story.b, "hub")):
        gateway.wait_up(name)
    eventually("both are scraped", lambda: story.number("sum(up)") == 2)
    with pinging(story):
        story.scraped(3)
    for alert in ALWAYS:
        story.sees(alert, instance=A)
    noise = {"XfrmctlRetransmissions"}  # to the peer that never answers; without `for` it comes and goes
    eventually("nothing else fires", lambda: story.prometheus.firing() - noise == ALWAYS)
    story.diagnosed("XfrmctlConnectionDown")


def test_both_ends_rekey_at_once(story: Story) -> None:
    """Who is slow meets the other: no alert, but rekeys, their time and collisions are counted."""
    with ExitStack() as stack:
        for device in ("ra", "rb"):
            stack.enter_context(netem(story, device, "delay 400ms"))
        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(lambda gateway: gateway.client.rekey(MAIN, LAN).ok, (story.a, story.b)))
    story.scraped(2)
    assert story.number(f'xfrmctl_rekeys_total{{instance="{A}", what="child"}}') >= 1


def test_a_narrow_path_in_silence(story: Story) -> None:
    """And it becomes narrower and narrower; with its recovery that is a path that flaps."""
    story.topology.filter_icmp("r")
    try:
        with pinging(story, 1380):
            for size in range(1460, 1400, -10):
                for device in ("ra", "rb"):
                    story.topology.set_link_mtu("r", device, size)
                eventually(f"A has found {size}", lambda: mtu(story.a) == size)  # noqa: B023
                story.scraped()
            story.diagnosed("XfrmctlPathBlackHole")
        story.sees("XfrmctlPathBlackHole", instance=A, connection=MAIN)
    finally:
        for device in ("rb", "ra"):
            story.topology.set_link_mtu("r", device, 1500)
        story.topology.unfilter_icmp("r")


def test_icmp_errors_forged_and_true(story: Story) -> None:
    """One of the true ones lowers the path; a probe finds a moment later that it was not so."""
    router = story.topology.ns("r")
    forged = Error(OUTER_A[0], OUTER_B[0], esp(0xDEADBEEF, 1), reporter=ROUTER)

    def tell() -> None:
        for _ in range(20):
            send(router, forged)
        (ike,) = story.a.client.connection(MAIN).ike_sas
        out = [child for child in ike.children if child.name == LAN][-1].outbound
        quoted = esp(int(out.spi, 16), out.packets)
        send(router, Error(OUTER_A[0], OUTER_B[0], quoted, reporter=ROUTER, mtu=max(600, mtu(story.a) - 4)))

    with pinging(story):
        story.sees("XfrmctlForgedIcmp", doing=tell, instance=A)
    story.sees("XfrmctlPathMtuFlaps", instance=A, connection=MAIN)


def test_packets_that_come_twice_or_changed(story: Story) -> None:
    with netem(story, "ra", "duplicate 50%"), pinging(story):
        story.diagnosed("XfrmctlReplayDrops")
        story.sees("XfrmctlReplayDrops", instance=A, connection=MAIN, child=LAN)
    with netem(story, "ra", "corrupt 30%"), pinging(story):
        story.sees("XfrmctlIntegrityFailures", instance=A, connection=MAIN, child=LAN)
        story.sees("XfrmctlKernelErrors", instance=A, name="XfrmInStateProtoError")


def test_nothing_comes_back(story: Story) -> None:
    """ESP towards A is blocked: traffic goes one way, and the keepalives of the tunnel device are not answered."""
    story.run("r", "iptables -w -I FORWARD -p esp -d 172.16.1.1 -j DROP")
    try:
        with pinging(story):
            story.sees("XfrmctlNoAnswers", instance=A, connection=MAIN, child=LAN)
            story.diagnosed("XfrmctlNoAnswers")
            story.sees("XfrmctlTunnelDeviceDown", instance=A, interface=DEVICE)
    finally:
        story.run("r", "iptables -w -D FORWARD -p esp -d 172.16.1.1 -j DROP")


def test_a_route_of_the_peer_into_its_tunnel(story: Story) -> None:
    up = f'xfrmctl_tunnel_up{{instance="{A}"}}'
    eventually("keepalives are answered again", lambda: story.number(up) == 1)
    story.run("ga", f"ip route add 172.16.2.0/24 dev {DEVICE} metric 1")
    try:
        story.sees("XfrmctlRecursiveRoute", instance=A, interface=DEVICE)
        story.sees("XfrmctlKernelProblems", instance=A)
        story.diagnosed("XfrmctlRecursiveRoute")
        story.diagnosed("XfrmctlKernelProblems")
    finally:
        story.run("ga", f"ip route del 172.16.2.0/24 dev {DEVICE} metric 1")


def test_somebody_else_in_the_firewall_and_a_file_with_a_mistake(story: Story) -> None:
    good = story.a.config_file.read_text()

    def flush() -> None:
        story.topology.ns("ga").run(["nft", "delete", "table", "inet", "xfrmctl"], check=False)

    story.sees("XfrmctlClampMissing", doing=flush, instance=A)
    flush()
    story.diagnosed("XfrmctlClampMissing")
    for _ in range(3):
        flush()
        assert story.a.client.reload().ok
        story.scraped()
    story.sees("XfrmctlKernelDisturbed", instance=A)
    story.a.configure(good.replace('"psk"', '"pskk"'))
    assert not story.a.client.reload().ok
    story.sees("XfrmctlReloadFailed", instance=A)
    story.a.configure(good)
    assert story.a.client.reload().ok


def test_fragments_that_never_make_a_packet(story: Story) -> None:
    numbers = itertools.count(1)
    with story.topology.ns("r").socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)

        def begin() -> None:
            for number in itertools.islice(numbers, 20):
                head = b"\x45\0" + (20 + 64).to_bytes(2, "big") + number.to_bytes(2, "big") + b"\x20\0\x40\x11\0\0"
                head += socket.inet_aton(ROUTER) + socket.inet_aton(OUTER_A[0])
                sock.sendto(head + bytes(64), (OUTER_A[0], 0))

        story.sees("XfrmctlReassemblyFails", doing=begin, instance=A, family="ipv4")


def test_strangers(story: Story) -> None:
    """Some have no proposal in common with us, many begin and do not go on, some send no IKE at all."""
    where = (Endpoint(ip_address(ROUTER), 500), Endpoint(ip_address(OUTER_A[0]), 500))
    entropy = random.Random(9)
    wrong, begun = (first_datagram(stranger(*where, offer)) for offer in (FOREIGN, IKE))
    with story.topology.ns("r").socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:

        def knock(datagram: bytes) -> None:
            for _ in range(10):
                sock.sendto(entropy.randbytes(8) + datagram[8:], (OUTER_A[0], 500))
                sock.sendto(bytes(40), (OUTER_A[0], 500))
                time.sleep(0.02)

        story.sees("XfrmctlStrangersKnock", doing=partial(knock, wrong), instance=A)
        story.sees("XfrmctlIkeFlood", doing=partial(knock, begun), instance=A)


def test_a_tunnel_that_comes_and_goes_and_one_that_went_away(story: Story) -> None:
    def again() -> None:
        assert story.a.client.down("narrow").ok
        assert story.a.client.up("narrow").ok

    story.sees("XfrmctlConnectionFlaps", doing=again, instance=A, connection="narrow")
    assert story.a.client.down("narrow").ok
    story.sees("XfrmctlConnectionLost", instance=B, connection="narrow")
    assert story.a.client.up("narrow").ok


def test_an_sa_without_a_successor(story: Story) -> None:
    """Its hard limit is a minute away from the beginning: as if rekeying had failed for all the time before."""
    short = json.loads(story.a.config_file.read_text())
    short["connections"]["narrow"]["children"][LAN] |= {"rekey": {"time": "off"}, "lifetime": {"time": "50s"}}
    story.a.configure(json.dumps(short))
    assert story.a.client.reload().ok
    assert story.a.client.down("narrow").ok
    assert story.a.client.up("narrow").ok
    story.sees("XfrmctlSaExpires", instance=A, connection="narrow", child=LAN)


def test_a_daemon_that_starts_again_and_again_and_is_gone(story: Story) -> None:
    for _ in range(3):
        story.b.stop()
        story.b.start()
        story.scraped()
    story.sees("XfrmctlGatewayRestarts", instance=B)
    story.b.kill()
    story.sees("XfrmctlGatewayDown", instance=B)
    story.sees("XfrmctlRetransmissions", instance=A)


def test_every_alert_has_fired(story: Story) -> None:
    assert [name for name in NAMED if not story.prometheus.fired(name)] == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_expression_has_returned_series(story: Story, path: Path) -> None:
    assert complaints(story.prometheus, json.loads(path.read_text())) == []


def test_what_is_written_wrong_is_noticed(story: Story) -> None:
    """The last tests would be worth nothing if they let these pass."""
    dashboard = json.loads(DASHBOARDS[0].read_text())
    broken: list[Callable[[dict[str, Any]], object]] = [
        lambda target: target.update(expr=target["expr"].replace("xfrmctl_", "xfrmctl_x")),
        lambda target: target.update(legendFormat="{{pear}}"),
    ]
    for change in broken:
        panel = next(panel for panel in dashboard["panels"] if panel["type"] == "timeseries")
        kept = json.dumps(panel["targets"][0])
        change(panel["targets"][0])
        (said,) = complaints(story.prometheus, dashboard | {"panels": [panel]})
        assert panel["title"] in said
        panel["targets"][0] = json.loads(kept)
