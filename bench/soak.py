"""A day in virtual time with two real daemons in the lab's kernel: ``make soak``.

Fifty connections with lifetimes of an hour, over a path that loses one packet of a hundred and lets others overtake.
Every sleep is instant, so a day takes as long as its work. Each hour: is everything up, what is in either kernel that
no connection owns, how much memory has each daemon.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.lab.tunnel import connection, eventually, lan, text
from xfrmctl.lab.counters import kernel_sas
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import Topology

PATH = ["loss", "1%", "delay", "20ms", "15ms"]
IKE = {"rekey": "55m", "dpd": "15m"}
SETTLE_S = 120.0
GROWTH_KIB = 4096
"""What a daemon's memory may grow by after the third hour."""


def config(side: int, tunnels: int) -> str:
    """One gateway's configuration."""
    connections = {}
    for n in range(tunnels):
        nets = [f"10.{1 + n}.1.0/24", f"10.{1 + n}.2.0/24"]
        ids = [f"fqdn:moon{n}.example.org", f"fqdn:sun{n}.example.org"]
        child = lan(
            side,
            local_ts=[nets[side]],
            remote_ts=[nets[1 - side]],
            rekey={"time": "50m"},
            lifetime={"time": "60m"},
        )
        made = connection(side, {f"lan{n}": child}, ike=IKE, retry={})
        made["local"]["id"], made["remote"]["id"] = ids[side], ids[1 - side]
        connections[f"net{n}"] = made
    return text(connections)


def resident_kib(pid: int) -> int:
    """Memory of a process; 0 for our own."""
    lines = Path(f"/proc/{pid or 'self'}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def look(gateway: Gateway, tunnels: int) -> tuple[int, int, int]:
    """(connections that are up, SAs in the kernel that nobody owns, memory in KiB)."""
    status = gateway.status()
    up = sum(c.state == "up" for c in status.connections)
    held = {sa.spi for sa in kernel_sas(gateway.namespace)}
    owned = set()
    for one in status.connections:
        for ike in one.ike_sas:
            for child in ike.children:
                owned |= {int(child.inbound.spi, 16), int(child.outbound.spi, 16)}
    return up, len(held - owned), resident_kib(gateway.pid)


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="A day in virtual time.")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--tunnels", type=int, default=50, help="connections, at most 250")
    options = parser.parse_args()
    failed = []
    with Topology() as topology:
        for end in ("ra", "rb"):
            topology.ns("r").run(["tc", "qdisc", "add", "dev", end, "root", "netem", *PATH])
        gateways = [Gateway(topology.ns(ns), config(side, options.tunnels)) for side, ns in enumerate(("ga", "gb"))]
        try:
            for gateway in reversed(gateways):
                gateway.start(wait=False)
            for gateway in gateways:
                gateway.wait_ready(timeout_s=600)
            eventually("all are up", lambda: look(gateways[0], options.tunnels)[0] == options.tunnels, 3600, 5)
            memory: list[list[int]] = [[], []]
            for hour in range(1, options.hours + 1):
                time.sleep(3600)
                for side, gateway in enumerate(gateways):
                    up, stray, kib = look(gateway, options.tunnels)
                    memory[side].append(kib)
                    print(f"  hour {hour:2} gateway {'AB'[side]}: {up} up, {stray} stray SAs, {kib} KiB", flush=True)
                    if up != options.tunnels:
                        failed.append(f"hour {hour}: {options.tunnels - up} are down at gateway {'AB'[side]}")
            time.sleep(SETTLE_S)
            for side, gateway in enumerate(gateways):
                if stray := look(gateway, options.tunnels)[1]:
                    failed.append(f"gateway {'AB'[side]}: {stray} SAs in the kernel that nobody owns")
                grown = memory[side][-1] - memory[side][2] if len(memory[side]) > 3 else 0
                if grown > GROWTH_KIB:
                    failed.append(f"gateway {'AB'[side]}: memory has grown by {grown} KiB")
        finally:
            for gateway in gateways:
                for line in gateway.log_lines():
                    if "dead" in line or "WARN" in line or "ERROR" in line:
                        print(f"  {gateway.namespace.name}: {line}")
                gateway.close()
    print("\n".join(f"FAILED {what}" for what in failed) or "  all stayed up, nothing is left over")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
