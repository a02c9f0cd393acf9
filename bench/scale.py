"""What 10,000 tunnels cost: a SYN, one tunnel's change, memory. ``make bench-scale``; in the lab.

A SYN is measured at two gateways in turns, one with a tunnel to all networks and one with a tunnel to each, with both
back ends of the firewall: the same packets, of which each gets a smaller MSS. Once they are forwarded in clear, which
shows what the clamp alone costs, and once as they really go: found in the SPD, encrypted, sent to the peer. A change
begins with the ICMP error that tells of it and ends when the route to the peer, the interface and the clamp have
followed.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network

from bench.crowd import FIRST_NET, FIRST_PEER, Crowd
from bench.soak import resident_kib
from bench.syns import FRAMES, Ring, syn
from tests.lab.kernel_gateway import GCM, PRIORITY, inside, keys_of
from xfrmctl.config import numbering
from xfrmctl.kernel.desired import Action, Clamp, Desired, Policy, PolicyKey, Template
from xfrmctl.kernel.system import LinuxKernel
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import HOST_A, OUTER_A, OUTER_B, Topology
from xfrmctl.model.address import IPAddress
from xfrmctl.model.firewall import FirewallBackend
from xfrmctl.model.sa import Direction, KernelSa, SaKeys

BACK_ENDS = (FirewallBackend.NFTABLES, FirewallBackend.IPTABLES)
ROUNDS = 60
CHANGES = 20
ALL = ip_network("11.0.0.0/8")
PEERS = ip_network("172.18.0.0/16")
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
        for esp in (False, True) if options.only != "change" else ():
            with Topology() as topology:
                measure_syns(topology, firewall, options.tunnels, options.rounds, esp=esp)
        if options.only != "syn":
            with Topology() as topology, inside(topology.ns("ga")):
                asyncio.run(measure_changes(firewall, options.tunnels, options.devices))
    return 0


def measure_syns(topology: Topology, firewall: FirewallBackend, tunnels: int, rounds: int, *, esp: bool) -> None:
    """Cost of a SYN that is forwarded and clamped, with one tunnel and with many; through the tunnel, or in clear.

    With thousands of keys much of what ESP costs to *all* pairs is the processor's cache, whoever clamps.
    """
    one = {Clamp(LAN, ALL, 1400)}
    many = {Clamp(LAN, ip_network((FIRST_NET + (n << 8), 24)), 1400 - n % MSS_VALUES) for n in range(1, tunnels + 1)}
    step = max(1, tunnels // FRAMES)
    spread = [str(ip_address(FIRST_NET + ((1 + n * step % tunnels) << 8) + 9)) for n in range(FRAMES)]
    hosts = {"one pair": spread[:1] * FRAMES, "all pairs": spread}
    kernels: list[tuple[Namespace, LinuxKernel, Desired]] = []
    rings: dict[tuple[str, str], Ring] = {}
    for count, host, gateway, outer, clamps in (("one", "ha", "ga", OUTER_A, one), ("many", "hb", "gb", OUTER_B, many)):
        ns = topology.ns(gateway)
        sink = [f"route add {nets} via 192.0.2.1 dev sink onlink" for nets in (ALL, PEERS)]
        ns.batch(["link add sink type dummy", "link set sink up", *sink])
        mac = bytes.fromhex(ns.run(["cat", "/sys/class/net/lan/address"]).stdout.strip().replace(":", ""))
        with inside(ns):
            kernel = LinuxKernel(firewall)
            policies, sas = _tunnels(ip_address(outer[0]), clamps) if esp else ({}, [])
            kernel.install(sas)
            unclamped = Desired(policies)
            assert kernel.converge(replace(unclamped, clamps=frozenset(clamps))).problems == ()
        kernels.append((ns, kernel, unclamped))
        for which, targets in hosts.items():
            packets = [syn(HOST_A[0], target, SENT_MSS) for target in targets]
            rings[count, which] = Ring(topology.ns(host), "eth0", mac, packets)
    spent = _alternate(rings, rounds)
    for ns, kernel, unclamped in kernels:
        with inside(ns):
            counted = sum(info.packets for info in kernel.clamp_counters())
            assert counted == len(hosts) * rounds * FRAMES, counted  # each SYN was rewritten, once
            encrypted = sum(seen.packets for seen in kernel.dump().values())
            assert encrypted == (counted if esp else 0), encrypted
            assert kernel.converge(unclamped).problems == ()
    bare = _alternate(rings, rounds)
    for ns, kernel, _ in kernels:
        with inside(ns):
            kernel.cleanup()
            kernel.close()
    for ring in rings.values():
        ring.close()
    for which in hosts:
        few, crowd = (statistics.median(spent[count, which]) for count in ("one", "many"))
        clamp = [found - statistics.median(bare[count, which]) for count, found in (("one", few), ("many", crowd))]
        print(
            f"{firewall.value}: a SYN {'through ESP' if esp else 'in clear'}, {which}, median of {rounds} rounds:"
            f" {few * 1e9:,.0f} ns with 1 tunnel ({clamp[0] * 1e9:,.0f} of them for the clamp),"
            f" {crowd * 1e9:,.0f} ns with {tunnels:,} ({clamp[1] * 1e9:,.0f} for the clamp): ratio {crowd / few:.3f}",
            flush=True,
        )


def _tunnels(ours: IPAddress, clamps: set[Clamp]) -> tuple[dict[PolicyKey, Policy], list[tuple[KernelSa, SaKeys]]]:
    """A tunnel to a peer of its own for each pair that is clamped: its policies and its outbound SA."""
    policies, sas = {}, []
    reqids = numbering.assign(str(clamp.remote) for clamp in clamps)
    for number, clamp in enumerate(sorted(clamps, key=lambda one: one.remote), start=1):
        peer, reqid = ip_address(FIRST_PEER + number), reqids[str(clamp.remote)]
        for direction in Direction:
            out = direction is Direction.OUT
            pair = (clamp.local, clamp.remote) if out else (clamp.remote, clamp.local)
            template = Template(*((ours, peer) if out else (peer, ours)), reqid)
            key = PolicyKey(direction, *pair)
            policies[key] = Policy(key, Action.ALLOW, PRIORITY, template)
        sa = KernelSa(
            direction=Direction.OUT,
            source=ours,
            destination=peer,
            spi=0x10000 + number,
            reqid=reqid,
            suite=GCM,
        )
        sas.append((sa, keys_of(GCM, number)))
    return policies, sas


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
