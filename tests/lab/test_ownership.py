"""What is not ours stays as it is, byte for byte; what is ours goes when it should, also after a crash.

Gateway A holds objects of somebody else of every kind that we touch, some of them as much like ours as can be.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.tunnel import MAIN, connection, eventually, lan, text
from xfrmctl.lab import traffic
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.scenario import Pair
from xfrmctl.lab.topology import HOST_B, INNER_A, INNER_B, Topology

pytestmark = [pytest.mark.lab, pytest.mark.slow]

AEAD = "aead rfc4106(gcm(aes)) 0x" + "11" * 36 + " 128"

FOREIGN_IP = [
    f"xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1234 reqid 77 mode tunnel {AEAD}",
    f"xfrm state add src 172.16.1.1 dst 172.16.2.1 proto esp spi 0x58000001 reqid 88 mode tunnel {AEAD}",
    "xfrm policy add src 10.50.0.0/24 dst 10.60.0.0/24 dir out priority 200100 "
    "tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 77 mode tunnel",
    "xfrm policy add src 10.60.0.0/24 dst 10.50.0.0/24 dir fwd action block priority 200100",
    "xfrm policy add src fd50::/64 dst fd60::/64 dir out action block",
    "link add foreign0 type xfrm dev wan if_id 0x77",
    "link set foreign0 up",
    "route add 10.51.0.0/24 dev foreign0 metric 58",
    "route add blackhole 10.52.0.0/24 metric 4000000000",
    "route add blackhole 10.53.0.0/24 proto static",
    "route add fd51::/64 dev foreign0 metric 58",
    "route add blackhole fd52::/64 metric 4000000000",
    "route add 10.54.0.0/24 via 172.16.1.254 table 100",
    "rule add to 10.54.0.0/24 lookup 100",
]

FOREIGN_RULES = """\
*mangle
:OTHER - [0:0]
:XFRMCTL-NOTES - [0:0]
-A POSTROUTING -p tcp --tcp-flags SYN,RST SYN -o foreign0 -j TCPMSS --set-mss 1111
-A POSTROUTING -j OTHER
-A INPUT -j XFRMCTL-NOTES
-A OTHER -m set --match-set other{v} src -j RETURN
COMMIT
*filter
-A FORWARD -s {net} -j ACCEPT
COMMIT
"""

FOREIGN_SETS = """\
create other4 hash:net family inet
create other6 hash:net family inet6
create xfrmctl-notes hash:ip
add other4 10.50.0.0/24
add other6 fd50::/64
add xfrmctl-notes 192.0.2.7
"""


def make_foreign(namespace: Namespace) -> None:
    namespace.batch(FOREIGN_IP)
    namespace.run(["ipset", "restore"], stdin=FOREIGN_SETS)
    for tool, version, net in (("iptables", 4, "10.50.0.0/24"), ("ip6tables", 6, "fd50::/64")):
        namespace.run([f"{tool}-restore", "--noflush"], stdin=FOREIGN_RULES.format(v=version, net=net))


def everything(namespace: Namespace) -> dict[str, str]:
    """All that the gateway's kernel holds, as text; only packet counts, sequence numbers and dates are left out."""
    found = {
        what: re.sub(r"oseq 0x\w+|lastused .*", "", namespace.run(what.split()).stdout)
        for what in (
            "ip xfrm state",
            "ip xfrm policy",
            "ip -d link",
            "ip address",
            "ip rule",
            "ip -4 route show table all",
            "ip -6 route show table all",
            "ipset save",
        )
    }
    for tool in ("iptables-save", "ip6tables-save"):
        saved = namespace.run([tool]).stdout
        found[tool] = "\n".join(
            re.sub(r" \[\d+:\d+\]$", "", line) for line in saved.splitlines() if not line.startswith("#")
        )
    return found


def blocks(listing: str) -> list[str]:
    """Objects of a listing: a line and the indented ones that follow."""
    return [block for block in re.split(r"\n(?!\s)", listing.strip("\n")) if block]


def foreign(all_of_it: dict[str, str]) -> dict[str, list[str]]:
    """The same without what is ours, told by our tunnels' addresses and our marks."""
    ours = re.compile(
        r"10\.1\.[12]\.0/24|fd10:[12]::/64|proto 158|reqid 14[789]\d{7}\b|\bsocket (in|out)\b|xfrmctl-[46]-"
        r"|\bxfc-|XFRMCTL-(MSS|ICMP|JUDGE|TELL|TOLD)\b"
    )
    kernels = re.compile(r"(10\.1\.1\.|fd10:1::/64 ).*proto kernel")
    return {
        what: [block for block in blocks(listing) if kernels.search(block) or not ours.search(block)]
        for what, listing in all_of_it.items()
    }


def same_foreign(now: dict[str, str], before: dict[str, str]) -> None:
    """What is not ours is what it was before us; kind by kind, so that a difference can be read."""
    for what, kept in foreign(now).items():
        assert "\n".join(kept) == "\n".join(blocks(before[what])), what


