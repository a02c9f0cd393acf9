"""Asks the kernel about what is not ours: routes of anybody, foreign policies, how far sequence numbers have come.

For ``xfrmctl diagnose`` only, so that the ports that all of the program lives by stay narrow. Sockets of its own, and
nothing is remembered: an object for one look.
"""

from errno import EACCES, EHOSTUNREACH, EINVAL
from socket import AF_INET, AF_INET6, if_indextoname, ntohl
from types import TracebackType
from typing import Self

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import policy as policies
from xfrmctl.kernel.netlink import route as routes
from xfrmctl.kernel.netlink import sa as sas
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink.constants import NETLINK_ROUTE, NETLINK_XFRM
from xfrmctl.kernel.netlink.socket import NetlinkSocket
from xfrmctl.kernel.ownership import is_our_reqid, is_ours
from xfrmctl.model.address import IPAddress
from xfrmctl.model.host import LOCAL, NONE, UNICAST, ForeignPolicy, RouteAnswer, SaSequence
from xfrmctl.model.sa import SaId

_ERRORS = {EINVAL: "blackhole", EHOSTUNREACH: "unreachable", EACCES: "prohibit"}
"""What a look-up answers for the routes that lead nowhere on purpose (``fib_props``)."""
_KINDS = {c.RTN_UNICAST: UNICAST, 2: LOCAL, c.RTN_BLACKHOLE: "blackhole", 7: "unreachable", 8: "prohibit"}
_SPEAKS_OF_ESN = c.XFRM_STATE_ESN
_FLAGS_AT = 216
"""``flags`` of ``struct xfrm_usersa_info``: behind reqid, family, mode and replay_window at 208 to 215."""


class Survey:
    """One look; a context manager. Raises OSError where netlink cannot be had."""

    def __init__(self) -> None:
        self._xfrm = NetlinkSocket(NETLINK_XFRM)
        self._route = NetlinkSocket(NETLINK_ROUTE, strict=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._xfrm.close()
        self._route.close()

    def route(self, destination: IPAddress) -> RouteAnswer:
        """Where packets of ours to an address go, our own routes included."""
        try:
            answer = self._route.get(routes.get_route(None, destination, 0))
        except OSError as error:
            kind = _ERRORS.get(error.errno or 0, NONE)
            return RouteAnswer(kind, "", f"ip route get {destination}: {kind} ({error.strerror})")
        kind = _KINDS.get(routes.RTMSG.unpack_from(answer)[7], NONE)
        index = s.find_attribute(answer, routes.RTMSG.size, routes.RTA_OIF)
        device = if_indextoname(s.U32.unpack(index)[0]) if index is not None else ""
        way = routes.way_from(answer)
        via = f" via {way.via}" if way is not None and way.via is not None else ""
        return RouteAnswer(kind, device, f"ip route get {destination}: {kind}{via} dev {device}")

    def foreign_policies(self) -> list[ForeignPolicy]:
        """Every policy with a selector that somebody else has made; those of sockets are none."""
        found = []
        for kind, payload in self._xfrm.dump(policies.dump_policies()):
            if kind != c.XFRM_MSG_NEWPOLICY:
                continue
            values = s.USERPOLICY_INFO.unpack_from(payload)
            daddr, saddr, _, _, _, _, family, length_d, length_s, protocol = values[:10]
            priority, index, direction, _ = values[20:24]
            if is_ours(index) or direction not in c.DIRECTION_OF or family not in (AF_INET, AF_INET6):
                continue
            source, destination = s.network_from(saddr, length_s, family), s.network_from(daddr, length_d, family)
            way = c.DIRECTION_OF[direction]
            if_id = s.find_attribute(payload, s.USERPOLICY_INFO.size, c.XFRMA_IF_ID)
            found.append(
                ForeignPolicy(
                    direction=way,
                    source=source,
                    destination=destination,
                    protocol=protocol,
                    priority=priority,
                    if_id=s.U32.unpack(if_id)[0] if if_id is not None else 0,
                    text=f"src {source} dst {destination} dir {way.value} priority {priority}",
                )
            )
        return found

    def sequences(self) -> list[SaSequence]:
        """Every SA of the host."""
        found = []
        for kind, payload in self._xfrm.dump(sas.dump_sas()):
            if kind != c.XFRM_MSG_NEWSA:
                continue
            daddr, spi, protocol, *_, reqid, family = s.USERSA_COUNTERS.unpack_from(payload)
            if protocol in c.PROTOCOL_OF and spi and family in (AF_INET, AF_INET6):
                found.append(
                    SaSequence(
                        id=SaId(s.address_from(daddr, family), c.PROTOCOL_OF[protocol], ntohl(spi)),
                        ours=is_our_reqid(reqid),
                        sent=sas.sent_from(payload),
                        esn=bool(payload[_FLAGS_AT] & _SPEAKS_OF_ESN),
                    )
                )
        return found
