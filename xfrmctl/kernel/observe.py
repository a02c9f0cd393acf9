"""Asks the kernel what stands there, whoever put it there: for ``xfrmctl explain``. Changes nothing.

Ports that the daemon lives by show what is ours only; this one shows all. An object is for one look.
"""

from collections.abc import Callable, Container, Iterator
from errno import EACCES, EHOSTUNREACH, EINVAL, EXDEV, errorcode
from ipaddress import ip_address
from os import strerror
from socket import AF_INET, AF_INET6, if_indextoname, if_nametoindex, ntohl, ntohs
from struct import Struct
from types import TracebackType
from typing import Any, Self

from xfrmctl.kernel.netlink import algorithms
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import link as links
from xfrmctl.kernel.netlink import policy as policies
from xfrmctl.kernel.netlink import route as routes
from xfrmctl.kernel.netlink import sa as sas
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink import tunnel as tunnels
from xfrmctl.kernel.netlink.socket import NetlinkError, NetlinkSocket, Request
from xfrmctl.kernel.ownership import is_our_reqid, is_ours
from xfrmctl.kernel.refusal import refusal
from xfrmctl.model.address import IPAddress
from xfrmctl.model.flow import Port
from xfrmctl.model.observed import (
    BLACKHOLE,
    LOCAL,
    NOWHERE,
    PROHIBIT,
    UNICAST,
    UNREACHABLE,
    Defaults,
    ObservedDevice,
    ObservedPolicy,
    ObservedSa,
    ObservedTemplate,
    RouteLookup,
)
from xfrmctl.model.sa import Encap

RTA_IIF, RTA_IP_PROTO, RTA_SPORT, RTA_DPORT = 3, 27, 28, 29
RTM_F_LOOKUP_TABLE = 0x1000
RTM_GETADDR, RTM_NEWADDR = 22, 20
IFA_ADDRESS, IFA_LOCAL = 1, 2
XFRM_MSG_GETDEFAULT = 0x28
_BLOCK = 1
_KINDS = {1: UNICAST, 2: LOCAL, 3: "broadcast", 5: "multicast", 6: BLACKHOLE, 7: UNREACHABLE, 8: PROHIBIT}
_ERRORS = {EINVAL: BLACKHOLE, EHOSTUNREACH: UNREACHABLE, EACCES: PROHIBIT}
"""``fib_props`` (net/ipv4/fib_semantics.c); EHOSTUNREACH is also the answer for a device that does not forward."""
_IFADDRMSG = Struct("=BBBBI")
_MODES = {0: "transport", 1: "tunnel", 4: "beet"}
_SA_TAIL = Struct("=208xIHBBB7x")
"""reqid family mode replay_window flags of ``struct xfrm_usersa_info``."""
_SA_SOURCE = Struct("=80x16s")
_POLICY_DEVICE = Struct("=48xi")
_ENCAP = Struct("=HHH")
_ALGO = Struct("=64sI")
_ALGO_SIZED = Struct("=64sII")


