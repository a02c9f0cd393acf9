"""The main job: two gateways, a tunnel between them, and a short report of what was measured.

Runs inside the lab (see ``boot``). Every number comes from outside the daemons: ping and TCP of the hosts,
captures on the router and at the hosts, ``ip -s xfrm state``. Where the daemon says something too (its metrics),
the report sets it beside what the kernel says.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xfrmctl.lab import traffic
from xfrmctl.lab.boot import say
from xfrmctl.lab.capture import Capture, CaptureReport
from xfrmctl.lab.counters import beside_the_kernel, sample
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.job import inside
from xfrmctl.lab.packets import Kind
from xfrmctl.lab.report import Report
from xfrmctl.lab.scenario import CHILD, CONNECTION, METRICS, Pair, pair
from xfrmctl.lab.topology import HOST_B, Topology
from xfrmctl.model.snapshot import ChildInfo

_TRANSFER_BYTES = 50_000_000


def main() -> int:
    """Run the main job and print the report; 0 when every check holds."""
    report = Report("xfrmctl: host A - gateway A - router - gateway B - host B")
    say("lab: building the network")
    with Topology() as topology, Capture(topology.ns("r"), "rb") as router:
        say("lab: starting both gateways")
        with pair(topology) as gateways:
            _negotiate(gateways, report)
            outer_mtu = _sizes(gateways, report)
            say("lab: sending traffic")
            _send(topology, report)
            _counters(gateways, report)
            _diagnose(gateways, report)
        # After the gateways' end: their goodbye, and whatever came after it, is in the capture too.
        _proof(report, router.stop(), outer_mtu)
    print(report.text())
    return 0 if report.ok else 1


def explore() -> int:
    """The same tunnel, left up, and a shell in it."""
    say("lab: building the network and starting both gateways")
    with Topology(prefix="") as topology, pair(topology) as gateways, tempfile.TemporaryDirectory() as scratch:
        result = gateways.a.client.up(CONNECTION)
        if not result.ok:
            say(f"lab: the tunnel did not come up: {result.message}")
        rc = Path(scratch) / "bashrc"
        rc.write_text(_shell_rc(gateways))
        return subprocess.run(["bash", "--rcfile", str(rc), "-i"], check=False).returncode


def _negotiate(gateways: Pair, report: Report) -> None:
    began = time.monotonic()
    result = gateways.a.client.up(CONNECTION)
    took_ms = (time.monotonic() - began) * 1000
    if not result.ok:
        raise LabError(f"the tunnel did not come up: {result.message}\n{gateways.a.log_tail()}")
    report.check("IKE SA and CHILD SA", f"established in {took_ms:.0f} ms", holds=True)
    child = _child(gateways)
    ike = gateways.a.client.connection(CONNECTION).ike_sas[0]
    report.tell("IKE suite", str(ike.suite))
    report.tell("ESP suite", child.suite)


def _send(topology: Topology, report: Report) -> None:
    a, b = topology.ns("ha"), topology.ns("hb")
    for name, address in zip(("IPv4", "IPv6"), HOST_B, strict=True):
        ping = traffic.ping(a, address)
        rtt = f", {ping.rtt_avg_ms:.1f} ms" if ping.rtt_avg_ms is not None else ""
        report.check(f"ping {name} A to B", f"{ping.received} of {ping.sent} answered{rtt}", ping.loss == 0)
    for name, address in zip(("IPv4", "IPv6"), HOST_B, strict=True):
        done = traffic.transfer(a, b, address, size=_TRANSFER_BYTES)
        text = f"{done.received_bytes / 1e6:.0f} MB in {done.seconds:.1f} s, {done.mbit_s:.0f} Mbit/s"
        report.check(f"TCP {name} A to B", text, done.complete)


def _sizes(gateways: Pair, report: Report) -> int:
    """What the daemon believes, and what the hosts' SYNs show; returns the outer MTU in bytes."""
    mtu = _child(gateways).mtu
    if mtu is None:
        raise LabError("gateway A does not know the path MTU")
    report.tell("path MTU", f"{mtu.outer_mtu} bytes (source: {mtu.source})")
    report.tell("ESP overhead", f"{mtu.overhead} bytes, largest inner packet {mtu.inner_mtu}")
    a, b = gateways.topology.ns("ha"), gateways.topology.ns("hb")
    # Captures at the hosts cost throughput, so they see two short connections only.
    with Capture(a, "eth0") as at_a, Capture(b, "eth0") as at_b:
        for address in HOST_B:
            traffic.transfer(a, b, address, size=1000)
    for version, limit in ((4, mtu.mss_ipv4), (6, mtu.mss_ipv6)):
        sent, seen = (_offered(capture.report, version) for capture in (at_a, at_b))
        holds = seen is not None and (limit is None or seen <= limit)
        report.check(f"MSS in the SYN, IPv{version}", f"host A sent {sent}, host B saw {seen}", holds)
    return mtu.outer_mtu


