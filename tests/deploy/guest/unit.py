"""The installed package under the real unit, with real ESP: two nodes of the topology's gateways, one boot, one pair.

Gateway A clamps and guards by nftables and has its secret from systemd; B by iptables, with a secret of its own. The
tests go in this order: what breaks the daemons comes last.
"""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.deploy.guest.service import GRE, MEMBER, PSK, SECRETS, STRANGER, VIA, Service, services
from tests.lab.icmp_attacks import send
from tests.lab.tunnel import LAN, MAIN, Stream, eventually, watch
from tests.unit.guard.icmp_errors import Error, esp
from xfrmctl.lab import traffic
from xfrmctl.lab.capture import Capture
from xfrmctl.lab.topology import HOST_A, HOST_B, OUTER_A, OUTER_B, Topology
from xfrmctl.model.sa import Mode
from xfrmctl.model.snapshot import ChildInfo
from xfrmctl.model.tunnel import Tunnel, TunnelType
from xfrmctl.pmtu.overhead import inner_mtu
from xfrmctl.pmtu.spelling import parse_suite

SUITE = parse_suite("aes256gcm16")
WIDE, NARROW = 1500, 1400
LARGEST = inner_mtu(WIDE, SUITE, 4, False)
FEW = 20
"""Packets of one flow that a restart may cost, of 100 a second; without a handover it costs hundreds here."""


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as made:
        yield made


@pytest.fixture(scope="module")
def pair(topology: Topology) -> Iterator[tuple[Service, Service]]:
    with services(topology) as made:
        for service in made:
            service.systemctl("--no-block", "start")
        try:
            for service in made:
                eventually("the tunnel is up", service.up, timeout_s=90)
            yield made
        finally:
            for service in made:
                print(service.tail())


@pytest.fixture
def stream(topology: Topology, pair: tuple[Service, Service]) -> Iterator[Stream]:
    """Packets of the child between the hosts, all the time and all arriving when the test begins."""
    with Stream(topology) as made:
        made.flows()
        yield made