class Observer:
    """A context manager. Raises KernelRefusal where netlink cannot be had."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        try:
            self._route = NetlinkSocket(c.NETLINK_ROUTE, strict=True)
            try:
                self._xfrm = NetlinkSocket(c.NETLINK_XFRM)
            except OSError:
                self._route.close()
                raise
        except OSError as error:
            raise refusal("open netlink", "XFRM and routes", NetlinkError(error.errno or 0)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._xfrm.close()
        self._route.close()

    def _name(self, index: int) -> str:
        """A device's name; thousands of routes lead to few devices."""
        if index not in self._names:
            self._names[index] = _name(index)
        return self._names[index]

    def route(
        self,
        destination: IPAddress,
        source: IPAddress | None = None,
        *,
        iif: str = "",
        mark: int = 0,
        protocol: int = 0,
        ports: tuple[int | None, int | None] = (None, None),
    ) -> RouteLookup:
        """Where a packet goes: one that came in by ``iif``, else one of this host's own."""
        # IPv6 names the table unasked, and refuses the flag.
        family, bits, flags = (AF_INET, 32, RTM_F_LOOKUP_TABLE) if destination.version == 4 else (AF_INET6, 128, 0)
        head = routes.RTMSG.pack(family, bits, bits if source is not None else 0, 0, 0, 0, 0, 0, flags)
        parts = [head, s.attribute(routes.RTA_DST, destination.packed)]
        asked = ["ip route get", str(destination)]
        if source is not None:
            parts.append(s.attribute(routes.RTA_SRC, source.packed))
            asked.append(f"from {source}")
        if iif:
            parts.append(s.ATTR_U32.pack(8, RTA_IIF, if_nametoindex(iif)))
            asked.append(f"iif {iif}")
        if mark:
            parts.append(s.ATTR_U32.pack(8, routes.RTA_MARK, mark))
            asked.append(f"mark {mark:#x}")
        if protocol in (6, 17) and all(ports):
            parts.append(s.attribute(RTA_IP_PROTO, bytes([protocol])))
            parts += [s.attribute(k, (p or 0).to_bytes(2)) for k, p in zip((RTA_SPORT, RTA_DPORT), ports, strict=True)]
        question = " ".join(asked)
        try:
            answer = self._route.get(Request(c.RTM_GETROUTE, 0, b"".join(parts)))
        except OSError as error:
            code = error.errno or 0
            return RouteLookup(
                asked=question,
                said=f"{errorcode.get(code, code)}: {_meaning(code)}",
                kind=_ERRORS.get(code, NOWHERE),
                errno=code,
            )
        return _route_from(question, answer, self._name)

    def policies(self) -> list[ObservedPolicy]:
        """Every policy with a selector, the oldest first: a dump has the newest first. Raises KernelRefusal."""
        found = list(self._dump(self._xfrm, policies.dump_policies(), "dump policies", c.XFRM_MSG_NEWPOLICY))
        return [p for place, payload in enumerate(reversed(found)) if (p := _policy_from(payload, place)) is not None]

    def foreign_policies(self) -> list[ObservedPolicy]:
        """Those that are not ours; thousands of ours are passed over by their index. Raises KernelRefusal."""
        found = self._dump(self._xfrm, policies.dump_policies(), "dump policies", c.XFRM_MSG_NEWPOLICY)
        foreign = [p for p in found if not is_ours(s.USERPOLICY_INDEX.unpack_from(p)[0])]
        return [p for place, payload in enumerate(reversed(foreign)) if (p := _policy_from(payload, place)) is not None]

    def sas(self, spis: Container[int] | None = None) -> list[ObservedSa]:
        """Every SA with an SPI; with ``spis`` those alone, the others are passed over unread. Raises KernelRefusal."""
        found = self._dump(self._xfrm, sas.dump_sas(), "dump SAs", c.XFRM_MSG_NEWSA)
        wanted = (p for p in found if spis is None or ntohl(s.USERSA_COUNTERS.unpack_from(p)[1]) in spis)
        return [sa for payload in wanted if (sa := _sa_from(payload)) is not None]

    def defaults(self) -> Defaults:
        """What becomes of packets without a policy; a kernel before 5.15 has no such switch and lets them pass."""
        try:
            answer = self._xfrm.get(Request(XFRM_MSG_GETDEFAULT, 0, bytes(3)))
        except OSError:
            return Defaults()
        inbound, forward, outbound = bytes(answer[:3])
        return Defaults(block_in=inbound == _BLOCK, block_forward=forward == _BLOCK, block_out=outbound == _BLOCK)

    def devices(self) -> dict[str, ObservedDevice]:
        """Every device with its addresses. Raises KernelRefusal."""
        everything = Request(c.RTM_GETLINK, 0, links.IFINFOMSG.pack(0, 0, 0, 0, 0))
        addresses: dict[int, list[IPAddress]] = {}
        for payload in self._dump(self._route, Request(RTM_GETADDR, 0, bytes(8)), "dump addresses", RTM_NEWADDR):
            index = _IFADDRMSG.unpack_from(payload)[4]
            raw = s.find_attribute(payload, _IFADDRMSG.size, IFA_LOCAL)
            raw = raw if raw is not None else s.find_attribute(payload, _IFADDRMSG.size, IFA_ADDRESS)
            if raw is not None:
                addresses.setdefault(index, []).append(ip_address(bytes(raw)))
        found = (
            _device_from(payload, addresses)
            for payload in self._dump(self._route, everything, "dump devices", c.RTM_NEWLINK)
        )
        return {device.name: device for device in found}

    def _dump(self, socket: NetlinkSocket, request: Request, what: str, wanted: int) -> Iterator[memoryview]:
        try:
            messages = socket.dump(request)
        except OSError as error:
            raise refusal(what, "kernel", NetlinkError(error.errno or 0)) from error
        return (payload for kind, payload in messages if kind == wanted)


