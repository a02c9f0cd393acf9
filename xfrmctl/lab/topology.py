"""host A - gateway A - [NAT box -] router - gateway B - host B, as network namespaces joined by veth links.

::

    ha ─eth0─────lan─ ga ─wan───────(out)─ nat ─(in)───────ra─ r ─rb───────wan─ gb ─lan─────eth0─ hb
    10.1.1.10      .1   172.16.1.1     192.168.9.1/.254 .254     .254   172.16.2.1  .1     10.1.2.10
    fd10:1::10    ::1   fd16:1::1                       ::fe     ::fe   fd16:2::1  ::1    fd10:2::10

Without the NAT box gateway A sits on the router itself. With it, gateway A has 192.168.9.1 (fd19:9::1) and
the box translates it to 172.16.1.1 (fd16:1::1), so gateway B sees the same address either way.

The underlay's hops know no inner address: a packet of host A that leaves gateway A unencrypted is dropped by
the router, but seen by a capture there.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace, batch

#: Inner networks (IPv4, IPv6) behind gateway A and gateway B, and their hosts' addresses.
INNER_A, INNER_B = ("10.1.1.0/24", "fd10:1::/64"), ("10.1.2.0/24", "fd10:2::/64")
HOST_A, HOST_B = ("10.1.1.10", "fd10:1::10"), ("10.1.2.10", "fd10:2::10")
#: Outer addresses (IPv4, IPv6) of the gateways as their peers see them.
OUTER_A, OUTER_B = ("172.16.1.1", "fd16:1::1"), ("172.16.2.1", "fd16:2::1")
#: Gateway A's own addresses behind the NAT box.
PRIVATE_A = ("192.168.9.1", "fd19:9::1")

_serial = itertools.count(1)


class Topology:
    """Build on entering, remove on leaving; several may exist at once, also in one process.

    ``nat`` puts a source-translating box between gateway A and the router.
    """

    def __init__(self, *, nat: bool = False, prefix: str | None = None) -> None:
        self.nat = nat
        self.prefix = prefix if prefix is not None else f"x{os.getpid()}n{next(_serial)}-"
        self._names = ("ha", "ga", *(("nat",) if nat else ()), "r", "gb", "hb")
        self._namespaces = {name: Namespace(self.prefix + name) for name in self._names}

    # ---- life ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Topology:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.down()

    def up(self) -> None:
        """Make all namespaces, links, addresses and routes."""
        for namespace in self._namespaces.values():
            namespace.add()
        for name in self._names:
            self.ns(name).sysctl(
                {
                    "net.ipv4.ip_forward": 0 if name in ("ha", "hb") else 1,
                    "net.ipv6.conf.all.forwarding": 0 if name in ("ha", "hb") else 1,
                    "net.ipv4.conf.all.rp_filter": 0,
                    "net.ipv4.conf.default.rp_filter": 0,
                    # Devices take `default` when they are made: without it a router's own link-local address
                    # is tentative for a second or two, and until then it asks for no neighbour.
                    "net.ipv6.conf.all.accept_dad": 0,
                    "net.ipv6.conf.default.accept_dad": 0,
                    # Path MTU tests send several oversized packets a second and count the answers.
                    "net.ipv4.icmp_ratelimit": 0,
                    "net.ipv6.icmp.ratelimit": 0,
                }
            )
        batch(self._link_lines())
        for name, namespace in self._namespaces.items():
            namespace.batch(self._address_lines(name))
        for name in ("ha", "hb"):
            # A host with segmentation offload hands over packets larger than the MTU; captures and MTU
            # arithmetic want what would be on a wire.
            self.ns(name).run(["ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off"])
        if self.nat:
            self._translate()

    def down(self) -> None:
        """Remove everything, running processes included; harmless when there is nothing."""
        for namespace in self._namespaces.values():
            namespace.remove()

    def ns(self, name: str) -> Namespace:
        """The namespace of ``ha``, ``ga``, ``nat``, ``r``, ``gb`` or ``hb``."""
        return self._namespaces[name]

    @property
    def ga_address(self) -> tuple[str, str]:
        """Gateway A's own outer addresses (IPv4, IPv6): private ones behind the NAT box."""
        return PRIVATE_A if self.nat else OUTER_A

    @property
    def seen_address(self) -> tuple[str, str]:
        """Gateway A as gateway B sees it, whether or not a NAT box is in between."""
        return OUTER_A

    # ---- what the tables above say, as lines for `ip -batch` -------------------------------------------------

    def _links(self) -> list[tuple[str, str, str, str]]:
        underlay = [("ga", "wan", "nat", "in"), ("nat", "out", "r", "ra")] if self.nat else [("ga", "wan", "r", "ra")]
        return [("ha", "eth0", "ga", "lan"), *underlay, ("r", "rb", "gb", "wan"), ("gb", "lan", "hb", "eth0")]

    def _link_lines(self) -> list[str]:
        return [
            f"link add {dev} netns {self.prefix}{one} type veth peer name {peer} netns {self.prefix}{other}"
            for one, dev, other, peer in self._links()
        ]

    def _address_lines(self, name: str) -> list[str]:
        lines = ["link set lo up"]
        for dev, v4, v6 in self._addresses(name):
            lines += [
                f"link set {dev} up",
                f"address add {v4}/24 dev {dev}",
                f"address add {v6}/64 dev {dev} nodad",
            ]
        v4_gateway, v6_gateway = self._default_routes().get(name, ("", ""))
        if v4_gateway:
            lines += [f"route add default via {v4_gateway}", f"route add ::/0 via {v6_gateway}"]
        return lines

    def _addresses(self, name: str) -> list[tuple[str, str, str]]:
        if name == "nat":
            return [("in", "192.168.9.254", "fd19:9::fe"), ("out", *OUTER_A)]
        table: dict[str, list[tuple[str, str, str]]] = {
            "ha": [("eth0", *HOST_A)],
            "ga": [("lan", "10.1.1.1", "fd10:1::1"), ("wan", *self.ga_address)],
            "r": [("ra", "172.16.1.254", "fd16:1::fe"), ("rb", "172.16.2.254", "fd16:2::fe")],
            "gb": [("lan", "10.1.2.1", "fd10:2::1"), ("wan", *OUTER_B)],
            "hb": [("eth0", *HOST_B)],
        }
        return table[name]

    def _default_routes(self) -> dict[str, tuple[str, str]]:
        to_router = ("172.16.1.254", "fd16:1::fe")
        return {
            "ha": ("10.1.1.1", "fd10:1::1"),
            "ga": ("192.168.9.254", "fd19:9::fe") if self.nat else to_router,
            "nat": to_router,
            "gb": ("172.16.2.254", "fd16:2::fe"),
            "hb": ("10.1.2.1", "fd10:2::1"),
        }

    def _translate(self) -> None:
        box = self.ns("nat")
        for tool, outside in zip(("iptables", "ip6tables"), OUTER_A, strict=True):
            # A fixed high port range: the peer must see that the source port is not 500 or 4500 any more.
            rule = "-t nat -A POSTROUTING -o out -p udp -j SNAT --to-source"
            target = f"{outside}:32000-33000" if tool == "iptables" else f"[{outside}]:32000-33000"
            box.run([tool, "-w", *rule.split(), target])
            box.run([tool, "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "out", "-j", "SNAT", "--to-source", outside])

    # ---- what tests do to the path -----------------------------------------------------------------------------

    def set_path_mtu(self, mtu: int) -> None:
        """The largest IP packet that the router and gateway B exchange; gateway A's own link stays as it is."""
        self.set_link_mtu("r", "rb", mtu)
        self.set_link_mtu("gb", "wan", mtu)

    def set_link_mtu(self, node: str, dev: str, mtu: int) -> None:
        """The MTU of one end of a link, in bytes of IP packet."""
        self.ns(node).batch([f"link set {dev} mtu {mtu}"])

    @contextmanager
    def link_down(self, node: str, dev: str) -> Iterator[None]:
        """One link without carrier while the block runs."""
        self.ns(node).batch([f"link set {dev} down"])
        try:
            yield
        finally:
            self.ns(node).batch([f"link set {dev} up"])
            self._readdress(node, dev)

    def _readdress(self, node: str, dev: str) -> None:
        # A link that goes down takes its routes and its IPv6 addresses along.
        for known, _v4, v6 in self._addresses(node):
            if known == dev:
                self.ns(node).run(["ip", "address", "replace", f"{v6}/64", "dev", dev, "nodad"])
        for version, gateway in zip(("-4", "-6"), self._default_routes().get(node, ()), strict=False):
            self.ns(node).run(["ip", version, "route", "replace", "default", "via", gateway])

    def filter_icmp(self, node: str) -> None:
        """``node`` neither sends nor forwards path-MTU errors (frag-needed, packet-too-big) any more."""
        for chain in ("OUTPUT", "FORWARD"):
            for rule in _icmp_rules(chain):
                self.ns(node).run([rule[0], "-w", "-A", *rule[1:]])

    def unfilter_icmp(self, node: str) -> None:
        """Undo one ``filter_icmp``."""
        for chain in ("OUTPUT", "FORWARD"):
            for rule in _icmp_rules(chain):
                self.ns(node).run([rule[0], "-w", "-D", *rule[1:]])


def _icmp_rules(chain: str) -> list[list[str]]:
    return [
        ["iptables", chain, "-p", "icmp", "--icmp-type", "fragmentation-needed", "-j", "DROP"],
        ["ip6tables", chain, "-p", "icmpv6", "--icmpv6-type", "packet-too-big", "-j", "DROP"],
    ]


def leftovers(prefix: str) -> list[str]:
    """Namespaces whose name begins with ``prefix`` that still exist: for tests that clean-up is complete."""
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"ip netns list: {done.stderr.strip()}")
    return [line.split()[0] for line in done.stdout.splitlines() if line.startswith(prefix)]
