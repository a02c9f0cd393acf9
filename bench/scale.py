"""What 10,000 tunnels cost: a SYN, one tunnel's change, memory. ``make bench-scale``; in the lab.

A SYN is measured at two gateways in turns, one with a tunnel to all networks and one with a tunnel to each, with both
back ends of the firewall: the same packets, of which each gets a smaller MSS. A change begins with the ICMP error that
tells of it and ends when the route to the peer, the interface and the clamp have followed.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network

from bench.crowd import FIRST_NET, Crowd
from bench.soak import resident_kib
from bench.syns import FRAMES, Ring, syn
from tests.lab.kernel_gateway import inside
from xfrmctl.kernel.desired import Clamp, Desired
from xfrmctl.kernel.system import LinuxKernel
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import HOST_A, Topology
from xfrmctl.model.firewall import FirewallBackend

BACK_ENDS = (FirewallBackend.NFTABLES, FirewallBackend.IPTABLES)
ROUNDS = 60
CHANGES = 20
ALL = ip_network("11.0.0.0/8")
LAN = ip_network("10.1.1.0/24")
MSS_VALUES = 4
"""Gateways have few: a path carries 1500, 1492 or what a provider's tunnel leaves of it."""

SENT_MSS = 1460


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="What many tunnels cost.")
    parser.add_argument("--tunnels", type=int, default=10_000)
    parser.add_argument("--devices", type=int, default=200, help="how many of them have an xfrm interface")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=["syn", "change"])
    options = parser.parse_args()
    for firewall in BACK_ENDS:
        if options.only != "change":
            with Topology() as topology:
                measure_syns(topology, firewall, options.tunnels, options.rounds)
        if options.only != "syn":
            with Topology() as topology, inside(topology.ns("ga")):
                asyncio.run(measure_changes(firewall, options.tunnels, options.devices))
    return 0


def measure_syns(topology: Topology, firewall: FirewallBackend, tunnels: int, rounds: int) -> None:
    """Cost of a SYN that is forwarded in clear and clamped, with one tunnel and with many.

    What ESP costs is left out: it does not depend on the clamps, and with thousands of keys most of it is the
    processor's cache.
    """
    one = {Clamp(LAN, ALL, 1400)}
    many = {Clamp(LAN, ip_network((FIRST_NET + (n << 8), 24)), 1400 - n % MSS_VALUES) for n in range(1, tunnels + 1)}
    step = max(1, tunnels // FRAMES)
    spread = [str(ip_address(FIRST_NET + ((1 + n * step % tunnels) << 8) + 9)) for n in range(FRAMES)]
    hosts = {"one pair": spread[:1] * FRAMES, "all pairs": spread}
    kernels: list[tuple[Namespace, LinuxKernel]] = []
    rings: dict[tuple[str, str], Ring] = {}
    for count, host, gateway, clamps in (("one", "ha", "ga", one), ("many", "hb", "gb", many)):
        ns = topology.ns(gateway)
        ns.batch(["link add sink type dummy", "link set sink up", f"route add {ALL} via 192.0.2.1 dev sink onlink"])
        mac = bytes.fromhex(ns.run(["cat", "/sys/class/net/lan/address"]).stdout.strip().replace(":", ""))
        with inside(ns):
            kernel = LinuxKernel(firewall)
            assert kernel.converge(Desired(clamps=frozenset(clamps))).problems == ()
        kernels.append((ns, kernel))
        for which, targets in hosts.items():
            packets = [syn(HOST_A[0], target, SENT_MSS) for target in targets]
            rings[count, which] = Ring(topology.ns(host), "eth0", mac, packets)
    spent = _alternate(rings, rounds)
    for ns, kernel in kernels:
        with inside(ns):
            counted = sum(info.packets for info in kernel.clamp_counters())
            assert counted == len(hosts) * rounds * FRAMES, counted  # each SYN was rewritten, once
            kernel.cleanup()
            kernel.close()
    bare = _alternate(rings, rounds)
    for ring in rings.values():
        ring.close()
    for which in hosts:
        few, crowd = (statistics.median(spent[count, which]) for count in ("one", "many"))
        clear = statistics.median([*bare["one", which], *bare["many", which]])
        least = min(spent["many", which]) / min(spent["one", which])
        print(
            f"{firewall.value}: a SYN forwarded, {which}, median of {rounds} rounds: {clear * 1e9:,.0f} ns without a"
            f" clamp, {few * 1e9:,.0f} ns with 1 tunnel, {crowd * 1e9:,.0f} ns with {tunnels:,}:"
            f" ratio {crowd / few:.3f} (of the least {least:.3f})",
            flush=True,
        )


def _alternate(rings: dict[tuple[str, str], Ring], rounds: int) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {name: [] for name in rings}
    for number in range(rounds):
        for name in list(rings)[:: 1 if number % 2 else -1]:
            found[name].append(rings[name].send())
    return found


async def measure_changes(firewall: FirewallBackend, tunnels: int, devices: int) -> None:
    """Time of one tunnel's change, of many at once, and what the gateway's tables take."""
    gc.collect()
    before = resident_kib(0)
    crowd = Crowd(tunnels, firewall, devices=devices)
    made = resident_kib(0)
    began = time.perf_counter()
    await crowd.start()
    print(f"{firewall.value}: {tunnels:,} tunnels put in force in {time.perf_counter() - began:.1f} s", flush=True)
    print(
        f"{firewall.value}: memory {made - before:,} KiB for configuration and SAs,"
        f" {resident_kib(0) - made:,} KiB for paths, policies, routes, clamps and the guard"
    )
    await asyncio.sleep(1)
    new_mss = [await _spent(crowd, [devices + 1 + n], 1399 - n) for n in range(CHANGES)]
    known_mss = [await _spent(crowd, [devices + 100 + n], 1380) for n in range(CHANGES)]
    by_device = [await _spent(crowd, [1 + n], 1350 - n) for n in range(min(CHANGES, devices))]
    for what, spent in (("new MSS", new_mss), ("an MSS in use", known_mss), ("new MSS, interface", by_device)):
        if spent:
            print(
                f"{firewall.value}: one tunnel's MTU ({what}): median {statistics.median(spent) * 1e3:.1f} ms,"
                f" worst of {len(spent)} {max(spent) * 1e3:.1f} ms",
                flush=True,
            )
    at_once = range(devices + 1000, devices + 2000)
    if at_once[-1] <= tunnels:
        print(f"{firewall.value}: 1,000 tunnels' MTU at once: {await _spent(crowd, at_once, 1300) * 1e3:.0f} ms")
    await _timed(f"{firewall.value}: a full look with nothing to do", crowd.reconciler.everything)
    await crowd.stop()


async def _spent(crowd: Crowd, numbers: "range | list[int]", mtu: int) -> float:
    await asyncio.sleep(0.1)
    crowd.kernel.changed.clear()
    began = time.perf_counter()
    crowd.hear(numbers, mtu)
    await crowd.applied()
    return time.perf_counter() - began


async def _timed(what: str, call: Callable[[], Awaitable[None]]) -> None:
    began = time.perf_counter()
    await call()
    print(f"{what}: {time.perf_counter() - began:.2f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