def _name(index: int) -> str:
    try:
        return if_indextoname(index)
    except OSError:  # it has gone meanwhile
        return f"#{index}"


def _meaning(code: int) -> str:
    if code == EXDEV:
        return f"{strerror(code)} (rp_filter: the way back leaves by another device)"
    return strerror(code)


def _route_from(asked: str, answer: memoryview, name: Callable[[int], str]) -> RouteLookup:
    table, kind = (routes.RTMSG.unpack_from(answer)[at] for at in (4, 7))
    way = routes.way_from(answer)
    index = s.find_attribute(answer, routes.RTMSG.size, routes.RTA_OIF)
    named = s.find_attribute(answer, routes.RTMSG.size, routes.RTA_TABLE)
    device = name(s.U32.unpack(index)[0]) if index is not None else ""
    number = s.U32.unpack(named)[0] if named is not None else table
    word = _KINDS.get(kind, str(kind))
    words = [word]
    words += [f"via {way.via}"] if way is not None and way.via is not None else []
    words += [f"dev {device}"] if device else []
    words += [f"table {number}"] if number not in (254, 255) else []
    words += [f"src {way.source}"] if way is not None and way.source is not None else []
    words += [f"mtu {way.mtu}"] if way is not None and way.mtu is not None else []
    return RouteLookup(
        asked=asked,
        said=" ".join(words),
        kind=word,
        device=device,
        via=way.via if way is not None else None,
        source=way.source if way is not None else None,
        mtu=way.mtu if way is not None else None,
        table=number,
    )


def _policy_from(payload: memoryview, place: int) -> ObservedPolicy | None:
    """None for policies of single sockets, and for families that are neither IPv4 nor IPv6."""
    values = s.USERPOLICY_INFO.unpack_from(payload)
    daddr, saddr, dport, dport_mask, sport, sport_mask, family, length_d, length_s, protocol = values[:10]
    priority, index, direction, action = values[20:24]
    if direction not in c.DIRECTION_OF or family not in (AF_INET, AF_INET6):
        return None
    end = s.USERPOLICY_INFO.size
    if_id = s.find_attribute(payload, end, c.XFRMA_IF_ID)
    templates = s.find_attribute(payload, end, c.XFRMA_TMPL)
    device = _POLICY_DEVICE.unpack_from(payload)[0]
    return ObservedPolicy(
        direction=c.DIRECTION_OF[direction],
        source=s.network_from(saddr, length_s, family),
        destination=s.network_from(daddr, length_d, family),
        protocol=protocol,
        source_port=Port(ntohs(sport), ntohs(sport_mask)),
        destination_port=Port(ntohs(dport), ntohs(dport_mask)),
        priority=priority,
        index=index,
        block=action == c.XFRM_POLICY_BLOCK,
        if_id=s.U32.unpack(if_id)[0] if if_id is not None else 0,
        mark=s.mark_from(payload, end),
        device=_name(device) if device else "",
        templates=tuple(_templates(templates)) if templates is not None else (),
        ours=is_ours(index),
        place=place,
    )


