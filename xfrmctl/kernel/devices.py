"""Interfaces and routes of ours: reads them, and carries out operations on them.

When an xfrm interface goes, its routes go with it; what then keeps packets from leaving in clear is the blackhole
route of a worse metric (see :class:`xfrmctl.kernel.desired.Route`). Block policies cannot do that here: the
forwarding path looks up policies with if_id 0 for *every* packet before it enters the device, so a block policy
would stop the tunnel, too (``xfrm4_route_forward``).
"""

import fcntl
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from errno import EADDRNOTAVAIL, EEXIST, EINTR, ENODEV, ENOENT, EOPNOTSUPP, ESRCH
from typing import TypeGuard

from xfrmctl.kernel.desired import Interface, Route, TunnelInterface, TunnelKind
from xfrmctl.kernel.netlink import address
from xfrmctl.kernel.netlink import link as links
from xfrmctl.kernel.netlink import route as routes
from xfrmctl.kernel.netlink import rule as rules
from xfrmctl.kernel.netlink import tunnel as tunnels
from xfrmctl.kernel.netlink.constants import NETLINK_ROUTE, RTM_DELADDR, RTM_DELLINK, RTM_DELROUTE, RTM_NEWLINK
from xfrmctl.kernel.netlink.socket import NetlinkError, NetlinkSocket, Request
from xfrmctl.kernel.netlink.tunnel import TunnelLink
from xfrmctl.kernel.ownership import PEER_TABLE, UNDERLAY_MARK
from xfrmctl.kernel.plan import (
    AddInterface,
    DeleteInterface,
    DeleteRoute,
    InterfaceOperation,
    PutRoute,
    RouteOperation,
    SetInterface,
)
from xfrmctl.kernel.ports import Underlay
from xfrmctl.kernel.refusal import refusal
from xfrmctl.model.address import IPAddress

FEW = 16
"""Interfaces that are looked up by name; for more, all are read."""

SIOCGIFMTU = 0x8921
_IFREQ = struct.Struct("16si20x")

_MODULES = {
    TunnelKind.GRE: "ip_gre",
    TunnelKind.GRE6: "ip6_gre",
    TunnelKind.IPIP: "ipip",
    TunnelKind.IPIP6: "ip6_tunnel",
}

_GONE = {(RTM_DELLINK, ENODEV), (RTM_DELADDR, EADDRNOTAVAIL)}
"""What is gone already need not be deleted."""


@dataclass(frozen=True, slots=True)
class _Held:
    """An interface of ours as the kernel has it."""

    index: int
    interface: Interface


def _create(new: Interface) -> list[Request]:
    return tunnels.new_tunnel(new) if isinstance(new, TunnelInterface) else links.new_link(new)


def _change(index: int, new: Interface) -> Request:
    return tunnels.set_tunnel(index, new) if isinstance(new, TunnelInterface) else links.set_link(index, new)