class Losses:
    """How many packets of each flow did not arrive since the last look."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._before = stream, 0
        self.worst()

    def worst(self) -> int:
        """Those of the flow that fared worst."""
        lost = self._missing()
        for _ in range(30):  # some are always under way, on a busy machine for longer; what is lost stays so
            if lost <= self._before:
                break
            time.sleep(0.1)
            lost = min(lost, self._missing())
        found, self._before = lost - self._before, lost
        return found

    def _missing(self) -> int:
        return max(self._stream.serial - arrived for arrived in self._stream.arrived.values())


def children(service: Service) -> dict[str, ChildInfo]:
    return {child.name: child for ike in service.client.connection(MAIN).ike_sas for child in ike.children}


def outer_mtu(service: Service) -> tuple[int, str]:
    mtu = children(service)[LAN].mtu
    assert mtu is not None
    return mtu.outer_mtu, mtu.source


def sas(service: Service) -> int:
    """SAs in the kernel: two for each of the three children, and no more."""
    found = re.findall(r"proto esp spi 0x([0-9a-f]+)", service.node.run(["ip", "xfrm", "state"]).stdout)
    return sum(int(spi, 16) != 0 for spi in found)  # 0 is a place that the kernel keeps for an SA that it has asked for


def again(service: Service, starts: int) -> bool:
    """Whether it has been started again so often by systemd, and its tunnel is up."""
    return service.shown("NRestarts") == str(starts) and service.up()


def test_full_size_packets_by_each_kind_of_child(topology: Topology, pair: tuple[Service, Service]) -> None:
    a, _ = pair
    for service in pair:
        eventually("a probe has told the path", lambda each=service: outer_mtu(each) == (WIDE, "probe"))  # type: ignore[misc]
    gre = inner_mtu(WIDE, SUITE, 4, False, Mode.TRANSPORT, Tunnel(type=TunnelType.GRE, interface="gre1"))
    ways = [
        *((topology.ns("ha"), (), address, LARGEST) for address in HOST_B),
        *((topology.ns("hb"), (), address, LARGEST) for address in HOST_A),
        (topology.ns("ha"), ("-I", VIA[0][1]), VIA[1][1], LARGEST),
        (topology.ns("hb"), ("-I", VIA[1][1]), VIA[0][1], LARGEST),
        (a.node.namespace, (), GRE[1], gre),
    ]
    with Capture(topology.ns("r"), "ra") as outside:
        for source, options, target, largest in ways:
            for size, passes in ((largest, True), (largest + 1, False)):
                payload = size - (48 if ":" in target else 28)
                words = ["ping", "-n", "-M", "do", "-c", "1", "-W", "1", "-s", str(payload), *options, target]
                assert (source.run(words, check=False).returncode == 0) is passes, (target, size)
    assert outside.report.problems() == [] and not outside.report.others
    assert outside.report.esp >= 2 * len(ways)


def test_both_firewalls_clamp(topology: Topology, pair: tuple[Service, Service]) -> None:
    """A by nftables, B by iptables and ipset: each sees the SYNs of one direction first."""
    ha, hb = topology.ns("ha"), topology.ns("hb")
    for source, sink, address in ((ha, hb, HOST_B[0]), (hb, ha, HOST_A[0])):
        with Capture(sink, "eth0") as inside:
            assert traffic.transfer(source, sink, address, size=100_000).complete
        assert {syn.mss for syn in inside.report.syns if not syn.ack} == {LARGEST - 40}
    assert f"mss4-{LARGEST - 40}" in pair[0].node.run(["nft", "list", "ruleset"]).stdout
    assert f"--set-mss {LARGEST - 40}" in pair[1].node.run(["iptables-save"]).stdout


def test_the_guard_judges_icmp_errors(topology: Topology, pair: tuple[Service, Service]) -> None:
    """By NFQUEUE, with CAP_NET_ADMIN alone: a forged error is dropped, and nothing becomes of it."""
    for service, (here, there) in zip(pair, ((OUTER_A, OUTER_B), (OUTER_B, OUTER_A)), strict=True):
        sides = {"payload": esp(0xDEADBEEF, 1), "reporter": "172.16.1.254"}
        send(topology.ns("r"), Error(here[0], there[0], **sides))  # type: ignore[arg-type]
        eventually("it is counted", lambda each=service: judged(each, "unknown_spi") == 1, 10)  # type: ignore[misc]
        assert outer_mtu(service) == (WIDE, "probe")


def judged(service: Service, reason: str) -> int:
    """Errors judged so, as the metrics tell."""
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9877/metrics').read().decode())"
    text = service.node.run(["python3", "-c", script]).stdout
    found = re.findall(rf'xfrmctl_icmp_errors_judged_total\{{[^}}]*reason="{reason}"[^}}]*\}} (\d+)', text)
    return sum(map(int, found))


def test_members_of_the_group_use_it_and_others_do_not(pair: tuple[Service, Service]) -> None:
    a, b = pair
    with ThreadPoolExecutor(2) as both:  # it looks for some seconds
        for found in both.map(lambda each: json.loads(each.ctl("diagnose", "--json").stdout), (a, b)):
            assert not found["findings"] and not found["blind"], found
    assert "main up" in a.ctl("show").stdout
    assert "nothing would change" in a.ctl("plan").stdout
    assert "ike_sa_established" in a.ctl("events", "--last", "50", "--no-follow", "--json").stdout
    a.node.run(["install", "-m", "0644", "/dev/stdin", "/var/tmp/swanctl.conf"], stdin=SWANCTL)
    a.ctl("import", "/var/tmp/swanctl.conf", "--to", "/tmp/imported")
    assert "10.9.2.0/24" in (a.node.files / "tmp/imported/xfrmctl.yaml").read_text()
    assert "root" in a.ctl("explain", *HOST_A[:1], *HOST_B[:1], "tcp", "443", check=False).stderr
    for user, words in ((STRANGER, ["show"]), (STRANGER, ["down", MAIN])):
        refused = a.ctl(*words, user=user, check=False)
        assert refused.returncode != 0 and "Traceback" not in refused.stderr
    assert a.up()


def test_secrets_are_where_they_belong(pair: tuple[Service, Service]) -> None:
    """A's is root's, and systemd's to hand over; B's is the daemon's. Neither is in a log, nor for a member to read."""
    a, b = pair
    assert not list((a.node.files / SECRETS.lstrip("/")).iterdir())
    for service, path in ((a, "/run/credentials/xfrmctl.service/main.psk"), (b, f"{SECRETS}/main.psk")):
        reader = ["setpriv", f"--reuid={MEMBER}", "--regid=nogroup", "--init-groups", "cat", path]
        assert service.node.run(reader, check=False).returncode != 0
        assert PSK not in service.node.run(["journalctl", "--no-pager"]).stdout


def test_root_sees_what_only_root_may(pair: tuple[Service, Service]) -> None:
    """Commands that read the kernel themselves, from the installed program."""
    a = pair[0]
    assert "gets through" in a.node.run(["xfrmctl", "explain", HOST_A[0], HOST_B[0], "tcp", "443"]).stdout
    assert "ok: 1 connection" in a.node.run(["xfrmctl", "check"]).stdout
    done = a.node.run(["xfrmctl", "trace", "--live", "lan", "wan", "--seconds", "1", "--json"], check=False)
    assert done.returncode in (0, 1), done.stderr
    json.loads(done.stdout)


def test_the_journal_has_fields(pair: tuple[Service, Service]) -> None:
    rows = pair[0].journal(f"XFRMCTL_CONNECTION={MAIN}", "XFRMCTL_KIND=child_sa_installed")
    assert {row["XFRMCTL_CHILD"] for row in rows} == {"lan", "via", "gre"}
    assert {(row["PRIORITY"], row["_SYSTEMD_UNIT"]) for row in rows} == {("6", "xfrmctl.service")}