def _templates(raw: memoryview) -> Iterator[ObservedTemplate]:
    for at in range(0, len(raw) - s.USER_TMPL.size + 1, s.USER_TMPL.size):
        daddr, spi, protocol, family, saddr, reqid, mode, _, optional = s.USER_TMPL.unpack_from(raw, at)[:9]
        if family in (AF_INET, AF_INET6):
            yield ObservedTemplate(
                source=s.address_from(saddr, family),
                destination=s.address_from(daddr, family),
                protocol=protocol,
                mode=_MODES.get(mode, str(mode)),
                reqid=reqid,
                spi=ntohl(spi),
                optional=bool(optional),
            )


def _sa_from(payload: memoryview) -> ObservedSa | None:
    """None for larval SAs."""
    daddr, spi, protocol, size, packets, added, *_ = s.USERSA_COUNTERS.unpack_from(payload)
    reqid, family, mode, _, flags = _SA_TAIL.unpack_from(payload)
    if not spi or family not in (AF_INET, AF_INET6):
        return None
    found: dict[int, Any] = dict(s.attributes(payload, s.USERSA_INFO.size))
    encap = _ENCAP.unpack_from(found[c.XFRMA_ENCAP]) if c.XFRMA_ENCAP in found else None
    sized = {
        kind: _ALGO_SIZED.unpack_from(found[kind])
        for kind in (c.XFRMA_ALG_AEAD, c.XFRMA_ALG_AUTH_TRUNC)
        if kind in found
    }
    crypt = _ALGO.unpack_from(found[c.XFRMA_ALG_CRYPT]) if c.XFRMA_ALG_CRYPT in found else None
    name, suite = algorithms.spelled(
        aead=sized.get(c.XFRMA_ALG_AEAD), crypt=crypt, auth=sized.get(c.XFRMA_ALG_AUTH_TRUNC), ah=protocol == 51
    )
    return ObservedSa(
        source=s.address_from(_SA_SOURCE.unpack_from(payload)[0], family),
        destination=s.address_from(daddr, family),
        protocol=protocol,
        spi=ntohl(spi),
        reqid=reqid,
        mode=_MODES.get(mode, str(mode)),
        name=name,
        suite=suite,
        encap=Encap(ntohs(encap[1]), ntohs(encap[2])) if encap is not None else None,
        if_id=s.U32.unpack(found[c.XFRMA_IF_ID])[0] if c.XFRMA_IF_ID in found else 0,
        mark=s.mark_from(payload, s.USERSA_INFO.size),
        dont_fragment=not flags & c.XFRM_STATE_NOPMTUDISC,
        packets=packets,
        bytes=size,
        added_at=added,
        ours=is_our_reqid(reqid),
        sent=sas.sent_from(payload),
        esn=bool(flags & c.XFRM_STATE_ESN),
    )


def _device_from(payload: memoryview, addresses: dict[int, list[IPAddress]]) -> ObservedDevice:
    _, _, index, flags, _ = links.IFINFOMSG.unpack_from(payload)
    at = links.IFINFOMSG.size
    name, mtu, info = (
        s.find_attribute(payload, at, k) for k in (links.IFLA_IFNAME, links.IFLA_MTU, links.IFLA_LINKINFO)
    )
    kind = s.find_attribute(info, 0, links.IFLA_INFO_KIND) if info is not None else None
    word = bytes(kind).rstrip(b"\0").decode() if kind is not None else ""
    around = s.find_attribute(info, 0, links.IFLA_INFO_DATA) if info is not None else None
    data = around if word == "xfrm" else None
    if_id = s.find_attribute(data, 0, links.IFLA_XFRM_IF_ID) if data is not None else None
    return ObservedDevice(
        name=bytes(name).rstrip(b"\0").decode(errors="replace") if name is not None else f"#{index}",
        index=index,
        mtu=s.U32.unpack(mtu)[0] if mtu is not None else 0,
        up=bool(flags & c.IFF_UP),
        kind=word,
        if_id=s.U32.unpack(if_id)[0] if if_id is not None else 0,
        addresses=tuple(addresses.get(index, ())),
        tunnel=tunnels.observed_from(word, around) if around is not None else None,
    )