class Devices:
    """The routing netlink socket, and nothing remembered."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_ROUTE, strict=True)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read_interfaces(self) -> dict[str, Interface]:
        """Every interface of ours. Raises KernelRefusal."""
        return {name: link.interface for name, link in self._held().items()}

    def read_tunnels(self) -> dict[str, TunnelLink]:
        """Every tunnel device of ours with its counters, without its addresses. Raises KernelRefusal."""
        found: dict[str, TunnelLink] = {}
        for kind in TunnelKind:
            found |= tunnels.tunnels_from(self._dump("dump interfaces", tunnels.dump_tunnels(kind)))
        return found

    def read_routes(self) -> frozenset[Route]:
        """Every route of ours, of both families and in all tables. Raises KernelRefusal."""
        found: list[Route] = []
        names: dict[int, str] = {}

        def name_of(index: int) -> str:
            if index not in names:
                try:
                    names[index] = socket.if_indextoname(index)
                except OSError:
                    names[index] = f"#{index}"
            return names[index]

        for family in (socket.AF_INET, socket.AF_INET6):
            known = routes.routes_from(self._dump("dump routes", routes.dump_routes(family)), name_of)
            if any(r.table == PEER_TABLE for r in known) and not self._rule_stands(family):
                known = [r for r in known if r.table != PEER_TABLE]  # in a table that nobody asks
            found += known
        return frozenset(found)

    def rules_stand(self, versions: Collection[int]) -> bool:
        """Whether our rule stands for each of these IP versions. Raises KernelRefusal."""
        return all(self._rule_stands(socket.AF_INET if version == 4 else socket.AF_INET6) for version in versions)

    def _rule_stands(self, family: int) -> bool:
        return rules.stands(self._dump("dump rules", rules.dump_rules(family)))

    def addresses(self) -> tuple[IPAddress, ...]:
        """Global addresses of this host. Raises KernelRefusal."""
        families = (socket.AF_INET, socket.AF_INET6)
        dumps = (self._dump("dump addresses", address.dump_addresses(family)) for family in families)
        return tuple(found for dump in dumps for found in address.addresses_from(dump))

    def delete_rules(self) -> int:
        """Take our routing rules away; how many stood. Raises KernelRefusal."""
        families = [f for f in (socket.AF_INET, socket.AF_INET6) if self._rule_stands(f)]
        errors = self._transact([rules.delete_rule(family) for family in families])
        return len(families) - len(errors)

    def underlay(self, local: IPAddress | None, remote: IPAddress) -> Underlay | None:
        """Which way packets to a peer go without our own routes; None where there is no way."""
        try:
            way = routes.way_from(self._socket.get(routes.get_route(local, remote, UNDERLAY_MARK)))
            return None if way is None else self._underlay(way)
        except OSError:
            return None

    def detour(self, remote: IPAddress, avoid: Collection[str]) -> Underlay | None:
        """The best route to a peer in the main table that leads through none of these devices; None without one."""
        try:
            family = socket.AF_INET if remote.version == 4 else socket.AF_INET6
            table = self._socket.dump(routes.dump_main(family))
            for way in routes.ways_towards(remote, table):
                if socket.if_indextoname(way.index) not in avoid:
                    return self._underlay(way)
        except OSError:
            pass  # the table or a device is just changing: the next look may find one
        return None

    @staticmethod
    def _underlay(way: routes.Way) -> Underlay:
        device = socket.if_indextoname(way.index)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answer = fcntl.ioctl(sock, SIOCGIFMTU, _IFREQ.pack(device.encode(), 0))
        link: int = _IFREQ.unpack(answer)[1]
        return Underlay(device, way.via, way.source, min(link, way.mtu or link))

    def apply_interfaces(self, operations: Sequence[InterfaceOperation]) -> list[str]:
        """Carry out operations in order; gives problems. Raises KernelRefusal."""
        problems: dict[InterfaceOperation, str] = {}
        held = self._held_of({o.old.name for o in operations if not isinstance(o, AddInterface)})
        sent: list[tuple[InterfaceOperation, Request]] = []
        dress: list[tuple[InterfaceOperation, Request]] = []
        for operation in operations:
            link: _Held | None = None
            if not isinstance(operation, AddInterface):
                link = held.get(operation.old.name)
                link = link if link is not None and link.interface.becomes(operation.old) else None
            if isinstance(operation, DeleteInterface):
                sent += [(operation, links.delete_link(link.index))] if link is not None else []
            elif link is not None:
                sent.append((operation, _change(link.index, operation.new)))
            else:
                create, change = _create(operation.new)
                sent.append((operation, create))
                dress.append((operation, change))
        self._carry_out(sent, problems)
        self._carry_out([d for d in dress if d[0] not in problems], problems)  # never a stranger of the same name
        self._carry_out(list(self._addresses(o for o in operations if o not in problems)), problems)
        return list(problems.values())

    def _carry_out(
        self, sent: Sequence[tuple[InterfaceOperation, Request]], problems: dict[InterfaceOperation, str]
    ) -> None:
        for position, error in sorted(self._transact([request for _, request in sent]).items()):
            operation, request = sent[position]
            if (request.type, error.code) not in _GONE:
                problems.setdefault(operation, _interface_problem(operation, error))

    @staticmethod
    def _addresses(operations: Iterable[InterfaceOperation]) -> Iterator[tuple[InterfaceOperation, Request]]:
        """The addresses of tunnel devices that have been made or changed."""
        for operation in operations:
            if isinstance(operation, DeleteInterface) or not isinstance(operation.new, TunnelInterface):
                continue
            new, old = operation.new, operation.old if isinstance(operation, SetInterface) else None
            before = old.addresses if isinstance(old, TunnelInterface) else frozenset()
            try:
                index = socket.if_nametoindex(new.name)
            except OSError:
                continue  # it is gone again: the next look makes it anew
            yield from ((operation, tunnels.delete_address(index, a)) for a in before - new.addresses)
            yield from ((operation, tunnels.new_address(index, a)) for a in sorted(new.addresses, key=str))

    def apply_routes(self, operations: Sequence[RouteOperation]) -> list[tuple[RouteOperation, str]]:
        """Carry out operations in order; gives those that failed and why. Raises KernelRefusal."""
        failed: list[tuple[RouteOperation, str]] = []
        sent: list[tuple[RouteOperation, Request]] = []
        self._put_rules({o.new.destination.version for o in operations if _to_peer(o)})
        for operation in operations:
            if isinstance(operation, DeleteRoute):
                sent.append((operation, routes.delete_route(operation.old)))
                continue
            device = operation.new.device
            try:
                index = socket.if_nametoindex(device) if device else 0
            except OSError:
                failed.append((operation, f"route {operation.new}: there is no device {device}"))
                continue
            replace = _to_peer(operation) or operation.old is not None
            if operation.raises:
                sent.append((operation, routes.new_route(operation.new, index, replace=True, forget=True)))
            sent.append((operation, routes.new_route(operation.new, index, replace=replace)))
        for position, error in sorted(self._transact([request for _, request in sent]).items()):
            operation, request = sent[position]
            if request.type == RTM_DELROUTE and error.code in (ESRCH, ENOENT):
                continue
            failed.append((operation, _route_problem(operation, error)))
        return failed

    def _put_rules(self, versions: set[int]) -> None:
        """The routes to peers are of use only while our rule has their table asked."""
        families = [socket.AF_INET if version == 4 else socket.AF_INET6 for version in versions]
        for position, error in self._transact([rules.new_rule(family) for family in families]).items():
            if error.code != EEXIST:
                raise refusal("add routing rule", str(families[position]), error)

    def _held_of(self, names: set[str]) -> dict[str, _Held]:
        """Those of our interfaces; a few are asked for one by one, however many there are, and without addresses."""
        if len(names) > FEW:
            return self._held()
        found: dict[str, _Held] = {}
        for name in names:
            try:
                answer = [(RTM_NEWLINK, self._socket.get(links.get_link(name)))]
            except OSError as error:
                if error.errno != ENODEV:
                    raise refusal("read interface", name, NetlinkError(error.errno or EINTR)) from error
                continue
            found |= {n: _Held(link.index, link.interface) for n, link in links.links_from(answer).items()}
            found |= {n: _Held(link.index, link.interface) for n, link in tunnels.tunnels_from(answer).items()}
        return found

    def _held(self) -> dict[str, _Held]:
        found = links.links_from(self._dump("dump interfaces", links.dump_links()))
        held = {name: _Held(link.index, link.interface) for name, link in found.items()}
        known = self.read_tunnels()
        families = (socket.AF_INET, socket.AF_INET6) if known else ()
        dumps = (self._dump("dump addresses", address.dump_addresses(family)) for family in families)
        ours = tunnels.addresses_from([message for dump in dumps for message in dump])
        for name, tunnel in known.items():
            its_own = ours.get(tunnel.index, frozenset())
            held[name] = _Held(tunnel.index, replace(tunnel.interface, addresses=its_own))
        return held

    def _dump(self, operation: str, request: Request) -> list[tuple[int, memoryview]]:
        try:
            return self._socket.dump(request)
        except OSError as error:
            raise refusal(operation, "rtnetlink", NetlinkError(error.errno or EINTR)) from error

    def _transact(self, requests: Sequence[Request]) -> dict[int, NetlinkError]:
        try:
            return self._socket.transact(requests)
        except OSError as error:
            raise refusal("update devices", "rtnetlink", NetlinkError(error.errno or EINTR)) from error


def _to_peer(operation: RouteOperation) -> TypeGuard[PutRoute]:
    return isinstance(operation, PutRoute) and operation.new.table == PEER_TABLE


def _interface_problem(operation: InterfaceOperation, error: NetlinkError) -> str:
    interface = operation.old if isinstance(operation, DeleteInterface) else operation.new
    if error.code == EEXIST:
        like = (
            f"a tunnel from {interface.local} to {interface.remote}"
            if isinstance(interface, TunnelInterface)
            else "an xfrm interface with this if_id"
        )
        return (
            f"interface {interface}: a device of this name, or {like}, exists and is not"
            f" ours: rename it, or delete it (ip link delete {interface.name})"
        )
    if isinstance(interface, TunnelInterface):
        cure = f"the kernel has no such tunnels: load their module (modprobe {_MODULES[interface.kind]})"
    else:
        cure = "the kernel has no xfrm interfaces: load the module xfrm_interface (modprobe xfrm_interface)"
    return str(refusal("update interface", str(interface), error, {EOPNOTSUPP: cure}))


def _route_problem(operation: RouteOperation, error: NetlinkError) -> str:
    route = operation.new if isinstance(operation, PutRoute) else operation.old
    if error.code == EEXIST:
        return (
            f"route {route}: a route that is not ours has this destination and metric already:"
            f" remove it (ip route delete {route.destination} metric {route.metric})"
        )
    return str(refusal("update route", str(route), error))
