"""The host around the daemon: sysctls, devices, addresses, routes, counters of /proc/net. All of it blocks."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from xfrmctl.daemon.gather import firewall
from xfrmctl.diagnose.facts import ConnectionFacts, HostFacts, somewhere_in
from xfrmctl.kernel.observe import Observer
from xfrmctl.kernel.ownership import UNDERLAY_MARK
from xfrmctl.model.address import IPAddress

PROC_SYS, PROC_NET = Path("/proc/sys"), Path("/proc/thread-self/net")
MOST_ROUTES = 3000
"""Look-ups of one look."""

_DEVICE_SYSCTLS = ("rp_filter", "disable_xfrm", "forwarding")
_GLOBAL_SYSCTLS = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.rp_filter")


class Look:
    """The first of two looks at what counts; :meth:`facts` is the second one.

    Without ``watch`` the rules are read only then: what they have counted meanwhile is not known.
    """

    def __init__(self, *, watch: bool = True) -> None:
        self._counters = dict(_counters())
        self._counted = firewall.counted(firewall.read()[0]) if watch else None

    def facts(
        self, connections: Sequence[ConnectionFacts], spis: Container[int] = frozenset()
    ) -> tuple[HostFacts, list[str]]:
        """Everything about these connections, and what could not be looked at. ``spis`` are those of their SAs."""
        tables, blind = firewall.read()
        after = dict(_counters())
        with Observer() as observer:
            devices = observer.devices()
            wanted = list(dict.fromkeys(_destinations(connections)))
            peers = {c.remote for c in connections if c.remote is not None}.intersection(wanted[:MOST_ROUTES])
            if len(wanted) > MOST_ROUTES:
                blind.append(f"routes to {len(wanted) - MOST_ROUTES} further addresses: name a connection")
            routes = {address: observer.route(address) for address in wanted[:MOST_ROUTES]}
            addresses = {a: device.name for device in devices.values() for a in device.addresses}
            concerned = {*(r.device for r in routes.values()), *_own_devices(connections, addresses)} & {*devices}
            facts = HostFacts(
                sysctls=dict(_sysctls(sorted(concerned))),
                addresses=addresses,
                devices=devices,
                routes=routes,
                unguarded={peer: observer.route(peer, mark=UNDERLAY_MARK) for peer in peers},
                tables=tables,
                counted=firewall.moved(self._counted, firewall.counted(tables)) if self._counted is not None else {},
                moved={name: value - self._counters.get(name, 0) for name, value in after.items()},
                foreign_policies=tuple(observer.foreign_policies()),
                sas=tuple(observer.sas(spis)),
            )
        return facts, blind


def own_addresses() -> list[IPAddress]:
    """The addresses of this host."""
    with Observer() as observer:
        return [address for device in observer.devices().values() for address in device.addresses]


def _destinations(connections: Sequence[ConnectionFacts]) -> Iterator[IPAddress]:
    """Every address whose route a rule may ask for: first all peers, then one of each network, then the others."""
    yield from (c.remote for c in connections if c.remote is not None)
    selectors = (ts for c in connections for child in c.children for ts in (*child.local_ts, *child.remote_ts))
    asked = [somewhere_in(network) for ts in selectors for network in ts.networks() if network.prefixlen]
    asked += [somewhere_in(n) for c in connections for child in c.children for n in child.carries if n.prefixlen]
    yield from (addresses[0] for addresses in asked)
    yield from (address for addresses in asked for address in addresses[1:])


def _own_devices(connections: Iterable[ConnectionFacts], addresses: Mapping[IPAddress, str]) -> Iterator[str]:
    """Where the connections' own packets come in, and the devices that belong to them."""
    for connection in connections:
        if connection.local is not None and connection.local in addresses:
            yield addresses[connection.local]
        yield from (d for child in connection.children for d in (child.interface, child.tunnel) if d)


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
