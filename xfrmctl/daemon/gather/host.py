"""The host around the daemon: sysctls, devices, addresses, routes, counters of /proc/net. All of it blocks."""

import json
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from xfrmctl.daemon.gather import firewall
from xfrmctl.diagnose.facts import ConnectionFacts, DeviceFacts, HostFacts, somewhere_in
from xfrmctl.kernel.firewall.programs import FirewallError, run
from xfrmctl.kernel.survey import Survey
from xfrmctl.model.address import IPAddress

PROC_SYS, PROC_NET = Path("/proc/sys"), Path("/proc/thread-self/net")
MOST_ROUTES = 3000
"""Look-ups of one look."""

_DEVICE_SYSCTLS = ("rp_filter", "disable_xfrm")
_GLOBAL_SYSCTLS = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.rp_filter")


class Look:
    """The first of two looks at what counts; :meth:`facts` is the second one."""

    def __init__(self) -> None:
        self._counters = dict(_counters())
        tables, _ = firewall.read()
        self._counted = firewall.counted(tables)

    def facts(self, connections: Sequence[ConnectionFacts]) -> tuple[HostFacts, list[str]]:
        """Everything, and what could not be looked at."""
        tables, blind = firewall.read()
        devices, addresses = _devices(blind)
        after = dict(_counters())
        with Survey() as survey:
            wanted = list(dict.fromkeys(_destinations(connections)))
            if len(wanted) > MOST_ROUTES:
                blind.append(f"routes to {len(wanted) - MOST_ROUTES} further addresses: name a connection")
            facts = HostFacts(
                sysctls=dict(_sysctls(devices)),
                addresses=addresses,
                devices=devices,
                routes={address: survey.route(address) for address in wanted[:MOST_ROUTES]},
                tables=tables,
                counted=firewall.moved(self._counted, firewall.counted(tables)),
                moved={name: value - self._counters.get(name, 0) for name, value in after.items()},
                foreign_policies=tuple(survey.foreign_policies()),
                sequences=tuple(survey.sequences()),
            )
        return facts, blind


def own_addresses() -> list[IPAddress]:
    """The addresses of this host."""
    return list(_devices([])[1])


def _destinations(connections: Iterable[ConnectionFacts]) -> Iterator[IPAddress]:
    """Every address whose route a rule may ask for."""
    for connection in connections:
        if connection.remote is not None:
            yield connection.remote
        for child in connection.children:
            for selector in (*child.local_ts, *child.remote_ts):
                for network in selector.networks():
                    if network.prefixlen:
                        yield from somewhere_in(network)


def _sysctls(devices: Iterable[str]) -> Iterator[tuple[str, str]]:
    names = [*_GLOBAL_SYSCTLS, *(f"net.ipv4.conf.{d}.{what}" for d in devices for what in _DEVICE_SYSCTLS)]
    for name in names:
        head, device, tail = name.partition(".conf.")
        # a device's name may have dots in it, which are no slashes
        parts = [*head.split("."), *([device.strip("."), *tail.rsplit(".", 1)] if device else [])]
        try:
            yield name, (PROC_SYS / "/".join(parts)).read_text().strip()
        except OSError:
            continue


def _devices(blind: list[str]) -> tuple[dict[str, DeviceFacts], dict[IPAddress, str]]:
    devices: dict[str, DeviceFacts] = {}
    addresses: dict[IPAddress, str] = {}
    try:
        shown: list[dict[str, Any]] = json.loads(run(["ip", "-j", "-d", "address", "show"]))
    except (FirewallError, ValueError) as error:
        blind.append(f"devices and addresses: {error}")
        return {}, {}
    for entry in shown:
        name = entry.get("ifname")
        if not name:
            continue
        info = entry.get("linkinfo", {})
        if_id = str(info.get("info_data", {}).get("if_id", "0"))
        devices[name] = DeviceFacts(
            name=name,
            kind=info.get("info_kind", ""),
            mtu=int(entry.get("mtu", 0)),
            up="UP" in entry.get("flags", []),
            if_id=int(if_id, 0),
        )
        for address in entry.get("addr_info", []):
            if "local" in address:
                addresses[ip_address(address["local"])] = name
    return devices, addresses


def _counters() -> Iterator[tuple[str, int]]:
    """``xfrm_stat`` and ``netstat`` by name."""
    try:
        for line in (PROC_NET / "xfrm_stat").read_text().splitlines():
            name, value = line.split()
            yield name, int(value)
    except OSError:
        pass  # the kernel does not count
    try:
        lines = (PROC_NET / "netstat").read_text().splitlines()
    except OSError:
        return
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        for name, value in zip(names.split()[1:], values.split()[1:], strict=True):
            yield name, int(value)