def _offered(capture: CaptureReport, version: int) -> int | None:
    """The MSS in the first SYN of this IP version."""
    return next((syn.mss for syn in capture.syns if not syn.ack and syn.src.version == version), None)


def _counters(gateways: Pair, report: Report) -> None:
    child = _child(gateways)
    metrics, kernel = beside_the_kernel(gateways.topology.ns("ga"), lambda: gateways.a.metrics(METRICS))
    for direction, sa in (("out", child.outbound), ("in", child.inbound)):
        labels = {"connection": CONNECTION, "child": CHILD, "direction": direction}
        said = sample(metrics, "xfrmctl_child_bytes_total", labels)
        counted = kernel.get(int(sa.spi, 16))
        value = f"metrics {said or 0:.0f}, kernel {counted.bytes if counted else 'no such SA'}"
        report.check(f"bytes {direction}", value, counted is not None and said == counted.bytes)


def _diagnose(gateways: Pair, report: Report) -> None:
    for name, gateway in (("A", gateways.a), ("B", gateways.b)):
        findings = gateway.client.diagnose(CONNECTION, 0).findings
        found = ", ".join(f"{f.id}: {f.symptom}" for f in findings) or "nothing found"
        report.check(f"diagnose at gateway {name}", found, holds=not findings)


def _proof(report: Report, router: CaptureReport, outer_mtu: int) -> None:
    report.check("largest packet on the router", f"{router.largest} bytes", router.largest <= outer_mtu)
    counts = router.counts
    text = f"{router.packets} packets: {router.esp} ESP, {counts[Kind.IKE]} IKE, {counts[Kind.PLAINTEXT]} in clear"
    problems = router.problems()
    report.check("capture on the router", text, not problems)
    for problem in problems:
        report.tell("", problem)


def _child(gateways: Pair) -> ChildInfo:
    for ike in gateways.a.client.connection(CONNECTION).ike_sas:
        for child in ike.children:
            return child
    raise LabError(f"gateway A has no CHILD SA:\n{gateways.a.log_tail()}")


def _shell_rc(gateways: Pair) -> str:
    controls = "".join(
        f"    {name}) where={name}; control={gateway.control} ;;\n"
        for name, gateway in (("ga", gateways.a), ("gb", gateways.b))
    )
    return f"""
on() {{ ip netns exec "$@"; }}
ctl() {{
  local where control; case $1 in
{controls}    *) echo "usage: ctl ga|gb VERB..."; return 2 ;; esac; shift
  ip netns exec $where {sys.executable} -m xfrmctl --control $control "$@"; }}
PS1='lab# '
echo
echo 'ha (10.1.1.10) - ga - r - gb - hb (10.1.2.10): the tunnel is up, {inside()} kernel. Try:'
echo '  on ha ping -c 3 10.1.2.10        something on a host'
echo '  ctl ga show                      the gateway, through its control API'
echo '  on r tcpdump -ni rb              what crosses the router'
echo '  on ga ip -s xfrm state           what the kernel has'
echo '  ip -n r link set rb mtu 1400     a narrower path'
echo '  less {gateways.a.log}'
echo 'Ctrl-D ends it and removes everything.'
"""