@contextmanager
def both_planes(topology: Topology) -> Iterator[Pair]:
    """Two gateways with one connection: its IPv4 child uses policies, its IPv6 child an interface."""
    gateways = []
    for side, ns in enumerate(("ga", "gb")):
        nets = (INNER_A, INNER_B) if not side else (INNER_B, INNER_A)
        children = {
            name: lan(side, plane, local_ts=nets[0][which], remote_ts=nets[1][which])
            for which, (name, plane) in enumerate((("lan", "policy"), ("lan6", "interface")))
        }
        gateways.append(Gateway(topology.ns(ns), text({MAIN: connection(side, children)})))
    try:
        for gateway in gateways:
            gateway.start(wait=False)
        for gateway in gateways:
            gateway.wait_ready()
        yield Pair(topology, gateways[0], gateways[1])
    finally:
        for gateway in gateways:
            gateway.close()


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as made:
        yield made


@pytest.fixture(scope="module")
def before(topology: Topology) -> dict[str, str]:
    """Gateway A with foreign objects, before any daemon of ours."""
    make_foreign(topology.ns("ga"))
    return everything(topology.ns("ga"))


@pytest.fixture(scope="module")
def gateways(topology: Topology, before: dict[str, str]) -> Iterator[Pair]:
    with both_planes(topology) as made:
        yield made


def up(gateways: Pair) -> None:
    """The tunnel works, whatever was done to it."""
    for gateway in (gateways.a, gateways.b):
        if not gateway.running:
            gateway.start(wait=False)
    for gateway in (gateways.a, gateways.b):
        gateway.wait_ready()
    assert gateways.a.client.up(MAIN).ok
    for address in HOST_B:
        assert traffic.ping(gateways.topology.ns("ha"), address, count=2).loss == 0


def cleanup(gateway: Gateway, *more: str) -> subprocess.CompletedProcess[str]:
    return gateway.ctl_text("cleanup", *more, check=False)


def test_foreign_objects_stay_while_it_runs(gateways: Pair, before: dict[str, str]) -> None:
    up(gateways)
    now = everything(gateways.a.namespace)
    same_foreign(now, before)
    assert now["ip xfrm state"] != before["ip xfrm state"]
    assert "XFRMCTL-ICMP" in now["iptables-save"]
    assert "XFRMCTL-MSS" in now["iptables-save"] and "xfrmctl-4-" in now["ipset save"]


def test_cleanup_is_refused_while_a_daemon_runs(gateways: Pair) -> None:
    up(gateways)
    now = everything(gateways.a.namespace)
    refused = cleanup(gateways.a)
    assert refused.returncode == 1
    assert str(gateways.a.control) in refused.stderr and "stop it first" in refused.stderr
    assert "Traceback" not in refused.stderr
    refused = cleanup(gateways.a, "--json")
    assert refused.returncode == 1
    assert str(gateways.a.control) in json.loads(refused.stdout)["error"]["message"]
    assert everything(gateways.a.namespace) == now


def test_cleanup_is_refused_while_a_daemon_hangs(gateways: Pair) -> None:
    up(gateways)
    os.kill(gateways.a.pid, signal.SIGSTOP)
    try:
        assert cleanup(gateways.a).returncode == 1
    finally:
        os.kill(gateways.a.pid, signal.SIGCONT)
    up(gateways)


def test_stop_takes_our_sas_and_tells_the_peer(gateways: Pair, before: dict[str, str]) -> None:
    up(gateways)
    assert gateways.a.stop() == 0
    now = everything(gateways.a.namespace)
    same_foreign(now, before)
    for what in ("ip xfrm state", "ipset save", "iptables-save", "ip6tables-save", "ip -d link", "ip rule"):
        assert now[what] == before[what], what
    # the blocks are there, in the SPD and in the routing table
    block = [found for found in blocks(now["ip xfrm policy"]) if "10.1.2.0/24" in found]
    assert len(block) == 3 and all("action block" in found for found in block)
    assert "blackhole fd10:2::/64" in now["ip -6 route show table all"]
    states = ["ip", "-n", gateways.b.namespace.name, "xfrm", "state"]
    eventually("the peer's SAs are gone", lambda: not subprocess.check_output(states), timeout_s=5)
    log = "\n".join(gateways.b.log_lines())
    assert "the peer deleted the IKE SA" in log
    assert gateways.b.client.connection(MAIN).ike_sas == []


def test_cleanup_after_a_stop(gateways: Pair, before: dict[str, str]) -> None:
    up(gateways)
    gateways.a.stop()
    done = cleanup(gateways.a)
    assert done.returncode == 0, done.stderr
    assert "3 policies" in done.stdout and "1 route" in done.stdout
    assert everything(gateways.a.namespace) == before


def test_cleanup_after_a_crash(gateways: Pair, before: dict[str, str]) -> None:
    up(gateways)
    gateways.a.kill()
    done = cleanup(gateways.a, "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert told["problems"] == []
    removed = told["removed"]
    assert removed["sas"] == 4 and removed["interfaces"] == 1 and removed["routes"] == 3
    assert removed["policies"] == 6 and removed["clamp_rules"] == removed["clamp_sets"] == 2
    assert everything(gateways.a.namespace) == before
    again = cleanup(gateways.a)
    assert again.returncode == 0 and "no trace of us" in again.stdout
    assert everything(gateways.a.namespace) == before


def test_start_after_a_cleanup(gateways: Pair, before: dict[str, str]) -> None:
    up(gateways)
    same_foreign(everything(gateways.a.namespace), before)