def test_a_reload_loses_nothing(pair: tuple[Service, Service], stream: Stream) -> None:
    a, _ = pair
    before, losses = (a.pid, children(a)[LAN].inbound.spi), Losses(stream)
    other = a.connection(remote={"address": "203.0.113.9", "id": "fqdn:nobody.example.org"})
    other["children"] = {"more": {"local_ts": ["10.5.1.0/24"], "remote_ts": ["10.5.2.0/24"], "start": "trap"}}
    a.configure({"other": other})
    a.systemctl("reload")
    assert a.shown("StatusText") == "reloaded: 1 added"
    assert "dst 10.5.2.0/24" in a.node.run(["ip", "xfrm", "policy"]).stdout
    a.configure()
    a.systemctl("reload")
    assert losses.worst() == 0
    assert (a.pid, children(a)[LAN].inbound.spi) == before


def test_a_path_that_narrows_in_silence_is_found(topology: Topology, pair: tuple[Service, Service]) -> None:
    topology.filter_icmp("r")
    for dev in ("ra", "rb"):
        topology.set_link_mtu("r", dev, NARROW)
    done = traffic.transfer(topology.ns("ha"), topology.ns("hb"), HOST_B[0], size=200_000)
    assert done.complete
    for service in pair:
        eventually("a probe has told it", lambda each=service: outer_mtu(each) == (NARROW, "probe"))  # type: ignore[misc]
    narrow = inner_mtu(NARROW, SUITE, 4, False)
    eventually("nftables follows", lambda: f"mss4-{narrow - 40}" in pair[0].node.run(["nft", "list", "ruleset"]).stdout)
    eventually("iptables follows", lambda: f"--set-mss {narrow - 40}" in pair[1].node.run(["iptables-save"]).stdout)
    found = json.loads(pair[0].ctl("diagnose", "--json", check=False).stdout)
    assert [finding["id"] for finding in found["findings"]] == ["path-mtu-black-hole"]
    for dev in ("ra", "rb"):
        topology.set_link_mtu("r", dev, WIDE)
    topology.unfilter_icmp("r")


def test_a_crash_loses_nothing(topology: Topology, pair: tuple[Service, Service], stream: Stream) -> None:
    """kill -9: the kernel goes on; systemd starts another daemon, which keeps the SAs until it has its own."""
    a, _ = pair
    old, losses = children(a)[LAN].inbound.spi, Losses(stream)
    with watch(topology, stream) as seen:
        a.systemctl("kill", "-s", "KILL")
        eventually("it is back", partial(again, a, 1))
        assert losses.worst() <= FEW
    seen.nothing_in_clear(esp=True)
    assert children(a)[LAN].inbound.spi != old
    eventually("the old SAs have gone", lambda: sas(a) == 6)


def test_a_daemon_that_hangs_is_started_again(
    topology: Topology, pair: tuple[Service, Service], stream: Stream
) -> None:
    """B stands still: packets go on, and the watchdog ends it. A may notice first, by what it asks B; so no count."""
    _, b = pair
    hung = b.pid
    with watch(topology, stream) as seen:
        b.systemctl("kill", "-s", "STOP", "--kill-whom=main")
        stream.flows()
        eventually("it is back", partial(again, b, 1))
        stream.flows()
    seen.nothing_in_clear(esp=True)
    assert b.pid != hung
    assert b.shown("ActiveState") == "active"


def test_a_restart_keeps_the_tunnel(topology: Topology, pair: tuple[Service, Service], stream: Stream) -> None:
    """What an upgrade of the package does, once its files are there."""
    a, _ = pair
    before, losses = a.pid, Losses(stream)
    with watch(topology, stream) as seen:
        a.systemctl("try-restart")
        eventually("the tunnel is up", a.up)
        assert losses.worst() <= FEW
    seen.nothing_in_clear(esp=True)
    assert a.pid != before


def test_stopped_means_blocked(topology: Topology, pair: tuple[Service, Service], stream: Stream) -> None:
    a, b = pair
    with watch(topology, stream) as seen:
        a.systemctl("stop")
        assert stream.stands()
    seen.nothing_in_clear()
    assert sas(a) == sas(b) == 0
    assert "dir out action block" in a.node.run(["ip", "xfrm", "policy"]).stdout


def test_nothing_was_refused(pair: tuple[Service, Service]) -> None:
    """A sandbox that is too tight shows as errors: of permissions, or of calls that are filtered."""
    for service in pair:
        ours = [
            text for text in service.complaints() if re.search(r"permi|CAP_|Traceback|Read-only|internal", text, re.I)
        ]
        assert not ours


SWANCTL = """\
connections {
  branch {
    local_addrs = 192.0.2.1
    remote_addrs = 192.0.2.2
    local {
      auth = psk
    }
    remote {
      auth = psk
    }
    children {
      lan {
        local_ts = 10.9.1.0/24
        remote_ts = 10.9.2.0/24
      }
    }
  }
}
secrets {
  ike-branch {
    secret = "for this test only, and long enough"
  }
}
"""
