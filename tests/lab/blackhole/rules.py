"""What a cell has to show, and where it need not, why: physics, or a foreign peer whose direction is its own.

Direction 0 is from host A to host B, which our gateway A sends; direction 1 is the other one. A foreign peer's kernel
sends that one, and nothing that we do lowers what it sends, but the MSS of new TCP connections, which we clamp in both
directions.

======== =================================================================================================
figure   our own gateways have the path's MTU, and the formula's inner MTU of it
flow     TCP that ran at the time of the event goes on, with full-size segments
fresh    a new TCP connection carries full-size segments (asked for where ``flow`` need not be)
exact    UDP datagrams with DF of exactly the inner MTU arrive, and of one byte more none; of IPv6 on a path for
         less than 1280 bytes, 1280 bytes arrive: in fragments of ESP, if that is IPv4
large    UDP datagrams without DF as large as the host's link arrive (of IPv6: the host fragments when told)
told     a host that sends too large a packet is told exactly the inner MTU
======== =================================================================================================
"""

from tests.lab.blackhole.cells import COMPARISON, Cell
from xfrmctl.model.sizes import IPV6_FLOOR

WITNESSES = ("figure", "flow", "fresh", "exact", "large", "told")

HOSTS_DEAF = "the host hears no ICMP, so a connection keeps the segments that it has: new ones get the right MSS"
HOSTS_DEAF_UDP = "IPv6 has no packet without DF, and a host that hears no ICMP never fragments"
IGNORED = "a host ignores a Packet Too Big below 1280 (RFC 8200 5, RFC 8201 4): new connections get the right MSS"
IGNORED_UDP = "a host ignores a Packet Too Big below 1280 (RFC 8200 5, RFC 8201 4) and sends 1280 bytes in one piece"
PEER_DEAF = "the peer's kernel hears no error of the path and probes nothing: new connections get our MSS"
PEER_DEAF_UDP = "the peer's kernel hears no error of the path and probes nothing; routers of IPv6 never fragment"
PEER_FRAGMENTS = (
    "the peer's kernel learns nothing from an error about a fragment of ESP, and the blocks of its cipher allow no"
    " whole packet of a size between what the path and what the link carries"
)
PEER_REMEMBERS = "the peer's kernel believes an error for ten minutes (net.ipv4.route.mtu_expires, net.ipv6 alike)"
PEER_ZERO = "the peer's kernel makes 552 of a next-hop MTU of 0 (net.ipv4.route.min_pmtu)"
PEER_ZERO_6 = "the peer's kernel makes 552 of a next-hop MTU of 0, where no IPv6 fits and its hosts heed no error"
NOBODY_TOLD = "nobody tells the host"


def limit_s(cell: Cell) -> float:
    """Seconds within which TCP goes on after the event: 10 where all ICMP is filtered, else 3."""
    return 10.0 if cell.icmp == "both" else 3.0


def excused(cell: Cell, witness: str, direction: int) -> str | None:
    """Why this witness is not asked for in this direction; None where it is."""
    if witness == "figure":
        return _figure(cell, direction)
    if witness == "flow":
        return _flow(cell, direction)
    if witness == "fresh":
        if _flow(cell, direction) is None:
            return "the connection that was there goes on"
        return PEER_ZERO_6 if _peer_takes_552(cell, direction) and cell.inner == "6" else None
    if witness == "exact":
        return _exact(cell, direction)
    return _large(cell, direction) if witness == "large" else _told(cell, direction)


def foreign(cell: Cell, direction: int) -> bool:
    """Whether a foreign peer's kernel sends in this direction."""
    return direction == 1 and cell.ends not in ("ours", COMPARISON)


def routers_are_heard(cell: Cell) -> bool:
    """Whether a kernel by itself learns of a narrow path."""
    return cell.icmp not in ("outer", "both") and not (cell.icmp == "zero" and cell.outer == "6")


def hosts_hear(cell: Cell) -> bool:
    """Whether a gateway's ICMP errors reach the inner hosts."""
    return cell.icmp not in ("hosts", "both")


def narrows(cell: Cell) -> bool:
    """Whether the path carries less from the event on than the gateways' links."""
    return cell.after < cell.link


def rescued(cell: Cell, direction: int) -> bool:
    """Whether IPv6 inside goes on where less than 1280 bytes fit: by ESP that is fragmented, which IPv4 can be."""
    return _below_floor(cell) and cell.outer == "4" and not foreign(cell, direction)


def largest(cell: Cell, direction: int) -> int:
    """The largest inner packet that must arrive, bytes; what a host is told."""
    if not rescued(cell, direction):
        return cell.exact
    # The device has 1280; the kernel's policies allow what the last block of the cipher has room for as well.
    return cell.exact_for(cell.outer_for(IPV6_FLOOR)) if cell.plane == "policy" else IPV6_FLOOR


def _below_floor(cell: Cell) -> bool:
    return cell.inner == "6" and cell.exact < IPV6_FLOOR


def _hopeless(cell: Cell, direction: int) -> bool:
    return _below_floor(cell) and not rescued(cell, direction)


def _peer_takes_552(cell: Cell, direction: int) -> bool:
    return foreign(cell, direction) and cell.icmp == "zero" and cell.outer == "4" and narrows(cell)


def _figure(cell: Cell, direction: int) -> str | None:
    if cell.ends == COMPARISON or foreign(cell, direction):
        return "a foreign gateway has no figure to ask for"
    return None


def _flow(cell: Cell, direction: int) -> str | None:
    if not narrows(cell):
        return None
    if not hosts_hear(cell):
        return HOSTS_DEAF
    if _hopeless(cell, direction):
        return IGNORED
    if foreign(cell, direction) and not routers_are_heard(cell):
        return PEER_DEAF
    return PEER_ZERO_6 if _peer_takes_552(cell, direction) and cell.inner == "6" else None


def _exact(cell: Cell, direction: int) -> str | None:
    if foreign(cell, direction):
        if cell.event == "recover" and routers_are_heard(cell):
            return PEER_REMEMBERS
        if _peer_takes_552(cell, direction):
            return PEER_ZERO
    return None


def _large(cell: Cell, direction: int) -> str | None:
    deaf_peer = foreign(cell, direction) and not routers_are_heard(cell) and narrows(cell)
    if cell.inner == "4":
        if foreign(cell, direction) and cell.outer == "6" and narrows(cell) and cell.exact == cell.exact_for(cell.link):
            return PEER_FRAGMENTS
        return PEER_DEAF_UDP if deaf_peer and cell.outer == "6" else None
    if not hosts_hear(cell):
        return HOSTS_DEAF_UDP
    if _hopeless(cell, direction):
        return IGNORED_UDP
    if _peer_takes_552(cell, direction):
        return PEER_ZERO_6
    return PEER_DEAF_UDP if deaf_peer else None


def _told(cell: Cell, direction: int) -> str | None:
    if not hosts_hear(cell):
        return NOBODY_TOLD
    if _hopeless(cell, direction):
        return IGNORED_UDP
    if foreign(cell, direction) and not routers_are_heard(cell) and narrows(cell):
        return NOBODY_TOLD
    return _exact(cell, direction)
